"""The table of a plan: a row for each model and method, with its bar under the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.message import Message

from core.format import gb
from core.text import printable
from tui.lines import Line
from tui.queries.run_forecast import PlanAnswer
from tui.widgets.canvas import Canvas
from tui.widgets.memory_bars import bar, forecast_parts, scale
from tui.widgets.pane import framed

if TYPE_CHECKING:
    from core.vram.plan import Plan, Row

MODEL, METHOD, NUMBER = 18, 12, 9


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

    @property
    def rows(self) -> list[Row]:
        return selectable(self.planned.plan if self.planned else None)

    @property
    def selected(self) -> Row | None:
        rows = self.rows
        return rows[min(self.index, len(rows) - 1)] if rows else None

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
        room = inner - 2 - MODEL - METHOD - 2 - 7 - 3 * NUMBER
        top, limit = float(budget.total_bytes), float(budget.limit_bytes)
        head = Line("", "dim").to(2).add("model", "dim").to(2 + MODEL).add("method", "dim").to(2 + MODEL + METHOD)
        head.add("  ", "dim")
        if room >= 14:
            head.extend(scale(top, room)).to(4 + MODEL + METHOD + room)
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
        right = Line(f"{more} more below" if more > 0 else "what the GPU will show as used", "dim")
        if budget.kind == "cpu" and more <= 0:
            right = Line("what the process will hold", "dim")
        return framed(lines, width, height, Line("Models"), right, "focus" if self.has_focus else "frame")

    def _line(self, row: Row, plan: Plan, inner: int, room: int, top: float, limit: float, mark: str) -> Line:
        from core.vram.plan import method_words

        character, role = sign_of(row)
        preferred = plan.preferred is not None and plan.preferred.key == row.key
        line = Line(f"{character} ", role).add(printable(row.model.name), "bold" if preferred else "text")
        line.cut(2 + MODEL - 1).to(2 + MODEL)
        if row.forecast is None:
            line.add(f"not predicted: {printable(row.not_predicted or '')}", "dim").cut(inner).to(inner)
            return marked(line, mark)
        line.add(method_words(row.recipe)).to(2 + MODEL + METHOD).add("● " if preferred else "  ", "good")
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
