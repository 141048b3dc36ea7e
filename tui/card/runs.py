"""What a run did to the card, and what the runner noticed about it, on the job's own screen."""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.gpu.record import Summary
from tui.card.memory import energy
from tui.lines import Line, side_by_side, wrapped
from tui.snapshot import Finding
from tui.words import clock, duration, plural, safe

MOST_ROWS = 6


def read_telemetry(text: str | None) -> Summary | None:
    """The summary that the store keeps of an attempt; None where there is none, or one of another version."""
    if not text:
        return None
    try:
        document = json.loads(text)
        return Summary.from_json(document) if isinstance(document, dict) else None
    except (ValueError, TypeError):
        return None


def summary_parts(measured: Summary) -> list[tuple[str, str]]:
    """`card: peak 12.4 GB, 11.9 of it this run's · 138 Wh · 96 % busy · hotspot at most 88 °C`."""
    parts = []
    if measured.peak_vram_bytes is not None:
        own = measured.peak_job_vram_bytes
        of_it = f", {own / 1e9:.1f} of it this run's" if own else ""
        parts.append((f"card: peak {measured.peak_vram_bytes / 1e9:.1f} GB{of_it}", "text"))
    elif measured.peak_job_vram_bytes:
        parts.append((f"card: peak of this run {measured.peak_job_vram_bytes / 1e9:.1f} GB", "text"))
    if measured.energy_wh is not None:
        parts.append((energy(measured.energy_wh), "text"))
    if measured.mean_busy_percent is not None:
        parts.append((f"{measured.mean_busy_percent:.0f} % busy", "text"))
    if measured.max_temperature_hotspot_c is not None:
        parts.append((f"hotspot at most {measured.max_temperature_hotspot_c:.0f} °C", "dim"))
    if measured.peak_gtt_bytes is not None and measured.peak_gtt_bytes >= 1e9:
        parts.append((f"GTT at most {measured.peak_gtt_bytes / 1e9:.1f} GB", "dim"))
    return parts


def telemetry_rows(attempts: Sequence[tuple[int, Summary]], width: int) -> list[Line]:
    """A row for each attempt that was measured."""
    if not attempts:
        return []
    rows = [Line(), Line("card", "bold").to(10).add("as the card told it, second by second", "dim")]
    for number, measured in attempts:
        line = Line(f"attempt {number}", "dim").to(10)
        parts = [(text.removeprefix("card: "), role) for text, role in summary_parts(measured)]
        covered = (f"over {duration(measured.seconds)}", "dim")
        rows.append(line.extend(side_by_side([*parts, covered], width=width - 10)).cut(width))
    return rows


def finding_rows(findings: Sequence[Finding], width: int) -> list[Line]:
    """The runner's warnings about a run, the newest last, with a rule below them; as many as a few rows hold."""
    rows: list[Line] = []
    for finding in reversed(findings):
        role = "bad" if finding.stop else "warn"
        said = f"{clock(finding.time, seconds=True)} {'✗' if finding.stop else '▲'} {safe(finding.message)}"
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
