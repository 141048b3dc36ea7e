"""Marked rows of the plan side by side, before anything runs: what `plan --compare` prints, as a screen."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message
from textual.widget import Widget

from core.format import plural
from tui.commands import ENDS, Command, bindings, command, scrolling
from tui.context import Context
from tui.lines import Line, folded, wrapped
from tui.queries.failures import ask_beside
from tui.screens.rows_screen import RowsScreen, problem_rows
from tui.widgets.comparison_rows import comparison_rows
from tui.widgets.text_panel import TextPanel

if TYPE_CHECKING:
    from core.config.model import ModelEntry
    from core.config.recipe import Recipe
    from core.submission.plan_comparison import ComparedTraining
    from core.vram.budget import Budget


class PlanComparisonScreen(RowsScreen):
    heading = "Side by side"
    commands: ClassVar[tuple[Command, ...]] = (
        *scrolling(page_rank=2),
        *ENDS,
        command("esc", "back", "Back to the plan; the marks stay", "escape,q,c", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class TrainingsCompared(Message):
        """The trainings, or why nothing is known of them."""

        def __init__(self, found: Sequence[ComparedTraining] | None, problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    def __init__(
        self,
        context: Context,
        pairs: Sequence[tuple[ModelEntry, Recipe]],
        budget: Budget,
        options: Sequence[str],
    ) -> None:
        """`options` are those of the command that say for which memory, length and project."""
        super().__init__(context)
        self.pairs = pairs
        self.budget = budget
        self.options = options
        self.found: Sequence[ComparedTraining] | None = None
        self.problem = ""

    def below_rows(self) -> Iterable[Widget]:
        yield TextPanel(id="command")

    def begin(self) -> None:
        ask_beside("comparison", self._read, lambda line: self.TrainingsCompared(None, line), self.tell)

    def _read(self) -> TrainingsCompared:
        """Reads what the home has measured: hundreds of trainings."""
        from core.store.database import open_database
        from core.submission.plan_comparison import compare_trainings

        home, project = self.context.home, self.context.find_project()
        with contextlib.closing(open_database(home)) as connection:
            return self.TrainingsCompared(compare_trainings(connection, home, project, self.pairs, self.budget))

    def on_plan_comparison_screen_trainings_compared(self, message: TrainingsCompared) -> None:
        self.found, self.problem = message.found, message.problem
        self._paint()

    @property
    def rows_title(self) -> Line:
        return Line(plural(len(self.pairs), "training"), "bold").add(" side by side, before anything runs", "dim")

    def _rows(self, width: int, height: int) -> list[Line]:
        if self.problem:
            return problem_rows(self.problem, width)
        if self.found is None:
            return [Line("reading what was measured here …", "dim")]
        from core.wording.memory import budget_words

        return [*folded(Line(budget_words(self.budget)), width), Line(), *comparison_rows(self.found, width)]

    def _paint(self) -> None:
        rows = [*wrapped(self.command, max(20, self.app.size.width - 2))]
        panel = self.query_one("#command", TextPanel)
        panel.styles.height = max(1, min(len(rows), self.app.size.height // 4))
        panel.update([Line(f" {row}", "dim") for row in rows])
        super()._paint()

    def on_resize(self) -> None:
        self._paint()

    @property
    def command(self) -> str:
        """The command that tells the same: it takes two at a time, and one that is named twice once."""
        named = [f"{model.name}:{recipe.name}" for model, recipe in self.pairs]
        if len(named) % 2:
            named.append(named[0])
        compared = [word for at in range(0, len(named), 2) for word in ("--compare", *named[at : at + 2])]
        return shlex.join(["bakehouse", "plan", *self.options, *compared])
