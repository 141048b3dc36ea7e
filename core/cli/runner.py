"""`bakehouse runner`."""

from __future__ import annotations

import click

from core.cli.common import json_option
from core.cli.output import print_json, say
from core.format import listed, moment
from core.home import Home
from core.runner.status import runner_status


@click.group()
def runner() -> None:
    """The process that runs the queue: one a home, started by whoever needs it, ended when idle."""


@runner.command(epilog="Example: bakehouse runner status --json")
@json_option
def status(as_json: bool) -> None:
    """Whether the runner is running."""
    found = runner_status(Home.find())
    if as_json:
        print_json(
            {
                "alive": found.alive,
                "stopped": found.stopped,
                "pid": found.pid,
                "version": found.version,
                "since": found.since,
            }
        )
    elif found.alive:
        say(f"▶ Running since {moment(found.since)}, pid {found.pid}, version {found.version}")
    elif found.stopped:
        say("■ Stopped on request. `bakehouse runner start` or the next submission starts the runner.")
    else:
        say("Not running. The runner starts when there is something to do.")


@runner.command(epilog="Example: bakehouse runner start")
@json_option
def start(as_json: bool) -> None:
    """Start the runner, and lift a former stop."""
    from core.runner.client import ensure_runner

    ensure_runner(Home.find().create())
    print_json({"started": True}) if as_json else say("▶ started")


@runner.command(epilog="Example: bakehouse runner stop")
@json_option
def stop(as_json: bool) -> None:
    """Stop the runner. Running jobs and served models continue; nothing else starts until somebody asks for something."""
    from core.gpu_lease.evicted_models import read_evicted_models
    from core.runner.client import stop_runner

    home = Home.find()
    stop_runner(home)
    away = read_evicted_models(home.evicted_models)
    names = [model.name for model in away.models]
    serving, gone = served_now(home)
    if as_json:
        document = {"stopped": True, "unloaded": names, "service_stopped": away.service_stopped, "readable": away.whole}
        print_json({**document, "serving": serving, "away": gone})
        return
    say("■ Runner stopped. Running jobs continue.")
    if serving:
        verb = "serves" if len(serving) == 1 else "serve"
        say(f"▶ {listed(serving)} {verb} on: `bakehouse served stop NAME` ends a served model.")
    if gone:
        verb = "is" if len(gone) == 1 else "are"
        say(f"◷ {listed(gone)} {verb} away for a job, and back after it without a runner, too.")
    if names or away.service_stopped:
        unloaded = [*(["the model server"] if away.service_stopped else []), *names]
        say(
            f"▲ Unloaded for a job, and restored only by the next runner (`bakehouse runner start`): {listed(unloaded)}"
        )
    if not away.whole:
        say(f"▲ The list of models to reload cannot be read: {home.evicted_models}")


def served_now(home: Home) -> tuple[list[str], list[str]]:
    """The served models that serve, or are about to, and those that are away for a job."""
    from core.served.record import read_records
    from core.served.state import read_state

    phases = {record.name: read_state(home, record.name).phase for record in read_records(home)[0]}
    serving = [name for name, phase in phases.items() if phase in ("serving", "loading")]
    return serving, [name for name, phase in phases.items() if phase == "away"]
