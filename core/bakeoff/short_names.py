"""Names of candidates made short enough for the head of a column, and still different from each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.text import cell_width, clip, printable

_WORDS = re.compile(r"[^\s/]*[\s/]*")


@dataclass(frozen=True)
class Heads:
    """The short name of each candidate; `key` says what the letters mean where it took letters, else it is empty."""

    of: dict[str, str]
    key: str = ""


def heads(names: Sequence[str], width: int) -> Heads:
    """Names of at most `width` terminal cells (at least 4), no two alike.

    As they are where they fit; else without the words that all begin with ("SmolLM2-135M tuned" and "SmolLM2-135M base"
    become "tuned" and "base"); else cut at the end; else a letter before each, with a key.
    """
    shown = [printable(name) for name in names]
    bare = without_common_words(shown)
    for tried in (shown, bare, [clip(name, width) for name in bare]):
        if _fit(tried, width):
            return Heads(dict(zip(names, tried, strict=True)))
    marks = [_letter(number) for number in range(len(names))]
    lettered = [clip(f"{mark} {name}", width) for mark, name in zip(marks, bare, strict=True)]
    key = "; ".join(f"{mark}: {name}" for mark, name in zip(marks, shown, strict=True))
    return Heads(dict(zip(names, lettered, strict=True)), key)


def without_common_words(names: Sequence[str]) -> list[str]:
    """The names without the words (ended by blanks or slashes) that all of them begin with; none becomes empty."""
    if len(names) < 2:
        return list(names)
    split = [[word for word in _WORDS.findall(name) if word] or [""] for name in names]
    same = 0
    while all(len(words) > same + 1 for words in split) and len({words[same] for words in split}) == 1:
        same += 1
    return ["".join(words[same:]) for words in split]


def shortened(text: str, names: Sequence[str]) -> str:
    """A text about candidates with what all their names begin with left out: "tuned 4.83/5 over base 0.20/5: …"."""
    for name, short in sorted(zip(names, without_common_words(names), strict=True), key=lambda pair: -len(pair[0])):
        text = text.replace(name, short)
    return text


def _fit(names: Sequence[str], width: int) -> bool:
    return len(set(names)) == len(names) and all(cell_width(name) <= width for name in names)


def _letter(number: int) -> str:
    """A … Z, then A2 … Z2, and so on."""
    turn, letter = divmod(number, 26)
    return f"{chr(ord('A') + letter)}{turn + 1 if turn else ''}"
