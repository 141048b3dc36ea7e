"""Expectations that a person writes: as YAML in a field, or as KEY=VALUE on a command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.authoring.yaml_text import flow
from core.config.task import Task
from core.config.yaml import parse_marked
from core.errors import InputError
from core.marking.expectations import asked_keys, still_missing

FIELD = Path("expect")
"""What errors name: the expectations stand in no file yet."""


def expect_text(expect: Mapping[str, Any], missing: Iterable[str] = ()) -> str:
    """Expectations in one line, to be edited; what is missing has an empty place."""
    return ", ".join([*([flow(expect)[1:-1]] if expect else []), *(f"{key}: " for key in missing)])


def parse_expect(text: str, task: Task | None = None) -> dict[str, Any]:
    """The expectations of a text such as `verdict: PASS, notes: [a, b]`, or of a whole YAML mapping.

    InputError where it is no YAML, or no mapping; with a `task` also for a key that none of its checks asks for, and for one
    that is missing (`open_expectations`).
    """
    written = text.strip()
    if not written.startswith("{") and "\n" not in written:
        written = f"{{ {written} }}"
    data = parse_marked(written, FIELD).data
    if not isinstance(data, dict):
        raise InputError("expected keys with values: `verdict: PASS, notes: 2`", code="bad_expect", file=FIELD)
    found = {str(key): value for key, value in data.items() if value is not None}
    if task is not None:
        check_expect(found, task)
    return found


def check_expect(expect: Mapping[str, Any], task: Task) -> None:
    """Raise InputError for a key that none of the task's checks asks for, and for one that is missing."""
    known = asked_keys(task)
    if strange := [key for key in expect if key not in known]:
        raise InputError(
            f"no check of `{task.name}` asks for expect.{strange[0]}",
            code="bad_expect",
            key=strange[0],
            remedy=f"they ask for {', '.join(known)}" if known else "its checks expect nothing of an input",
        )
    if missing := still_missing(task, expect):
        raise InputError(
            f"the checks of `{task.name}` expect {', '.join(missing)}, and nothing says what",
            code="open_expectations",
            key=f"expect.{missing[0]}",
            remedy="write the expectations yourself",
        )


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """The expectations of `KEY=VALUE` options, each value in YAML. InputError as `parse_expect`."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise InputError(f"expected KEY=VALUE, found `{pair}`", code="bad_expect", key="--expect")
        found[key.strip()] = parse_marked(f"value: {value}", FIELD).data["value"]
    return found
