"""A served model for tests without a server: a `ServedModel` that answers, fails and dies as a test says.

It is no model: its answers are built of what is asked. What it counts is what a server would see.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from core.serving.answering import Capabilities, LoadedModel, Question, Reply, ServedIdentity
from core.serving.errors import ServerError

DOWN = ServerError("the server went away", code="server_down")
BUSY = ServerError("busy", code="server_busy", status=503)
REFUSED = ServerError("no such thing", code="server_refused", status=400)


@dataclass
class ScriptedModel:
    """`faults` are raised one after the other by `ask`, None being an answer; behind them every request is answered.

    `hold`: requests wait on it while it is not set. `at_ask` is called with the number of each request, `at_piece` with that of
    each word of each answer.
    """

    who: ServedIdentity = field(
        default_factory=lambda: ServedIdentity(api="ollama", model="m", server="s", weights="w")
    )
    faults: deque[ServerError | None] = field(default_factory=deque)
    able: Capabilities = field(default_factory=Capabilities)
    write: Callable[[Question], str] = lambda question: f"answer to {question.messages[-1][1]} #{question.seed}"
    at_ask: Callable[[int], None] = lambda number: None
    at_piece: Callable[[int], None] = lambda number: None
    others: bool | None = False
    thinking: str | None = None
    finish: str = "stop"
    tells: dict[str, Any] = field(default_factory=dict)
    """What its replies say beside, in place of what they would."""
    hold: threading.Event | None = None

    def __post_init__(self) -> None:
        self.asked: list[Question] = []
        self.answered: Counter[tuple[str, int]] = Counter()
        self.loads: list[int] = []
        self.unloads = 0
        self.replaced = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"{self.who.server}:{self.who.model}"

    def identity(self) -> ServedIdentity:
        return self.who

    def becomes(self, **changed: str) -> None:
        """The server is updated, or the tag replaced."""
        self.who = replace(self.who, **changed)  # type: ignore[arg-type]
        self.replaced += 1

    def stamp(self) -> str:
        return f"{self.who.sha256} {self.replaced}"

    def capabilities(self) -> Capabilities:
        return self.able

    def load(self, context_length: int) -> LoadedModel:
        self.loads.append(context_length)
        return LoadedModel(seconds=1.5, vram_bytes=5_000_000_000)

    def ask(
        self, question: Question, stopped: Callable[[], bool] = lambda: False, came: Callable[[], None] = lambda: None
    ) -> Reply:
        with self._lock:
            self.asked.append(question)
            number = len(self.asked)
            fault = self.faults.popleft() if self.faults else None
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.at_ask(number)
            while self.hold is not None and not self.hold.wait(0.01):
                if stopped():
                    raise ServerError("given up", code="request_stopped")
            if fault is not None:
                raise fault
            with self._lock:
                self.answered[(question.messages[-1][1], question.seed)] += 1
            text = self.write(question)
            for piece, _ in enumerate(text.split(), 1):
                came()
                self.at_piece(piece)
            told = {"seconds": 0.5, "prompt_tokens": 7, "completion_tokens": len(text.split()), **self.tells}
            return Reply(text, self.thinking, self.finish, **told)
        finally:
            with self._lock:
                self.at_once -= 1

    def unload(self) -> None:
        self.unloads += 1

    def others_active(self) -> bool | None:
        return self.others

    def close(self) -> None:
        """There is no connection."""
