"""The plan: which models can be trained in how much memory, by which method, and which of them to prefer."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult

from core.format import data_size, plural, share
from core.text import printable
from core.wording.obstacles import not_used
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import Snapshot
from tui.queries.background_queries import CatalogueRead, PlanAnswered
from tui.queries.catalogue import Catalogue
from tui.queries.run_forecast import PlanAnswer, PlanQuery
from tui.screens.plan_comparison import PlanComparisonScreen
from tui.screens.plan_rows import PlanTable
from tui.screens.query_screen import QueryScreen
from tui.widgets.footer import Footer
from tui.widgets.memory_bars import forecast_parts, legend, verdict
from tui.widgets.text_panel import TextPanel

if TYPE_CHECKING:
    from core.vram.plan import Row

BUDGETS = ("", "8", "12", "16", "24", "32")
"""This machine's own memory, then GPUs as they are sold."""
LENGTHS = (None, 512, 1024, 1536, 2048, 3072, 4096, 8192)
"""The recipes' own, then tokens."""
MARK_FIRST = "Mark two or more rows with space."


class PlanScreen(QueryScreen):
    heading = "Plan"
    commands: ClassVar[tuple[Command, ...]] = (
        command("⏎", "new run", "New training run with the selected model and method", "enter", "open", rank=1),
        command("j ↓", "down", "Next row", "j,down", "move(1)", rank=3, palette=False),
        command("k ↑", "up", "Row before", "k,up", "move(-1)", rank=3, palette=False),
        command("g", "top", "First row", "g,home", "move(-1000)", rank=0, palette=False),
        command("G", "bottom", "Last row", "G,end", "move(1000)", rank=0, palette=False),
        command(
            "b →", "budget", "The next budget: this machine, or a GPU as it is sold", "b,right", "budget(1)", rank=1
        ),
        command("B ←", "budget", "The budget before", "B,left", "budget(-1)", rank=0, palette=False),
        command("space", "mark", "Mark the row, to compare it with others", "space", "mark", rank=2),
        command(
            "c",
            "compare",
            "Compare the marked rows side by side: memory, trainable share, time a step",
            "c",
            "compare",
            lambda screen: len(screen.marked) > 1,
            rank=1,
            unless=MARK_FIRST,
        ),
        command(
            "c",
            "mark to compare",
            "Compare rows side by side, once two or more are marked (space)",
            "c",
            "tell_marks",
            lambda screen: len(screen.marked) < 2,
            rank=0,
            palette=False,
        ),
        command("l", "length", "The next max length", "l", "length(1)", rank=1),
        command("L", "length", "The max length before", "L", "length(-1)", rank=0, palette=False),
        command("esc", "back", "Back to the dashboard", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.catalogue: Catalogue | None = None
        self.planned: PlanAnswer | None = None
        self.budget = self.length = 0
        self.asked: PlanQuery | None = None

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield TextPanel(id="asked")
        yield PlanTable()
        yield TextPanel(id="chosen-row")
        yield TextPanel(id="command")
        yield from self.last_line()

    def on_mount(self) -> None:
        self.query_one(PlanTable).focus()
        self.show(self.context.snapshot)
        self.queries.start()

    @on(CatalogueRead)
    def _take_catalogue(self, message: CatalogueRead) -> None:
        self.catalogue, self.problem = message.catalogue, message.problem
        self._ask()

    def _ask(self) -> None:
        if self.catalogue is not None and not self.problem:
            self.asked = PlanQuery(BUDGETS[self.budget], LENGTHS[self.length], self.snapshot.sample)
            self.queries.plan.ask(self.asked)
        self._paint()

    @on(PlanAnswered)
    def _take_plan(self, message: PlanAnswered) -> None:
        if message.query is self.asked:
            self.planned = message.planned
            self.problem = message.planned.problem
            self._paint()

    @property
    def takes_keys(self) -> bool:
        return self.planned is not None or self._broken

    # Showing

    @property
    def row(self) -> Row | None:
        """The selected model and method."""
        return self.query_one(PlanTable).selected

    @property
    def marked(self) -> list[Row]:
        return self.query_one(PlanTable).marked_rows if self.query(PlanTable) else []

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._paint()

    def on_resize(self) -> None:
        self._paint()

    def on_plan_table_selected(self) -> None:
        self._paint()

    def _paint(self) -> None:
        self.query_one("#asked", TextPanel).update(self._asked(), "Plan", self._calibration())
        table = self.query_one(PlanTable)
        table.show(self.planned)
        frame = self.query_one("#chosen-row", TextPanel)
        rows = self._chosen(self.app.size.width - 4)
        height = self.app.size.height
        frame.styles.height = min(len(rows) + 2, max(7, height // 3), max(0, height - 12))
        frame.update(rows, "Why")
        line = Line(f" {self.command}", "dim")
        self.query_one("#command", TextPanel).update(
            [Line(f" ✗ {printable(self.problem)}", "bad") if self._broken else line]
        )
        self.query_one(Footer).paint()

    @property
    def _broken(self) -> bool:
        return bool(self.problem) and self.catalogue is not None

    def _asked(self) -> list[Line]:
        planned = self.planned
        budget = planned.budget if planned else None
        vram = BUDGETS[self.budget]
        named = f"{vram} GB" if vram else "this machine" if budget is None else printable(budget.name)
        line = Line("budget      ", "dim").add(f"‹ {named} ›", "bold").to(36)
        if budget is not None:
            # What a job can have stands first: on a small terminal the end is cut.
            line.add("┊ ", "dim").add(data_size(budget.limit_bytes)).add(" usable by a job", "dim")
            line.add(f", of {data_size(budget.total_bytes)}", "dim")
            if budget.in_use:
                line.add(f", {printable(budget.in_use)}", "dim")
        else:
            line.add("…", "dim")
        length = LENGTHS[self.length]
        said = "the recipe's" if length is None else f"{length:,}"
        other = Line("max length  ", "dim").add(f"‹ {said} ›", "bold").to(36)
        return [line, other.add("tokens of prompt and completion", "dim")]

    def _calibration(self) -> str:
        calibration = self.planned.calibration if self.planned else None
        if calibration is None:
            return ""
        if not calibration.runs:
            return f"no run to calibrate by yet: ± {share(calibration.spread)}"
        last = "" if calibration.last_error is None else f", last error {share(abs(calibration.last_error))}"
        return f"calibrated by {plural(calibration.runs, 'run')}{last}"

    def _chosen(self, width: int) -> list[Line]:
        """What the selected row takes by component, and which one to prefer, and why."""
        from core.vram.cpu_time import A_NIGHT_SECONDS, time_words

        plan = self.planned.plan if self.planned else None
        if plan is None:
            return []
        rows: list[Line] = []
        row = self.row
        if row is not None and row.forecast is not None:
            rows.append(Line(printable(row.words), "bold").add("  ").extend(verdict(row.forecast)).cut(width))
            rows += legend(forecast_parts(row.forecast), width)
        elif row is not None:
            text = f"not predicted: measure first — {row.not_predicted}; {row.remedy}"
            rows += [Line(part, "warn") for part in wrapped(printable(text), width)]
        budget = self.planned.budget if self.planned else None
        for device in budget.passed_over if budget else ():
            rows += [Line(part, "warn") for part in wrapped(f"▲ {not_used(device)}", width)]
        if row is not None and budget is not None and budget.kind == "cpu" and row.forecast is not None:
            slow = row.seconds is not None and row.seconds > A_NIGHT_SECONDS
            rows += [Line(part, "warn" if slow else "dim") for part in wrapped(time_words(row.seconds), width)]
        preferred = plan.preferred
        text = f"● prefer {preferred.words}: {plan.reasons}." if preferred else f"▲ {plan.reasons}."
        told = [Line(part, "good" if preferred else "warn") for part in wrapped(printable(text), width)]
        return rows + told

    @property
    def command(self) -> str:
        """The command that tells the same."""
        return shlex.join(["bakehouse", "plan", *self.options, *self.snapshot.project_option])

    @property
    def options(self) -> list[str]:
        """Those of the command that say for which memory and length."""
        vram, length = BUDGETS[self.budget], LENGTHS[self.length]
        return [*(["--vram", vram] if vram else []), *(["--max-length", f"{length}"] if length else [])]

    # Acts

    def action_move(self, step: int) -> None:
        self.query_one(PlanTable).move(step)
        self._paint()

    def action_mark(self) -> None:
        self.query_one(PlanTable).toggle_mark()
        self._paint()

    def action_tell_marks(self) -> None:
        self.app.notify(f"compare: {MARK_FIRST}", severity="warning", markup=False)

    def action_compare(self) -> None:
        budget = self.planned.budget if self.planned else None
        if budget is not None:
            pairs = [(row.model, row.recipe) for row in self.marked]
            options = [*self.options, *self.snapshot.project_option]
            self.app.push_screen(PlanComparisonScreen(self.context, pairs, budget, options))

    def action_budget(self, step: int) -> None:
        self.budget = (self.budget + step) % len(BUDGETS)
        self._ask_another()

    def action_length(self, step: int) -> None:
        self.length = (self.length + step) % len(LENGTHS)
        self._ask_another()

    def _ask_another(self) -> None:
        """The plan for another question is gone at once: no row may stand under a budget it was not made for."""
        self.planned = None
        self._ask()

    def action_open(self) -> None:
        from tui.screens.new_run import NewRun

        row = self.row
        if row is not None:
            self.app.push_screen(NewRun(self.context, row.model.name, row.recipe.name, LENGTHS[self.length]))
