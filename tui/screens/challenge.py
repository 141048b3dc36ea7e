"""A new base model held against the fleet: what would be queued, how far each task is, and which tasks to switch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message

from core.format import plural
from core.text import printable
from tui.actions import AUTHOR, RequestDone
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, folded
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.chain import ChainScreen
from tui.screens.promotion import PromotionScreen
from tui.screens.rows_screen import WatchingScreen
from tui.screens.start_challenge import AskChallenge, ChallengeAsked
from tui.widgets.challenge_rows import challenge_rows

if TYPE_CHECKING:
    from core.fleet.challenge import ChallengedTask
    from core.fleet.rows import FleetRow
    from core.store.challenges import Challenge
    from core.submission.challenge import ChallengePlan


@dataclass(frozen=True)
class StandingChallenge:
    """A challenge and how far its tasks are."""

    challenge: Challenge
    tasks: tuple[ChallengedTask, ...]


def queued_words(plan: ChallengePlan) -> str:
    return f"{plural(len(plan.tasks), 'chain')} queued: {plan.wanted.model} challenges the fleet"


class ChallengeScreen(WatchingScreen):
    heading = "Challenge"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "The next task", "j,down", "scroll(1)", rank=0, palette=False),
        command("k ↑", "up", "The task before", "k,up", "scroll(-1)", rank=0, palette=False),
        command(
            "u",
            "promote",
            "Promote the new model at the selected task: its evidence first",
            "u",
            "promote",
            lambda screen: screen.can_promote,
            rank=1,
            unless="Select a task that has been measured and does not serve the new model yet.",
        ),
        command(
            "⏎",
            "open",
            "Open the chain of the selected task",
            "enter",
            "open_chain",
            lambda screen: screen.plan is None and screen.chosen is not None and screen.chosen.chain is not None,
            rank=1,
            unless="The selected task has no chain.",
        ),
        command(
            "⏎",
            "queue them",
            "Queue these chains",
            "enter",
            "queue",
            lambda screen: screen.plan is not None and bool(screen.plan.tasks) and not screen.busy,
            rank=1,
            unless="Nothing is planned.",
        ),
        command(
            "n",
            "new",
            "New challenge: a base model for every task of the fleet",
            "n",
            "new",
            lambda screen: not screen.busy,
            rank=2,
        ),
        command(
            "tab",
            "next",
            "The challenge before this one",
            "tab",
            "turn",
            lambda screen: len(screen.standing or ()) > 1 and screen.plan is None,
            rank=3,
            unless="There is no other challenge.",
        ),
        command("r", "read again", "Look again, and ask the gate again", "r", "read", lambda s: not s.reading, rank=3),
        command("esc", "back", "Back to the fleet; what is queued goes on", "escape,q", "leave", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class ChallengesRead(Message):
        def __init__(self, found: tuple[StandingChallenge, ...] | None, problem: str = "") -> None:
            super().__init__()
            self.found = found
            self.problem = problem

    class ChallengePlanned(Message):
        """What would be queued; or, with `queued`, what was."""

        def __init__(self, plan: ChallengePlan | None, problem: str = "", queued: bool = False) -> None:
            super().__init__()
            self.plan = plan
            self.problem = problem
            self.queued = queued

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.standing: tuple[StandingChallenge, ...] | None = None
        self.number = 0
        self.selected: str | None = None
        self.plan: ChallengePlan | None = None
        self.problem = ""
        """Of what was asked for: it stays until something else is."""
        self.fault = ""
        """Of the last look."""
        self.busy = False

    @property
    def shown(self) -> StandingChallenge | None:
        return self.standing[self.number] if self.standing and self.number < len(self.standing) else None

    @property
    def tasks(self) -> Sequence[ChallengedTask]:
        """In the order in which they stand on the screen."""
        found = () if self.shown is None else self.shown.tasks
        return sorted(found, key=lambda one: not one.is_measured)

    @property
    def chosen(self) -> ChallengedTask | None:
        return next((one for one in self.tasks if one.task == self.selected), None)

    @property
    def can_promote(self) -> bool:
        one = self.chosen
        return self.plan is None and one is not None and one.stage == "done" and self._row(one) is not None

    def _row(self, one: ChallengedTask) -> FleetRow | None:
        fleet, challenge = self.context.snapshot.fleet, self.shown
        if fleet is None or challenge is None:
            return None
        key = (challenge.challenge.project_id, one.task)
        return next((row for row in fleet.rows if (row.project_id, row.task) == key), None)

    # Showing

    def watched(self, snapshot: Snapshot) -> object:
        """The states of the chains and the versions of the fleet: bake-offs are loaded for a look, and servers asked."""
        chains = [(one.id, [link.job.state for link in one.links]) for one in snapshot.chains]
        rows = () if snapshot.fleet is None else snapshot.fleet.rows
        return chains, [(one.project_id, one.task, one.alias.version_id) for one in rows]

    @property
    def rows_title(self) -> Line:
        title = Line("Challenge", "bold")
        if self.shown is not None and self.plan is None:
            from core.wording.challenge import headline

            one = self.shown.challenge
            title.add(f"  {headline(one.model, self.shown.tasks)}").add(f" · {one.author}", "dim")
        return title

    def _rows(self, width: int, height: int) -> list[Line]:
        rows = [part for said in (self.problem, self.fault) if said for part in folded(Line(f"✗ {said}", "bad"), width)]
        if self.busy:
            return [*rows, Line("looking at each task: its data, its recipe, the memory that it takes …", "busy")]
        if self.plan is not None:
            return [*rows, *self._planned(self.plan, width)]
        if self.standing is None:
            return rows or [Line("reading …", "dim")]
        if self.shown is None:
            text = "No challenge yet: n holds a new base model against all that serves, task by task, overnight."
            return [*rows, *folded(Line(text, "dim"), width)]
        return [*rows, *challenge_rows([self._as_now(one) for one in self.shown.tasks], self.selected, width)]

    def _as_now(self, one: ChallengedTask) -> ChallengedTask:
        """With how far its chain is this moment."""
        chain = None if one.chain is None else self.snapshot.chain(one.chain.id)
        return one if chain is None else replace(one, chain=chain)

    def _planned(self, plan: ChallengePlan, width: int) -> list[Line]:
        from core.wording.challenge import left_out_words, plan_headline, planned_words

        rows = [*folded(Line(plan_headline(plan), "bold"), width), Line()]
        for number, one in enumerate(plan.tasks, 1):
            rows += folded(Line(f"{number:>3}. ", "dim").add(planned_words(one)), width)
            for remark in one.remarks:
                rows += folded(Line("     ").add(remark, "dim"), width)
        for left in plan.left_out:
            rows += folded(Line("  ✗ ", "bad").add(left_out_words(left)), width)
        return rows

    # Reading

    def action_read(self) -> None:
        self.reading = True
        ask_beside("challenges", self._read, lambda line: self.ChallengesRead(None, line), self.tell)

    def _read(self) -> ChallengesRead:
        """Loads bake-offs, and asks the gate about what is measured."""
        from core.fleet.challenge import challenged_tasks
        from core.fleet.promotion import judge_of
        from core.store.challenges import list_challenges
        from core.store.database import open_database

        home, project = self.context.home, self.context.find_project()
        with contextlib.closing(open_database(home)) as connection:
            judge = judge_of(home, connection, project)
            found = [
                StandingChallenge(one, tuple(challenged_tasks(home, connection, one, judge)))
                for one in list_challenges(connection, project.id)
            ]
        return self.ChallengesRead(tuple(found))

    def on_challenge_screen_challenges_read(self, message: ChallengesRead) -> None:
        self.reading, self.fault = False, message.problem
        if message.found is not None:
            self.standing = message.found
        if self.chosen is None:
            self.selected = self.tasks[0].task if self.tasks else None
        self._paint()

    # Asking

    def action_new(self) -> None:
        def answered(asked: ChallengeAsked | None) -> None:
            if asked is not None:
                self.busy, self.problem = True, ""
                self._paint()
                failed = lambda line: self.ChallengePlanned(None, line)  # noqa: E731
                ask_beside("challenge", lambda: self._plan(asked), failed, self.tell)

        self.app.push_screen(AskChallenge(self.context), answered)

    def _plan(self, asked: ChallengeAsked) -> ChallengePlanned:
        from core.submission.challenge import WantedChallenge, plan_challenge

        wanted = WantedChallenge(asked.model, recipe=asked.recipe)
        return self.ChallengePlanned(plan_challenge(self.context.home, self.context.find_project(), wanted))

    def action_queue(self) -> None:
        plan = self.plan
        if plan is not None:
            self.busy = True
            self._paint()
            failed = lambda line: self.ChallengePlanned(None, line)  # noqa: E731
            ask_beside("queue a challenge", lambda: self._queue(plan), failed, self._tell_queued)

    def _queue(self, plan: ChallengePlan) -> ChallengePlanned:
        from core.runner.client import author
        from core.submission.challenge import submit_challenge

        home = self.context.home
        _, queued = submit_challenge(home, self.context.find_project(), plan, author=author(AUTHOR))
        return self.ChallengePlanned(queued, queued=True)

    def _tell_queued(self, message: ChallengePlanned) -> None:
        words = message.problem if message.plan is None else queued_words(message.plan)
        self.tell(message, RequestDone(words, failed=message.plan is None))

    def on_challenge_screen_challenge_planned(self, message: ChallengePlanned) -> None:
        self.busy, self.problem = False, message.problem
        self.plan = None if message.queued else message.plan
        if message.queued and message.plan is not None:
            self.app.notify(printable(queued_words(message.plan)), markup=False)
            self.number = 0
            self.context.feed.wake()
            self.action_read()
        self._paint()

    # Keys

    def action_scroll(self, step: int) -> None:
        names = [one.task for one in self.tasks]
        if self.plan is not None or not names:
            super().action_scroll(step)
            return
        at = names.index(self.selected) if self.selected in names else 0
        self.selected = names[max(0, min(len(names) - 1, at + step))]
        self._paint()

    def action_turn(self) -> None:
        self.number = (self.number + 1) % len(self.standing or (None,))
        self.selected = self.tasks[0].task if self.tasks else None
        self._paint()

    def action_promote(self) -> None:
        one = self.chosen
        row = None if one is None else self._row(one)
        if one is not None and row is not None and one.candidate is not None:
            self.app.push_screen(PromotionScreen(self.context, row, one.candidate))

    def action_open_chain(self) -> None:
        one = self.chosen
        if one is not None and one.chain is not None:
            self.app.push_screen(ChainScreen(self.context, one.chain.id, one.chain.current.job.id))

    def action_leave(self) -> None:
        if self.plan is not None:
            self.plan = None
            self._paint()
        else:
            self.app.pop_screen()
