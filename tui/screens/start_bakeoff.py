"""What a bake-off will run, before it is queued: its task, its candidates, how many answers, the command that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.screen import ModalScreen

from core.format import plural, when
from core.store.jobs import JobRow
from core.text import printable
from tui.context import Context
from tui.lines import Line, wrapped
from tui.queries.bakeoff_plan import BakeoffPlan, read_plan
from tui.queries.failures import ask_beside
from tui.widgets.canvas import Canvas
from tui.widgets.pane import framed

MOST_OTHERS = 8


class PlanText(Canvas):
    def draw(self, width: int, height: int) -> list[Line]:
        screen = self.screen
        assert isinstance(screen, AskBakeoff)
        rows = [row.cut(width - 4) for row in screen.rows(width - 4)]
        return framed(rows, width, height, Line("Start a bake-off?", "bold"), Line(), "focus")


class AskBakeoff(ModalScreen["BakeoffPlan | None"]):
    """Returns the plan that was agreed to, or None."""

    BINDINGS: ClassVar = [
        Binding("enter,y", "start", show=False),
        Binding("escape,n,q", "leave", show=False),
        Binding("down,j,tab", "move(1)", show=False),
        Binding("up,k,shift+tab", "move(-1)", show=False),
        Binding("space", "tick", show=False),
    ]

    class PlanRead(Message):
        def __init__(self, plan: BakeoffPlan | None, problem: str = "") -> None:
            super().__init__()
            self.plan = plan
            self.problem = problem

    def __init__(self, context: Context, job: JobRow, others: Sequence[JobRow], now: float) -> None:
        """`others`: further training runs of the task that are done."""
        super().__init__()
        self.context = context
        self.job = job
        self.others = list(others)[:MOST_OTHERS]
        self.now = now
        self.ticked: set[int] = set()
        self.index = 0
        self.plan: BakeoffPlan | None = None
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield PlanText(id="plan")

    def on_mount(self) -> None:
        self._fit()
        if self.context.live:
            ask_beside(
                "bake-off plan",
                lambda: self.PlanRead(read_plan(self.context.home, self.context.find_project, self.job)),
                lambda line: self.PlanRead(None, line),
                self.post_message,
            )

    def on_ask_bakeoff_plan_read(self, message: PlanRead) -> None:
        self.plan, self.problem = message.plan, message.problem
        self._fit()

    def _fit(self) -> None:
        canvas = self.query_one("#plan", PlanText)
        width = min(84, self.app.size.width * 96 // 100)
        canvas.styles.height = min(len(self.rows(width - 4)) + 2, self.app.size.height - 2)
        canvas.paint()

    def on_resize(self) -> None:
        self._fit()

    @property
    def takes_keys(self) -> bool:
        """There is nothing to agree to until the task is read."""
        return not self.context.live or self.plan is not None or bool(self.problem)

    @property
    def chosen(self) -> BakeoffPlan | None:
        """The plan with what is ticked."""
        plan = self.plan
        if plan is None:
            return None
        more = [f"job:{other.id}" for other in self.others if other.id in self.ticked]
        references = (plan.base, f"job:{self.job.id}", *more)
        return BakeoffPlan(plan.task, plan.base, plan.inputs, plan.repeats, references)

    def rows(self, width: int) -> list[Line]:
        plan = self.chosen
        if plan is None:
            if self.problem:
                return [
                    *(Line(row, "bad") for row in wrapped(printable(self.problem), width)),
                    Line(),
                    keys(esc="back"),
                ]
            return [Line("reading the task …", "dim"), Line(), keys(esc="back")]
        count = len(plan.candidates)
        rows = [
            Line("task", "dim").to(12).add(printable(plan.task), "bold"),
            Line("candidates", "dim").to(12).add("✓ ", "good").add(f"{printable(plan.base)} base"),
            Line()
            .to(12)
            .add("✓ ", "good")
            .add(f"{printable(self.job.model or self.job.title)} tuned, job {self.job.id}")
            .add("" if self.job.state == "done" else "  waits for it", "dim"),
        ]
        for index, other in enumerate(self.others):
            ticked = other.id in self.ticked
            line = Line("", mark="chosen" if index == self.index else "").add("  and" if index == 0 else "", "dim")
            line.to(12).add("✓ " if ticked else "· ", "good" if ticked else "dim")
            line.add(f"{printable(other.model or other.title)} tuned, job {other.id}")
            rows.append(line.add(f"  {when(other.ended_at, self.now)}", "dim"))
        total = plan.inputs * plan.repeats * count
        rows.append(
            Line("answers", "dim")
            .to(12)
            .add(f"{plural(plan.inputs, 'input')} × {plural(plan.repeats, 'repeat')} × {plural(count, 'candidate')}")
            .add(f" = {total:,}")
        )
        rows.append(Line())
        rows += [Line(row, "dim") for row in wrapped(plan.command_line, width)]
        rows += [Line(), keys(space="tick", enter="start", esc="leave") if self.others else keys("start", "leave")]
        return rows

    def action_move(self, step: int) -> None:
        if self.others:
            self.index = (self.index + step) % len(self.others)
            self.query_one(PlanText).paint()

    def action_tick(self) -> None:
        if self.others:
            self.ticked ^= {self.others[self.index].id}
            self._fit()

    def action_start(self) -> None:
        if self.chosen is not None:
            self.dismiss(self.chosen)

    def action_leave(self) -> None:
        self.dismiss(None)


def keys(enter: str = "", esc: str = "", space: str = "") -> Line:
    """The keys that work in the dialog."""
    line = Line()
    for key, label in (("⏎", enter), ("j k space", space), ("esc", esc)):
        if label:
            line.add(key, "bold").add(f" {label}   ", "dim")
    return line
