"""What every check has in common: its definition's fields, its result, and how it looks something up in `expect`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.checks.normal_form import PARTS, Part, Parts, parts_of

EXPECT = "expect."

Captures = Mapping[str, Sequence[str]]


class CheckFault(Exception):  # noqa: N818  (a fault of the check, caught by `Check.score`: no error of the program)
    """The check itself can't be done: its pattern ran out of time, or `expect` lacks what it asks for."""


@dataclass(frozen=True)
class AskedInput:
    """What an answer answers, for checks that compare the two: the text of the last message of the user, and all turns (role,
    content) of user and assistant up to it."""

    text: str
    turns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, messages: Iterable[tuple[str, str]]) -> AskedInput:
        """That of a conversation; what a system message says is not of the input."""
        turns = tuple((role, content) for role, content in messages if role != "system")
        return cls(next((content for role, content in reversed(turns) if role == "user"), ""), turns)


@dataclass(frozen=True)
class CheckResult:
    """What one check says of one answer.

    `value` is in [0, 1]; `detail` says in few words why it is not 1 (else it is empty), the same words for the same
    reason, so that reasons can be counted; `captures` are the named groups in document order; `faulty` means that the
    check could not be done, and then `value` is 0.
    """

    value: float
    detail: str = ""
    captures: dict[str, list[str]] = field(default_factory=dict)
    faulty: bool = False


def is_expect_key(value: object) -> bool:
    """True of `expect.KEY`."""
    return isinstance(value, str) and value.startswith(EXPECT) and value[len(EXPECT) :].strip() != ""


def checked_count(value: object) -> object:
    """A whole number from 0 or `expect.KEY`; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if is_expect_key(value):
        return value
    raise ValueError("expected a whole number from 0, or expect.KEY")


def _values(value: object) -> object:
    if is_expect_key(value):
        return value
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("expected a list of strings, or expect.KEY")
    for item in value:
        if not isinstance(item, str):
            raise ValueError(f"{item!r} is no string: write it in quotes")
        if not item:
            raise ValueError("an empty string is in every answer")
    return tuple(value)


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and value and all(part in PARTS for part in value):
        return tuple(value)
    raise ValueError(f"expected true, false, or a list of these: {', '.join(PARTS)}")


Count = Annotated[int | str, BeforeValidator(checked_count)]
Values = Annotated[tuple[str, ...] | str, BeforeValidator(_values)]

Normalise = Annotated[bool | tuple[Part, ...], BeforeValidator(_switch)]


class BaseDefinition(BaseModel):
    """The keys that every check takes.

    `id` is its name in tables (else made from the check), `weight` its share in the mean of its part, `partial` asks
    for the share that is right instead of 0 or 1, `message` replaces the check's own words for why an answer failed,
    `normalise` switches the normal form in which texts are compared (`core.checks.normal_form`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    # Keys that take `expect.KEY`.
    FROM_EXPECT: ClassVar[tuple[str, ...]] = ("count", "rows", "values")
    # The key that names the captures which the check reads.
    READ_KEY: ClassVar[str] = "name"
    # Keys that came later than stored scores: as long as they say nothing new, they are no part of the check's hash.
    UNHASHED_DEFAULTS: ClassVar[tuple[str, ...]] = ()

    # Always done in a process that can be killed: what it runs has no bound that its own code could keep.
    ISOLATED: ClassVar[bool] = False

    # Raised when the code of a check changes what it says of the same answer: stored scores are then seen to be old.
    # 2: all checks compare in one normal form; a table in a code block counts. 3: the sign for micro is the Greek letter.
    VERSION: ClassVar[int] = 3
    # It says nothing of form: a definition of it under `format:` is refused.
    CONTENT_ONLY: ClassVar[bool] = False

    id: str | None = Field(default=None, min_length=1, max_length=60)
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    partial: bool = False
    message: str | None = Field(default=None, min_length=1, max_length=200)
    normalise: Normalise = True

    @property
    def parts(self) -> Parts:
        """The parts of the normal form that this check compares in."""
        return parts_of(self.normalise)

    def default_id(self) -> str:
        """The name of a check that was given none."""
        return str(self.check)  # type: ignore[attr-defined]

    def group_names(self) -> tuple[str, ...]:
        """The named groups that this check captures."""
        return ()

    def read_names(self) -> tuple[str, ...] | None:
        """The captured names that this check reads; None: whatever is captured. Such a check is scored after the others."""
        return ()

    @property
    def reads_captures(self) -> bool:
        return self.read_names() != ()

    @property
    def reads_input(self) -> bool:
        """Whether it compares the answer with the input: it is scored with an `AskedInput` then."""
        return False

    def expect_keys(self) -> tuple[str, ...]:
        """The keys of a golden input's `expect` that this check asks for."""
        asked = (getattr(self, name) for name in self.FROM_EXPECT if name in type(self).model_fields)
        return tuple(value.removeprefix(EXPECT) for value in asked if is_expect_key(value))

    def read_of(self, expect: Mapping[str, Any]) -> dict[str, Any]:
        """What of a golden input's `expect` decides what this check says."""
        return {key: expect.get(key) for key in self.expect_keys()}

    def is_unbounded(self, text: str, expect: Mapping[str, Any]) -> bool:
        """Whether something that this check does with this text keeps no time limit, so that it belongs into a process."""
        return False


def in_short(text: str, most: int) -> str:
    """A text on one line of at most so many characters: a reason is shown in a line, and a group can capture a whole page."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def lookup(reference: str, expect: Mapping[str, Any]) -> Any:
    """What `expect.KEY` refers to; raises `CheckFault` where the input has no such key."""
    key = reference.removeprefix(EXPECT)
    if key not in expect:
        raise CheckFault(f"the golden input has no expect.{key}")
    return expect[key]


def resolve_count(count: int | str, expect: Mapping[str, Any]) -> int:
    """The number that a `count` stands for; a list in `expect` stands for its length."""
    if isinstance(count, int):
        return count
    value = lookup(count, expect)
    if isinstance(value, list | tuple):
        return len(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CheckFault(f"{count} is {value!r}: a whole number or a list is expected")
    return value


def count_share(found: int, expected: int) -> float:
    """How near `found` is to `expected`: 1 when equal, else the smaller over the larger."""
    return 1.0 if found == expected else min(found, expected) / max(found, expected)
