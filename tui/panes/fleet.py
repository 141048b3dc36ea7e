"""Fleet: is what serves well? Until Bakehouse drives a server, the best known candidate of each task stands here."""

from __future__ import annotations

from core.format import SCORE_SCALE, of_five, plural, score_figure, when
from core.text import printable
from tui.lines import Line, side_by_side
from tui.model.snapshot import Board, Snapshot
from tui.widgets.pane import Pane


def newest_boards(snapshot: Snapshot) -> dict[tuple[str, str], Board]:
    """The newest leaderboard of each (project, task) that has rows."""
    found: dict[tuple[str, str], Board] = {}
    for board in sorted(snapshot.boards or (), key=lambda board: board.job_id):
        if board.candidates and board.state == "done":
            found[board.project_id, board.task] = board
    return found


class FleetPane(Pane):
    number = 1
    heading = "Fleet"

    def __init__(self) -> None:
        super().__init__(id="fleet")

    def note(self) -> Line:
        """The project where it is not that of this folder; commands that are shown name it, too."""
        if self.snapshot.project_option:
            return Line(f"project {printable(self.snapshot.project)}", "warn").add(", not of this folder", "dim")
        return Line("no server yet" if self.snapshot.ready else "", "dim")

    def rows(self, width: int, height: int) -> list[Line]:
        snapshot = self.snapshot
        if snapshot.tasks is None:
            return []
        boards = newest_boards(snapshot)
        names = [(task.project_id, task.name) for task in snapshot.tasks]
        names += [key for key in boards if key not in names and key[0] in {task.project_id for task in snapshot.tasks}]
        first = max(11, min(20, max((len(name) for _, name in names), default=0) + 1))
        right = width - 23
        head = Line("task", "dim").to(first).add(f"best, of {SCORE_SCALE}", "dim").cut(right - 1).to(right)
        rows = [head.add(" format  content  day", "dim")]
        self.row_keys = [None]
        marked = any(boards[key].scored.number for key in names if key in boards)
        room = height - 2 - marked
        for key in names[: room if len(names) <= room else max(1, room - 1)]:
            line = Line(printable(key[1])).cut(first - 1).to(first)
            board = boards.get(key)
            self.row_keys.append(None if board is None else board.job_id)
            if board is None or board.best is None:
                rows.append(line.add("no bake-off yet", "dim"))
                continue
            best = board.best
            line.add(printable(best.name)).cut(right - 1).to(right)
            line.add(
                f"{score_figure(best.format):>7}", "good" if best.score is not None and best.score >= 0.9 else "text"
            )
            line.add(f"{score_figure(best.content):>9}")
            scored = board.scored
            day = f"{when(scored.time, snapshot.time)}*" if scored.number else f"{when(board.time, snapshot.time)} "
            rows.append(line.right(Line(day, "dim"), width))
        if not names:
            rows = [Line("no task yet: ", "dim").add("bakehouse new task NAME").add(" writes one", "dim").cut(width)]
        tail = [Line("○ nothing is served by Bakehouse yet", "dim").cut(width)]
        if marked:
            tail.insert(0, Line("* rescored since, with other checks", "dim").cut(width))
        hidden = len(names) - (len(rows) - 1)
        if hidden > 0:
            tail.insert(0, Line(f"  {plural(hidden, 'further task')}", "dim"))
        space = max(0, height - len(rows) - len(tail))
        return rows + [Line()] * min(1, space) + tail

    def summary(self, width: int) -> Line:
        snapshot = self.snapshot
        if snapshot.tasks is None:
            return Line()
        parts = [(plural(len(snapshot.tasks), "task"), "text")]
        for board in newest_boards(snapshot).values():
            if board.best is not None and board.best.score is not None:
                parts.append((f"{printable(board.task)} {of_five(board.best.score)}", "good"))
                break
        parts.append(("nothing served yet", "dim"))
        return side_by_side(parts, width=width)
