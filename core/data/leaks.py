"""Golden inputs that appear in training data: found, refused and worded in one place.

A model that has learnt the golden inputs proves nothing by answering them, so every gate refuses the data with the code `leak`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from core.config.golden import GoldenInput
from core.data.examples import Example, normalised
from core.errors import GateError

# A shorter text inside another one is a coincidence ("ok", a greeting), not a leak.
MIN_CONTAINED_CHARACTERS = 40
NAMED_AT_MOST = 5
CODE = "leak"
REMEDY = "remove them from the training data or from the golden inputs"

Relation = Literal["equal", "contains", "contained"]
_WORDS: dict[Relation, str] = {"equal": "is", "contains": "contains", "contained": "is part of"}


@dataclass(frozen=True)
class Leak:
    """An example whose last user message equals a golden input, contains it, or is contained in it."""

    line: int
    file: str
    golden_id: str
    kind: Relation

    @property
    def relation(self) -> str:
        return f"{_WORDS[self.kind]} the golden input `{self.golden_id}`"

    def __str__(self) -> str:
        """``line 12 contains the golden input `tea` ``"""
        return f"line {self.line} {self.relation}"


def find_leaks(examples: Iterable[Example], golden_inputs: Iterable[GoldenInput]) -> list[Leak]:
    """Examples that repeat a golden input: their last user message, or of a golden conversation all of their messages.

    Compared are letters and digits only, case-folded. Equal texts are a leak at any length but zero (an empty input
    holds nothing to learn by heart); one within the other is a leak when the inner one has at least 40 characters. System
    messages are not compared: the same question is the same under any of them.
    """
    golden = [(item.id, len(item.messages) > 2, normalised(_asked(item))) for item in golden_inputs]
    several = any(conversation for _, conversation, _ in golden)
    leaks = []
    for example in examples:
        last = normalised(example.last_user)
        whole = normalised(_joined((turn.role, turn.content) for turn in example.messages)) if several else ""
        for golden_id, conversation, wanted in golden:
            kind = _relation(whole if conversation else last, wanted)
            if kind is not None:
                leaks.append(Leak(example.line, example.file, golden_id, kind))
    return leaks


def _asked(item: GoldenInput) -> str:
    return _joined((turn.role, turn.content) for turn in item.messages) if item.messages else item.input or ""


def _joined(turns: Iterable[tuple[str, str]]) -> str:
    return "\n".join(content for role, content in turns if role != "system")


def _relation(text: str, wanted: str) -> Relation | None:
    if not text or not wanted:
        return None
    if text == wanted:
        return "equal"
    if len(wanted) >= MIN_CONTAINED_CHARACTERS and wanted in text:
        return "contains"
    if len(text) >= MIN_CONTAINED_CHARACTERS and text in wanted:
        return "contained"
    return None


def named(leaks: Sequence[Leak]) -> str:
    """The first of them, and how many more there are."""
    more = f", and {len(leaks) - NAMED_AT_MOST} more" if len(leaks) > NAMED_AT_MOST else ""
    return ", ".join(map(str, leaks[:NAMED_AT_MOST])) + more


def refuse_leaks(examples: Iterable[Example], golden_inputs: Iterable[GoldenInput], source: str) -> None:
    """Raise `GateError` (`leak`) when golden inputs appear in the training data. `source` is its file, as a person knows it."""
    if leaks := find_leaks(examples, golden_inputs):
        raise GateError(
            f"data leak: golden inputs appear in the training data ({named(leaks)})",
            code=CODE,
            file=source,
            line=leaks[0].line,
            remedy=REMEDY,
        )
