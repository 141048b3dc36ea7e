"""The checks of a task tried on the completions of its own training data: one that none of them passes, no answer learns to
pass.

What a check reads is made as it is for an answer: captures by the format checks of the same text, expectations by the line of
training data that says `expect`. Where lines say none, those of the golden inputs are tried as far as that makes sense: a key
for which the inputs expect few values again and again (`PASS` or `FAIL`, three steps), so that some completion should meet
one. A date or a list of facts is of one input alone, and no other completion has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.checks import build, check_ids
from core.checks.base import AskedInput, BaseDefinition, Captures, CheckResult
from core.checks.isolated import Kills
from core.checks.judge import JudgeCheck
from core.checks.python import PythonCheck
from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.examples import Example
from core.files import sha256_json

# So many completions are tried with each check, and so long each.
MOST_TRIED, TRY_SECONDS = 200, 0.2
NOTHING: Mapping[str, Any] = {}
MOST_KILLED = 2
"""A check that was killed so often is not tried on: it is a person who waits."""
FEWEST_ASKING, MOST_VALUES = 6, 6
"""What golden inputs expect under a key is tried with each completion where at least so many of them expect something there,
and at most so many different things, no more than half as many as there are inputs."""


@dataclass(frozen=True)
class IdleCheck:
    """A check that no completion of `tried` passes. `part` and `place` say where it stands, `best` the largest share,
    `reason` is that of the first completion; `faulty`: it could not be done on any."""

    name: str
    part: str
    place: int
    tried: int
    best: float
    reason: str
    faulty: bool


def idle_checks(
    task: Task, examples: Sequence[Example], golden: Sequence[GoldenInput], *, run_code: bool = False
) -> Iterator[IdleCheck]:
    """The checks that no completion passes. `run_code`: also those that run a person's file."""
    captured = _Captured(task)
    names = iter(check_ids([*task.format, *task.content]))
    for part, definitions in (("format", task.format), ("content", task.content)):
        for place, definition in enumerate(definitions):
            name = next(names)
            if isinstance(definition, JudgeCheck) or (definition.ISOLATED and not run_code):
                continue
            often = _often_expected(definition, golden)
            results, tried = [], 0
            for place_of, example in enumerate(examples[:MOST_TRIED]):
                found = list(_tried(definition, example, often, golden, place_of, captured))
                results += found
                tried += bool(found)
                if any(result.value >= 1 for result in found):
                    break
            else:
                faulty = all(result.faulty for result in results)
                if results and (faulty or _is_known(definition, examples)):
                    reason = next((result.detail for result in results if result.detail), "")
                    best = max(result.value for result in results)
                    yield IdleCheck(name, part, place, tried, best, reason, faulty)


def _is_known(definition: BaseDefinition, examples: Sequence[Example]) -> bool:
    """Whether the expectations that a function of a person reads are those of the completions: without, it may say no to
    all."""
    return not _expects(definition) or any(example.expect is not None for example in examples)


def _expects(definition: BaseDefinition) -> bool:
    return isinstance(definition, PythonCheck) and definition.function_reads.expects


def _tried(
    definition: BaseDefinition,
    example: Example,
    often: Sequence[Mapping[str, Any]],
    golden: Sequence[GoldenInput],
    place: int,
    captured: _Captured,
) -> Iterator[CheckResult]:
    """What a check says of a completion, with each expectation that it may have, until it passes."""
    keys = definition.expect_keys()
    if example.expect is not None and all(key in example.expect for key in keys):
        expectations: Sequence[Mapping[str, Any]] = [example.expect]
    elif _expects(definition):
        expectations = [golden[place % len(golden)].expect if golden else NOTHING]
    else:
        expectations = often if keys else [NOTHING]
    for expect in expectations:
        check = build(definition, TRY_SECONDS, captured.kills)
        asked = AskedInput.of((message.role, message.content) for message in example.messages)
        result = check.score(example.completion, expect, captured.of(definition, example, expect), asked)
        yield result
        if result.value >= 1:
            return


class _Captured:
    """What the format checks capture of each completion, found out once and where it is asked for."""

    def __init__(self, task: Task) -> None:
        self.kills = Kills(MOST_KILLED, MOST_KILLED)
        self._sources = [one for one in task.format if one.group_names() and not one.reads_captures]
        self._found: dict[tuple[int, int], dict[str, list[str]]] = {}

    def of(self, definition: BaseDefinition, example: Example, expect: Mapping[str, Any]) -> Captures:
        if not definition.reads_captures:
            return {}
        # Both live as long as this does. A count that is not met captures all the same.
        if (key := (id(example), id(expect))) not in self._found:
            found = self._found[key] = {}
            for source in self._sources:
                result = build(source, TRY_SECONDS, self.kills).score(example.completion, expect)
                for name, values in result.captures.items():
                    found.setdefault(name, []).extend(values)
        return self._found[key]


def _often_expected(definition: BaseDefinition, golden: Sequence[GoldenInput]) -> list[Mapping[str, Any]]:
    """What golden inputs expect of a check, as far as that is few things again and again."""
    keys = definition.expect_keys()
    asking = [item.expect for item in golden if keys and all(key in item.expect for key in keys)]
    different = {sha256_json({key: expect[key] for key in keys}): expect for expect in asking}
    again = len(asking) >= FEWEST_ASKING and 2 * len(different) <= len(asking) and len(different) <= MOST_VALUES
    return list(different.values()) if again else []
