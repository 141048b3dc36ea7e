"""How a job is written: its sign, what came of it or why it waits, and its state in one row."""

from __future__ import annotations

from core.format import of_five, percent, plural, when
from core.store.jobs import ACTIVE, ENDED, QUEUED, JobRow
from core.text import printable
from core.wording.jobs import outcome_words, phase_words, reason_words
from tui.lines import Line
from tui.widgets.bars import progress_bar

SIGNS = {
    "waiting": ("◷", "text"),
    "ready": ("◷", "text"),
    "starting": ("▶", "busy"),
    "running": ("▶", "busy"),
    "stopping": ("▶", "warn"),
    "done": ("✓", "good"),
    "failed": ("✗", "bad"),
    "cancelled": ("■", "dim"),
    "interrupted": ("▲", "warn"),
    "lost": ("▲", "warn"),
}


NAMED_BY_THEIR_REASON = frozenset({"cancelled", "interrupted", "lost"})
"""States whose reason names them in its words: the name need not stand before it."""


LEAST_BAR = 3
"""A shorter one shows nothing."""


def sign(job: JobRow) -> tuple[str, str]:
    """The sign of a job's state and its role."""
    if job.held and job.state in QUEUED:
        return "‖", "text"
    return SIGNS[job.state]


def outcome(job: JobRow, now: float | None = None) -> str:
    """What came of it, or why it waits, in a few words."""
    if job.state == "done" and job.rescored is None:
        message = (job.result or {}).get("message") or (job.progress and job.progress.message)
        return printable(str(message or reason_words(job.reason)))
    return printable(outcome_words(job, now))


def state(job: JobRow, width: int, now: float, score: float | None = None) -> Line:
    """The state of a job: progress while it runs, else the reason; `score` in [0, 1] of what it made."""
    progress = job.progress
    if job.state in ACTIVE:
        if job.state != "running" or progress is None:
            return Line(outcome(job) or job.state, "dim").cut(width)
        if progress.fraction is None:
            return Line(printable(phase_words(progress.phase or "") or outcome(job) or "running"), "dim").cut(width)
        figures = f"{percent(progress.fraction):>4} {progress.left}".rstrip()
        # The bar gives way: the figures tell the same, and when it ends.
        bar = min(10 if width < 40 else 20, width - len(figures) - 1)
        line = progress_bar(progress.fraction, bar, "text").add(" ") if bar >= LEAST_BAR else Line()
        line.add(figures)
        room = width - line.width - 3
        if room > 8 and progress.phase:
            line.add(f"   {printable(phase_words(progress.phase))}", "dim")
        return line.cut(width)
    if job.state in ENDED:
        if job.state == "done" and job.rescored is not None:
            return (
                Line(f"{when(job.rescored.time, now):>5} ").add(f"Rescored: {job.rescored.message}", "dim").cut(width)
            )
        role = {"failed": "bad", "interrupted": "warn", "lost": "warn"}.get(job.state, "dim")
        line = Line(f"{when(job.ended_at, now):>5} ", "text" if role == "dim" else role)
        if score is not None:
            line.add(f"{of_five(score)} ", "good" if score >= 0.9 else "text")
        return line.add(outcome(job, now), role).cut(width)
    return Line(outcome(job), "dim").cut(width)


def ladder_words(steps: int) -> str:
    """`after 2 steps of the ladder`; empty without any."""
    return f"after {plural(steps, 'step')} of the ladder" if steps else ""
