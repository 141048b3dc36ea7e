"""Answers and scores put in their places: candidate, input, repeat. What has no place is counted, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from core.bakeoff.answers import Answer, Fault
from core.bakeoff.scoring import PARTS, Part, PlannedCheck, Score, fault_of, part_score, plan_checks

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task


@dataclass(frozen=True)
class ScoredAnswer:
    """One scored answer: its score of each part (None where the task has no such checks) and of each check by id."""

    answer: Answer
    fault: Fault | None
    parts: Mapping[Part, float | None]
    checks: Mapping[str, Score]


@dataclass(frozen=True)
class ScoredAnswers:
    """The scored answers of one candidate by input, in the order of the golden set, repeats in theirs.

    `unscored` answers lack the score of a check as it is defined now; `server_faults` are cells that stayed open.
    """

    candidate: str
    by_input: Mapping[str, Sequence[ScoredAnswer]]
    unscored: int
    server_faults: int

    @cached_property
    def all(self) -> list[ScoredAnswer]:
        return [cell for cells in self.by_input.values() for cell in cells]

    def part(self, part: Part) -> dict[str, list[float]]:
        """The scores of a part by input, a number for each repeat; inputs without an answer are not there."""
        scores = {name: [cell.parts[part] for cell in cells] for name, cells in self.by_input.items()}
        return {name: [value for value in values if value is not None] for name, values in scores.items() if values}

    def means(self, part: Part) -> dict[str, float]:
        """The mean over the repeats of each input; empty when the task has no such part."""
        return {name: sum(values) / len(values) for name, values in self.part(part).items() if values}

    def check(self, check_id: str) -> dict[str, list[float]]:
        """The values of one check by input, a number for each repeat."""
        return {name: [cell.checks[check_id].value for cell in cells] for name, cells in self.by_input.items() if cells}


def place(
    task: Task, inputs: Sequence[GoldenInput], answers: Iterable[Answer], scores: Iterable[Score], names: Iterable[str]
) -> tuple[dict[str, ScoredAnswers], int]:
    """The cells of each candidate (those of `names` first, then as they turn up), and how many answers are to no input.

    A retry of what the server spoiled takes the place of the spoiled one; of two good answers for one place the later
    counts.
    """
    plans = {item.id: plan_checks(task, item) for item in inputs}
    by_answer: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        by_answer.setdefault((score.answer_key, score.candidate), {})[score.check_hash] = score
    placed: dict[str, dict[tuple[str, int], Answer]] = {name: {} for name in names}
    strangers = 0
    for answer in answers:
        if answer.input_id not in plans:
            strangers += 1
            continue
        taken = placed.setdefault(answer.candidate, {})
        before = taken.get((answer.input_id, answer.repeat))
        if before is None or answer.fault != "server" or before.fault == "server":
            taken[(answer.input_id, answer.repeat)] = answer
    return {name: _cells(task, name, plans, taken, by_answer) for name, taken in placed.items()}, strangers


def _cells(
    task: Task,
    candidate: str,
    plans: Mapping[str, Sequence[PlannedCheck]],
    taken: Mapping[tuple[str, int], Answer],
    by_answer: Mapping[tuple[str, str], Mapping[str, Score]],
) -> ScoredAnswers:
    by_input: dict[str, list[ScoredAnswer]] = {name: [] for name in plans}
    left: Counter[str] = Counter()
    for (input_id, _), answer in sorted(taken.items(), key=lambda item: item[0][1]):
        plan = plans[input_id]
        fault = fault_of(task, answer)
        known = by_answer.get((answer.key, candidate)) or by_answer.get((answer.key, ""), {})
        if fault == "server":
            left["server"] += 1
        elif any(check.hash not in known for check in plan):
            left["unscored"] += 1
        else:
            checks = {check.id: known[check.hash] for check in plan}
            values = {name: score.value for name, score in checks.items()}
            parts = {part: part_score(task, part, values) for part in PARTS}
            by_input[input_id].append(ScoredAnswer(answer, fault, parts, checks))
    return ScoredAnswers(candidate, by_input, left["unscored"], left["server"])
