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
    """Whether the runner is running, and when a timer has what serves checked."""
    from core.runner.timer import installed_timer

    found, drift = runner_status(Home.find()), installed_timer(Home.find())
    if as_json:
        print_json(
            {
                "alive": found.alive,
                "stopped": found.stopped,
                "pid": found.pid,
                "version": found.version,
                "since": found.since,
                "drift_timer": drift,
            }
        )
        return
    if found.alive:
        say(f"▶ Running since {moment(found.since)}, pid {found.pid}, version {found.version}")
    elif found.stopped:
        say("■ Stopped on request. `bakehouse runner start` or the next submission starts the runner.")
    else:
        say("Not running. The runner starts when there is something to do.")
    if drift is not None:
        say(f"◷ A timer has what serves checked for drift: {drift}.")


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


@runner.command(epilog="Example: bakehouse runner install --drift weekly")
@click.option(
    "--drift",
    "when",
    metavar="WHEN",
    required=True,
    help="When what serves is checked: daily, weekly, monthly, or as OnCalendar of systemd takes it (`Sun 03:00`).",
)
@json_option
def install(when: str, as_json: bool) -> None:
    """Have your systemd start `bakehouse fleet drift --all` by the clock: a timer and its service.

    A check that was missed while the machine was off is made up for. Checks wait in the queue until the GPU is free; none is
    queued while the runner is stopped on request. Another WHEN takes the place of the former one.
    """
    from core.process.logind import lingers
    from core.runner.timer import TIMER, install_timer

    install_timer(Home.find().create(), when)
    linger = lingers()
    if as_json:
        print_json({"installed": TIMER, "drift": when, "linger": linger})
        return
    say(f"✓ What serves is checked {when}: {TIMER}. `bakehouse runner uninstall` takes the timer away.")
    if linger is False:
        say("▲ Your systemd ends at your last logout and makes up for what it missed at the next login:")
        say("  `loginctl enable-linger` lets it run without you.")


@runner.command(epilog="Example: bakehouse runner uninstall")
@json_option
def uninstall(as_json: bool) -> None:
    """Take away the timer that `bakehouse runner install` wrote."""
    from core.runner.timer import TIMER, remove_timer

    removed = remove_timer(Home.find())
    if as_json:
        print_json({"removed": removed})
    else:
        say(f"■ {TIMER} is gone. Nothing is checked by the clock any more." if removed else "No timer is installed.")


def served_now(home: Home) -> tuple[list[str], list[str]]:
    """The served models that serve, or are about to, and those that are away for a job."""
    from core.served.record import read_records
    from core.served.state import read_state

    phases = {record.name: read_state(home, record.name).phase for record in read_records(home)[0]}
    serving = [name for name, phase in phases.items() if phase in ("serving", "loading")]
    return serving, [name for name, phase in phases.items() if phase == "away"]
