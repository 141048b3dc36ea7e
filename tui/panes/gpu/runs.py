"""What a run did to the GPU, and what the runner noticed about it, on the job's own screen."""

from __future__ import annotations

from collections.abc import Sequence

from core.format import clock, duration, plural
from core.telemetry.run_record import Summary, summary_words
from core.text import printable
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import RunFinding

MOST_ROWS = 6
EXTREMES = ("hotspot", "gtt")


def summary_parts(measured: Summary) -> list[tuple[str, str]]:
    """What an attempt did to the GPU, each with its role: `peak 12.4 GB` · `138 Wh` · `hotspot at most 88 °C`."""
    return [(word, "dim" if figure in EXTREMES else "text") for figure, word in summary_words(measured).items()]


def telemetry_rows(attempts: Sequence[tuple[int, Summary]], width: int) -> list[Line]:
    """A row for each attempt that was measured."""
    if not attempts:
        return []
    rows = [Line(), Line("GPU", "bold").to(10).add("as the GPU told it, second by second", "dim")]
    for number, measured in attempts:
        line = Line(f"attempt {number}", "dim").to(10)
        covered = (f"over {duration(measured.seconds)}", "dim")
        rows.append(line.extend(side_by_side([*summary_parts(measured), covered], width=width - 10)).cut(width))
    return rows


def finding_rows(findings: Sequence[RunFinding], width: int) -> list[Line]:
    """The runner's warnings about a run, the newest last, with a rule below them; as many as a few rows hold."""
    rows: list[Line] = []
    for finding in reversed(findings):
        role = "bad" if finding.stop else "warn"
        said = f"{clock(finding.time, seconds=True)} {'✗' if finding.stop else '▲'} {printable(finding.message)}"
        said += " · the run was stopped for it" if finding.stop else ""
        these = [
            Line(row if index == 0 else f"           {row}", role)
            for index, row in enumerate(wrapped(said, width - 11))
        ]
        if rows and len(rows) + len(these) > MOST_ROWS:
            break
        rows = [*these, *rows]
    if not rows:
        return []
    head = Line("noticed by the runner", "bold").add(f"  {plural(len(findings), 'warning')}", "dim")
    return [head, *rows, Line("─" * width, "frame")]
