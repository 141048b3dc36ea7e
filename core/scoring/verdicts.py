"""Verdicts: what a judge said of one answer, the file that they are appended to, and which of them count for a check."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.checks.judge import Given, JudgeCheck, Order
from core.files import append_line, read_lines, sha256_json
from core.scoring.answers import known_fields

PROMPT_VERSION = 1
"""Raised when a judge is asked in other words: what was said before does not count then."""


@dataclass(frozen=True)
class GivenVerdict:
    """One line of `verdicts.jsonl`: what a judge said of an answer when it was asked for the `ask`-th time in this order.

    `check_hash` is that of what was asked apart from the answer (`asked_hash`), `answer_sha256` that of the answer's text;
    `answer_key`, `candidate` and `task` are of the first answer with that text. `judge` is the model as the check
    names it, `judge_identity` the hash of what answered. `value` in [0, 1] is for the answer, whatever its place was; None: the
    reply (`text`) could not be read, though the judge was asked again. `time` (Unix seconds) is when it was written down,
    `seconds` what it took. A line that is `withdrawn` takes back what was written under its key.
    """

    key: str
    task: str
    check_hash: str
    answer_key: str
    answer_sha256: str
    candidate: str
    judge: str
    judge_identity: str
    ask_order: Order
    ask: int
    text: str
    value: float | None
    time: float
    seconds: float = 0.0
    tries: int = 1
    withdrawn: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> GivenVerdict:
        """The verdict of a line; keys that a newer version added are ignored. KeyError when one is missing."""
        return cls(**known_fields(cls, document))


def answer_sha256(text: str) -> str:
    """Hex SHA-256 of an answer's text as the checks see it: by this a person's mark and a judge's verdict find their answer."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def asked_hash(definition: JudgeCheck, asked: str, reference: str | None) -> str:
    """Hex SHA-256 of all that a judge is asked apart from the answer: who is asked, rubric, scale, input and reference.

    What the verdicts come to (`asks`, `partial`, `least`, the weight) is not in it: none of it makes another verdict.
    """
    return sha256_json(
        {
            "version": PROMPT_VERSION,
            "judge": definition.model,
            "rubric": definition.rubric,
            "scale": None if definition.against is not None else definition.points,
            "input": asked,
            "reference": reference,
        }
    )


def verdict_key(check_hash: str, answer: str, identity: str, order: Order, ask: int) -> str:
    """Hex SHA-256 that names a verdict; `answer` is the hash of the answer's text, `identity` that of the judge."""
    return sha256_json([check_hash, answer, identity, order, ask])


def append_verdict(path: Path, verdict: GivenVerdict) -> None:
    """Append one whole line and wait for the disk."""
    append_line(path, verdict.to_json())


def read_verdicts(path: Path) -> list[GivenVerdict]:
    """The verdicts of a file in the order of their newest lines; a torn last line is dropped, and so is what was withdrawn.

    A verdict that could not be read makes way for one that can.
    """
    found: dict[str, GivenVerdict] = {}
    for document, _ in read_lines(path):
        verdict = GivenVerdict.from_json(document)
        former = found.pop(verdict.key, None)
        if verdict.withdrawn:
            continue
        found[verdict.key] = former if former is not None and verdict.value is None else verdict
    return list(found.values())


@dataclass(frozen=True)
class VerdictBook:
    """The verdicts that count, by what was asked and of which answer. `of_others` were given by what a judge's name meant
    before: its model or its server has changed since, so they count for nothing."""

    given: Mapping[tuple[str, str], Given] = field(default_factory=dict)
    of_others: int = 0

    def of(self, check_hash: str, text: str) -> Given:
        """What was said of an answer with this text."""
        return self.given.get((check_hash, answer_sha256(text)), {}) if self.given else {}


NO_VERDICTS = VerdictBook()


class Said(Protocol):
    """A `GivenVerdict` of a file, or one of the store."""

    @property
    def check_hash(self) -> str: ...
    @property
    def answer_sha256(self) -> str: ...
    @property
    def judge(self) -> str: ...
    @property
    def judge_identity(self) -> str: ...
    @property
    def ask_order(self) -> Order: ...
    @property
    def ask(self) -> int: ...
    @property
    def value(self) -> float | None: ...
    @property
    def time(self) -> float: ...


S = TypeVar("S", bound=Said)


def counting(verdicts: Iterable[S]) -> list[S]:
    """Those of what each judge is now: of several models behind one name the one that spoke last counts."""
    listed = list(verdicts)
    newest = {verdict.judge: verdict.judge_identity for verdict in sorted(listed, key=lambda one: one.time)}
    return [one for one in listed if one.judge_identity == newest[one.judge]]


def book_of(verdicts: Iterable[Said]) -> VerdictBook:
    """The verdicts of a bake-off as its checks read them."""
    listed = list(verdicts)
    valid = counting(listed)
    given: dict[tuple[str, str], dict[tuple[Order, int], float | None]] = {}
    for one in valid:
        given.setdefault((one.check_hash, one.answer_sha256), {})[one.ask_order, one.ask] = one.value
    return VerdictBook(given, len(listed) - len(valid))
