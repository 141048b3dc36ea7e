"""One served model asked for many answers: several at a time, each again after what a server does wrong for a moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice

from core.jobfile.bakeoff import CandidateSpec
from core.scoring.answers import Answer, Finish, find_fault
from core.scoring.thinking import split_thinking
from core.serving.answering import Question, Reply, ServedModel
from core.serving.errors import ServerError
from core.serving.retry import pause_before_retry
from jobs.bakeoff.flights import Flights, Glances, SameModel
from jobs.bakeoff.questions import AskedTask, Cell

SECONDS_BETWEEN_LOOKS = 0.2
"""How long a stop request may go unseen while answers are on their way."""
MOST_HOLES_IN_A_ROW = 3
"""After so many answers in a row that failed for good nothing more is asked: the server does not serve this candidate."""


@dataclass(frozen=True)
class WantedReply:
    """One answer that is wanted of a served model. `identity` names what is to give it."""

    key: str
    candidate: CandidateSpec
    asked: AskedTask
    cell: Cell
    question: Question
    prompt_sha256: str
    identity: str


class Asking:
    """`model` asked by `concurrency` threads. `revive` has it loaded again when its server went away; `say` writes the log.

    `same` is looked at behind each answer: once the model is another one, nothing more is asked, and no answer comes any more.
    """

    def __init__(
        self,
        model: ServedModel,
        concurrency: int,
        revive: Callable[[], None],
        say: Callable[[str], None],
        same: SameModel,
        seed: int = 0,
    ) -> None:
        self.model, self.concurrency, self.revive, self.say, self.same = model, concurrency, revive, say, same
        self._flights, self._glances = Flights(), Glances(model)
        self._random = random.Random(seed)
        self._given_up = threading.Event()
        self.last_refusal: ServerError | None = None
        """Why the newest answer that is missing was not given."""
        self._reviving = threading.Lock()
        self._revived = 0

    @property
    def tokens_under_way(self) -> tuple[int, ...]:
        """How many tokens have come of each answer that is on its way."""
        return self._flights.tokens

    def answers(
        self,
        wanted: Sequence[WantedReply],
        at_look: Callable[[], None],
        is_wanted: Callable[[WantedReply], bool] = lambda wanted: True,
    ) -> Iterator[tuple[float, Answer]]:
        """The answers as they come, each with the moment (monotonic) by which it was there. `at_look` is called several times a
        second and may raise: then all is given up.

        Fewer come than are wanted where the server serves none of the last ones, where the model is another one by now, and
        where `is_wanted` says of one, before it is asked for, that it is wanted no more.
        """
        self._given_up.clear()
        waiting = filter(is_wanted, wanted)
        holes = 0
        running: set[Future[tuple[float, Answer]]] = set()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="asking") as pool:
            try:
                running = {pool.submit(self._ask, first) for first in islice(waiting, self.concurrency)}
                while running:
                    done, running = wait(running, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                    at_look()
                    if self.same.changed:
                        return
                    for future in done:
                        came_at, answer = future.result()
                        holes = holes + 1 if answer.fault == "server" else 0
                        # Before it is written down: the server has something to do meanwhile.
                        if holes < MOST_HOLES_IN_A_ROW and (one := next(waiting, None)) is not None:
                            running.add(pool.submit(self._ask, one))
                        yield came_at, answer
            finally:
                # Whatever ends this: requests that are on their way end at once, and their answers are not used.
                self._given_up.set()

    def _ask(self, wanted: WantedReply) -> tuple[float, Answer]:
        """One answer, asked for until it is there or the server refuses it for good; when that was. In a thread of its own."""
        tries = 0
        while True:
            tries += 1
            lives = self._revived
            place = self._flights.start()
            shared = self._glances.look()
            try:
                reply = self.model.ask(wanted.question, self._given_up.is_set, partial(self._flights.came, place))
            except ServerError as error:
                self._flights.end(place)
                pause = pause_before_retry(error, tries, self._random)
                if pause is None or self._given_up.is_set():
                    self.last_refusal = error
                    return time.monotonic(), hole(wanted, error, tries)
                where = f"{wanted.candidate.name} {wanted.asked.name} {wanted.cell.item.id} #{wanted.cell.repeat}"
                self.say(f"{where}: {error.message}; asked again in {pause:.1f} s")
                self._given_up.wait(pause)
                if error.code == "server_down" and not self._given_up.is_set():
                    self._have_it_back(lives)
                continue
            self._flights.learn(place, reply.completion_tokens)
            seconds, together = self._flights.end(place)
            came_at = time.monotonic()
            self.same.look()
            was_shared = [seen for seen in (shared, self._glances.look()) if seen is not None]
            return came_at, as_answer(wanted, reply, seconds, together, any(was_shared) if was_shared else None, tries)

    def _have_it_back(self, lives: int) -> None:
        """Of several threads that saw the server go, one has the model loaded again."""
        with self._reviving:
            if self._revived == lives:
                self.revive()
                self._revived += 1


def as_answer(
    wanted: WantedReply, reply: Reply, seconds: float, together: int, shared: bool | None, tries: int
) -> Answer:
    """A reply as it is kept, its thinking apart from its text."""
    split = split_thinking(reply.text, wanted.asked.asked_for)
    thoughts = [part for part in (reply.thinking, split.thinking) if part and part.strip()]
    finish: Finish = "length" if reply.finish == "length" else "stop"
    policy = wanted.asked.thinking
    tokens = reply.completion_tokens or 0
    return Answer(
        key=wanted.key,
        candidate=wanted.candidate.name,
        task=wanted.asked.name,
        input_id=wanted.cell.item.id,
        repeat=wanted.cell.repeat,
        seed=wanted.cell.seed,
        text=split.text,
        thinking="\n".join(thoughts) if thoughts else split.thinking,
        finish=finish,
        fault=find_fault(split, finish, policy),
        prompt_tokens=reply.prompt_tokens or 0,
        completion_tokens=tokens,
        characters=len(split.text),
        seconds=seconds,
        batch_size=together,
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        prompt_sha256=wanted.prompt_sha256,
        time=time.time(),
        first_token_seconds=reply.first_token_seconds,
        prompt_seconds=reply.prompt_seconds,
        thinking_tokens=reply.thinking_tokens,
        asked_thinking=policy if policy != wanted.asked.task.thinking else None,
        thinking_apart=bool(reply.thinking and reply.thinking.strip()),
        identity=wanted.identity,
        shared=shared,
        tries=tries,
    )


def hole(wanted: WantedReply, error: ServerError, tries: int) -> Answer:
    """What is kept of an answer that the server did not give: that it is missing, and why."""
    return Answer(
        key=wanted.key,
        candidate=wanted.candidate.name,
        task=wanted.asked.name,
        input_id=wanted.cell.item.id,
        repeat=wanted.cell.repeat,
        seed=wanted.cell.seed,
        text="",
        thinking=None,
        finish="stop",
        fault="server",
        prompt_tokens=0,
        completion_tokens=0,
        characters=0,
        seconds=0.0,
        batch_size=1,
        tokens_per_second=None,
        prompt_sha256=wanted.prompt_sha256,
        time=time.time(),
        identity=wanted.identity,
        tries=tries,
        problem=error.message,
    )
