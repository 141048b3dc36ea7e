"""The memory of a training: what was expected of each component, what was measured, and the steps of its ladder."""

from __future__ import annotations

from core.format import clock, data_size, gb, gb_within, plural
from core.store.jobs import ENDED, JobRow
from core.text import printable
from tui.lines import Line, wrapped
from tui.model.forecasts import OomFallback, RunForecast, changes_in_words
from tui.model.snapshot import Detail, progress_of
from tui.widgets.memory_bars import Part, bar, legend, parts_of, scale

LABEL = 10
FIGURE = 32
FAR_FROM_LIMIT = 2


def peak_of(job: JobRow, detail: Detail | None) -> int | None:
    """The measured peak: of a training that is done what it took in all, else so far, since the last step of the ladder."""
    summary = (job.result or {}).get("summary") or {}
    return summary.get("peak_memory_bytes") or progress_of(job, detail).peak_memory_bytes


def memory_rows(job: JobRow, detail: Detail | None, width: int) -> list[Line]:
    """Everything that is known of a job's memory."""
    forecast = detail.forecast if detail else None
    rungs = detail.ladder if detail else ()
    peak = peak_of(job, detail)
    rows: list[Line] = []
    if forecast is None and not rungs and peak is None:
        return [Line(f"nothing is known of its memory{'' if job.state in ENDED else ' yet'}", "dim")]
    if forecast is not None and forecast.known:
        rows += compared(forecast, peak, bool(rungs), job.state in ENDED, width)
        rows += [Line().to(LABEL).add(row, "dim") for row in wrapped(shorter(job), width - LABEL)]
    else:
        if forecast is not None:
            rows += _wrapped(f"not predicted: measure first — {forecast.why}", "warn", width)
        if peak:
            rows.append(Line("measured".ljust(LABEL)).add(f"peak {data_size(peak)}", "bold"))
    if forecast is not None and forecast.fitted:
        rows += _wrapped(f"changed at submission: {changes_in_words(forecast.fitted)}", "dim", width)
    return [*rows, Line(), *ladder_rows(rungs, forecast, job.state in ENDED, width)]


def shorter(job: JobRow) -> str:
    """That a finished run's examples were shorter than what was forecast, where they were."""
    summary = (job.result or {}).get("summary") or {}
    longest, allowed = summary.get("longest_tokens"), (summary.get("recipe_used") or {}).get("max_length")
    if not longest or not allowed or longest >= allowed:
        return ""
    return f"forecast for examples of {allowed:,} tokens; the longest has {longest:,}"


def compared(forecast: RunForecast, peak: int | None, laddered: bool, ended: bool, width: int) -> list[Line]:
    """The forecast and the measured peak as bars on one scale, and the components with their figures."""
    room = max(12, min(84, width - LABEL - FIGURE))
    largest = max(forecast.allocated_bytes + forecast.plus_minus_bytes, peak or 0)
    # Where there is much more memory than it takes, the two bars are what counts, and the limit is said.
    near = forecast.limit_bytes < FAR_FROM_LIMIT * largest
    top = 1.05 * max(forecast.limit_bytes, largest) if near else 1.25 * largest
    limit = float(forecast.limit_bytes)
    # Compared is what torch has allocated, on a CPU the resident size; context and reserve come on top of both.
    parts = parts_of(dict(forecast.components), forecast.allocated_bytes, forecast.allocated_bytes)
    end = LABEL + room + 2
    rows = [Line().to(LABEL).extend(scale(top, room)).to(end).add("GB", "dim")]
    line = Line("forecast").to(LABEL).extend(bar(parts, top, limit, room)).to(end)
    rows.append(line.add(gb_within(forecast.allocated_bytes, forecast.plus_minus_bytes), "bold"))
    rows += [Line().to(LABEL).extend(row) for row in legend(parts, width - LABEL)]
    if peak:
        measured: list[Part] = [("measured", peak, "text")]
        line = Line("measured").to(LABEL).extend(bar(measured, top, limit, room)).to(end)
        line.add(gb(peak), "bold").add(f" {difference(forecast, peak, laddered)}", "dim")
        rows.append(line)
    else:
        rows.append(Line("measured").to(LABEL).add("nothing" if ended else "no step yet", "dim"))
    by = f"calibrated by {plural(forecast.calibrated_by, 'run')}" if forecast.calibrated_by else "not calibrated"
    said = f"usable {'┊ ' if near else ''}{gb(limit)} of {printable(forecast.budget)}; {by}"
    if forecast.length:
        said = f"{forecast.length}; {said}"
    if laddered:
        said += "; the forecast is of the recipe before the ladder"
    rows.append(Line().to(LABEL).add(said, "dim"))
    if forecast.larger_dtype:
        rows.append(
            Line().to(LABEL).add(f"forecast for {forecast.larger_dtype}; in bf16 the training takes less", "dim")
        )
    return [row.cut(width) for row in rows]


def difference(forecast: RunForecast, peak: int, laddered: bool) -> str:
    """`peak, 3 % below the forecast`."""
    if laddered:
        return "peak, after the ladder"
    off = peak / forecast.allocated_bytes - 1
    if abs(off) < 0.005:
        return "peak, as forecast"
    return f"peak, {abs(off) * 100:.0f} % {'above' if off > 0 else 'below'} it"


def ladder_rows(rungs: tuple[OomFallback, ...], forecast: RunForecast | None, ended: bool, width: int) -> list[Line]:
    """The steps of the ladder: when, what was changed, why, and from where it went on."""
    if not rungs:
        rows = [Line("ladder", "bold").to(LABEL).add(f"no fallback used{'' if ended else ' so far'}", "dim")]
        if forecast is not None and forecast.ladder:
            rows += _wrapped(forecast.ladder, "warn", width, LABEL)
        return rows
    rows = [Line("ladder", "bold").to(LABEL).add(f"{plural(len(rungs), 'step')} down for want of memory", "warn")]
    for rung in rungs:
        head = Line(f"{clock(rung.time, seconds=True)}".ljust(LABEL), "dim").add(f"{rung.rung}  ", "warn")
        begins = f"went on from step {rung.from_step:,}" if rung.from_step else "began anew"
        head.add(printable(changes_in_words(rung.changes)), "text").add(f"   {begins}", "dim")
        rows.append(head.cut(width))
        rows += _wrapped(printable(rung.reason), "dim", width, LABEL + 3)[:2]
    return rows


def _wrapped(text: str, role: str, width: int, indent: int = 0) -> list[Line]:
    return [Line(" " * indent).add(row, role) for row in wrapped(text, width - indent)]
