"""The strip below the panes: the selected job's log, and beside it its loss, its candidates or its reason; in the fleet what
is selected there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.message import Message

from core.bakeoff.short_names import heads
from core.format import data_size, duration, figure, percent, plural
from core.jobfile.kinds import kind_of
from core.progress import Progress
from core.store.jobs import ACTIVE, QUEUED, JobRow
from core.text import printable
from core.wording.jobs import phase_words
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import EMPTY, Detail, Share, Snapshot, progress_of
from tui.widgets.bars import progress_bar, resample, sparkline
from tui.widgets.canvas import Canvas
from tui.widgets.chart import loss_chart
from tui.widgets.fleet_detail import fleet_strip
from tui.widgets.fleet_rows import serving_of
from tui.widgets.job_row import outcome, sign
from tui.widgets.memory_view import memory_rows, peak_of
from tui.widgets.pane import framed
from tui.widgets.parity_rows import first_difference_rows
from tui.widgets.served_rows import serving_rows

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow

BAD = ("error", "traceback", "exception", "killed", "out of memory")
GOOD = ("checkpoint", "eval ", "held-out loss", "done", "saved")


def log_role(text: str) -> str:
    """A colour for a line of a log, by the words in it: an aid for the eye, nothing depends on it."""
    lower = text.lower()
    if "warning" in lower:
        return "warn"
    if any(word in lower for word in BAD):
        return "bad"
    return "good" if any(word in lower for word in GOOD) else "text"


def facts(job: JobRow, detail: Detail | None) -> list[tuple[str, str]]:
    """Speed, peak memory, where it resumed: the second line of the strip."""
    progress, peak = progress_of(job, detail), peak_of(job, detail)
    ahead = resumes_from(job, detail)
    parts = []
    if ahead is not None and job.state not in ACTIVE:
        parts.append((f"resumes from step {ahead:,}", "text"))
    if progress.tokens_per_second:
        parts.append((f"{progress.tokens_per_second:,.0f} tok/s", "dim"))
    if job.state in ACTIVE and progress.tokens_coming:
        parts.append((f"{plural(progress.tokens_coming, 'token')} of the next answer", "dim"))
    if peak:
        parts.append((f"peak {data_size(peak)}", "dim"))
    if job.state in ACTIVE and progress.left:
        parts.append((f"{progress.left} left", "dim"))
    elif job.started_at and job.ended_at and job.ended_at >= job.started_at:
        parts.append((f"took {duration(job.ended_at - job.started_at)}", "dim"))
    if job.state in ACTIVE and detail and detail.resumed_from is not None:
        parts.append((f"resumed from step {detail.resumed_from:,}", "dim"))
    if job.state in ACTIVE and ahead is not None:
        parts.append((f"checkpoint {ahead:,}", "dim"))
    if job.attempt > 1:
        parts.append((f"attempt {job.attempt}", "dim"))
    return parts


def step_words(step: int, progress: Progress) -> str:
    """`step 552 of 945`."""
    return f"step {step:,}" + (f" of {progress.total_steps:,}" if progress.total_steps else "")


def resumes_from(job: JobRow, detail: Detail | None) -> int | None:
    """The checkpoint that another attempt of a job goes on from; None when it is done, or has none."""
    if job.state == "done":
        return None
    return progress_of(job, detail).checkpoint_step


def shares(detail: Detail, width: int, room: int) -> list[Line]:
    """A bake-off's candidates: how many answers each has given, at which task it is, how fast, what went wrong.

    Of more than fit, those that are done and those that follow are counted, and those around the present one shown.
    """
    done = sum(share.done for share in detail.shares)
    totals = [share.total for share in detail.shares]
    total = None if None in totals else sum(total for total in totals if total is not None)
    right = f"{done:,} of {total:,} answers" if total else plural(done, "answer")
    rows = [Line("candidates", "dim").right(Line(right, "dim"), width), Line()]
    name, bar = max(12, min(28, width - 32)), 8 if width < 64 else 12
    short = heads([share.name for share in detail.shares], name - 3).of
    blocks = [share_lines(share, short[share.name], name, bar, width) for share in detail.shares]
    first, last = shown_shares(detail, [len(block) for block in blocks], room - len(rows))
    if first:
        finished = sum(share.is_finished for share in detail.shares[:first])
        told = plural(first, "candidate") if finished == first else f"{finished} of {plural(first, 'candidate')}"
        rows.append(Line("✓ ", "good").add(f"{told} done", "dim").cut(width))
    rows += [line for block in blocks[first:last] for line in block]
    if last < len(blocks):
        rows.append(Line("◷ ").add(f"{plural(len(blocks) - last, 'further candidate')}", "dim").cut(width))
    return rows


def shown_shares(detail: Detail, heights: Sequence[int], room: int) -> tuple[int, int]:
    """Which candidates fit into `room` rows, with a row for those before and one for those behind: from the present one on."""
    if sum(heights) <= room:
        return 0, len(heights)
    present = next((index for index, one in enumerate(detail.shares) if not one.is_finished), 0)
    first = last = present
    used = 0
    while last < len(heights) and used + heights[last] <= max(1, room - 2):
        used += heights[last]
        last += 1
    while first > 0 and used + heights[first - 1] <= room - 2:
        first -= 1
        used += heights[first]
    return first, max(last, first + 1)


def share_lines(share: Share, short: str, name: int, bar: int, width: int) -> list[Line]:
    fraction = share.done / share.total if share.total else 0.0
    sign, role = ("✓ ", "good") if share.is_finished else ("▶ ", "busy") if share.done else ("◷ ", "text")
    line = Line(sign, role).add(printable(short)).cut(name).to(name + 1)
    line.extend(progress_bar(fraction, bar, "text")).add(f" {percent(fraction):>5}")
    if share.task is not None and not share.is_finished:
        line.add(f"  {printable(share.task)} {share.task_done}/{share.task_total or '?'}", "busy")
    elif share.seconds_per_answer is not None:
        line.add(f"  {share.seconds_per_answer:.1f} s/answer", "dim")
    rows = [line.cut(width)]
    said = [
        f"{share.at_limit} reached the token limit" if share.at_limit else "",
        f"{plural(share.server_faults, 'answer')} not given by the server" if share.server_faults else "",
    ]
    if any(said):
        rows.append(Line("  ").add("; ".join(filter(None, said)), "warn").cut(width))
    return rows


def differences(job: JobRow, detail: Detail | None, width: int, height: int) -> list[Line]:
    """Why a check refused, the most telling first; nothing once it was asked for again, which may find otherwise."""
    if job.state != "failed" or detail is None or detail.parity is None:
        return []
    return first_difference_rows(detail.parity, width, height)


class DetailStrip(Canvas):
    """Follows the selected job. Two columns where there is room, the log alone on small terminals."""

    class Opened(Message):
        """The strip was clicked."""

    def __init__(self) -> None:
        super().__init__(id="detail")
        self.snapshot: Snapshot = EMPTY
        self.job_id: int | None = None
        self.memory = False
        """The memory of the job is shown instead of its log."""
        self.fleet: FleetRow | None = None
        """A row of the fleet that is shown instead of the job."""

    def turn(self) -> None:
        self.memory = not self.memory
        self.paint()

    def show(self, snapshot: Snapshot, job_id: int | None, fleet: FleetRow | None = None) -> None:
        self.snapshot, self.job_id, self.fleet = snapshot, job_id, fleet
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        if self.fleet is not None:
            serving = serving_of(self.fleet, serving_rows(self.snapshot))
            return fleet_strip(self.fleet, serving, self.snapshot.time, width, height)
        job = self.snapshot.job(self.job_id)
        detail = self.snapshot.detail
        if detail is not None and (job is None or detail.job_id != job.id):
            detail = None
        if job is None:
            text = "the log of the selected job" if self.snapshot.ready else ""
            return framed([Line(text, "dim")], width, height, Line("Log", "bold"), Line(), "frame")
        if self.memory and kind_of(job.kind).has_forecast:
            rows = memory_rows(job, detail, width - 4)
            title = Line(f"{job.id} ", "bold").add("Log ", "dim").add("Memory", "bold")
            return framed(rows, width, height, title, Line("v back to the log", "dim"), "frame")
        if height <= 8 or width < 90:
            return self._small(job, detail, width, height)
        return self._large(job, detail, width, height)

    def _large(self, job: JobRow, detail: Detail | None, width: int, height: int) -> list[Line]:
        inner, room = width - 4, height - 2
        left_width = (inner - 3) * 53 // 100
        right_width = inner - 3 - left_width
        mark, role = sign(job)
        head = Line(f"{mark} ", role).add(f"{job.id}", "bold").add(f"  {printable(job.title)}", "bold")
        if detail and detail.headline:
            head.add(f" · {printable(detail.headline)}", "bold")
        left = [head.cut(left_width), side_by_side(facts(job, detail), width=left_width)]
        left += self._reason(job, left_width)
        if not left[-1].pieces:
            left.pop()
        left.append(Line())
        left += self._log(detail, left_width, room - len(left))
        right = self._beside(job, detail, right_width, room)
        rows = []
        for index in range(room):
            row = left[index] if index < len(left) else Line()
            row.cut(left_width).to(left_width).add(" │ ", "frame")
            rows.append(row.extend(right[index]) if index < len(right) else row)
        note = "following" if job.state in ACTIVE else "whole log: ⏎"
        title = Line("Log", "bold")
        if kind_of(job.kind).has_forecast:
            title.add(" Memory", "dim")
        return framed(rows, width, height, title, Line(note, "dim"), "frame")

    def _small(self, job: JobRow, detail: Detail | None, width: int, height: int) -> list[Line]:
        title = Line(str(job.id), "bold")
        if detail and detail.losses:
            step, loss = detail.losses[-1]
            title.add(" · ", "frame").add(step_words(step, progress_of(job, detail)))
            title.add(" · ", "frame").add(f"loss {figure(loss)} ")
            values = [value for _, value in detail.losses]
            low = min(values)
            title.extend(sparkline(resample([value - low for value in values], 15), 15, max(values) - low or 1.0))
        elif detail and detail.shares:
            short = heads([share.name for share in detail.shares], 16).of
            # Of many, the one that is asked now comes first: the title is cut at its end.
            ordered = sorted(detail.shares, key=lambda share: share.is_finished or not share.done)
            told = [f"{printable(short[share.name])} {share.done}/{share.total or '?'}" for share in ordered]
            title.add(" · ", "frame").add(" · ".join(told))
        else:
            title.add(f" {printable(job.title)}")
        if peak := peak_of(job, detail):
            title.add(" · ", "frame").add(f"peak {data_size(peak)}")
        rows = self._reason(job, width - 4)[: height - 3]
        if differs := differences(job, detail, width - 4, height - 2):
            return framed(differs, width, height, title.cut(width - 6), Line(), "frame")
        rows += self._log(detail, width - 4, height - 2 - len(rows))
        return framed(rows, width, height, title.cut(width - 6), Line(), "frame")

    def _reason(self, job: JobRow, width: int) -> list[Line]:
        """The whole reason of a job that does not run, which the queue may have cut; of one that runs with a remedy, that."""
        if job.state == "stopping":
            return [Line(row, "warn") for row in list(wrapped(outcome(job), width))[:2]]
        if job.state == "running" and job.reason.values.get("variable"):
            return [Line(row, "warn") for row in list(wrapped(outcome(job), width))[:2]]
        if job.state in ACTIVE or (kind_of(job.kind).has_leaderboard and job.state == "done"):
            return []
        if job.state == "done":
            return [Line(outcome(job), "good").cut(width)]
        if job.state in QUEUED:
            if job.held:
                held = Line(f"‖ {outcome(job)}", "text").add("  l", "bold")
                return [held.add(" releases it", "dim").cut(width)]
            return [Line(row, "dim") for row in list(wrapped(outcome(job), width))[:3]]
        role = "dim" if job.state == "cancelled" else "bad" if job.state == "failed" else "warn"
        said = f"failed: {outcome(job)}" if job.state == "failed" else outcome(job)
        return [Line(row, role) for row in list(wrapped(said, width))[:3]]

    def _log(self, detail: Detail | None, width: int, room: int) -> list[Line]:
        if detail is None or room < 1:
            return []
        return [Line(text, log_role(text)).cut(width) for text in detail.lines[-room:]]

    def _beside(self, job: JobRow, detail: Detail | None, width: int, room: int) -> list[Line]:
        if detail and detail.shares:
            rows = shares(detail, width, room)
            if job.state == "done" and job.result:
                rows += [Line(), *(Line(row, "good") for row in wrapped(outcome(job), width))]
            return rows
        if kind_of(job.kind).has_losses or (detail and detail.losses):
            progress = progress_of(job, detail)
            right = "" if progress.step is None else step_words(progress.step, progress)
            return loss_chart(detail.losses if detail else (), detail.evals if detail else (), width, room, right)
        if differs := differences(job, detail, width, room):
            return differs
        progress = progress_of(job, detail)
        rows = [Line(phase_words(progress.phase or job.kind), "dim")]
        if progress.fraction is not None:
            unit = progress.unit or ""
            amount = f"{progress.done:,} of {progress.total:,} {printable(unit)}"
            if unit == "bytes":
                amount = f"{data_size(progress.done or 0)} of {data_size(progress.total or 0)}"
            bar = progress_bar(progress.fraction, max(10, width - 8), "busy").add(f" {percent(progress.fraction)}")
            rows += [Line(), bar, Line(amount, "dim")]
        if job.state == "done":
            rows += [Line(), *(Line(row, "good") for row in wrapped(outcome(job), width))]
        return rows

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Opened())
