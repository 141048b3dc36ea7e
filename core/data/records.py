"""A record of a data file (a line, an entry of an array, a row), what of it is used, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from core.errors import InputError
from core.text import visible

Unit = Literal["line", "entry", "row"]
Format = Literal["jsonl", "json_array", "json_objects", "json_table", "csv", "tsv", "parquet"]
FORMAT_NAMES: dict[Format, str] = {
    "jsonl": "JSON lines",
    "json_array": "a JSON array",
    "json_objects": "JSON objects that are not one a line",
    "json_table": "a JSON table (one object of columns or rows)",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
}
UNIT_PLURALS: dict[Unit, str] = {"line": "lines", "entry": "entries", "row": "rows"}
UNITS: dict[Format, Unit] = {
    "json_array": "entry",
    "json_objects": "entry",
    "json_table": "entry",
    "csv": "row",
    "tsv": "row",
    "parquet": "row",
}
# Of a key or a value of the file that an error message quotes, at most so much.
QUOTED_CHARACTERS = 60
# Of many records that cannot be used, so many are named by number and so many kept with their reasons.
NAMED_NUMBERS = 8
NAMED_REASONS = 3
MOST_PROBLEMS = 100


@dataclass(frozen=True)
class Record:
    """One record, parsed. `number` counts from 1 in its `unit`; `line` is the line of the file on which it begins, if any."""

    document: Any
    number: int
    line: int | None
    file: Path
    unit: Unit = "line"

    def refuse(
        self, message: str, *, key: str | None = None, code: str = "bad_line", remedy: str | None = None
    ) -> NoReturn:
        raise self.error(message, key=key, code=code, remedy=remedy)

    def error(
        self, message: str, *, key: str | None = None, code: str = "bad_line", remedy: str | None = None
    ) -> InputError:
        where = "" if self.unit == "line" else f"{self.unit} {self.number}: "
        return InputError(f"{where}{message}", code=code, file=self.file, line=self.line, key=key, remedy=remedy)


@dataclass(frozen=True)
class Problem:
    """A record that cannot be used: its number, and why."""

    number: int
    error: InputError


@dataclass
class Ignored:
    """Keys of which nothing is used, and how often each was met: `id`, `messages[].name`. Whatever is not taken ends here."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, keys: Iterator[str] | Sequence[str], prefix: str = "") -> None:
        self.counts.update(f"{prefix}{word(key)}" for key in keys)

    def sorted(self) -> dict[str, int]:
        return dict(sorted(self.counts.items()))


class BadRecordsError(InputError):
    """Records that cannot be used: the message is of the first, and names a few more with the count of all.

    `problems` are the first of them (at most MOST_PROBLEMS), `count` is how many there are.
    """

    def __init__(self, problems: Sequence[Problem], count: int, unit: Unit) -> None:
        first = problems[0].error
        super().__init__(
            first.message + _more(problems, count, unit),
            code=first.code,
            file=first.file,
            line=first.line,
            key=first.key,
            remedy=first.remedy,
        )
        self.problems = tuple(problems)
        self.count = count


@dataclass
class Parsed:
    """The records of a file in their order, and those that could not be parsed. `blank` counts lines without anything."""

    format: Format
    compression: str | None = None
    encoding: str = "UTF-8"
    delimiter: str | None = None
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    bad: int = 0
    blank: int = 0
    ignored: Ignored = field(default_factory=Ignored)

    @property
    def unit(self) -> Unit:
        return UNITS.get(self.format, "line")

    def add_problem(self, number: int, error: InputError) -> None:
        self.bad += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(number, error))


def _more(problems: Sequence[Problem], count: int, unit: Unit) -> str:
    """What is said behind the first problem: ` (and 19 more lines: 4 (has no prompt), 5, 9 …)`."""
    if count == 1:
        return ""
    named = []
    reasons = {_reason(problems[0], unit)}
    for problem in problems[1 : 1 + NAMED_NUMBERS]:
        reason = _reason(problem, unit)
        other = reason not in reasons and len(reasons) < NAMED_REASONS
        reasons.add(reason)
        named.append(f"{problem.number} ({visible(reason, limit=100)})" if other else str(problem.number))
    rest = " …" if count > 1 + NAMED_NUMBERS else ""
    return (
        f" (and {count - 1} more {unit if count == 2 else UNIT_PLURALS[unit]} cannot be used: {', '.join(named)}{rest})"
    )


def _reason(problem: Problem, unit: Unit) -> str:
    return problem.error.message.removeprefix(f"{unit} {problem.number}: ")


@lru_cache(maxsize=4096)
def word(text: str) -> str:
    """A key of the file in a message: short, and nothing in it that no encoding takes or that speaks to a terminal."""
    return visible(text, limit=QUOTED_CHARACTERS).replace("\n", "\\n").replace("\t", "\\t")


def quoted(value: Any) -> str:
    """A value of the file in a message. Of what is no text only the kind is said: its repr can be too deep to make."""
    if isinstance(value, str):
        short = value if len(value) <= QUOTED_CHARACTERS else f"{value[:QUOTED_CHARACTERS]}…"
        return repr(short)
    kinds = {list: "a list", dict: "an object", type(None): "null", bool: "true or false", int: "a number"}
    return kinds.get(type(value), "a number" if isinstance(value, float) else "something else")
