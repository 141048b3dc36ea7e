"""Threads parse files at once: the console reads a project for several screens. None fails for another's sake."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from core.syntax_tree import literal, parsed

CODE = "".join(
    f"def f{number}(a):\n    return [x * {number} for x in (a, 2) if x > {number}]\n" for number in range(60)
)
LITERAL = repr([{"role": "user", "content": ["x", {"y": number}]} for number in range(60)])


class Garbage:
    """In a circle with itself: collecting it runs code, in whatever the thread is doing, and lets another thread go on."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_threads_that_parse_at_once_do_not_fail_each_other() -> None:
    failed: list[BaseException] = []

    def parse() -> None:
        for _ in range(40):
            for _ in range(200):
                Garbage()
            try:
                assert len(parsed(CODE).body) == 60 and len(literal(LITERAL)) == 60
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
                failed.append(error)

    threads = [threading.Thread(target=parse) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize("text", ["def", "f(", "\0"])
def test_what_is_no_python_is_told_as_by_the_parser(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        parsed(text)
    with pytest.raises((SyntaxError, ValueError)):
        literal(text)
