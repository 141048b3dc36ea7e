"""The answers of a bake-off, each with what its checks said, so that a score is never shown beside another's text."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.scoring.passing import passes, rank

if TYPE_CHECKING:
    from core.home import Home
    from core.scoring.answers import Answer

MOST_CHARACTERS = 100_000
"""Of an answer: one that rambles for megabytes would hold up every paint."""


@dataclass(frozen=True)
class CheckSaid:
    """What one check said of one answer; `value` in 0..1."""

    id: str
    value: float
    detail: str


@dataclass(frozen=True)
class AnswerRead:
    """One repeat, by its stored number. `checks` is empty when it was not scored.

    `text` is its beginning; `further` counts the characters behind it. `problem` is what a server did instead of answering,
    `modes` are the failure modes that its scoring saw.
    """

    repeat: int
    text: str
    checks: tuple[CheckSaid, ...] = ()
    further: int = 0
    problem: str = ""
    modes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[CheckSaid, ...]:
        return tuple(check for check in self.checks if not passes(check.value))

    @property
    def passed(self) -> int:
        return len(self.checks) - len(self.failed)

    @property
    def rank(self) -> tuple[int, float]:
        """Lower is worse."""
        return rank([check.value for check in self.checks])


Answers = Mapping[tuple[str, str], Sequence[AnswerRead]]
"""By candidate and input, the repeats in their order."""


def worst(repeats: Sequence[AnswerRead]) -> int:
    """Which of the repeats is the worst: its index; the first of those alike."""
    return min(range(len(repeats)), key=lambda index: repeats[index].rank)


def answer_read(answer: Answer, said: tuple[CheckSaid, ...], modes: tuple[str, ...] = ()) -> AnswerRead:
    """One answer with what its checks said and what is wrong with it, as much of it as a screen shows."""
    text = answer.text[:MOST_CHARACTERS]
    problem = f"the server gave no answer: {answer.problem}" if answer.fault == "server" and answer.problem else ""
    return AnswerRead(answer.repeat, text, said, len(answer.text) - len(text), problem, modes)


def read_answers(home: Home, job_id: int, number: int, task: str | None = None) -> tuple[Answers, dict[str, str]]:
    """The answers to a task of a bake-off under its original scores (0) or those of a rescoring, and the inputs by id.

    Heavy imports and a whole file: call it in a thread. Raises `BakehouseError`, `OSError`, `sqlite3.Error`.
    """
    from core.results.load import load_bakeoff
    from core.scoring.scored_answers import place
    from core.store.database import open_database
    from core.store.scores import answer_modes

    with contextlib.closing(open_database(home)) as connection:
        stored = load_bakeoff(home, connection, job_id, number).task(task)
        modes = answer_modes(connection, job_id, number, stored.name)
    names = list(stored.forms)
    placed, _ = place(stored.task, stored.inputs, stored.answers, stored.scores, names)
    found: dict[tuple[str, str], dict[int, AnswerRead]] = {}
    for answer in stored.answers:  # what was not scored is shown, too
        one = answer_read(answer, ())
        found.setdefault((answer.candidate, answer.input_id), {})[answer.repeat] = one
    for name, cells in placed.items():
        for input_id, repeats in cells.by_input.items():
            for cell in repeats:
                said = tuple(CheckSaid(key, score.value, score.detail) for key, score in cell.checks.items())
                one = answer_read(cell.answer, said, modes.get((cell.answer.key, name), ()))
                found.setdefault((name, input_id), {})[one.repeat] = one
    ordered = {key: tuple(by_repeat[number] for number in sorted(by_repeat)) for key, by_repeat in found.items()}
    return ordered, {item.id: item.text() for item in stored.inputs}
