"""The answers of a bake-off as they come: what is there already, what is written down, how far it all is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core.bakeoff.answers import Answer, append_answer, read_answers
from core.bakeoff.curtailment import RunningScores
from core.config.golden import GoldenInput
from core.jobfile.bakeoff import BakeoffSpec
from core.time_left import Pace
from jobs.context import JobContext

# While no answer is ready, how far it is is told this often.
SECONDS_PER_SIGN = 2.0


class AnswerRecord:
    """The answers so far. One that a server failed to give is open: the next attempt asks for it again."""

    def __init__(self, context: JobContext, spec: BakeoffSpec, inputs: Mapping[str, Sequence[GoldenInput]]) -> None:
        self.context = context
        self.path = context.run.answers
        self._known: dict[tuple[str, str], Answer] = {}
        for answer in read_answers(self.path):
            self._known[(answer.candidate, answer.key)] = answer
        # Of an earlier bake-off: by the key alone, since a candidate can have had another name there.
        self._earlier: dict[str, Answer] = {}
        if spec.earlier is not None:
            self._earlier = {
                answer.key: answer for answer in read_answers(Path(spec.earlier.path)) if answer.fault != "server"
            }
        self.taken_over = 0
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
        return list(self._known.values())

    def has(self, candidate: str, key: str) -> bool:
        """Whether nobody has to be asked for this answer; one of an earlier bake-off is written down with the others."""
        known = self._known.get((candidate, key))
        if known is not None:
            return known.fault != "server"
        earlier = self._earlier.get(key)
        if earlier is None:
            return False
        self.add(replace(earlier, candidate=candidate))
        self.taken_over += 1
        return True

    def add(self, answer: Answer) -> None:
        """Write an answer down; it is on the disk when this returns."""
        append_answer(self.path, answer)
        self._known[(answer.candidate, answer.key)] = answer
        self._score(answer)

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
    """Answers so far, told as progress events."""

    def __init__(self, context: JobContext, total: int) -> None:
        self.context = context
        self.total = total
        self.done = 0
        # Answers that are generated together end together: what counts is how long a batch of them takes.
        self.pace = Pace(warm_up=1, least=3)
        self.batch = 1
        self.fresh = 0
        self.began = self.told = time.monotonic()

    def add(self, count: int, *, fresh: bool, label: str) -> None:
        self.done += count
        self.fresh += count if fresh else 0
        if self.fresh >= self.batch:
            now = time.monotonic()
            self.pace.step(now - self.began, self.fresh)
            self.began, self.fresh = now, 0
        self.tell(label)

    def skip(self, count: int) -> None:
        """So many answers are not wanted any more."""
        self.total -= count

    def answering(self, batch: int) -> None:
        """Answers come from now on, so many at a time; what passed before, such as the load of a model, is not counted."""
        self.batch, self.fresh, self.began = batch, 0, time.monotonic()

    def tell(self, label: str, tokens_per_second: float | None = None) -> None:
        eta = self.pace.left(self.total - self.done)
        self.told = time.monotonic()
        self.context.progress(
            self.done, self.total, "answers", label=label, eta_seconds=eta, tokens_per_second=tokens_per_second
        )

    def sign_of_life(self, label: str, tokens_per_second: float | None) -> None:
        """Told in the middle of answers, no more often than every two seconds."""
        if time.monotonic() - self.told > SECONDS_PER_SIGN:
            self.tell(label, tokens_per_second)
