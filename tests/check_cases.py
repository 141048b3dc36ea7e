"""For each check a table of hard answers × what is expected × what the check says, for a person to read.

    python -m tests.check_cases [CHECK…] [--wrong]

`tests/unit/check_cases/*.yaml` hold them: `define` is the definition that a file's cases share, `cases` has one mapping a case:

    what      what is hard about it
    text      the answer; `times` repeats it
    keys      keys of the definition that differ here; null takes one out
    expect    the golden input's expectations; `captured` what format checks captured
    value     the expected value, with `partial: true` that of `partial` (left out: not looked at)
    detail    words that the reason has; `captures` what is captured; `faulty` (false) whether the check can't be done
    counts    in place of `value`, of `lines`, `words`, `characters`: how many there are (CHECK: NUMBER)
    number    in place of `value`, of `number_range`: the number that a captured text is, or null
    values    in place of `value`: CHECK: VALUE, for several checks that are defined alike

Two checks read something else than a text, and have tables of that: `judge` the replies of a model
(`tests.support.judge_replies`), and `python` runs functions (`tests.support.hostile_functions`).

The exit code is 1 when a check says something else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from core.checks import CheckDefinition, CheckResult, build
from core.checks.judge import JudgeCheck
from core.scoring.judge_prompt import read_verdict
from tests.support.hostile_functions import HOSTILE, hostile, python
from tests.support.judge_replies import CHOICES, NUMBERS

FOLDER = Path(__file__).parent / "unit" / "check_cases"
ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)
SHOWN = 60
PATTERN_SECONDS = 30.0
"""None of the cases is about time: a machine that is busy must not fail one."""


@dataclass(frozen=True)
class Case:
    """One answer and what one check must say of it. `partial` and `captures` None: not looked at."""

    file: str
    what: str
    text: str
    definition: Mapping[str, Any]
    value: float
    partial: float | None = None
    detail: str = ""
    faulty: bool = False
    captures: Mapping[str, list[str]] | None = None
    expect: Mapping[str, Any] = field(default_factory=dict)
    captured: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def check(self) -> str:
        return str(self.definition["check"])

    def got(self, **keys: Any) -> CheckResult:
        """What the check says."""
        definition = ONE.validate_python({**self.definition, **keys})
        return build(definition, PATTERN_SECONDS).score(self.text, self.expect, self.captured)

    def wrong(self) -> str:
        """How what the check says differs from what is expected; empty where nothing does."""
        result, share = self.got(), self.got(partial=True)
        found = {
            "value": (result.value, self.value),
            "partial": (round(share.value, 3), None if self.partial is None else round(self.partial, 3)),
            "captures": (result.captures, self.captures),
            "faulty": (result.faulty, self.faulty),
        }
        said = [
            f"{name} {got!r}, not {want!r}" for name, (got, want) in found.items() if want is not None and got != want
        ]
        if self.detail not in result.detail:
            said.append(f"detail {result.detail!r} without {self.detail!r}")
        if share.value < result.value:
            said.append("less with `partial: true`")
        if bool(result.detail) == (result.value == 1):
            said.append(f"value {result.value:g} and detail {result.detail!r}")
        return "; ".join(said)


@dataclass(frozen=True)
class Row:
    """A case of a check that reads something else than a text."""

    check: str
    what: str
    expected: str
    got: str


@cache
def cases() -> tuple[Case, ...]:
    """All cases, in the order of the files."""
    return tuple(case for file in sorted(FOLDER.glob("*.yaml")) for case in _cases_of(file))


def _cases_of(file: Path) -> Iterator[Case]:
    document = yaml.safe_load(file.read_text("utf-8"))
    for written in document["cases"]:
        row = dict(written)
        text = row.pop("text", "") * row.pop("times", 1)
        defined = {**document["define"], **row.pop("keys", {})}
        definition = {key: value for key, value in defined.items() if value is not None}
        shared = {"file": file.stem, "what": row.pop("what"), "text": text}
        for keys, values in _expanded(row, definition, shared["what"]):
            yield Case(**{**shared, **values}, definition=keys)


def _expanded(
    row: dict[str, Any], definition: dict[str, Any], what: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The definitions and expectations that one row of a file stands for."""
    if "counts" in row:
        counts = row.pop("counts")
        for check, number in counts.items():
            keys = {**definition, "check": check}
            exact, less, more = f"{what}: {number}", f"{what}: {number + 1} or more", f"{what}: {number - 1} or less"
            yield {**keys, "min": number, "max": number}, {**row, "what": exact, "value": 1}
            short = {**row, "what": less, "value": 0, "partial": number / (number + 1)}
            yield {**keys, "min": number + 1}, short
            if number:
                yield {**keys, "max": number - 1}, {**row, "what": more, "value": 0, "partial": (number - 1) / number}
    elif "number" in row:
        number, said = row.pop("number"), definition["name"]
        captured = {said: [row.pop("read")]}
        equals = {**definition, "min": None, "max": None, "equals": 0 if number is None else number}
        detail = "is no number" if number is None else ""
        said = f"{what}: {'no number' if number is None else f'{number:.12g}'}"
        yield equals, {**row, "what": said, "captured": captured, "value": int(number is not None), "detail": detail}
    elif "values" in row:
        for check, value in row.pop("values").items():
            yield {**definition, "check": check}, {**row, "value": value}
    else:
        yield definition, row


