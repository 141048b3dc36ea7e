"""Bake-off: who is better, and is that sure?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.bakeoff.short_names import heads
from core.format import of_five, percent, plural, score_figure, when
from core.jobfile.kinds import kind_of
from core.store.jobs import ACTIVE, JobRow
from core.text import printable
from core.wording.scoring import scoring_label
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import Board, Changed, RankedCandidate
from tui.panes.fleet import newest_boards
from tui.widgets.bars import interval
from tui.widgets.pane import Pane

if TYPE_CHECKING:
    from core.bakeoff.matrix import Matrix

STALE, UNKNOWN = "stale · ", "stale? · "
LEADS = "◆"
"""No cursor: the row that is selected has a colour of its own."""


def scale_start(candidates: tuple[RankedCandidate, ...]) -> float:
    """Where the drawn scale begins (0..1): 3 of 5 when the best lie above it, else 0."""
    known = sorted(
        (candidate.low if candidate.low is not None else candidate.score)
        for candidate in candidates
        if candidate.score is not None
    )
    return 0.6 if known and known[-1] >= 0.62 and sum(value >= 0.6 for value in known) * 2 > len(known) else 0.0


def axis(start: float, width: int) -> Line:
    """The whole scores of a scale that ends at 5."""
    line = Line()
    first = round(start * 5)
    for score in range(first, 6):
        at = round((score - first) / (5 - first) * (width - 1))
        if at >= line.width:
            line.to(at).add(str(score), "dim")
    return line


def mark_of(board: Board, candidate: RankedCandidate) -> str:
    """`=` in the tied set, `LEADS` for the one that stands alone at the top."""
    return "=" if candidate.tied else LEADS if candidate is board.best and len(board.candidates) > 1 else " "


def has_leader(board: Board) -> bool:
    return any(mark_of(board, candidate) == LEADS for candidate in board.candidates)


def candidate_line(
    board: Board, candidate: RankedCandidate, short: str, width: int, name: int, scale: int, start: float
) -> Line:
    """Sign, name (as far as it tells candidates apart), score out of 5 and the interval."""
    mark = mark_of(board, candidate)
    role = "text" if mark == " " else "good"
    line = Line(mark, role).add(" ").add(printable(short), role).cut(name - 1).to(name)
    if candidate.score is None:
        return line.add("    — ", "dim").add(" no answers yet", "dim").cut(width)
    line.add(f"{score_figure(candidate.score):>5} ", role)
    drawn = interval(candidate.low, candidate.score, candidate.high, start, 1.0, scale, role)
    return line.add(" ").extend(drawn)


def with_stale(row: str) -> Line:
    """A row of the comparison, with the word before it that it is not of what is there now, or that this is not known."""
    mark = next((one for one in (STALE, UNKNOWN) if row.startswith(one)), "")
    return Line(mark, "warn").add(row.removeprefix(mark), "dim")


def stale_label(changed: Changed | None) -> str:
    """`stale`; `stale?` where it is not known of all that was measured whether it has changed; empty where it has not."""
    if changed is None:
        return ""
    return "stale" if changed.stale else "stale?" if changed.unknown else ""


def board_rows(board: Board, width: int, height: int, now: float) -> list[Line]:
    """One task: a heading with its scale, the candidates, the comparison that matters."""
    if board.problem:
        head = Line(printable(board.task), "bold").add(f"  bake-off {board.job_id}", "dim")
        return [head, *(Line(row, "bad") for row in wrapped(printable(board.problem), width))][:height]
    start = scale_start(board.candidates)
    name = min(26, max(18, width - 31)) if width < 80 else min(40, width // 3)
    scale = width - name - 7
    # Which scores these are is more than how many: inputs and repeats stand on the results screen, too.
    asked = scoring_label(board.scored, now) or f"{plural(len(board.input_ids), 'input')} × {board.repeats}"
    head = Line(printable(board.task), "bold").add(f"  {asked}", "dim")
    head.cut(name + 5).to(name + 7).extend(axis(start, scale))
    rows = [head]
    room = max(1, height - 2)
    short = heads([candidate.name for candidate in board.candidates], name - 3).of
    rows += [
        candidate_line(board, candidate, short[candidate.name], width, name, scale, start)
        for candidate in board.candidates[:room]
    ]
    if len(rows) < height and board.headline_short:
        tied = sum(candidate.tied for candidate in board.candidates)
        # Inputs and repeats stand in the heading, p on the results screen.
        said = printable(board.headline_short)
        text = f"= tied. {said}" if tied > 1 else f"{LEADS} leads: {said}" if has_leader(board) else said
        label = stale_label(board.changed)
        text = f"{label} · {text}" if label else text
        lines = list(wrapped(text, width))
        free = height - len(rows)
        rows += [with_stale(row) for row in lines[:free]]
        if len(lines) > free:
            rows[-1] = Line(" ".join(lines[free - 1 :]), "dim").cut(width)
    day = when(board.time, now)
    if ":" not in day and rows[0].width + len(day) < width:
        rows[0].right(Line(day, "dim"), width)
    return rows


def matrix_board_rows(board: Board, boards: Sequence[Board], width: int, height: int, now: float) -> list[Line]:
    """A bake-off over several tasks: who is best at each, whether that is sure, how far from the incumbent, who wins most."""
    matrix = board.matrix
    assert matrix is not None
    size = f"{plural(len(matrix.tasks), 'task')} × {plural(len(matrix.candidates), 'candidate')}"
    head = Line(size, "bold").add(f"  bake-off {board.job_id}", "dim")
    for label in filter(None, (scoring_label(board.scored, now), stale_label(board.changed_anywhere))):
        head.add(f"  {label}", "warn")
    rows = [head.right(Line(when(board.time, now), "dim"), width)]
    said = leader_words(matrix)
    shown = list(boards)[: max(1, height - 1 - (1 if said else 0))]
    task = min(16, max(len(printable(one.task)) for one in shown)) + 1
    figures = [best.difference if (best := one.best) is not None else "" for one in shown]
    figure = max(map(len, figures), default=0)
    figure = figure + 1 if width - task - figure >= 26 else 0
    name = width - task - 8 - figure
    for one, difference in zip(shown, figures, strict=True):
        line = Line(printable(one.task)).cut(task - 1).to(task)
        best = one.best
        if best is None:
            rows.append(line.add("no scored answers", "dim").cut(width))
            continue
        tied = sum(other.tied for other in one.candidates)
        line.add("= " if tied > 1 else f"{LEADS} ", "good").add(printable(best.name), "good")
        if tied > 1:
            line.add(f" and {tied - 1} more", "dim")
        line.cut(task + name).to(task + name).add(f" {score_figure(best.score):>5}", "good")
        if figure:
            line.right(Line(difference, "dim"), width)
        rows.append(line.cut(width))
    if said and len(rows) < height:
        rows += [Line(row, "dim") for row in wrapped(said, width)][: height - len(rows)]
    return rows


def leader_words(matrix: Matrix) -> str:
    """`↑ ollama:qwen3:8b wins 3 of 3 tasks against SmolLM2 base`; who wins none is not told."""
    standings = [one for one in matrix.standings if not one.incumbent and one.wins]
    if matrix.incumbent is None or not standings:
        return "" if matrix.incumbent is None else f"no win against {printable(matrix.incumbent)} is sure at any task"
    leader = max(standings, key=lambda one: (len(one.wins), -len(one.loses), one.mean_difference or 0.0))
    lost = f", loses {len(leader.loses)}" if leader.loses else ""
    wins = f"wins {len(leader.wins)} of {plural(len(matrix.tasks), 'task')}{lost}"
    return f"↑ {printable(leader.candidate)} {wins} against {printable(matrix.incumbent)}"


class BakeoffPane(Pane):
    number = 4
    heading = "Bake-off"

    def __init__(self) -> None:
        super().__init__(id="bakeoff")
        self.index = 0

    @property
    def boards(self) -> list[Board]:
        """The newest leaderboard of each task, newest first, of a bake-off over several tasks one for all; behind them those
        that cannot be built."""
        done: dict[int, Board] = {}
        for board in sorted(newest_boards(self.snapshot).values(), key=lambda board: -board.job_id):
            done.setdefault(board.job_id, board)
        return [*done.values(), *(board for board in self.snapshot.boards or () if board.problem)]

    @property
    def selected(self) -> Board | None:
        boards = self.boards
        return boards[max(0, min(self.index, len(boards) - 1))] if boards else None

    def row_clicked(self, key: int) -> None:
        self.index = next((index for index, board in enumerate(self.boards) if board.job_id == key), self.index)
        self.paint()

    def is_selected(self, key: int) -> bool:
        return self.selected is not None and self.selected.job_id == key

    def move(self, step: int) -> None:
        self.index = max(0, min(len(self.boards) - 1, self.index + step))
        self.paint()

    def note(self) -> Line:
        boards = self.boards
        if not boards:
            return Line()
        tasks = len(self.snapshot.tasks or ()) or len(boards)
        known = {board.task for board in self.snapshot.boards or () if not board.problem}
        return Line(f"{len(known)} of {plural(max(tasks, len(known)), 'task')}", "dim")

    def rows(self, width: int, height: int) -> list[Line]:
        boards = self.boards
        if not boards:
            if self.snapshot.boards is None:
                return [
                    Line(row, "warn")
                    for text in self.snapshot.problems
                    for row in wrapped(f"▲ {printable(text)}", width)
                ]
            return self._under_way(width, height) or [
                Line("no bake-off yet", "dim"),
                Line(),
                Line("It answers a task's golden inputs with each candidate,", "dim").cut(width),
                Line("scores them, and says whether a difference is sure.", "dim").cut(width),
                Line("b", "bold").add(" bakes off a finished training run against its base", "dim").cut(width),
                Line("B", "bold").add(" opens the form for several tasks and candidates", "dim").cut(width),
            ]
        # What is known stays; what runs is a row below it.
        running = self._under_way(width, max(1, height // 2))
        height -= len(running)
        rows: list[Line] = []
        self.row_keys = []
        for board in boards[min(self.index, len(boards) - 1) :]:
            left = height - len(rows) - (1 if rows else 0)
            if left < 3:
                break
            if rows:
                rows.append(Line())
            of_board = self._board_rows(board, width, left)
            self.row_keys += [None] * (len(rows) - len(self.row_keys)) + [board.job_id] * len(of_board)
            rows += of_board
        return [*rows, *running]

    def _board_rows(self, board: Board, width: int, height: int) -> list[Line]:
        if board.matrix is None:
            return board_rows(board, width, min(height, len(board.candidates) + 4), self.snapshot.time)
        boards = self.snapshot.boards_of(board.job_id)
        return matrix_board_rows(board, boards, width, height, self.snapshot.time)

    @property
    def running_job(self) -> JobRow | None:
        return next(
            (job for job in self.snapshot.jobs if kind_of(job.kind).has_leaderboard and job.state in ACTIVE), None
        )

    def _under_way(self, width: int, room: int = 1) -> list[Line]:
        """The bake-off that runs now, which has no leaderboard before all is answered and scored."""
        job = self.running_job
        if job is None:
            return []
        line = Line("▶ ", "busy").add(f"{job.id} {printable(job.title)}", "busy")
        if job.progress and job.progress.fraction is not None:
            line.add(f"  {percent(job.progress.fraction)} answered", "dim")
        detail = self.snapshot.detail
        if detail is None or detail.job_id != job.id or room < 2:
            return [line.cut(width)]
        # The candidate that is asked now, then those that follow; how many are done is a figure.
        open_ones = [share for share in detail.shares if not share.is_finished]
        done = len(detail.shares) - len(open_ones)
        rows = [line.cut(width)]
        for share in open_ones[: room - 1]:
            row = Line("  ▶ " if share.done else "  ◷ ", "busy" if share.done else "text").add(printable(share.name))
            where = f" · {printable(share.task)}" if share.task else ""
            rows.append(row.right(Line(f"{share.done}/{share.total or '?'}{where}", "dim"), width))
        if done and len(rows) < room:
            rows.append(Line("  ✓ ", "good").add(f"{plural(done, 'candidate')} done", "dim"))
        return rows

    def summary(self, width: int) -> Line:
        board = self.selected
        if board is None or board.best is None:
            if running := self._under_way(width):
                return running[0]
            return Line("no bake-off yet" if self.snapshot.boards is not None else "", "dim")
        best = board.best
        if board.matrix is not None and (said := leader_words(board.matrix)):
            return Line(said).cut(width)
        line = Line(f"{printable(board.task)}: ").add(printable(best.name), "good")
        if best.score is not None:
            line.add(f" {of_five(best.score)}")
        job = self.running_job
        if job is not None:
            progress = job.progress
            far = f" {percent(progress.fraction)}" if progress and progress.fraction is not None else ""
            tail = Line(f"▶ {job.id}{far}", "busy")
            return line.cut(max(0, width - tail.width - 3)).add(" · ", "dim").extend(tail)
        return side_by_side([line, (printable(board.headline_difference), "dim")]).cut(width)
