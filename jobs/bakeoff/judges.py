"""The judges' turn, the last of a bake-off: each judge is loaded once and asked what nobody has asked it yet.

Whatever a judge does, the bake-off is scored: a verdict that is missing leaves the content of its answer unknown.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from core.checks.judge import Order
from core.config.golden import GoldenInput
from core.config.task import Task
from core.errors import BakehouseError
from core.format import plural
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.servers import opened
from core.scoring.answers import Answer
from core.scoring.judge_prompt import again, judge_question, read_verdict, window_for
from core.scoring.to_judge import ToJudge, to_judge
from core.scoring.verdicts import GivenVerdict, append_verdict, counting, read_verdicts
from core.serving.answering import Capabilities, Question, Reply, ServedModel
from core.serving.errors import ServerError
from core.serving.retry import pause_before_retry
from jobs.bakeoff.in_flight import SameModel
from jobs.bakeoff.served_models import have_serve
from jobs.context import JobContext
from jobs.patience import SECONDS_BETWEEN_LOOKS, patiently

T = TypeVar("T")

MOST_ROUNDS = 3
"""How often a judge may turn out to be another model half-way, before it is asked no more."""
MOST_FAILURES_IN_A_ROW = 3
"""After so many questions in a row without a reply nothing more is asked: the server does not serve this judge."""


@dataclass(frozen=True)
class JudgedTask:
    """A task with its inputs and the answers that are to be judged."""

    task: Task
    inputs: tuple[GoldenInput, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class JudgeCost:
    """What a judge was asked in this attempt: so many verdicts, in so many seconds with its load."""

    judge: str
    verdicts: int
    seconds: float


class VerdictRecord:
    """The verdicts so far. What an earlier job was told counts as well, and is written down with the others."""

    def __init__(self, path: Path, earlier: Iterable[GivenVerdict] = ()) -> None:
        self.path = path
        self._known = {one.key: one for one in read_verdicts(path)}
        self._earlier = {one.key: one for one in earlier if one.value is not None}
        self.known_before = 0
        """How many nobody was asked for, as an earlier job was told them."""

    @property
    def verdicts(self) -> list[GivenVerdict]:
        return list(self._known.values())

    def has(self, key: str, one: ToJudge) -> bool:
        """Whether nobody has to be asked for it. A reply that could not be read is not asked for twice by one job."""
        if key in self._known:
            return True
        earlier = self._earlier.get(key)
        if earlier is None:
            return False
        given = one.answer
        now = replace(earlier, task=given.task, answer_key=given.key, candidate=given.candidate, time=time.time())
        self.add(now)
        self.known_before += 1
        return True

    def add(self, verdict: GivenVerdict) -> None:
        """Write a verdict down; it is on the disk when this returns."""
        append_verdict(self.path, verdict)
        self._known[verdict.key] = verdict

    def withdraw(self, verdict: GivenVerdict) -> None:
        """Take a verdict back of which nobody knows who gave it."""
        append_verdict(self.path, replace(verdict, withdrawn=True))
        self._known.pop(verdict.key, None)

    def is_whole(self, judge: str, wanted: Sequence[ToJudge]) -> bool:
        """Whether the judge that was asked last has said all of it."""
        newest = [one.judge_identity for one in counting(self._known.values()) if one.judge == judge]
        return bool(newest) and all(key in self._known for one in wanted for key, _, _ in one.keys(newest[0]))


@dataclass(frozen=True)
class WantedVerdict:
    """One verdict that is to be asked for."""

    key: str
    one: ToJudge
    order: Order
    ask: int
    question: Question

    def given(self, reply: Reply, identity: str, judge: str, tries: int) -> GivenVerdict:
        text = reply.text
        # What was cut may have gone on: `VERDICT: 1` of a 10.
        value = None if reply.finish == "length" else read_verdict(self.one.definition, text, self.order)
        return GivenVerdict(
            key=self.key,
            task=self.one.answer.task,
            check_hash=self.one.check_hash,
            answer_key=self.one.answer.key,
            answer_sha256=self.one.answer_sha256,
            candidate=self.one.answer.candidate,
            judge=judge,
            judge_identity=identity,
            ask_order=self.order,
            ask=self.ask,
            text=text,
            value=value,
            time=time.time(),
            seconds=reply.seconds,
            tries=tries,
        )


def ask_judges(
    context: JobContext,
    judges: Sequence[CandidateSpec],
    tasks: Sequence[JudgedTask],
    record: VerdictRecord,
    concurrency: int = 1,
) -> list[JudgeCost]:
    """Ask each judge what is missing. One that does not answer is told, and what it did not say stays missing."""
    costs = []
    for judge in judges:
        every = [found for one in tasks for found in to_judge(one.task, one.inputs, one.answers)]
        wanted = [one for one in every if one.definition.model == judge.name]
        if not wanted or record.is_whole(judge.name, wanted):
            continue
        before, began = len(record.verdicts) - record.known_before, time.monotonic()
        try:
            assert judge.server is not None and judge.served_model is not None  # the spec was validated
            if judge.server.served_dir is not None:
                have_serve(context, judge.server)
            with contextlib.closing(opened(judge.server, judge.served_model)) as model:
                judge_with(context, judge.name, model, wanted, record, concurrency)
        except BakehouseError as error:
            context.warn("not_judged", f"the judge {judge.name}: {error.message}")
        asked = len(record.verdicts) - record.known_before - before
        costs.append(JudgeCost(judge.name, asked, time.monotonic() - began))
    return costs


def judge_with(
    context: JobContext,
    name: str,
    model: ServedModel,
    wanted: Sequence[ToJudge],
    record: VerdictRecord,
    concurrency: int = 1,
) -> None:
    """Ask this model, a judge known as `name`, what is missing. Raises ServerError where its server does not serve it.

    A model that turns out to be another one half-way is asked for all of it again: no result is of two judges.
    """
    turn = _Turn(context, name, model, wanted, record, concurrency)
    context.phase("asking the judge", name)
    identity = turn.patiently(model.identity)
    for _ in range(MOST_ROUNDS):
        if turn.round(identity.sha256):
            return
        now = turn.patiently(model.identity)
        changed = ", ".join(now.changed_from(identity)) or "it was replaced by the same"
        context.warn("judge_changed", f"the judge {name} changed while it was asked ({changed}): it is asked again")
        identity = now
    message = f"the judge {name} keeps changing while it is asked: it is asked no more"
    raise ServerError(
        message, code="server_refused", remedy="see who replaces it or restarts its server, and ask again"
    )


class _Turn:
    """One judge in one attempt."""

    def __init__(
        self,
        context: JobContext,
        name: str,
        model: ServedModel,
        wanted: Sequence[ToJudge],
        record: VerdictRecord,
        concurrency: int,
    ) -> None:
        self.context, self.name, self.model, self.wanted = context, name, model, wanted
        self.record, self.concurrency = record, concurrency
        self._random = random.Random(0)
        self._given_up = threading.Event()
        self._last_refusal: ServerError | None = None

    def patiently(self, call: Callable[[], T]) -> T:
        return patiently(self.context, self.model.name, call, self._random)

    def round(self, identity: str) -> bool:
        """Ask for what this very model has not said yet; False where it turned out to be another one meanwhile."""
        total = sum(len(one.definition.verdicts) for one in self.wanted)
        missing = [
            (one, key, order, ask)
            for one in self.wanted
            for key, order, ask in one.keys(identity)
            if not self.record.has(key, one)
        ]
        if not missing:
            return True
        able = self.patiently(self.model.capabilities)
        asked = self._questions(missing, able)
        self._load(max(one.question.context_length for one in asked))
        same = SameModel(self.model, self.patiently(self.model.stamp))
        if self.patiently(self.model.identity).sha256 != identity:
            return False
        self.context.phase("judging", f"{self.name}: {plural(len(asked), 'verdict')}")
        done, unread, unsure = total - len(asked), 0, deque[tuple[float, GivenVerdict]]()
        self.context.progress(done, total, "verdicts", label=self.name)
        try:
            for verdict in self._verdicts(asked, identity, same):
                self.record.add(verdict)
                unsure.append((time.monotonic(), verdict))
                while unsure and unsure[0][0] <= same.sure_until:
                    unsure.popleft()
                done, unread = done + 1, unread + (verdict.value is None)
                self.context.progress(done, total, "verdicts", label=self.name)
                said = "not to be read" if verdict.value is None else f"{verdict.value:.2f}"
                self.context.say(f"{self.name} {done}/{total} {verdict.candidate} {verdict.answer_key[:8]}: {said}")
            same.look(at_once=True)
        finally:
            if same.changed:
                for came_at, verdict in unsure:
                    if came_at > same.sure_until:
                        self.record.withdraw(verdict)
        if same.changed:
            return False
        if unread:
            self.context.warn(
                "unread_verdicts", f"{self.name}: {unread} of {plural(total, 'verdict')} could not be read"
            )
        self._unload()
        if done < total:
            why = "" if self._last_refusal is None else f": {self._last_refusal.message}"
            self.context.warn("not_judged", f"the judge {self.name} gave {done} of {total} verdicts{why}")
        return True

    def _questions(self, missing: Sequence[tuple[ToJudge, str, Order, int]], able: Capabilities) -> list[WantedVerdict]:
        """With one window for all of them: with another one a server would load the model anew."""
        asked = [
            WantedVerdict(key, one, order, ask, judge_question(one.definition, one.judged, order, ask, able))
            for one, key, order, ask in missing
        ]
        window = max(
            max(one.question.context_length, window_for(again(one.one.definition, one.question))) for one in asked
        )
        return [replace(one, question=replace(one.question, context_length=window)) for one in asked]

    def _load(self, window: int) -> None:
        self.context.phase("loading the judge", self.name)
        try:
            loaded = self.patiently(lambda: self.model.load(window))
        except ServerError as error:
            if error.code != "context_overflow":
                raise
            # The window is more than most questions need; one that is too long for the server is refused by it.
            self.context.say(f"{error.message}; it is asked all the same")
        else:
            self.context.say(f"{self.name}: loaded in {loaded.seconds:.1f} s, context {window}")

    def _unload(self) -> None:
        try:
            self.patiently(self.model.unload)
        except ServerError as error:
            self.context.warn("not_unloaded", f"{self.name} may still be in memory: {error.message}")

    def _verdicts(self, asked: Sequence[WantedVerdict], identity: str, same: SameModel) -> Iterator[GivenVerdict]:
        """As they come, `concurrency` at a time. Fewer where the server stops answering, or the model is another one."""
        self._given_up.clear()
        waiting, failed = iter(asked), 0
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="judging") as pool:
            ask = partial(self._ask, identity=identity)
            running: set[Future[GivenVerdict | ServerError]] = {
                pool.submit(ask, one) for one in islice(waiting, self.concurrency)
            }
            try:
                while running:
                    done, running = wait(running, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                    self.context.check_stop()
                    for future in done:
                        came = future.result()
                        same.look()
                        if same.changed:
                            return
                        if isinstance(came, ServerError):
                            # A question that is too long for it says nothing of the others.
                            failed += came.code != "context_overflow" and came.status != 413
                            self._last_refusal = came
                        else:
                            failed = 0
                        if failed < MOST_FAILURES_IN_A_ROW and (one := next(waiting, None)) is not None:
                            running.add(pool.submit(ask, one))
                        if not isinstance(came, ServerError):
                            yield came
            finally:
                self._given_up.set()

    def _ask(self, wanted: WantedVerdict, identity: str) -> GivenVerdict | ServerError:
        """One verdict, asked for a second time where the first reply could not be read. In a thread of its own."""
        question, tries = wanted.question, 0
        for _ in range(2):
            try:
                reply, more = self._reply(question)
            except ServerError as error:
                return error
            tries += more
            verdict = wanted.given(reply, identity, self.name, tries)
            if verdict.value is not None:
                break
            question = again(wanted.one.definition, wanted.question)
        return verdict

    def _reply(self, question: Question) -> tuple[Reply, int]:
        """A reply and how often it was asked for. Raises the ServerError that stays."""
        tries = 0
        while True:
            tries += 1
            try:
                return self.model.ask(question, self._given_up.is_set), tries
            except ServerError as error:
                pause = pause_before_retry(error, tries, self._random)
                if pause is None or self._given_up.is_set():
                    raise
                self.context.say(f"{self.name}: {error.message}; asked again in {pause:.1f} s")
                self._given_up.wait(pause)
