"""The table of a plan: a row for each model and method, with its bar under the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.message import Message

from core.format import gb
from core.text import printable
from tui.lines import Line, side_by_side
from tui.queries.run_forecast import PlanAnswer
from tui.widgets.canvas import Canvas
from tui.widgets.memory_bars import bar, forecast_parts, scale
from tui.widgets.pane import framed

if TYPE_CHECKING:
    from core.vram.plan import Plan, Row

MARK, MODEL, METHOD, NUMBER = 2, 18, 12, 9
NAMED = MARK + 2 + MODEL
"""Where the method begins."""
MARKED = "■"


def selectable(plan: Plan | None) -> list[Row]:
    """The rows in the order shown: a model of which nothing is predicted stands once, behind the others."""
    if plan is None:
        return []
    known = [row for row in plan.rows if row.forecast is not None]
    unknown = {row.model.name: row for row in reversed(plan.rows) if row.forecast is None}
    return [*known, *reversed(unknown.values())]


def sign_of(row: Row) -> tuple[str, str]:
    """✓ fits, ▲ fits only without the forecast's error, ✗ does not fit, ? not predicted."""
    if row.forecast is None:
        return "?", "warn"
    if row.forecast.surely_fits:
        return "✓", "good"
    return ("▲", "warn") if row.forecast.fits else ("✗", "bad")


def named(row: Row) -> tuple[str, str]:
    """What tells a row from the others, whatever the budget and the length."""
    return row.model.name, row.recipe.name


def marked(line: Line, mark: str) -> Line:
    """The line with a mark on its text alone: reversed blocks of a bar would say something else."""
    line.pieces = [(text, f"{role} {mark}".strip()) for text, role in line.pieces]
    return line


class PlanTable(Canvas, can_focus=True):
    """The rows of a plan; one is selected."""

    class Selected(Message):
        """Another row is selected."""

    def __init__(self) -> None:
        super().__init__(id="plan-table")
        self.planned: PlanAnswer | None = None
        self.index = 0
        self.top = 0
        self.touched = False
        self.ticked: set[tuple[str, str]] = set()
        """(model, recipe) of the rows that are to be compared: they stay so under another budget and at another length."""

    @property
    def rows(self) -> list[Row]:
        return selectable(self.planned.plan if self.planned else None)

    @property
    def selected(self) -> Row | None:
        rows = self.rows
        return rows[min(self.index, len(rows) - 1)] if rows else None

    @property
    def marked_rows(self) -> list[Row]:
        """In the order shown."""
        return [row for row in self.rows if named(row) in self.ticked]

    def toggle_mark(self) -> None:
        """Mark the selected row, or take its mark away, and go to the next one."""
        if self.selected is not None:
            self.ticked ^= {named(self.selected)}
            self.move(1)

    def show(self, planned: PlanAnswer | None) -> None:
        self.planned = planned
        plan = planned.plan if planned else None
        if plan is not None and not self.touched:
            keys = [row.key for row in self.rows]
            self.index = keys.index(plan.preferred.key) if plan.preferred else 0
        self.paint()

    def move(self, step: int) -> None:
        self.touched = True
        self.index = max(0, min(len(self.rows) - 1, self.index + step))
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        planned = self.planned
        plan, budget = (planned.plan, planned.budget) if planned else (None, None)
        if plan is None or budget is None:
            return framed([Line("…", "dim")], width, height, Line("Models"), Line(), "focus")
        rows = self.rows
        inner = width - 4
        room = inner - NAMED - METHOD - 2 - 7 - 3 * NUMBER
        top, limit = float(budget.total_bytes), float(budget.limit_bytes)
        head = Line("", "dim").to(MARK + 2).add("model", "dim").to(NAMED).add("method", "dim").to(NAMED + METHOD)
        head.add("  ", "dim")
        if room >= 14:
            head.extend(scale(top, room)).to(NAMED + METHOD + 2 + room)
        head.add("GB".rjust(7), "dim").add("rank".rjust(NUMBER), "dim")
        head.add("highest".rjust(NUMBER), "dim").add("longest".rjust(NUMBER), "dim")
        space = max(1, height - 3)
        self.top = max(0, min(self.top, self.index, len(rows) - space))
        if self.index >= self.top + space:
            self.top = self.index - space + 1
        lines = [head.cut(inner)]
        for number, row in enumerate(rows[self.top : self.top + space], self.top):
            mark = ("chosen" if self.has_focus else "kept") if number == self.index else ""
            lines.append(self._line(row, plan, inner, room, top, limit, mark))
        more = len(rows) - self.top - space
        shown = "what the process will hold" if budget.kind == "cpu" else "what the GPU will show as used"
        below = f"{more} more below" if more > 0 else "" if self.ticked else shown
        right = side_by_side([(self._marks_told(), "focus"), (below, "dim")])
        return framed(lines, width, height, Line("Models"), right, "focus" if self.has_focus else "frame")

    def _marks_told(self) -> str:
        count = len(self.marked_rows)
        if not count:
            return ""
        return f"{MARKED} {count} marked, {'c compares them' if count > 1 else 'c compares two or more'}"

    def _line(self, row: Row, plan: Plan, inner: int, room: int, top: float, limit: float, mark: str) -> Line:
        from core.vram.plan import method_words

        character, role = sign_of(row)
        preferred = plan.preferred is not None and plan.preferred.key == row.key
        line = Line(MARKED if named(row) in self.ticked else "", "focus").to(MARK).add(f"{character} ", role)
        line.add(printable(row.model.name), "bold" if preferred else "text").cut(NAMED - 1).to(NAMED)
        if row.forecast is None:
            line.add(f"not predicted: {printable(row.not_predicted or '')}", "dim").cut(inner).to(inner)
            return marked(line, mark)
        line.add(method_words(row.recipe)).to(NAMED + METHOD).add("● " if preferred else "  ", "good")
        blocks = Line()
        if room >= 14:
            parts = forecast_parts(row.forecast)
            shown = parts if row.forecast.fits else [(word, count, "dim") for word, count, _ in parts]
            blocks = bar(shown, top, limit, room)
        line, figures = marked(line, mark), Line()
        figure = gb(row.forecast.device_bytes)
        figures.add(figure.rjust(7), role if role != "good" else "text").add(f"{row.recipe.rank:,}".rjust(NUMBER))
        figures.add((f"{row.highest_rank:,}" if row.highest_rank else "—").rjust(NUMBER))
        figures.add((f"{row.longest:,}" if row.longest else "—").rjust(NUMBER))
        figures.to(inner - line.width - blocks.width)
        return line.extend(blocks).extend(marked(figures, mark))

    def on_focus(self) -> None:
        self.paint()

    def on_blur(self) -> None:
        self.paint()

    def on_click(self, event: events.Click) -> None:
        number = self.top + event.y - 2
        if 0 <= number < len(self.rows):
            self.touched, self.index = True, number
            self.post_message(self.Selected())
