"""What a bake-off will run, before it is queued: its task, its candidates, how many answers, the command that does the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from core.format import of_five, plural, when
from core.store.jobs import JobRow
from core.text import printable
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.bakeoff_plan import BakeoffPlan, read_plan
from tui.queries.failures import ask_beside
from tui.screens.dialog import DialogRows, RowsDialog, key_row

MOST_OTHERS = 8


class AskBakeoff(RowsDialog["BakeoffPlan | list[JobRow] | None"]):
    """Returns the plan that was agreed to, the runs that the form is to begin with, or None."""

    question = "Start a bake-off?"

    BINDINGS: ClassVar = [
        Binding("enter,y", "start", show=False),
        Binding("escape,n,q", "leave", show=False),
        Binding("down,j,tab", "move(1)", show=False),
        Binding("up,k,shift+tab", "move(-1)", show=False),
        Binding("space", "tick", show=False),
        Binding("B", "form", show=False),
    ]

    class PlanRead(Message):
        def __init__(self, plan: BakeoffPlan | None, problem: str = "") -> None:
            super().__init__()
            self.plan = plan
            self.problem = problem

    def __init__(
        self,
        context: Context,
        job: JobRow,
        others: Sequence[JobRow],
        snapshot: Snapshot,
        ticked: Collection[int] = (),
    ) -> None:
        """`others`: further runs of the task that can be compared, those that are `ticked` already first."""
        super().__init__()
        self.context = context
        self.job = job
        self.others = list(others)[: max(MOST_OTHERS, len(ticked))]
        self.snapshot = snapshot
        self.ticked: set[int] = set(ticked)
        self.index = self.top = 0
        self.plan: BakeoffPlan | None = None
        self.problem = ""

    def on_mount(self) -> None:
        self.fit()
        if self.context.live:
            ask_beside(
                "bake-off plan",
                lambda: self.PlanRead(read_plan(self.context.home, self.context.find_project, self.job)),
                lambda line: self.PlanRead(None, line),
                self.post_message,
            )

    def on_ask_bakeoff_plan_read(self, message: PlanRead) -> None:
        self.plan, self.problem = message.plan, message.problem
        self.fit()

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
        return replace(plan, candidates=references)

    def rows(self, width: int) -> list[Line]:
        plan = self.chosen
        if plan is None:
            if self.problem:
                return [
                    *(Line(row, "bad") for row in wrapped(printable(self.problem), width)),
                    Line(),
                    key_row(("B", "the form"), ("esc", "back")),
                ]
            return [Line("reading the task …", "dim"), Line(), key_row(("B", "the form"), ("esc", "back"))]
        count = len(plan.candidates)
        rows = [
            Line("task", "dim").to(12).add(printable(plan.task), "bold"),
            Line("candidates", "dim").to(12).add("✓ ", "good").add(f"{printable(plan.base)} base"),
            self._run_row(Line().to(12).add("✓ ", "good"), self.job),
        ]
        shown = self.others[self.top : self.top + self.room]
        for index, other in enumerate(shown, self.top):
            ticked = other.id in self.ticked
            line = Line("", mark="chosen" if index == self.index else "")
            line.add("  and" if index == self.top else "", "dim").to(12)
            rows.append(self._run_row(line.add("✓ " if ticked else "· ", "good" if ticked else "dim"), other))
        if len(shown) < len(self.others):
            hidden = len(self.others) - len(shown)
            rows.append(Line().to(14).add(f"{hidden} further, {len(self.ticked)} of all ticked: j k", "dim"))
        total = plan.inputs * plan.repeats * count
        rows.append(
            Line("answers", "dim")
            .to(12)
            .add(f"{plural(plan.inputs, 'input')} × {plural(plan.repeats, 'repeat')} × {plural(count, 'candidate')}")
            .add(f" = {total:,}")
        )
        rows.append(Line())
        rows += [Line(row, "dim") for row in wrapped(plan.command_line, width)]
        rows += [
            Line(),
            key_row(
                ("⏎", "start"),
                ("j k space", "tick" if self.others else ""),
                ("B", "more models, tasks, variants"),
                ("esc", "leave"),
            ),
        ]
        return rows

    def _run_row(self, line: Line, job: JobRow) -> Line:
        """One run: its job, what tells it from the others, its score so far."""
        difference = self.snapshot.differences.get(job.id)
        line.add(f"{printable(job.model or job.title)} tuned, job {job.id}")
        if difference is not None and difference.words:
            line.add(f"  {', '.join(difference.words)}", "bold")
        if job.state != "done":
            return line.add("  waits for it", "dim")
        if (score := self.snapshot.run_scores.get(job.id)) is not None:
            line.add(f"  {of_five(score)}")
        return line.add(f"  {when(job.ended_at, self.snapshot.time)}", "dim")

    @property
    def room(self) -> int:
        """How many of the others have a row: what stands around them keeps its own."""
        return max(1, min(len(self.others), self.app.size.height - 15))

    def action_move(self, step: int) -> None:
        if self.others:
            self.index = (self.index + step) % len(self.others)
            self.top = min(max(self.top, self.index - self.room + 1), self.index)
            self.query_one(DialogRows).paint()

    def action_tick(self) -> None:
        if self.others:
            self.ticked ^= {self.others[self.index].id}
            self.fit()

    def action_form(self) -> None:
        self.dismiss([self.job, *(other for other in self.others if other.id in self.ticked)])

    def action_start(self) -> None:
        if self.chosen is not None:
            self.dismiss(self.chosen)
