"""The frame "Memory it will need": this run by its components, what else there is, and what to take instead."""

from __future__ import annotations

from dataclasses import replace

from core.format import share
from core.text import printable
from core.wording.obstacles import not_used
from tui.lines import Line, wrapped
from tui.queries.run_forecast import ForecastRow, MemoryOutlook
from tui.widgets.memory_bars import bar, forecast_parts, legend, scale, verdict

TITLE = "Memory it will need"
WAITING = "calculating …"
WRONG = "forecast once the fields are right"
FIGURE = 24
"""Columns of `11.7 ± 0.2, does not fit`."""


def memory_rows(outlook: MemoryOutlook | None, width: int, height: int, key: str) -> list[Line]:
    """The rows of the frame; `key` is the one that takes over what is preferred."""
    if outlook is None:
        return [Line(WAITING, "dim")]
    if outlook.run is None or outlook.budget is None:
        return _said("✗ ", f"not known: {outlook.problem}", "bad", width) if outlook.problem else []
    budget = outlook.budget
    label = min(24, max(len(label_of(item, outlook)) for item in (outlook.run, *outlook.others)) + 2)
    room = max(12, min(72, width - label - FIGURE - 2))
    top, limit = float(budget.total_bytes), float(budget.limit_bytes)
    head = Line().to(label).extend(scale(top, room)).to(label + room + 2).add("GB", "dim")
    if budget.kind == "cpu":
        head.add(" of the host", "dim")
    rows = [head.cut(width), _row(outlook.run, outlook, top, limit, label, room, width)]
    if outlook.forecast is not None:
        rows += [Line().to(label).extend(row) for row in legend(forecast_parts(outlook.forecast), width - label)]
    rows += [_row(item, outlook, top, limit, label, room, width) for item in outlook.others]
    told = advice(outlook, width, key)
    if told and len(rows) + 1 + len(told) <= height:
        rows.append(Line())
    return rows + told[: max(0, height - len(rows))]


def framed_rows(
    outlook: MemoryOutlook | None, current: MemoryOutlook | None, wrong: bool, width: int, height: int, key: str
) -> tuple[list[Line], str, str]:
    """Rows, title and what stands at its right. `current` is the outlook when it belongs to what the fields hold: an older
    one is dimmed, and gone while a field is wrong."""
    if wrong and outlook is not None:
        return [Line(WRONG, "dim")], TITLE, ""
    if outlook is None or current is not None:
        return memory_rows(current, width, height, key), TITLE, calibrated(current)
    rows = memory_rows(replace(outlook, preferred=None, problem="", ladder="", why=""), width, height, key)
    return [dimmed(row) for row in rows], TITLE, WAITING


def dimmed(row: Line) -> Line:
    row.pieces = [(text, "dim") for text, _ in row.pieces]
    return row


def label_of(item: ForecastRow, outlook: MemoryOutlook) -> str:
    """`this run`, `in HQQ 4-bit` (the same model by another method), `Qwen3-4B bf16`."""
    if item is outlook.run:
        return "this run"
    same = outlook.run is not None and item.model == outlook.run.model
    return f"in {item.method}" if same else f"{item.model} {item.method}"


def _row(
    item: ForecastRow, outlook: MemoryOutlook, top: float, limit: float, label: int, room: int, width: int
) -> Line:
    this = item is outlook.run
    line = Line(printable(label_of(item, outlook)), "bold" if this else "text").cut(label - 1).to(label)
    if item.forecast is None:
        return line.add(f"not predicted: measure first — {printable(item.why)}", "warn").cut(width)
    parts = forecast_parts(item.forecast)
    if not this:
        parts = [(word, count, "dim") for word, count, _ in parts]
    line.extend(bar(parts, top, limit, room)).to(label + room + 2)
    return line.extend(verdict(item.forecast, plus_minus=this)).cut(width)


def advice(outlook: MemoryOutlook, width: int, key: str) -> list[Line]:
    """What stands against this run, or what would be better."""
    found: list[Line] = []
    if outlook.problem:
        found += _said("✗ ", outlook.problem, "bad", width)
    elif outlook.ladder:
        found += _said("▲ ", outlook.ladder, "warn", width)
    if outlook.preferred is not None:
        role = "warn" if outlook.forecast is None or not outlook.forecast.fits else "text"
        better = outlook.preferred
        text = f"{better.model} {better.method}: {outlook.why}."  # what else fits stands in the plan
        rows = _said("▲ ", text, role, width)
        keys = Line(f"  {key}", "bold").add(" changes to it", "dim")
        if rows and rows[-1].width + keys.width <= width:
            rows[-1].extend(keys)
        else:
            rows.append(keys)
        found += rows
    elif outlook.why and outlook.forecast is not None and outlook.forecast.fits:
        said = f"{outlook.why}. {outlook.also}" if outlook.also else outlook.why
        found += _said("", f"To be preferred: {said}.", "dim", width)
    elif outlook.why and not outlook.problem:
        found += _said("▲ ", outlook.why, "warn", width)
    if outlook.pace:
        found += _said("▲ " if outlook.slow else "", f"{outlook.pace}.", "warn" if outlook.slow else "dim", width)
    for device in outlook.budget.passed_over if outlook.budget else ():
        found += _said("▲ ", not_used(device), "warn", width)
    return found


def _said(mark: str, text: str, role: str, width: int) -> list[Line]:
    rows = wrapped(printable(text), width - len(mark))
    return [Line(mark if index == 0 else " " * len(mark), role).add(row, role) for index, row in enumerate(rows)]


def calibrated(outlook: MemoryOutlook | None) -> str:
    """`calibrated by 9 runs on this GPU, last error 2 %`, or how far the forecast may be off without any."""
    if outlook is None or outlook.calibration is None:
        return ""
    known, here = outlook.calibration, outlook.here
    at = f"{outlook.length}; " if outlook.length else ""
    size = " of comparable size" if known.others else ""
    if not known.runs:
        return f"{at}no run{size} of {here} yet: ± {share(known.spread)}"
    said = f"{at}calibrated by {known.runs} run{'' if known.runs == 1 else 's'}{size} on {here}"
    if known.last_error is not None:
        said += f", last error {share(abs(known.last_error))}"
    return said
