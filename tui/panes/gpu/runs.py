"""What a run did to the GPU, and what the runner noticed about it, on the job's own screen."""

from __future__ import annotations

from collections.abc import Sequence

from core.format import clock, duration, plural
from core.telemetry.run_record import Summary, summary_words
from core.text import printable
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import RunFinding

MOST_ROWS = 6


def summary_parts(measured: Summary) -> list[tuple[str, str]]:
    """What an attempt did to the GPU, each with its role: `card: peak 12.4 GB` · `138 Wh` · `hotspot at most 88 °C`."""
    words = summary_words(measured)
    roles = ["dim" if " at most " in word else "text" for word in words]
    return [
        (f"GPU: {word}" if word.startswith("peak") else word, role) for word, role in zip(words, roles, strict=True)
    ]


def telemetry_rows(attempts: Sequence[tuple[int, Summary]], width: int) -> list[Line]:
    """A row for each attempt that was measured."""
    if not attempts:
        return []
    rows = [Line(), Line("gpu", "bold").to(10).add("as the GPU told it, second by second", "dim")]
    for number, measured in attempts:
        line = Line(f"attempt {number}", "dim").to(10)
        parts = [(text.removeprefix("GPU: "), role) for text, role in summary_parts(measured)]
        covered = (f"over {duration(measured.seconds)}", "dim")
        rows.append(line.extend(side_by_side([*parts, covered], width=width - 10)).cut(width))
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
