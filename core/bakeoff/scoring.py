"""Scoring: what the checks of a task say of stored answers. It reads no model and can be done again at any time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from core.bakeoff.answers import Answer, Fault, find_fault
from core.bakeoff.thinking import Split, split_thinking
from core.checks import CapturedEqualsCheck, CheckResult, build, check_hash, check_ids
from core.checks.base import BaseDefinition
from core.errors import InputError

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task

Part = Literal["format", "content"]
PARTS: tuple[Part, ...] = ("format", "content")


@dataclass(frozen=True)
class Score:
    """What one check says of one answer. A faulty check has the value 0.

    `candidate` gave the answer: two that are asked the same have answers of one key. Empty: whoever gave it.
    """

    answer_key: str
    check_id: str
    check_hash: str
    part: Part
    value: float
    detail: str
    faulty: bool
    candidate: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Score:
        """The score of a document; keys that a newer version added are ignored. KeyError when one is missing."""
        return cls(
            **{
                field.name: document[field.name]
                for field in fields(cls)
                if field.name in document or field.default is MISSING
            }
        )


@dataclass(frozen=True)
class PlannedCheck:
    """A check of a task as it is done on one golden input; `hash` tells a stored score of it from an outdated one."""

    id: str
    part: Part
    definition: BaseDefinition
    hash: str


def plan_checks(task: Task, golden_input: GoldenInput) -> list[PlannedCheck]:
    """The checks of the task on this input, format first, with unique ids and with hashes."""
    parted: list[tuple[Part, BaseDefinition]] = [("format", definition) for definition in task.format]
    parted += [("content", definition) for definition in task.content]
    planned: list[PlannedCheck] = []
    for name, (part, definition) in zip(check_ids(item for _, item in parted), parted, strict=True):
        sources = _sources(task, definition)
        digest = check_hash(definition, name=name, part=part, sources=sources, expect=golden_input.expect)
        planned.append(PlannedCheck(name, part, definition, digest))
    return planned


def _sources(task: Task, definition: BaseDefinition) -> Sequence[BaseDefinition]:
    if not isinstance(definition, CapturedEqualsCheck):
        return ()
    return [source for source in task.format if definition.name in source.group_names()]


def visible(task: Task, answer: Answer) -> Split:
    """The answer as the checks see it, its thinking parted from it, wherever that was stored."""
    split = split_thinking(answer.text, task.model_dump_json)
    thinking = "\n".join(part for part in (answer.thinking, split.thinking) if part and part.strip())
    return Split(split.text, thinking or None, split.open)


def fault_of(task: Task, answer: Answer) -> Fault | None:
    """The fault that was stored with the answer, else the one that its text shows.

    Thinking that a server keeps apart is in nobody's way; within the text it is a fault where the task does not think.
    """
    split = split_thinking(answer.text, task.model_dump_json) if answer.thinking_apart else visible(task, answer)
    return answer.fault or find_fault(split, answer.finish, answer.asked_thinking or task.thinking)


def fault_words(fault: Fault, answer: Answer) -> str:
    """A fault in the words that the leaderboard counts."""
    match fault:
        case "length":
            return f"answer cut at {answer.completion_tokens:,} tokens"
        case "thinking":
            return "thinking in the answer"
        case "empty":
            return "empty answer"
        case "server":
            return "no answer from the server"


def score_answer(task: Task, golden_input: GoldenInput, answer: Answer, pattern_timeout: float = 1.0) -> list[Score]:
    """The score of each check: all 0 for a model's fault, none for a server's fault, as that cell is missing.

    `pattern_timeout` is in seconds, for each check.
    """
    planned = plan_checks(task, golden_input)
    fault = fault_of(task, answer)
    if fault == "server":
        return []
    if fault is not None:
        failed = CheckResult(0.0, fault_words(fault, answer))
        return [_score(answer, check, failed) for check in planned]
    results = _run(planned, visible(task, answer).text, golden_input.expect, pattern_timeout)
    return [_score(answer, check, results[check.id]) for check in planned]


def _run(
    planned: Sequence[PlannedCheck], text: str, expect: Mapping[str, Any], pattern_timeout: float
) -> dict[str, CheckResult]:
    """Results by check id; what the format checks capture is collected before it is compared."""
    results: dict[str, CheckResult] = {}
    captures: dict[str, list[str]] = {}
    for check in planned:
        if isinstance(check.definition, CapturedEqualsCheck):
            continue
        result = results[check.id] = build(check.definition, pattern_timeout).score(text, expect)
        if check.part == "format":
            for name, values in result.captures.items():
                captures.setdefault(name, []).extend(values)
    for check in planned:
        if isinstance(check.definition, CapturedEqualsCheck):
            results[check.id] = build(check.definition, pattern_timeout).score(text, expect, captures)
    return results


def _score(answer: Answer, check: PlannedCheck, result: CheckResult) -> Score:
    return Score(
        answer.key, check.id, check.hash, check.part, result.value, result.detail, result.faulty, answer.candidate
    )


def score_answers(
    task: Task, golden: Iterable[GoldenInput], answers: Iterable[Answer], pattern_timeout: float = 1.0
) -> list[Score]:
    """The scores of all answers; InputError when an answer is to an input that the golden set lacks."""
    inputs = {item.id: item for item in golden}
    scores: list[Score] = []
    for answer in answers:
        if answer.input_id not in inputs:
            message = f"an answer is to the input `{answer.input_id}`, which the golden set does not have"
            raise InputError(message, code="unknown_input", remedy="score with the golden set that was asked")
        scores += score_answer(task, inputs[answer.input_id], answer, pattern_timeout)
    return scores


def parse_answer(
    task: Task, golden_input: GoldenInput, answer: Answer, faulty: Iterable[str] = (), pattern_timeout: float = 1.0
) -> tuple[tuple[str, tuple[str, ...]], ...] | str:
    """What two repeats are compared by: the captures of the format checks, else (nothing is captured) the text itself.

    `faulty` are ids of checks that failed to run when the answer was scored; they are not run again.
    """
    text = visible(task, answer).text
    fault = fault_of(task, answer)
    if fault is not None:
        return fault
    skipped = set(faulty)
    capturing = [
        check
        for check in plan_checks(task, golden_input)
        if check.part == "format" and check.definition.group_names() and check.id not in skipped
    ]
    captures: dict[str, list[str]] = {}
    for check in capturing:
        result = build(check.definition, pattern_timeout).score(text, golden_input.expect)
        for name, values in result.captures.items():
            captures.setdefault(name, []).extend(value.strip() for value in values)
    if not captures:
        return " ".join(text.split())
    return tuple(sorted((name, tuple(values)) for name, values in captures.items()))


def part_score(task: Task, part: Part, values: Mapping[str, float]) -> float | None:
    """The weighted mean of a part in [0, 1] from the values of its checks by id; None when no check has a weight."""
    definitions = [*task.format, *task.content]
    ids = check_ids(definitions)
    chosen = slice(0, len(task.format)) if part == "format" else slice(len(task.format), None)
    weights = {name: item.weight for name, item in zip(ids[chosen], definitions[chosen], strict=True)}
    total = math.fsum(weights.values())
    if total <= 0:
        return None
    return min(1.0, math.fsum(weight * values[name] for name, weight in weights.items()) / total)
