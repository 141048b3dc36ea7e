"""An answer taken apart once for all detectors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from core.failure_modes.seen import SeenAnswer
from core.failure_modes.words import known_words, runs_of, words_of
from core.thinking import Split, split_thinking

HEAD = 40_000
"""Characters of the beginning that are looked at; what a model does wrong for longer shows there, or at the end."""
TAIL = 12_000

_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*")


@dataclass(frozen=True)
class Fenced:
    """A code block that holds most of an answer. `closed`: its closing fence is there."""

    before: str
    language: str
    inner: str
    closed: bool
    after: str


@dataclass(frozen=True, eq=False)
class TakenApart:
    """What the detectors share of an answer."""

    seen: SeenAnswer

    @cached_property
    def split(self) -> Split:
        """The text without marked thinking: a server may have left some in it."""
        return split_thinking(self.seen.text, lambda: f"{self.seen.system}\n{self.seen.asked}")

    @cached_property
    def text(self) -> str:
        return self.split.text

    @cached_property
    def head(self) -> str:
        return self.text[:HEAD]

    @cached_property
    def tail(self) -> str:
        return self.text[-TAIL:]

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.text)

    @cached_property
    def runs(self) -> list[tuple[str, ...]]:
        return runs_of(self.words)

    @cached_property
    def good(self) -> tuple[str, ...]:
        """Good answers of the task, as far as any is known: to this input, to others, and those of the examples."""
        examples = tuple(example.answer for example in self.seen.examples)
        return (*self.seen.references, *self.seen.usual, *examples)

    @cached_property
    def fenced(self) -> Fenced | None:
        """The code block that holds the answer: at least a third of its characters; None where there is none."""
        lines = self.head.split("\n")
        at = next((number for number, line in enumerate(lines) if _FENCE.fullmatch(line)), None)
        if at is None:
            return None
        opened = _FENCE.fullmatch(lines[at])
        assert opened is not None
        mark = opened[1]
        behind = [
            number
            for number in range(at + 1, len(lines))
            if lines[number].strip().startswith(mark) and not lines[number].strip(f"{mark[0]} \t\r")
        ]
        end = behind[-1] if len(behind) % 2 else len(lines)
        inner = "\n".join(lines[at + 1 : end])
        found = Fenced(
            "\n".join(lines[:at]), opened[2].casefold(), inner, end < len(lines), "\n".join(lines[end + 1 :])
        )
        return found if 3 * len(inner.strip()) >= len(self.head.strip()) - len(mark) * 2 else None

    @cached_property
    def body(self) -> str:
        """The text without the code block that it stands in."""
        return self.text if self.fenced is None else self.fenced.inner

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the beginning that are not blank."""
        return [line for line in self.head.split("\n") if line.strip()]

    def shown(self) -> str:
        """All that the candidate was shown: signs that stand in it are no fault of the answer."""
        examples = "\n".join(f"{example.asked}\n{example.answer}" for example in self.seen.examples)
        return f"{self.seen.system}\n{self.seen.asked}\n{examples}"

    @cached_property
    def asked_words(self) -> tuple[str, ...]:
        return known_words(self.seen.asked)
