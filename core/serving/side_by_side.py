"""Servers asked beside each other, for a bounded time: one that is slow or away delays nobody and keeps no process alive."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from queue import Empty, SimpleQueue
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")


def ask_side_by_side(
    questions: Mapping[K, Q],
    ask: Callable[[Q], A],
    *,
    seconds: float,
    server_of: Callable[[K], Hashable],
    is_away: Callable[[A], bool],
    most_at_once: int = 8,
) -> dict[K, A]:
    """The answers that have come after so many seconds, by the keys of their questions; those that have not are missing.

    A server (`server_of` a key) is asked `most_at_once` questions at a time. Once an answer `is_away`, it is the answer to all
    questions to that server that still wait. What `ask` raises is raised here. No thread is waited for behind the limit, by the
    caller or at the end of the process.
    """
    waiting: dict[Hashable, deque[K]] = {}
    for key in questions:
        waiting.setdefault(server_of(key), deque()).append(key)
    came: SimpleQueue[tuple[list[K], list[A], Exception | None]] = SimpleQueue()
    lock = threading.Lock()

    def work(of_server: deque[K]) -> None:
        while True:
            with lock:
                if not of_server:
                    return
                keys = [of_server.popleft()]
            try:
                answer = ask(questions[keys[0]])
            except Exception as error:  # noqa: BLE001 - it is raised where the answers are taken
                came.put(([], [], error))
                return
            if is_away(answer):
                with lock:
                    keys += of_server
                    of_server.clear()
            came.put((keys, [answer] * len(keys), None))

    for of_server in waiting.values():
        for _ in range(min(most_at_once, len(of_server))):
            threading.Thread(target=work, args=(of_server,), name="asked-server", daemon=True).start()
    found: dict[K, A] = {}
    until = time.monotonic() + seconds
    try:
        while len(found) < len(questions):
            keys, answers, error = came.get(timeout=max(0.0, until - time.monotonic()))
            if error is not None:
                raise error
            found |= zip(keys, answers, strict=True)
    except Empty:
        pass
    finally:
        with lock:
            for of_server in waiting.values():
                of_server.clear()
    return found
