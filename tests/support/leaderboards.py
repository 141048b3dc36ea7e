"""Bake-offs of invented answers to a task with five checks of format and one of content, and their leaderboards."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.ranking import build_leaderboard
from core.config.golden import GoldenInput
from core.config.task import Task
from core.scoring.answers import Answer
from core.scoring.scorer import Score, score_answers
from tests.support.invented_answers import answer as invented_answer

FORMAT = [{"check": "contains_any", "id": word, "values": [word]} for word in ("one", "two", "three", "four", "five")]
CONTENT = [{"check": "regex", "id": "verdict", "pattern": "PASS"}]
ALL = "one two three four five PASS"
Writer = Callable[[int, int], str]


def task(**keys: Any) -> Task:
    base = {"name": "judge", "format": FORMAT, "content": CONTENT, "sampling": {"temperature": 0.2}, "repeats": 3}
    return Task.model_validate({**base, **keys})


def inputs(n: int, sources: int | None = None) -> list[GoldenInput]:
    return [
        GoldenInput(id=f"i{index}", input="x", source=None if sources is None else f"s{index % sources}")
        for index in range(n)
    ]


def answer(candidate: str, index: int, repeat: int, text: str, **keys: Any) -> Answer:
    made = invented_answer(candidate, "judge", f"i{index}", repeat, text, fault=None, characters=200, batch_size=12)
    return replace(made, **keys)


def answers(candidate: str, n: int, write: Writer | str, repeats: int = 3, **keys: Any) -> list[Answer]:
    return [
        answer(candidate, index, repeat, write if isinstance(write, str) else write(index, repeat), **keys)
        for index in range(n)
        for repeat in range(repeats)
    ]


def words(seed: int, least: int = 0, most: int = 5) -> Writer:
    """Answers with `least` to `most` of the five words, by chance but repeatable."""

    def write(index: int, repeat: int) -> str:
        number = random.Random(f"{seed} {index} {repeat}").randint(least, most)
        return "text " + " ".join(ALL.split()[:number])

    return write


def board(n: int, stored: Iterable[Answer], **keys: Any) -> Leaderboard:
    listed = list(stored)
    made: Task = keys.pop("task", task())
    golden = keys.pop("golden", inputs(n))
    scores: list[Score] = keys.pop("scores", None) or score_answers(made, golden, listed)
    return build_leaderboard(made, golden, listed, scores, **keys)


TUNED_AND_BASE = [*answers("base", 13, words(1, 0, 1)), *answers("judge-tuned", 13, words(2, 4, 5))]
