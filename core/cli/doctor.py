"""`bakehouse doctor`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator

import click

from core.cli.common import json_option
from core.cli.output import print_json, say
from core.doctor.report import examine
from core.doctor.results import Diagnostic, Report
from core.errors import InputError
from core.format import duration
from core.home import Home
from core.wording.doctor import section_title

WIDTH = 100
DEFAULT_MINUTES = 5.0
"""Of a stress test, as in its job file: pydantic is not imported for it."""
SIGNS = {"ok": "✓", "warning": "▲", "fault": "✗", "absent": "·"}
SUBJECT_WIDTH = 16


@click.command(epilog="Example: bakehouse doctor --quick")
@click.option("--quick", is_flag=True, help="Without the probes that load torch: a second instead of a minute.")
@click.option(
    "--stress",
    is_flag=True,
    help="Train a small model with random weights instead, in several layouts: what single products cannot show.",
)
@click.option("--minutes", type=float, metavar="N", help=f"How long with --stress.  [default: {DEFAULT_MINUTES:g}]")
@json_option
def doctor(quick: bool, stress: bool, minutes: float | None, as_json: bool) -> None:
    """What is installed and what it can do, with remedies, and a recommended method for this machine.

    Exit code 0 when nothing is at fault (warnings are none), 1 otherwise. With --stress the test is a job of the queue: it
    waits for the GPU, and ctrl+c cancels it.
    """
    if minutes is not None and not stress:
        raise InputError("--minutes says how long a stress test takes", code="usage", remedy="add --stress")
    if stress and quick:
        raise InputError("--quick leaves torch out, and --stress trains with it: take one", code="usage")
    if stress:
        from core.cli.stress import run_stress

        run_stress(Home.find(), DEFAULT_MINUTES if minutes is None else minutes, as_json=as_json)
        return
    if not (quick or as_json) and sys.stderr.isatty():
        say("looking, and putting torch to work (about a minute) …", error=True)
    report = examine(Home.find(), quick=quick)
    if as_json:
        print_json({"doctor": report.to_json()})
    else:
        for line in shown(report):
            say(line)
    if report.worst == "fault":
        sys.exit(1)


def shown(report: Report, width: int = WIDTH) -> Iterator[str]:
    """The report in lines of at most `width` columns."""
    for name, lines in report.sections():
        yield section_title(name)
        for line in lines:
            yield from finding(line, width)
        yield ""
    yield from wrapped("recommended", report.recommended.method or "nothing yet", width, 0)
    yield from wrapped("", report.recommended.why, width, 0)
    yield ""
    yield summary(report)


def finding(line: Diagnostic, width: int) -> Iterator[str]:
    yield from wrapped(f"{SIGNS[line.state]} {line.subject}", line.message, width, 2)
    if line.remedy:
        yield from wrapped("", f"→ {line.remedy}", width, 2)


def wrapped(head: str, text: str, width: int, indent: int) -> Iterator[str]:
    """`head` in a column of its own, the text beside it; a longer head has a line of its own."""
    beside = " " * (indent + SUBJECT_WIDTH + 2)
    first = f"{' ' * indent}{head}"
    if len(first) >= len(beside):
        yield first
        first = ""
    lines = textwrap.wrap(
        text, width, initial_indent=first.ljust(len(beside)), subsequent_indent=beside, break_on_hyphens=False
    )
    yield from lines or [first]


def summary(report: Report) -> str:
    """`14 ok, 2 warnings, 1 fault, 5 absent; in 38 s`."""
    parts = [f"{report.count('ok')} ok"]
    for state, word in (("warning", "warning"), ("fault", "fault")):
        if count := report.count(state):  # type: ignore[arg-type]
            parts.append(f"{count} {word}{'s' if count > 1 else ''}")
    if absent := report.count("absent"):
        parts.append(f"{absent} absent")
    return f"{', '.join(parts)}; in {duration(report.seconds)}"