def _line(text: str) -> str:
    shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    return ascii(shown)[1:-1] if not shown.isprintable() else shown


def _table(chosen: Sequence[Case]) -> Iterator[str]:
    before = ""
    for case in chosen:
        if case.check != before:
            before = case.check
            yield f"\n{case.check}\n{'expected':>8} {'got':>6} {'partial':>8}  what is hard · answer · reason"
        result, share = case.got(), case.got(partial=True)
        shown = _line(case.text or ", ".join(text for texts in case.captured.values() for text in texts))
        reason = f" · {_line(result.detail)}" if result.detail else ""
        mark = "  ✗ " + case.wrong() if case.wrong() else ""
        got = "faulty" if result.faulty else f"{result.value:g}"
        expected = "faulty" if case.faulty else f"{case.value:g}"
        yield f"{expected:>8} {got:>6} {share.value:>8.3g}  {case.what} · {shown}{reason}{mark}"


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    before = ""
    for row in rows:
        if row.check != before:
            before = row.check
            yield f"\n{row.check}\nexpected · got · what is hard"
        mark = "" if row.expected == row.got else "  ✗"
        yield f"{_line(row.expected)} · {_line(row.got)} · {_line(row.what)}{mark}"


def judge_rows() -> Iterator[Row]:
    """What is read in the reply of a judge: one on a scale from 1 to 5, and a choice of two, of which A is the answer."""
    scale, choice = (
        JudgeCheck.model_validate({"check": "judge", "model": "served:j", "rubric": "Is it right?", **more})
        for more in ({}, {"against": "expect.reference"})
    )
    for reply, number in NUMBERS:
        expected = None if number is None else (number - 1) / 4
        yield Row("judge", f"1 to 5 · {reply}", _read(expected), _read(read_verdict(scale, reply, "")))
    for reply, value in CHOICES:
        yield Row("judge", f"A or B · {reply}", _read(value), _read(read_verdict(choice, reply, "AB")))


def python_rows() -> Iterator[Row]:
    """What is said of an answer on which a function does its worst, in a process of its own."""
    for what, said in HOSTILE.items():
        found = build(python(hostile(what), timeout=0.3, memory="64MB")).score("bad", {})
        expected = f"faulty: {said}"
        got = f"{'faulty' if found.faulty else f'{found.value:g}'}: {found.detail}"
        yield Row("python", what.strip(), expected, expected if found.faulty and said in found.detail else got)


def _read(value: float | None) -> str:
    return "not readable" if value is None else f"{value:g}"


TABLES = {"judge": judge_rows, "python": python_rows}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.check_cases", description="Hard answers for each check.")
    parser.add_argument("check", nargs="*")
    parser.add_argument("--wrong", action="store_true", help="those alone of which a check says something else")
    said = parser.parse_args(arguments)
    chosen = sorted((case for case in cases() if not said.check or case.check in said.check), key=lambda one: one.check)
    wrong = [case for case in chosen if case.wrong()]
    print("\n".join(_table(wrong if said.wrong else chosen)))
    rows = [row for name, table in TABLES.items() if not said.check or name in said.check for row in table()]
    differing = [row for row in rows if row.expected != row.got]
    print("\n".join(_rows(differing if said.wrong else rows)))
    count, other = len(chosen) + len(rows), len(wrong) + len(differing)
    print(f"\n{count} cases, {other} of which a check says something else")
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
