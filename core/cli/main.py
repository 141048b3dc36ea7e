"""`bakehouse`: the group of commands, and what happens to an error."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import NoReturn

import click

from core import __version__
from core.cli.lazy_group import LazyGroup
from core.cli.output import OutputLostError, finished, lost, print_json, ready, say
from core.errors import BakehouseError
from core.jobfile.kinds import KINDS
from core.redaction import redact
from core.text import printable

# name: (module:command, help). The help stands here so that `--help` imports none of them; what queues a kind of job is listed
# with that kind, and shown behind what comes before a submission.
BEFORE: dict[str, tuple[str, str]] = {
    "new": ("core.cli.new:new", "Make a project, or a task in it."),
    "demo": ("core.cli.demo:demo", "Train a real small model and see who is better: the whole path once."),
    "models": ("core.cli.models:models", "The base models that can be trained or compared."),
    "data": ("core.cli.data:data", "What is in a data file, and the same in the form that is trained on."),
    "audit": ("core.cli.audit:audit", "What training would make of a task's data, in tokens: cuts, skips, leaks."),
    "plan": ("core.cli.plan:plan", "Which models fit the GPU, at which rank and length, and which to prefer."),
}
AFTER: dict[str, tuple[str, str]] = {
    "ship": ("core.cli.ship:ship", "Queue the whole way from a training to a model that serves."),
    "challenge": (
        "core.cli.challenge:challenge",
        "Train a new base model for every task, and hold it against what serves.",
    ),
    "tournament": (
        "core.cli.tournament:tournament",
        "Which model deserves to be trained: all that fit, trained alike and baked off.",
    ),
    "experiment": ("core.cli.experiment:experiment", "Trainings that are compared: which of them, and what decides."),
    "served": ("core.cli.served:served", "The models that a llama-server serves for production: start, stop, remove."),
    "fleet": ("core.cli.fleet:fleet", "What serves now, why it deserves to, and the way back."),
    "results": ("core.cli.results:results", "Leaderboards of bake-offs, and the answers behind them."),
    "golden": ("core.cli.golden:golden", "Golden inputs from production inputs: draft, mark, and what is missing."),
    "why": ("core.cli.why:why", "What went wrong with a model, from what is on record of it."),
    "queue": ("core.cli.queue:queue", "What runs, what waits and why; cancel, retry, hold, move, pause."),
    "logs": ("core.cli.logs:logs", "What a job printed."),
    "runs": ("core.cli.runs:runs", "Run directories: files, attempts, history; clean up."),
    "gpu": ("core.cli.gpu:gpu", "What the GPU and the machine say."),
    "doctor": ("core.cli.doctor:doctor", "What is installed, what it can do, what to mend, and how to train here."),
    "config": ("core.cli.config:config", "Check what is written in a project."),
    "runner": ("core.cli.runner:runner", "The process that runs the queue."),
}


def commands() -> dict[str, tuple[str, str]]:
    """Every command in the order of `--help`."""
    of_kinds = [kind.command for kind in KINDS.values() if kind.command is not None]
    return BEFORE | {one.name: (one.target, one.help) for one in of_kinds} | AFTER


@click.group(
    cls=LazyGroup,
    entries=commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command the console opens. `bakehouse COMMAND --help` has an example of each.",
)
@click.version_option(__version__, prog_name="bakehouse")
@click.option("--project", type=click.Path(path_type=Path), help="Project folder, else the nearest one upwards.")
@click.option("--low-bandwidth", is_flag=True, help="Five frames a second, for slow lines.")
@click.pass_context
def bakehouse(ctx: click.Context, project: Path | None, low_bandwidth: bool) -> None:
    """Fine-tune language models on one GPU, prove which one deserves the job, run them on the same box."""
    ctx.obj = {"project": project}
    if ctx.invoked_subcommand is None:
        from core.cli.console import open_console

        open_console(project, low_bandwidth=low_bandwidth)


def report(error: BakehouseError, as_json: bool) -> None:
    """One error: a line on stderr, or with --json the document on stdout."""
    with contextlib.suppress(OutputLostError):  # the exit code still says it
        if as_json:
            print_json({"error": error.to_json()})
        else:
            say(f"bakehouse: {error}", error=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point. Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 a gate, 4 not found, 130 interrupted."""
    ready()
    sys.exit(finished(exit_code(sys.argv[1:] if arguments is None else arguments)))


def exit_code(words: list[str]) -> int:
    """Carry out a command, and say in one line what went wrong."""
    as_json = "--json" in words
    try:
        try:
            return bakehouse.main(args=words, prog_name="bakehouse", standalone_mode=False) or 0
        except (BakehouseError, click.ClickException, OSError) as error:
            return told(error, as_json)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except OutputLostError as error:
        return lost(error)
    except BrokenPipeError:
        return 0  # The reader of our output left (`| head`): nothing more can be said, and nothing is wrong.
    except Exception as error:  # noqa: BLE001 - the last one who can say it: a traceback tells a person nothing to do
        from core.crash_report import crash_line

        line = crash_line(error, "`" + " ".join(["bakehouse", *words[:1]]) + "`")
        report(BakehouseError(line, code="internal_error"), as_json)
        return 1


def told(error: BakehouseError | click.ClickException | OSError, as_json: bool) -> int:
    """Say an error that is nobody's fault here; its exit code."""
    if isinstance(error, BakehouseError):
        report(error, as_json)
        return error.exit_code
    if isinstance(error, click.ClickException):
        # It can quote what a script took from elsewhere.
        error.message = printable(redact(error.message), keep="\n")  # type: ignore[misc]
        if as_json:
            report(BakehouseError(error.format_message(), code="usage"), as_json)
        else:
            error.show()
        return 2
    if isinstance(error, BrokenPipeError):
        raise error
    from core.failures import refusal_of

    report(refusal_of(error), as_json)
    return 1
