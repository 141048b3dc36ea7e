"""The answers of a bake-off as they come: what is there already, what is written down, how far it all is."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core.bakeoff.curtailment import RunningScores
from core.config.golden import GoldenInput
from core.jobfile.bakeoff import BakeoffSpec
from core.scoring.answers import Answer, append_answer, read_answers
from jobs.bakeoff.earlier import earlier_answers
from jobs.bakeoff.pace import BakeoffPace, TimeLeft, UnderWay
from jobs.context import JobContext

# While no answer is ready, how far it is is told this often.
SECONDS_PER_SIGN = 2.0
SECONDS_PER_RECKONING = 1.0


class AnswerRecord:
    """The answers so far. One that a server failed to give is open: the next attempt asks for it again.

    Each belongs to who gave it, so a model that has changed is asked for all of its answers again, and those of the former one
    stay: should it change back, they count again.
    """

    def __init__(
        self,
        context: JobContext,
        spec: BakeoffSpec,
        inputs: Mapping[str, Sequence[GoldenInput]],
        path: Path | None = None,
    ) -> None:
        """`path`: the file of the answers; None is that of a bake-off, which the runner imports."""
        self.context = context
        self.path = path or context.run.answers
        self._known: dict[tuple[str, str], Answer] = {}
        self._counts: dict[tuple[str, str, str, int], Answer] = {}
        for answer in read_answers(self.path):
            self._keep(answer)
        # Of an earlier bake-off: by the key alone, since a candidate can have had another name there.
        self._earlier = {answer.key: answer for answer in earlier_answers(context.home, spec)}
        self._running: dict[str, RunningScores] = {}
        self._pattern_timeout = spec.pattern_timeout_seconds
        if spec.curtail:
            self._running = {
                task.name: RunningScores(task.task, inputs[task.name], task.repeats, spec.against)
                for task in spec.tasks
            }
            for answer in self.answers:
                self._score(answer)

    @property
    def answers(self) -> list[Answer]:
        """What counts: one answer for each place, the newest good one."""
        return list(self._counts.values())

    def has(self, candidate: str, key: str) -> bool:
        """Whether nobody has to be asked for this answer. One of an earlier bake-off is written down with the others, and so is
        one that another model's has taken the place of, since it counts again.
        """
        known = self._known.get((candidate, key))
        if known is not None:
            if known.fault != "server" and self._counts[known.place].key != key:
                self.add(known)
            return known.fault != "server"
        earlier = self._earlier.get(key)
        if earlier is None:
            return False
        self.add(replace(earlier, candidate=candidate))
        return True

    def add(self, answer: Answer) -> None:
        """Write an answer down; it is on the disk when this returns."""
        append_answer(self.path, answer)
        self._keep(answer)
        self._score(answer)

    def withdraw(self, answer: Answer, problem: str) -> None:
        """Take an answer back of which nobody knows who gave it; it is open again."""
        taken_back = replace(
            answer, text="", thinking=None, finish="stop", fault="server", problem=problem, withdrawn=True
        )
        append_answer(self.path, taken_back)
        self._keep(taken_back)
        if (running := self._running.get(answer.task)) is not None:
            running.forget(answer.candidate, answer.input_id, answer.repeat)

    def begin_with(self, candidate: str, identity: str) -> None:
        """This candidate is the model of that identity now: what another one scored says nothing of what it can reach."""
        for running in self._running.values():
            running.forget(candidate)
        if self._running:
            for answer in self._known.values():
                if (answer.candidate, answer.identity) == (candidate, identity):
                    self._score(answer)

    def _keep(self, answer: Answer) -> None:
        self._known[(answer.candidate, answer.key)] = answer
        counts = self._counts.get(answer.place)
        if counts is None or answer.withdrawn or answer.fault != "server" or counts.fault == "server":
            self._counts[answer.place] = answer

    def is_hopeless(self, candidate: str, task: str) -> bool:
        """Whether a candidate cannot reach the incumbent at a task any more, where the bake-off curtails."""
        running = self._running.get(task)
        return running is not None and running.hopeless(candidate)

    def curtailed(self, task: str) -> frozenset[str]:
        """The candidates that were not asked to the end of a task."""
        running = self._running.get(task)
        return frozenset() if running is None else running.curtailed()

    def _score(self, answer: Answer) -> None:
        if (running := self._running.get(answer.task)) is not None:
            running.score(answer, self._pattern_timeout)


class Tally:
    """How far a bake-off is and how long it still takes, told as progress events.

    `planned` is how many answers of each candidate in each task are wanted, `turns` which candidates share one load.
    """

    def __init__(
        self, context: JobContext, planned: Mapping[str, Mapping[str, int]], turns: Iterable[Collection[str]]
    ) -> None:
        self.context = context
        self.total = sum(sum(tasks.values()) for tasks in planned.values())
        self.done = 0
        self.pace = BakeoffPace(planned, turns)
        self.under_way: UnderWay | None = None
        # Of the answers that have come of the batch that is under way: what they took is known once it is over.
        self.tokens: list[int] = []
        self.batch, self.open = 1, 0
        self.left: TimeLeft | None = None
        self.began = self.told = time.monotonic()
        self.reckoned = -math.inf

    def held(self, candidate: str, task: str, count: int) -> None:
        """So many answers are there already."""
        self.done += count
        self._settle(candidate, task, count)

    def skip(self, candidate: str, task: str, count: int = 1) -> None:
        """So many answers are not wanted any more."""
        self.total -= count
        self._settle(candidate, task, count)

    def reopen(self, candidate: str, task: str, count: int) -> None:
        """So many answers are wanted from now on, whatever was there: the model is another one by now."""
        self.done = max(0, self.done - self.pace.reopened(candidate, task, count))
        self.total = self.done + self.pace.open_answers
        self.reckoned = -math.inf

    def loaded(self, candidate: str, seconds: float) -> None:
        """The model of this candidate is loaded."""
        self.pace.loaded(candidate, seconds)
        self.reckoned = -math.inf

    def answering(self, candidate: str, task: str, count: int, *, batch: int = 1, limit: int | None = None) -> None:
        """So many answers come from now on, `batch` generated together with `limit` tokens each at most. What passed before,
        such as the load of a model, is not counted. A server's answers come one by one, though it is asked for several: how
        far they are is told by `coming`."""
        self.batch, self.open = batch, count
        self._begin(UnderWay(candidate, task, min(batch, count), limit=limit))

    def add(self, answer: Answer, tokens: int | None = None) -> None:
        """An answer has come. `tokens`: how many it is taken to have, where its server does not say."""
        self.done += 1
        tokens = answer.completion_tokens if tokens is None else tokens
        if answer.fault == "server":
            self._settle(answer.candidate, answer.task, 1)
        elif self.under_way is None or self.batch == 1:
            self.pace.answered(answer.candidate, answer.task, [tokens], answer.seconds)
            limit = None if self.under_way is None else self.under_way.limit
            self._begin(UnderWay(answer.candidate, answer.task, limit=limit))
        else:
            self.tokens.append(tokens)
            if len(self.tokens) == self.under_way.size:
                self.pace.answered(answer.candidate, answer.task, self.tokens, time.monotonic() - self.began)
                self.open -= len(self.tokens)
                self.tokens = []
                self._begin(replace(self.under_way, steps=0, size=max(1, min(self.batch, self.open))))
                self.reckoned = -math.inf
        self.tell(answer.candidate)

    def step(self) -> None:
        """Each answer of the batch that is under way has one token more."""
        if self.under_way is not None:
            self.under_way = replace(self.under_way, steps=self.under_way.steps + 1)

    def coming(self, tokens: Sequence[int]) -> None:
        """How many tokens are there of each answer that a server is giving."""
        if self.under_way is not None:
            self.under_way = replace(self.under_way, alone=tuple(tokens))

    def tell(self, label: str, tokens_per_second: float | None = None) -> None:
        now = time.monotonic()
        # A server can answer a hundred times a second: what is left is reckoned anew once in one.
        if now - self.reckoned >= SECONDS_PER_RECKONING:
            self.left, self.reckoned = self.pace.left(now - self.began, self.under_way), now
        self.told = now
        left = {} if self.left is None else self.left.event_fields
        if self.under_way is not None and (coming := sum(self.under_way.alone)):
            left = {**left, "tokens_coming": coming}
        self.context.progress(
            self.done, self.total, "answers", label=label, tokens_per_second=tokens_per_second, **left
        )

    def sign_of_life(self, label: str, tokens_per_second: float | None) -> None:
        """Told in the middle of answers, no more often than every two seconds."""
        if time.monotonic() - self.told > SECONDS_PER_SIGN:
            self.tell(label, tokens_per_second)

    def _begin(self, under_way: UnderWay) -> None:
        if self.tokens and self.under_way is not None:
            # A batch that was given up in its middle says nothing of what one takes.
            self._settle(self.under_way.candidate, self.under_way.task, len(self.tokens))
        self.under_way, self.tokens, self.began = under_way, [], time.monotonic()

    def _settle(self, candidate: str, task: str, count: int) -> None:
        self.pace.settled(candidate, task, count)
        self.reckoned = -math.inf
