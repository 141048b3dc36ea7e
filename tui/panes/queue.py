"""Queue: what runs, when is it done, why does the rest wait?"""

from __future__ import annotations

from collections.abc import Mapping

from textual.message import Message

from core.format import percent, plural
from core.store.chains import Chain
from core.store.jobs import ACTIVE, RETRYABLE, JobRow
from core.text import cell_width, printable
from core.wording.runs import label_width, run_label
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import Snapshot
from tui.widgets.bars import progress_bar
from tui.widgets.chain_rows import chain_line, chains_by_row, folded
from tui.widgets.job_row import ladder_words, outcome, sign, state
from tui.widgets.pane import Pane


def columns(width: int, ids: int, titles: int) -> tuple[int, int]:
    """Where the title begins, and the state: the titles in sight take what they need, up to 56 % of the room."""
    start = 3 + ids + 1
    room = width - start
    return start, start + max(14, min(titles + 2, room * 56 // 100, room - 18))


def job_line(
    job: JobRow, width: int, places: tuple[int, int], snapshot: Snapshot, mark: str = "", ticked: bool = False
) -> Line:
    """One job in one row: what it is and how it differs from its like, its state, its score."""
    start, middle = places
    character, role = sign(job)
    line = Line(character, role, mark).add(TICKED if ticked else " ", "focus").add(f" {job.id:>{start - 4}} ").to(start)
    title, told = run_label(job, snapshot.differences.get(job.id), middle - start - 1)
    line.add(title)
    if told:
        line.add("  ").add(told, "bold")
    line.cut(middle - 1).to(middle)
    return line.extend(state(job, width - middle, snapshot.time, snapshot.run_scores.get(job.id)))


def continued(
    shown: list[tuple[JobRow, Line]], spare: int, width: int, ladders: Mapping[int, int]
) -> dict[int, list[str]]:
    """Rows below those whose reason was cut off or that went down the ladder, as far as there is room: first what went
    wrong, then the rest."""
    more: dict[int, list[str]] = {}
    for job, line in sorted(shown, key=lambda pair: pair[0].state not in RETRYABLE - {"cancelled"}):
        if spare < 1:
            break
        reason, ladder = outcome(job), ladder_words(ladders.get(job.id, 0))
        # What a job came to is said in full by its own strip: only a reason for waiting or failing is worth further rows.
        if job.state not in ACTIVE | {"done"} and line.plain.endswith("…"):
            more[job.id] = rest_of(f"{reason}, {ladder}" if ladder else reason, line.plain, width)[:spare]
        elif ladder:
            more[job.id] = [ladder]
        spare -= len(more.get(job.id, ()))
    return more


def rest_of(reason: str, shown: str, width: int) -> list[str]:
    """What a row has cut off a reason, from its last whole word on, in rows of `width`."""
    head = shown.removesuffix("…")
    length = next((n for n in range(len(reason), 0, -1) if head.endswith(reason[:n])), 0)
    start = reason.rfind(" ", 0, length) + 1 if length else 0
    return [f"… {row}" if index == 0 else row for index, row in enumerate(wrapped(reason[start:], width - 2))]


def matches(job: JobRow, words: str) -> bool:
    """Does a job fit the filter: each word is somewhere in its id, title, state or reason."""
    text = f"{job.id} {job.kind} {job.title} {job.state} {job.task} {outcome(job)} {'held' if job.held else ''}".lower()
    return all(word in text for word in words.lower().split())


TICKED = "●"


class QueuePane(Pane):
    """The jobs; the selected one is what the detail strip shows and what the keys act on."""

    number = 3
    heading = "Queue"

    class Selected(Message):
        """Another job is selected (None: there is none)."""

        def __init__(self, job_id: int | None) -> None:
            super().__init__()
            self.job_id = job_id

    class NearEnd(Message):
        """The selection comes near the last job that was read."""

    def __init__(self) -> None:
        super().__init__(id="queue")
        self.selected_id: int | None = None
        self.wanted_id: int | None = None
        self.untouched = True
        """Nobody has chosen a row yet: the first one stays selected, whatever becomes first."""
        self.filter = ""
        self.marked: set[int] = set()
        """Runs that the next bake-off is to compare."""
        self.top = 0

    @property
    def jobs(self) -> list[JobRow]:
        """What has a row: a chain has one, which stands for the link that tells how it is. A filter finds every job."""
        if self.filter:
            return [job for job in self.snapshot.jobs if matches(job, self.filter)]
        return folded(self.snapshot.jobs, self.snapshot.chains)

    @property
    def chains(self) -> dict[int, Chain]:
        """The chains that stand in the place of a job, by that job."""
        return {} if self.filter else chains_by_row(self.snapshot.chains)

    @property
    def selected_chain(self) -> Chain | None:
        return None if self.selected_id is None else self.chains.get(self.selected_id)

    def _place_of(self, job_id: int | None) -> int | None:
        """The job in whose row one is shown: another link of its chain, or itself."""
        return next(
            (row for row, chain in self.chains.items() if any(link.job.id == job_id for link in chain.own)), job_id
        )

    @property
    def selected(self) -> JobRow | None:
        return next((job for job in self.jobs if job.id == self.selected_id), None)

    def show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._keep_selection()
        self.paint()

    def set_filter(self, words: str) -> None:
        self.filter = words
        self._keep_selection()
        self.paint()

    def _keep_selection(self) -> None:
        jobs = self.jobs
        wanted = self._place_of(self.wanted_id)
        if wanted is not None and any(job.id == wanted for job in jobs):
            self.wanted_id, self.untouched = None, False
            self.select(wanted)
        elif self.selected_id is not None:
            self.select(self._place_of(self.selected_id))  # its chain has gone on
        if jobs and (self.selected is None or (self.untouched and not self.filter)):
            self.select(jobs[0].id)
        elif not jobs and self.selected_id is not None and self.snapshot.ready:
            self.select(None)

    def select_when_there(self, job_id: int) -> None:
        self.wanted_id = job_id
        self._keep_selection()

    def select(self, job_id: int | None) -> None:
        if job_id != self.selected_id:
            self.selected_id = job_id
            self.post_message(self.Selected(job_id))
        self.paint()

    def toggle_mark(self) -> None:
        """Mark the selected job, or take its mark away, and go to the next row."""
        if self.selected is not None:
            self.marked ^= {self.selected.id}
            self.move(1)

    @property
    def marked_jobs(self) -> list[JobRow]:
        return [job for job in self.snapshot.jobs if job.id in self.marked]

    def move(self, step: int) -> None:
        jobs = self.jobs
        self.untouched = False
        if not jobs:
            return
        index = next((i for i, job in enumerate(jobs) if job.id == self.selected_id), 0)
        index = max(0, min(len(jobs) - 1, index + step))
        if index > len(jobs) - 20:
            self.post_message(self.NearEnd())
        self.select(jobs[index].id)

    def note(self) -> Line:
        snapshot = self.snapshot
        if not snapshot.ready:
            return Line()
        running = sum(snapshot.counts.get(name, 0) for name in ACTIVE)
        parts: list[tuple[str, str]] = []
        if self.filter:
            parts.append((f"/{self.filter}", "focus"))
        if self.marked_jobs:
            parts.append((f"{TICKED} {len(self.marked_jobs)} marked, b compares them", "focus"))
        if snapshot.queue.paused:
            parts.append((f"‖ paused{': ' + snapshot.queue.reason if snapshot.queue.reason else ''}", "warn"))
        parts += [(f"{running} running", "dim"), (f"{snapshot.waiting} waiting", "dim")]
        return side_by_side(parts)

    def rows(self, width: int, height: int) -> list[Line]:
        jobs = self.jobs
        if not self.snapshot.ready:
            return [Line(self.snapshot.problem or "reading …", "bad" if self.snapshot.problem else "dim")]
        if not jobs:
            return self._nothing(width)
        ids = max(2, len(str(max(job.id for job in jobs))))
        room = max(1, height - 1)
        index = next((i for i, job in enumerate(jobs) if job.id == self.selected_id), 0)
        self.top = max(0, min(self.top, index, len(jobs) - room))
        if index >= self.top + room:
            self.top = index - room + 1
        seen = jobs[self.top : self.top + room]
        chains = self.chains
        longest = max(
            cell_width(printable(chains[job.id].title))
            if job.id in chains
            else label_width(job, self.snapshot.differences.get(job.id))
            for job in seen
        )
        start, middle = places = columns(width, ids, longest)
        head = Line("id".rjust(start - 1), "dim").add(" job", "dim").to(middle).add("state", "dim")
        mark = "chosen" if self.has_focus else "kept"
        shown = [(job, self._row(job, width, places, mark)) for job in seen]
        more = continued(shown, room - len(jobs), width - start - 4, self.snapshot.ladders)
        lines, self.row_keys = [head], [None]
        for job, line in shown:
            rest = more.get(job.id, [])
            lines += [line, *(Line(" " * (start + 4)).add(row, "dim").cut(width) for row in rest)]
            self.row_keys += [job.id] * (1 + len(rest))
        return lines

    def _row(self, job: JobRow, width: int, places: tuple[int, int], mark: str) -> Line:
        shown = mark if job.id == self.selected_id else ""
        if (chain := self.chains.get(job.id)) is not None:
            return chain_line(chain, job, width, places, self.snapshot, shown, TICKED if job.id in self.marked else " ")
        return job_line(job, width, places, self.snapshot, shown, job.id in self.marked)

    def _nothing(self, width: int) -> list[Line]:
        if self.filter:
            return [Line(f"no job fits “{self.filter}”", "dim"), Line("esc", "bold").add(" shows all again", "dim")]
        return [
            Line("nothing queued yet", "dim"),
            Line(),
            Line("t", "bold").add(" a task of yours, from a data file", "dim"),
            Line("n", "bold").add(" a training run of a task", "dim"),
            Line("d", "bold").add(" the demo: SmolLM2 learns to judge notes, then a bake-off", "dim").cut(width),
        ]

    def summary(self, width: int) -> Line:
        snapshot = self.snapshot
        if not snapshot.ready:
            return Line(snapshot.problem or "", "bad")
        job = snapshot.running
        tail = [
            (plural(snapshot.waiting, "job") + " waiting" if job is None else f"{snapshot.waiting} waiting", "text")
        ]
        if snapshot.queue.paused:
            tail.append(("‖ paused", "warn"))
        if job is None:
            return side_by_side([("nothing runs", "dim"), *tail], width=width)
        if job.progress is None or job.progress.fraction is None:
            return side_by_side([(f"▶ {job.id} {printable(job.title)}", "busy"), *tail], width=width)
        bar = progress_bar(job.progress.fraction, 21, "text").add(f" {percent(job.progress.fraction)}")
        left = job.progress.left
        return bar.add(f", {left} left" if left else "").add(" · ", "dim").extend(side_by_side(tail)).cut(width)

    def row_clicked(self, key: int) -> None:
        self.untouched = False
        self.select(key)

    def is_selected(self, key: int) -> bool:
        return key == self.selected_id
