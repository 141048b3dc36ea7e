"""Fleet: is what serves well? A row a task with an alias, then what else serves, then the best candidate of the other tasks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeAlias

from core.format import SCORE_SCALE, of_five, plural, score_figure, when
from core.text import printable
from tui.lines import Line, side_by_side
from tui.model.snapshot import Board, Snapshot
from tui.widgets.fleet_rows import columns, fleet_head, fleet_line, fleet_words, is_alias, leading, remarks, serving_of
from tui.widgets.pane import Pane
from tui.widgets.served_rows import ServingRow, serving_line, serving_rows, serving_words

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow

LEAST_TASK_ROWS = 3
"""Rows that the tasks keep below many models: their head and two of them."""

Entry: TypeAlias = "FleetRow | ServingRow | Board"
"""What can be selected: a task of the fleet or an alias without one, a model that serves beside it, a leaderboard."""


def identity(entry: Entry) -> tuple[str, ...]:
    """By what an entry is the same one in the next snapshot."""
    if isinstance(entry, ServingRow):
        return (entry.reference,)
    if isinstance(entry, Board):
        return (entry.project_id, entry.task)
    return ("fleet", str(entry.alias.id), entry.project_id or "", entry.task or "")


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
        self.fleet: tuple[FleetRow, ...] = ()
        self.all_serving: list[ServingRow] = []
        self.serving: list[ServingRow] = []
        """What serves and is no alias."""
        self.entries: list[Entry] = []
        """What can be selected, from the top."""
        self.index = 0

    def show(self, snapshot: Snapshot) -> None:
        former = self.selected
        self.fleet = () if snapshot.fleet is None else snapshot.fleet.rows
        self.all_serving = serving_rows(snapshot)
        self.serving = [one for one in self.all_serving if not is_alias(one, self.fleet)]
        boards = newest_boards(snapshot)
        self.entries = [
            *self.fleet,
            *self.serving,
            *(boards[key] for key in self._tasks(snapshot) if key in boards),
        ]
        if former is not None and (self.has_focus or self.index):  # the top stays the top until somebody looks
            same = (number for number, one in enumerate(self.entries) if identity(one) == identity(former))
            self.index = next(same, self.index)
        self.index = max(0, min(self.index, len(self.entries) - 1))
        super().show(snapshot)

    @property
    def selected(self) -> Entry | None:
        return self.entries[self.index] if self.index < len(self.entries) else None

    @property
    def selected_row(self) -> FleetRow | None:
        """The selected task of the fleet, or alias without one."""
        return self.fleet[self.index] if self.index < len(self.fleet) else None

    def move(self, step: int) -> None:
        former, self.index = self.index, max(0, min(len(self.entries) - 1, self.index + step))
        if self.index != former:
            self.paint()

    def row_clicked(self, key: int) -> None:
        self.index = key
        self.paint()

    def is_selected(self, key: int) -> bool:
        return self.index == key

    def _tasks(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        """(project, task) of those that the project has, and of those that it had a leaderboard of; without those of the
        fleet."""
        tasks = snapshot.tasks or ()
        names = [(task.project_id, task.name) for task in tasks]
        projects = {task.project_id for task in tasks}
        names += [key for key in newest_boards(snapshot) if key not in names and key[0] in projects]
        served = {(row.project_id, row.task) for row in self.fleet}
        # A task that is shipped is one of the project that has an alias for it.
        return [key for key in names if not served & {key, (snapshot.project_id, key[1])}]

    def note(self) -> Line:
        """The project where it is not that of this folder, which commands that are shown name, too; else how many serve."""
        if self.snapshot.project_option:
            return Line(f"project {printable(self.snapshot.project)}", "warn").add(", not of this folder", "dim")
        if self.fleet:
            return Line(fleet_words(self.fleet, self.snapshot.time), "dim")
        return Line(serving_words(self.serving) or ("nothing serves" if self.snapshot.ready else ""), "dim")

    def rows(self, width: int, height: int) -> list[Line]:
        snapshot = self.snapshot
        self.row_keys = []
        if self.fleet:
            return self._fleet(width, height)
        if snapshot.tasks is None:
            return []
        rows = self._serving_rows(width, max(1, height - LEAST_TASK_ROWS - 1))
        if rows:
            rows.append(Line())
            self.row_keys.append(None)
        return rows + self._task_rows(width, height - len(rows), with_note=not rows)

    def _fleet(self, width: int, height: int) -> list[Line]:
        """All that can be selected, in groups; of more than fits what stands around the selected entry."""
        snapshot, place = self.snapshot, columns(self.fleet, width)
        tasks, free = [one for one in self.fleet if one.task], [one for one in self.fleet if not one.task]
        rows: list[tuple[Line, int | None]] = []
        numbers = iter(range(len(self.entries)))

        def group(head: Line, lines: list[Callable[[str], Line]]) -> None:
            if lines:
                rows.extend([(Line(), None)] if rows else [])
                rows.append((head, None))
                for line in lines:
                    number = next(numbers)
                    rows.append((line(self._mark(self.entries[number])), number))

        def of_fleet(row: FleetRow) -> Callable[[str], Line]:
            return lambda mark: fleet_line(row, place, serving_of(row, self.all_serving), snapshot.time, mark)

        def of_serving(row: ServingRow) -> Callable[[str], Line]:
            return lambda mark: serving_line(row, width, mark)

        group(fleet_head(place), [of_fleet(row) for row in tasks])
        group(Line("  aliases without a task", "dim").cut(width), [of_fleet(row) for row in free])
        group(Line("  serving, no alias: A adopts", "dim").cut(width), [of_serving(row) for row in self.serving])
        if others := self._tasks(snapshot):
            self.row_keys = []
            lines = self._task_rows(width, len(others) + 3, with_note=False)
            rows += [(Line(), None), *zip_longest(lines, self.row_keys)]
        return self._around_selected(rows, height)

    def _around_selected(self, rows: list[tuple[Line, int | None]], height: int) -> list[Line]:
        """So many of the rows as fit: from the top while the selected one is among them, its group's head with it."""
        at = next((place for place, (_, number) in enumerate(rows) if number == self.index), 0)
        first = max(0, min(len(rows) - height, at - height + 2))
        shown = rows[first : first + height]
        self.row_keys = [number for _, number in shown]
        return [line for line, _ in shown]

    def _mark(self, entry: Entry) -> str:
        return "chosen" if self.has_focus and entry is self.selected else ""

    def _serving_rows(self, width: int, room: int) -> list[Line]:
        """The models that serve; of more than fit those around the selected one."""
        count = len(self.serving)
        shown = room if count <= room else max(1, room - 1)
        first = max(0, min(self.index - shown // 2, count - shown))
        part = self.serving[first : first + shown]
        rows = [serving_line(row, width, self._mark(row)) for row in part]
        self.row_keys += range(first, first + len(part))
        if count > room:
            rows.append(Line(f"  {plural(count - len(part), 'further model')}", "dim"))
            self.row_keys.append(None)
        return rows

    def _task_rows(self, width: int, height: int, *, with_note: bool) -> list[Line]:
        snapshot, boards = self.snapshot, newest_boards(self.snapshot)
        names = self._tasks(snapshot)
        first = max(11, min(20, max((len(name) for _, name in names), default=0) + 1))
        right = width - 23
        head = Line("task", "dim").to(first).add(f"best, of {SCORE_SCALE}", "dim").cut(right - 1).to(right)
        rows = [head.add(" format  content  day", "dim")]
        self.row_keys.append(None)
        marked = any(boards[key].scored.number for key in names if key in boards)
        room = height - 1 - with_note - marked
        places = {
            key: len(self.fleet) + len(self.serving) + place
            for place, key in enumerate(key for key in names if key in boards)
        }
        for key in names[: room if len(names) <= room else max(1, room - 1)]:
            board = boards.get(key)
            line = Line(printable(key[1]), mark="" if board is None else self._mark(board)).cut(first - 1).to(first)
            self.row_keys.append(places.get(key))
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
        tail = [Line("○ nothing serves yet: s ships, d deploys a file", "dim").cut(width)] if with_note else []
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
        if self.fleet:
            return self._fleet_summary(width)
        said = serving_words(self.serving)
        bad = any(row.role in ("bad", "warn") for row in self.serving)
        parts = [(said, "warn" if bad else "text")] if said else []
        parts.append((plural(len(snapshot.tasks), "task"), "text"))
        for board in newest_boards(snapshot).values():
            if board.best is not None and board.best.score is not None:
                parts.append((f"{printable(board.task)} {of_five(board.best.score)}", "good"))
                break
        if not said:
            parts.append(("nothing serves", "dim"))
        return side_by_side(parts, width=width)

    def _fleet_summary(self, width: int) -> Line:
        """What is to be looked at first, else the score of the first task."""
        urgent = any(one.urgent for row in self.fleet for one in remarks(row, self.snapshot.time))
        parts = [(fleet_words(self.fleet, self.snapshot.time), "warn" if urgent else "text")]
        for row in self.fleet:
            score = leading(row.scores)
            if row.task and score is not None:
                parts.append((f"{printable(row.task)} {of_five(score)}", "good" if score >= 0.9 else "text"))
        return side_by_side(parts, width=width)
