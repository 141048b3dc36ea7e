"""What a golden input would expect, read off an answer that a person calls right: as the task's checks read that answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.checks import build
from core.checks.base import EXPECT, BaseDefinition, is_expect_key
from core.config.task import Task
from core.scoring.scorer import captures_of

MOST_COUNTED = 60
"""So many parts of an answer are counted by asking its check, where nothing captures how many are expected."""
COUNTS = frozenset({"count", "rows"})
"""Fields of checks in which `expect.KEY` stands for a whole number."""
NUMBERS = frozenset({"min", "max", "equals", "tolerance", "step"})
"""Fields in which it stands for any number."""
TEXTS = frozenset({"to", "against"})
"""Fields in which it stands for a reference: a good answer that a person wrote."""
_WHOLE = re.compile(r"0|[1-9]\d{0,8}")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,8})(?:\.\d+)?")


@dataclass(frozen=True)
class Expectation:
    """`values` by key, as they are written into a golden file; `missing` are keys that checks ask for and that cannot be read
    off the answer: a person writes those."""

    values: Mapping[str, Any]
    missing: tuple[str, ...] = ()


def asked_keys(task: Task) -> tuple[str, ...]:
    """The keys of `expect` that the checks of a task ask for, those of the content first."""
    return tuple(dict.fromkeys(key for check in (*task.content, *task.format) for key in check.expect_keys()))


def captured(task: Task, text: str, timeout: float = 1.0) -> dict[str, list[str]]:
    """What the format checks capture of an answer by the names of their groups, whatever is expected of it. Names that begin
    with `_` are left out: by them no answers are compared (`core.scoring.scorer.compared_by`)."""
    capturing = [check for check in task.format if check.group_names()]
    free = (one for check in capturing if (one := without_expectations(check)) is not None)
    found = captures_of(build(check, timeout).score(text, {}) for check in free)
    return {name: values for name, values in found.items() if not name.startswith("_")}


def without_expectations(definition: BaseDefinition) -> BaseDefinition | None:
    """The check with the default in place of each `expect.KEY`; None where it cannot be done without."""
    if set(definition.expect_keys()) - {key for _, key in _referring(definition)}:
        return None
    replaced = {}
    for name, _ in _referring(definition):
        field = type(definition).model_fields[name]
        if field.is_required():
            return None
        replaced[name] = field.get_default(call_default_factory=True)
    return definition.model_copy(update=replaced) if replaced else definition


def expectation(task: Task, text: str, timeout: float = 1.0) -> Expectation:
    """What a golden input expects to which this is the right answer: the keys that the task's checks ask for and no others.

    One captured value is written as it is, several as a list. A key that nothing captures and that a check counts by is the
    number with which that check passes.
    """
    found = captured(task, text, timeout)
    values: dict[str, Any] = {}
    uses = {
        key: [
            (check, field) for check in (*task.format, *task.content) for field, own in _referring(check) if own == key
        ]
        for key in asked_keys(task)
    }
    for key, of_key in uses.items():
        if taken := _captured_as(key, of_key, found):
            values[key] = taken[0] if len(taken) == 1 else taken
    # One count may be needed to find another: the rows of so many tables.
    for _ in uses:
        for key, of_key in uses.items():
            if key not in values and (number := _counted(key, of_key, values, text, timeout)) is not None:
                values[key] = number
    return Expectation(
        {key: values[key] for key in uses if key in values}, tuple(key for key in uses if key not in values)
    )


def still_missing(task: Task, expect: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that the task's checks ask for and `expect` lacks."""
    return tuple(key for key in asked_keys(task) if key not in expect)


def _referring(definition: BaseDefinition) -> Iterator[tuple[str, str]]:
    """(field, key) of each `expect.KEY` in a check."""
    for name in type(definition).model_fields:
        value = getattr(definition, name)
        if is_expect_key(value):
            yield name, value.removeprefix(EXPECT)


def _captured_as(key: str, uses: Sequence[tuple[BaseDefinition, str]], found: Mapping[str, Sequence[str]]) -> list[Any]:
    """The captures that a key stands for, as what its checks read there."""
    fields = {field for _, field in uses}
    if fields & TEXTS:
        return []
    name = key
    for check, field in uses:
        if field == "equals" and isinstance(getattr(check, "name", None), str):
            name = check.name  # type: ignore[attr-defined]
    as_number = bool(fields & NUMBERS)
    return [_typed(value, as_number) for value in found.get(name, ())]


def _typed(text: str, as_number: bool) -> Any:
    """A whole number as one, since checks count by it; another number only where a check reads one: 1.10 may be a version."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if as_number and _NUMBER.fullmatch(text) else text


def _counted(
    key: str, uses: Sequence[tuple[BaseDefinition, str]], known: Mapping[str, Any], text: str, timeout: float
) -> int | None:
    """The only number with which every check passes that counts by this key and by none that is unknown; None where there is no
    such check, no such number, or several."""
    counting = [
        check
        for check, _ in uses
        if all(own == key or own in known for own in (other for _, other in _referring(check)))
    ]
    if not counting or any(field not in COUNTS for _, field in uses):
        return None
    numbers = [
        number
        for number in range(MOST_COUNTED + 1)
        if all(build(check, timeout).score(text, {**known, key: number}).value == 1.0 for check in counting)
    ]
    return numbers[0] if len(numbers) == 1 else None
