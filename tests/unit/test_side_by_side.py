"""Servers asked beside each other: who delays whom, and what is told when the time is up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from core.serving.side_by_side import ask_side_by_side

LONG = 30.0
"""Seconds that no test waits for."""


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set at the end, so that no thread of a test outlives it."""
    event = threading.Event()
    yield event
    event.set()


def ask_all(
    *keys: str, over: threading.Event, seconds: float = LONG, most: int = 8, asked: list[str] | None = None
) -> dict[str, str]:
    """Keys are `server/what it does`: `stalls`, `away`, `raises`, or whatever it answers."""

    def ask(key: str) -> str:
        if asked is not None:
            asked.append(key)
        what = key.partition("/")[2]
        if what == "stalls":
            over.wait()
        if what == "raises":
            raise ZeroDivisionError(key)
        return what

    return ask_side_by_side(
        {key: key for key in keys},
        ask,
        seconds=seconds,
        server_of=lambda key: key.partition("/")[0],
        is_away=lambda answer: answer == "away",
        most_at_once=most,
    )


def test_all_answers_are_told_by_their_keys(over: threading.Event) -> None:
    keys = [f"{server}/{number}" for server in "ab" for number in range(20)]
    assert ask_all(*keys, over=over) == {key: key[2:] for key in keys}
    assert ask_all(over=over) == {}


def test_a_server_that_takes_its_time_keeps_no_other_from_answering() -> None:
    others_answered = threading.Event()

    def ask(key: str) -> str:
        if key == "b/2":
            others_answered.set()
        elif key == "slow/1":
            assert others_answered.wait(LONG)
        return key

    keys = {key: key for key in ("slow/1", "slow/2", "b/1", "b/2")}
    told = ask_side_by_side(
        keys, ask, seconds=LONG, server_of=lambda key: key[0], is_away=lambda _: False, most_at_once=1
    )
    assert told == keys


def test_what_has_not_come_in_time_is_missing_and_what_waits_behind_it_is_not_asked(over: threading.Event) -> None:
    asked: list[str] = []
    assert ask_all("a/stalls", "a/1", over=over, seconds=0.0, most=1, asked=asked) == {}
    assert "a/1" not in asked


def test_a_server_that_is_away_is_not_asked_again(over: threading.Event) -> None:
    asked: list[str] = []
    told = ask_all("a/away", "a/1", "a/2", "b/1", over=over, most=1, asked=asked)
    assert told == {"a/away": "away", "a/1": "away", "a/2": "away", "b/1": "1"}
    assert sorted(asked) == ["a/away", "b/1"]


def test_what_asking_raises_is_raised(over: threading.Event) -> None:
    with pytest.raises(ZeroDivisionError, match="a/raises"):
        ask_all("a/raises", "b/stalls", over=over)


def test_no_more_questions_are_on_their_way_to_a_server_than_is_said(over: threading.Event) -> None:
    together, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(3)

    def ask(number: int) -> int:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        both.wait(LONG)
        with lock:
            together -= 1
        return number

    numbers = {number: number for number in range(12)}
    told = ask_side_by_side(
        numbers, ask, seconds=LONG, server_of=lambda _: "a", is_away=lambda _: False, most_at_once=3
    )
    assert (told, most) == (numbers, 3)
