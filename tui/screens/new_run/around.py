"""What stands around a new run: the queue it would join, and the runs like it that were."""

from __future__ import annotations

from core.format import plural, when
from core.store.jobs import ACTIVE, ENDED
from core.text import printable
from tui.lines import Line
from tui.model.snapshot import Snapshot
from tui.widgets.job_row import outcome, sign


def place_rows(snapshot: Snapshot, task: str, model: str, height: int) -> list[Line]:
    """The open jobs, and this run behind them."""
    open_jobs = [job for job in snapshot.jobs if job.state not in ENDED]
    room = max(1, height - 1)
    shown = open_jobs if len(open_jobs) <= room else open_jobs[-max(1, room - 1) :]
    rows = [Line(*sign(job)).add(f" {job.id:>3}  {printable(job.title)}") for job in shown]
    if len(open_jobs) > len(shown):
        rows.insert(0, Line(f"  {plural(len(open_jobs) - len(shown), 'job')} before these", "dim"))
    busy = any(job.lane == "gpu" and job.state in ACTIVE for job in open_jobs)
    start = "behind these" if open_jobs and (busy or len(open_jobs) > 1) else "starts at once"
    if snapshot.queue.paused:
        start = "waits: the queue is paused"
    rows.append(Line("+      ", "busy").add(f"train {task} · {model}", "busy").add(f"   {start}", "dim"))
    return rows


def like_rows(snapshot: Snapshot, task: str, height: int) -> list[Line]:
    """Training runs of the task that have ended, newest first."""
    like = [job for job in snapshot.jobs if job.kind == "train" and job.state in ENDED and job.task == task]
    rows = [
        Line(*sign(job))
        .add(f" {job.id:>3}  {when(job.ended_at, snapshot.time):>6}  ", "dim")
        .add(printable(job.model or job.title))
        .add(f"  {outcome(job)}", "dim")
        for job in like[:height]
    ]
    return rows or [Line(f"none of {task} yet" if task else "", "dim")]
