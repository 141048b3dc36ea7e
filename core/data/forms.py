"""What texts have in common: their lines' kinds, and the parts of a line that never change.

Two texts have one *shape* when their lines are of the same kinds in the same order: a heading of level 3, a table row that
begins with `Clarity`, a line labelled `SUMMARY`. How often a thing without a name comes (a bullet, a paragraph) is no part of
the shape where it differs. The *form* of a shape is its lines with a placeholder for every part that differs between texts.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

Kind = tuple[str, ...]
Shape = tuple[Kind, ...]

BLANK: Kind = ("blank",)
TEXT: Kind = ("text",)
REST: Kind = ("rest",)  # what follows the first line of prose of any length
# A name (of a table row, a label, a key) belongs to the form when it stands in this share of the texts.
NAMED_SHARE = 0.5
# The lines at one place of a shape speak for themselves when they are so many; of fewer, what they share may be chance, and
# all lines of their kind are asked.
FEWEST_LINES = 8
MOST_LINES = 64  # different ones that are compared
MOST_TOKENS = 120  # of a line that is compared; a longer one is prose
PLACEHOLDERS = ("…", "[…]", "<…>", "[___]", "<<…>>")

# A word with the white space in front of it.
_TOKEN = re.compile(r"(\s*)(\d+(?:[.,]\d+)*|\w+|[^\w\s])")
_KINDS = (
    ("rule", re.compile(r"\s*(\|[\s:|-]*-[\s:|-]*\||-{3,}|={3,}|\*{3,})\s*$")),
    ("fence", re.compile(r"\s*(```.*|~~~.*)$")),
    ("heading", re.compile(r"(#{1,6})\s")),
    ("row", re.compile(r"\s*\|\s*([^|]*?)\s*\|.*\|\s*$")),
    ("brackets", re.compile(r"\s*([][{}(),;]+)\s*$")),
    ("key", re.compile(r'\s*["\']([^"\']{1,40})["\']\s*:')),
    ("tag", re.compile(r"\s*(</?[A-Za-z][\w-]{0,40})")),
    ("label", re.compile(r"\s*((?:[-*+•]\s+|\d+[.)]\s+)?[*_]{0,2}[^\W\d][\w /-]{0,40}?)[*_]{0,2}\s*[:=]")),
    ("item", re.compile(r"(\s*)(?:[-*+•]|\d+[.)])\s")),
)
_NAMED = {"row", "key", "tag", "label"}


@dataclass(frozen=True)
class Form:
    """The form of a shape: its text, the share of the texts that have the shape, and those texts' places."""

    text: str
    share: float
    members: tuple[int, ...]


def forms(texts: Sequence[str], placeholder: str) -> list[Form]:
    """The forms of the texts' shapes, the most common first; only of shapes that two texts have, and only such as hold
    something beside placeholders. The order of the texts changes nothing but `members`."""
    lines = [text.strip().replace("\r\n", "\n").split("\n") for text in texts]
    kinds = _kinds(lines)
    runs = [_runs(kinds_of, lines_of) for kinds_of, lines_of in zip(kinds, lines, strict=True)]
    shapes: dict[Shape, list[int]] = defaultdict(list)
    for place, (shape, _) in enumerate(fixed := _fixed_lengths(runs)):
        shapes[shape].append(place)
    by_kind: dict[Kind, set[str]] = defaultdict(set)
    for shape, at in fixed:
        for kind, line in zip(shape, at, strict=True):
            by_kind[kind].add(line)
    found = []
    for shape, members in shapes.items():
        if len(members) < 2:
            continue
        at_places = [Counter(fixed[member][1][place] for member in members) for place in range(len(shape))]
        written = [
            _template(kind, at if at.total() >= FEWEST_LINES else by_kind[kind], placeholder)
            for kind, at in zip(shape, at_places, strict=True)
        ]
        text = "\n".join(
            line
            for place, (kind, line) in enumerate(zip(shape, written, strict=True))
            if kind != REST or written[place - 1] != placeholder
        )
        if re.sub(r"\s", "", text.replace(placeholder, "")):
            found.append(Form(text, len(members) / len(texts), tuple(members)))
    return sorted(_joined(found), key=lambda form: (-form.share, form.text))


def free_placeholder(texts: Iterable[str]) -> str:
    """A placeholder that no text holds (the last one, should all be taken)."""
    joined = "\n".join(texts)
    return next((sign for sign in PLACEHOLDERS if sign not in joined), PLACEHOLDERS[-1])


def _joined(found: list[Form]) -> list[Form]:
    """Shapes whose forms read the same are one form."""
    by_text: dict[str, list[Form]] = defaultdict(list)
    for form in found:
        by_text[form.text].append(form)
    return [
        Form(text, sum(form.share for form in same), tuple(sorted(member for form in same for member in form.members)))
        for text, same in by_text.items()
    ]


def _kinds(lines: list[list[str]]) -> list[list[Kind]]:
    """The kind of every line; names that only some texts have are left out of it."""
    raw = [[_kind(line) for line in text] for text in lines]
    having = Counter(kind for text in raw for kind in set(text) if kind[0] in _NAMED)
    common = {kind for kind, count in having.items() if count >= NAMED_SHARE * len(lines)}
    return [[kind if kind[0] not in _NAMED or kind in common else _unnamed(kind) for kind in text] for text in raw]


