"""What a judge is to be asked of the answers of a task: each text of an answer once, input by input.

Input by input, so that where a judge goes away half-way the candidates still have inputs in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.checks import check_ids
from core.checks.base import CheckFault
from core.checks.judge import JudgeCheck, Order
from core.scoring.answers import Answer
from core.scoring.judge_prompt import Judged
from core.scoring.scorer import fault_of, visible
from core.scoring.verdicts import answer_sha256, asked_hash, verdict_key

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task


@dataclass(frozen=True)
class ToJudge:
    """One answer to be judged by one check. `answer` is the first that was given in these words."""

    check_id: str
    definition: JudgeCheck
    answer: Answer
    judged: Judged
    check_hash: str
    answer_sha256: str

    def keys(self, identity: str) -> Iterator[tuple[str, Order, int]]:
        """(key, order, ask) of each of its verdicts, given by the judge of this identity."""
        for order, ask in self.definition.verdicts:
            yield verdict_key(self.check_hash, self.answer_sha256, identity, order, ask), order, ask


def judge_checks(task: Task) -> list[tuple[str, JudgeCheck]]:
    """The task's checks that a judge is asked for, with their ids."""
    checks = [*task.format, *task.content]
    named = zip(check_ids(checks), checks, strict=True)
    return [(name, check) for name, check in named if isinstance(check, JudgeCheck)]


def judge_models(tasks: Iterable[Task]) -> list[str]:
    """The judges of these tasks as their checks name them, each once."""
    return list(dict.fromkeys(check.model for task in tasks for _, check in judge_checks(task)))


def to_judge(task: Task, inputs: Sequence[GoldenInput], answers: Iterable[Answer]) -> Iterator[ToJudge]:
    """What is to be judged of these answers. One that a server failed to give, or that has a model's fault, is not: its scores
    are known without a judge. An input without the reference that a check compares with is left out."""
    checks = judge_checks(task)
    if not checks:
        return
    by_input: dict[str, list[Answer]] = {}
    for answer in answers:
        if fault_of(task, answer) is None:
            by_input.setdefault(answer.input_id, []).append(answer)
    for item in inputs:
        asked = item.text()
        for check_id, definition in checks:
            try:
                reference = definition.reference(item.expect)
            except CheckFault:
                continue
            digest = asked_hash(definition, asked, reference)
            seen: set[str] = set()
            for answer in by_input.get(item.id, ()):
                text = visible(task, answer).text
                if (name := answer_sha256(text)) not in seen:
                    seen.add(name)
                    yield ToJudge(check_id, definition, answer, Judged(asked, text, reference), digest, name)
