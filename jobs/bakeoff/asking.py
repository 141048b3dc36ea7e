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
from typing import Any

from core.jobfile.bakeoff import CandidateSpec
from core.scoring.answers import Answer, Finish, find_fault
from core.scoring.questions import AskedTask, Cell
from core.serving.answering import Question, Reply, ServedModel
from core.serving.errors import ServerError
from core.serving.retry import pause_before_retry
from core.thinking import split_thinking
from jobs.bakeoff.in_flight import InFlight, OthersActivity, SameModel
from jobs.patience import SECONDS_BETWEEN_LOOKS

MOST_INPUTS_IN_A_ROW = 3
"""After so many inputs in a row without an answer nothing more is asked: the server does not serve this candidate."""
SHORTEST_LOAD_SECONDS = 1.0
"""What Ollama tells as the load of a model that was loaded is less."""


@dataclass(frozen=True)
class WantedReply:
    """One answer that is wanted of a served model. `identity` is the hash of what is to give it."""

    key: str
    candidate: CandidateSpec
    asked: AskedTask
    cell: Cell
    question: Question
    prompt_sha256: str
    identity: str

    @property
    def place(self) -> dict[str, Any]:
        """The fields of its `Answer` that are known before it is given."""
        return {
            "key": self.key,
            "candidate": self.candidate.name,
            "task": self.asked.name,
            "input_id": self.cell.item.id,
            "repeat": self.cell.repeat,
            "seed": self.cell.seed,
            "prompt_sha256": self.prompt_sha256,
            "identity": self.identity,
        }


@dataclass(frozen=True)
class Arrived:
    """An answer that has come, or one that is missing for good. `at`: the moment (monotonic) by which it was there.

    `tokens` are as many as the server says, else as there were pieces. `error` is why it is missing, `other_model` who answered
    where the server names another model than it was asked for.
    """

    at: float
    answer: Answer
    tokens: int = 0
    error: ServerError | None = None
    other_model: str | None = None

    @property
    def is_of_its_input(self) -> bool:
        """Whether it is missing for what was asked, so that another input may well be answered."""
        return self.error is not None and (self.error.code == "context_overflow" or self.error.status == 413)


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
        self._in_flight, self._others = InFlight(), OthersActivity(model)
        self._random = random.Random(seed)
        self._given_up = threading.Event()
        self.last_refusal: ServerError | None = None
        """Why the newest answer that is missing was not given."""
        self._reviving = threading.Lock()
        self._revived = 0

    @property
    def tokens_under_way(self) -> tuple[int, ...]:
        """How many tokens have come of each answer that is on its way."""
        return self._in_flight.tokens

    def answers(
        self,
        wanted: Sequence[WantedReply],
        at_look: Callable[[], None],
        is_wanted: Callable[[WantedReply], bool] = lambda wanted: True,
    ) -> Iterator[Arrived]:
        """The answers as they come. `at_look` is called several times a second and may raise: then all is given up.

        Fewer come than are wanted where the server serves none of the last inputs, where the model is another one by now, and
        where `is_wanted` says of one, before it is asked for, that it is wanted no more.
        """
        self._given_up.clear()
        waiting = filter(is_wanted, wanted)
        unserved: set[tuple[str, str]] = set()
        running: set[Future[Arrived]] = set()
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="asking") as pool:
            try:
                running = {pool.submit(self._ask, first) for first in islice(waiting, self.concurrency)}
                while running:
                    done, running = wait(running, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                    at_look()
                    if self.same.changed:
                        return
                    for future in done:
                        arrived = future.result()
                        if arrived.error is None:
                            unserved.clear()
                        elif not arrived.is_of_its_input:
                            unserved.add((arrived.answer.task, arrived.answer.input_id))
                        # Before it is written down: the server has something to do meanwhile.
                        if len(unserved) < MOST_INPUTS_IN_A_ROW and (one := next(waiting, None)) is not None:
                            running.add(pool.submit(self._ask, one))
                        yield arrived
            finally:
                # Whatever ends this: requests that are on their way end at once, and their answers are not used.
                self._given_up.set()

    def _ask(self, wanted: WantedReply) -> Arrived:
        """One answer, asked for until it is there or the server refuses it for good. In a thread of its own."""
        tries = 0
        while True:
            tries += 1
            lives = self._revived
            place = self._in_flight.start()
            shared = self._others.look()
            try:
                reply = self.model.ask(wanted.question, self._given_up.is_set, partial(self._in_flight.came, place))
            except ServerError as error:
                self._in_flight.end(place)
                pause = pause_before_retry(error, tries, self._random)
                if pause is None or self._given_up.is_set():
                    self.last_refusal = error
                    return Arrived(time.monotonic(), hole(wanted, error, tries), error=error)
                where = f"{wanted.candidate.name} {wanted.asked.name} {wanted.cell.item.id} #{wanted.cell.repeat}"
                self.say(f"{where}: {error.message}; asked again in {pause:.1f} s")
                self._given_up.wait(pause)
                # Also where it was slow: it may have let the model go, and a load may take longer than an answer.
                if error.code in ("server_down", "server_slow") and not self._given_up.is_set():
                    self._have_it_back(lives)
                continue
            pieces = self._in_flight.learn(place, reply.completion_tokens)
            seconds, together = self._in_flight.end(place)
            at = time.monotonic()
            self.same.look()
            was_shared = [seen for seen in (shared, self._others.look()) if seen is not None]
            if (load := load_within(reply)) > 0:
                self.say(f"{wanted.candidate.name}: the server loaded the model anew for an answer, in {load:.1f} s")
            answer = as_answer(wanted, reply, seconds, together, any(was_shared) if was_shared else None, tries)
            return Arrived(at, answer, reply.completion_tokens or pieces, other_model=reply.other_model)

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
    split = split_thinking(reply.text, lambda: wanted.asked.asked_for(wanted.cell.item))
    thoughts = [part for part in (reply.thinking, split.thinking) if part and part.strip()]
    finish: Finish = "length" if reply.finish == "length" else "stop"
    policy = wanted.asked.thinking
    tokens = reply.completion_tokens or 0
    # A load is no part of how fast a model answers.
    load, first = load_within(reply), reply.first_token_seconds
    seconds = max(0.0, seconds - load)
    return Answer(
        **wanted.place,
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
        time=time.time(),
        first_token_seconds=None if first is None else max(0.0, first - load),
        prompt_seconds=reply.prompt_seconds,
        thinking_tokens=reply.thinking_tokens,
        asked_thinking=policy if policy != wanted.asked.task.thinking else None,
        thinking_apart=bool(reply.thinking and reply.thinking.strip()),
        shared=shared,
        tries=tries,
    )


def load_within(reply: Reply) -> float:
    """Seconds of a reply in which its model was loaded: the server had let it go, or somebody else's had taken its place."""
    load = reply.load_seconds or 0.0
    return load if load >= SHORTEST_LOAD_SECONDS else 0.0


def hole(wanted: WantedReply, error: ServerError, tries: int) -> Answer:
    """What is kept of an answer that the server did not give: that it is missing, and why."""
    return Answer(
        **wanted.place,
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
        time=time.time(),
        tries=tries,
        problem=error.message,
    )