def _kind(line: str) -> Kind:
    if not line.strip():
        return BLANK
    for name, pattern in _KINDS:
        if match := pattern.match(line):
            if name == "row":
                return name, str(line.count("|")), match[1]
            if name in ("rule", "fence"):
                return name, match[1]
            return name, line[: len(line) - len(line.lstrip())] + match[1]
    return TEXT


def _unnamed(kind: Kind) -> Kind:
    if kind[0] == "row":
        return kind[:2]
    if kind[0] == "label" and re.match(r"\s*(?:[-*+•]|\d+[.)])\s", kind[1]):
        return "item", kind[1][: len(kind[1]) - len(kind[1].lstrip())]
    return TEXT if kind[0] == "label" else kind[:1]


def _repeats(kind: Kind) -> bool:
    """True of a kind that may come any number of times: it has no name of its own."""
    return kind == TEXT or kind[0] == "item" or (kind[0] in _NAMED and len(kind) < (3 if kind[0] == "row" else 2))


def _runs(kinds: list[Kind], lines: list[str]) -> list[tuple[Kind, list[str]]]:
    """Neighbouring lines of one kind; paragraphs of prose are one run, with the blank lines between them."""
    runs = [
        (kind, [line for _, line in group])
        for kind, group in groupby(zip(kinds, lines, strict=True), key=lambda pair: pair[0])
    ]
    merged: list[tuple[Kind, list[str]]] = []
    for kind, held in runs:
        if kind == TEXT and len(merged) > 1 and merged[-1][0] == BLANK and merged[-2][0] == TEXT:
            merged.pop()
            merged[-1] = (TEXT, [*merged[-1][1], *held])
        else:
            merged.append((kind, held))
    return merged


def _fixed_lengths(texts: list[list[tuple[Kind, list[str]]]]) -> list[tuple[Shape, list[str]]]:
    """Shape and lines of every text, a run whose length differs between texts written as one line."""
    lengths: dict[tuple[Kind, Kind], set[int]] = defaultdict(set)
    for text in texts:
        for before, (kind, held) in zip([BLANK, *(kind for kind, _ in text)], text, strict=False):
            lengths[before, kind].add(len(held))
    result = []
    for text in texts:
        shape: list[Kind] = []
        lines: list[str] = []
        for before, (kind, held) in zip([BLANK, *(kind for kind, _ in text)], text, strict=False):
            varies = _repeats(kind) and len(lengths[before, kind]) > 1
            kept = held[:1] if varies else held
            shape.extend([kind] * len(kept))
            lines.extend(kept)
            if varies and kind == TEXT:
                shape.append(REST)
                lines.append("")
        result.append((tuple(shape), lines))
    return result


def _template(kind: Kind, lines: Iterable[str], placeholder: str) -> str:
    """What all these lines share, with placeholders between."""
    if kind in (BLANK, REST):
        return "" if kind == BLANK else placeholder
    different = sorted(set(lines), key=lambda line: hashlib.sha256(line.encode()).digest())[:MOST_LINES]
    split = [_tokens(line) for line in different]
    if any(len(tokens) > MOST_TOKENS for tokens in split):
        if kind == TEXT:
            return placeholder
        split = [tokens[:MOST_TOKENS] for tokens in split]
    shared = split[0]
    for tokens in split[1:]:
        shared = _common(shared, tokens)
    if kind == TEXT and len(split) > 1 and not any(token.word and token.word[0].isalnum() for token in shared):
        return placeholder  # commas that prose has anyway
    return "".join(f"{token.space}{placeholder if token.word is None else token.word}" for token in shared)


@dataclass(frozen=True)
class _Token:
    """A word with the white space in front; no word: a place where lines differ."""

    space: str
    word: str | None


def _tokens(line: str) -> list[_Token]:
    return [_Token(space, word) for space, word in _TOKEN.findall(line)]


def _common(shared: list[_Token], tokens: list[_Token]) -> list[_Token]:
    """The longest common subsequence of a template and a line, with a gap wherever either holds more."""
    fixed = [token.word for token in shared if token.word is not None]
    table = [[0] * (len(tokens) + 1) for _ in range(len(fixed) + 1)]
    for i in range(len(fixed) - 1, -1, -1):
        for j in range(len(tokens) - 1, -1, -1):
            same = fixed[i] == tokens[j].word
            table[i][j] = table[i + 1][j + 1] + 1 if same else max(table[i + 1][j], table[i][j + 1])
    result: list[_Token] = []
    i = j = 0
    for token in shared:
        if token.word is None:
            _leave_out(result, token)
        elif table[i][j] > table[i + 1][j]:  # the longest one from here begins with this word
            while tokens[j].word != token.word:
                _leave_out(result, tokens[j])
                j += 1
            result.append(_Token(token.space if token.space == tokens[j].space else "", token.word))
            i, j = i + 1, j + 1
        else:
            _leave_out(result, token)
            i += 1
    for token in tokens[j:]:
        _leave_out(result, token)
    return result


def _leave_out(result: list[_Token], token: _Token) -> None:
    """A gap in place of the token; neighbouring gaps are one."""
    if not result or result[-1].word is not None:
        result.append(_Token(token.space, None))
