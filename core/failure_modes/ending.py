"""Answers that are not there, or not all there: empty, cut at the limit, or ended before they were finished."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from core.failure_modes.frames import FRAME
from core.failure_modes.phrases import PREAMBLE, TO_THE_PERSON
from core.failure_modes.taken_apart import HEAD, TakenApart
from core.failure_modes.words import known_words

SHORT_OF_REFERENCE = 0.2
"""Of the shortest reference to the same input, below which an answer is far too short."""
SHORT_OF_USUAL = 0.5
MISSING_PARTS = 0.6
"""Share of the parts that all good answers have and the answer lacks, where it has begun the form."""
LEAST_REFERENCE_WORDS = 20
LEAST_BROKEN = 4
"""Words of a last line that may have been broken off; a word alone may be the answer."""
MOST_FRAGMENT_WORDS = 2
MOST_ANNOUNCED_WORDS = 20
LEAST_SENTENCE = 8
MOST_FORM_WORDS = 6
"""Behind a label of a form that instructions spell out; more are a rule."""
LEAST_USUAL = 2
"""Good answers from which on it is believed what all of them have."""

_LETTER_OR_FIGURE = re.compile(r"[^\W_]")
# What marks an end in any script; a closing quote or mark of emphasis may stand behind it.
_ENDED = re.compile(r"[.!?…。！？؟।:;,)\]}>\"'”’»*_`|~]\s*\Z")
# English, German, French, Spanish, Italian, Dutch: words that end neither a sentence nor a title.
_OPEN = """
    the an and or because whose its their your our my into nor but a when while every each some such between
    during without against der dem des und oder ein eine einen einem einer eines vom zum zur für weil dass aber
    les une du et ou dans avec pour los del para gli il het een van voor
"""
_HARDLY_LAST = """
    of to with from for by is are was were that this as than if has have will should can on in at about after
    before through over under until where so very more
"""
_OPEN_WORDS, _HARDLY_LAST_WORDS = frozenset(_OPEN.split()), frozenset(_HARDLY_LAST.split())
"""Words that a sentence ends with now and then ("what it stands for"): they tell where a longer line has no full stop."""
LEAST_HARDLY = 6
_HEADING = re.compile(r"[ ]{0,3}#{1,6}(?:\s|\Z)")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])(?:\s|\Z)")
_FENCE_LINE = re.compile(r"^[ \t]{0,3}(?:`{3,}|~{3,})[ \t]{0,9}[\w+#.-]{0,20}[ \t]{0,9}$", re.MULTILINE)
_WANTS_SENTENCES = re.compile(
    r"\b(?:one|two|three|four|five|\d)(?: (?:or|to) \w+)?(?: \w+)? sentences?\b", re.IGNORECASE
)
_BARE_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s*\Z")
_LABEL = re.compile(r"\s{0,3}[*_]{0,2}([^\W\d_][\w ]{1,24}?)[*_]{0,2}:[*_]{0,2}(?:\s|\Z)")
_PLACE_NAME = re.compile(r"\b[A-Z]{3,}\b|[<\[{]\w")
_JSON_BEGINS = re.compile(r"\s*(?:\{\s*(?:\"|\}|\Z)|\[\s*(?:[{\[\"]|-?\d|\]|\Z))")
_PAIRS = {"(": ")", "[": "]", "“": "”", "«": "»", "（": "）", "「": "」"}


def is_cut(look: TakenApart) -> bool:
    """The limit of tokens ended it, as the server says; or it has as many tokens as it might, and ends in the midst."""
    seen = look.seen
    if seen.finish == "length":
        return True
    full = seen.limit is not None and seen.completion_tokens >= seen.limit > 0
    end = look.tail.rstrip()
    return full and not _ENDED.search(end) and len(end.split("\n")[-1].split()) >= LEAST_BROKEN


def is_empty(look: TakenApart) -> bool:
    """No letter and no figure, fences and signs of a frame taken away. `{}` and `[]` are answers where JSON is wanted."""
    if look.seen.finish == "length":
        return False
    text = _FENCE_LINE.sub("", look.body if look.fenced is not None else look.text[:HEAD]) + look.text[HEAD:]
    if not text.strip():
        return True
    if _LETTER_OR_FIGURE.search(text) and text.strip() in look.shown():
        return False  # a word of the task that is the name of a role as well
    if _LETTER_OR_FIGURE.search(FRAME.sub("\n", text[:2_000])) or _LETTER_OR_FIGURE.search(text[2_000:]):
        return False
    bare = text.strip("`~ \t\r\n")
    if re.fullmatch(r"\{\s*\}|\[\s*\]", bare):
        return not (look.seen.wants_json or "json" in look.seen.system.casefold())
    # A sign can be an answer where signs are asked for: `+`, `→`, `🙂`.
    return len(bare) != 1 or bare not in look.shown()


def stopped_early(look: TakenApart) -> bool:
    """Ended by itself, and is plainly not finished: within JSON, a row, a sentence or a bracket, behind an announcement or a
    bare number, with the form begun and most of its parts missing, or far shorter than good answers.

    A missing full stop or closing fence is none; nor is a part that is left out, or an answer that is short and whole.
    """
    if look.seen.finish == "length" or is_empty(look) or is_cut(look):
        return False
    text = look.body.rstrip()
    if not text.strip():
        return False
    return (
        _open_json(text)
        or _broken_off(text, look)
        or _parts_missing(look)
        or _far_too_short(look)
        or announcement_alone(look)
    )


def _open_json(text: str) -> bool:
    """JSON whose brackets or quotes are still open at the end."""
    if not _JSON_BEGINS.match(text) or len(text) > 200_000:
        return False
    depth, in_text, escaped = 0, False, False
    for sign in text:
        if in_text:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == '"':
                in_text = False
        elif sign == '"':
            in_text = True
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
    if depth <= 0 and not in_text:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def _broken_off(text: str, look: TakenApart) -> bool:
    lines = [line for line in text[-12_000:].split("\n") if line.strip()]
    last = lines[-1].rstrip()
    if look.good and all(_same_end(last, good) for good in look.good):
        return False
    return _open_row(lines, look.seen.system) or _announces(lines) or _within_sentence(last)


def _same_end(last: str, good: str) -> bool:
    """Whether a good answer ends in the same sign or word as the line."""
    ends = good.rstrip()
    return bool(ends) and (
        ends[-1:] == last[-1:] if not last[-1:].isalnum() else ends.split()[-1:] == last.split()[-1:]
    )


def _open_row(lines: Sequence[str], system: str) -> bool:
    """The last row of a table has fewer cells than those before it; or the table has only its head."""
    last = lines[-1].strip()
    above = [line.strip() for line in lines[:-1][-6:]]
    if not last.startswith("|"):
        return False
    if above and not set(last) - set("|-: ") and above[-1].startswith("|"):
        return True
    if not last.endswith("|") and last.count("|") > 1 and f"{last} |" in system:
        return True  # the head of the table, as the instructions have it
    closed = [line for line in above if line.startswith("|") and line.endswith("|")]
    return bool(closed) and last.count("|") < closed[-1].count("|")


def _announces(lines: Sequence[str]) -> bool:
    """Ends with a bare mark of a list, a number, a heading below which nothing stands, or a colon."""
    last = lines[-1].rstrip()
    if _BARE_ITEM.match(last):
        return len(lines) > 1 or last.lstrip().startswith("#")
    if _HEADING.match(last):
        # Headings alone are an outline.
        return len(lines) > 2 and not _HEADING.match(lines[-2]) and any(_HEADING.match(line) for line in lines[:-1])
    plain = last.rstrip("*_ ")
    if plain.endswith((":", "：")) and not plain.startswith(("|", ">")):
        return not (_LABEL.fullmatch(plain + " ") and len(lines) == 1 and len(plain.split()) < 2)
    return False


def _within_sentence(last: str) -> bool:
    """Ends with a comma, a word that no sentence ends with, or within a bracket or quotes."""
    line = last.rstrip("*_ ")
    if not line or line.startswith("|"):
        return False
    if line.endswith((",", "，", "、", " -", " –", " —", "(", "[", "“", "/")):
        return len(line.split()) > 1 or line.endswith((",", "，", "、"))
    words = line.split()
    if line[-1].isalnum():
        word = words[-1].casefold()
        if len(words) >= 3 and word in _OPEN_WORDS and not words[-1].isupper():
            return True
        if len(words) >= LEAST_HARDLY and word in _HARDLY_LAST_WORDS:
            return True
        for opening, closing in _PAIRS.items():
            at = line.rfind(opening)
            if at >= 0 and closing not in line[at:] and (at == 0 or not line[at - 1].isalnum()):
                return True
        if line.count('"') % 2 and len(words) >= 3 and re.search(r'(?:\A|[\s(])"\w', line[line.rfind('"') - 1 :]):
            return True
    return False


def _parts_missing(look: TakenApart) -> bool:
    """The form is begun, and most of the headings and labels that all good answers have in common are missing."""
    if not look.words:
        return False
    there, good = _parts(look.body[:40_000]), look.good
    if len(set(good)) >= LEAST_USUAL:
        parts = frozenset.intersection(*(_parts(text) for text in good))
        if len(look.words) >= SHORT_OF_USUAL * min(len(known_words(text)) for text in good):
            return False
    else:
        parts = _spelt_out(look.seen.system)
    return len(parts) >= 3 and bool(parts & there) and len(parts - there) >= max(2, MISSING_PARTS * len(parts))


@lru_cache(maxsize=512)
def _parts(text: str) -> frozenset[str]:
    """What the form of an answer is made of: headings, a table, a list; its labels and the words of its headings."""
    found: set[str] = set()
    lines = text.split("\n")[:2_000]
    for line in lines:
        if _HEADING.match(line):
            found.update(("heading", "heading " + line.strip("# *").casefold()))
        elif _ITEM.match(line):
            found.add("list")
        if (label := _LABEL.match(line)) is not None:
            found.add("label " + label[1].casefold())
    if any(
        one.lstrip().startswith("|") and set(other.strip()) <= set("|-: ")
        for one, other in pairwise(lines)
        if other.strip()
    ):
        found.add("table")
        rows = [line for line in lines if line.lstrip().startswith("|")]
        found.update(
            "row " + row.strip("| ").split("|")[0].strip(" *").casefold() for row in rows[2:] if row.strip("|-: ")
        )
    return frozenset(found)


def _of_the_form(line: str) -> bool:
    """Whether a line of instructions is one of the form that they spell out: a label with a few words behind it, or a heading
    that every answer has. A heading of a place (`# TITLE`) is another one in each answer; a label with nothing or a sentence
    behind it is the instructions' own."""
    if _HEADING.match(line):
        return not _PLACE_NAME.search(line)
    label = _LABEL.match(line)
    return label is not None and 1 <= len(line[label.end() :].split()) <= MOST_FORM_WORDS


@lru_cache(maxsize=256)
def _spelt_out(system: str) -> frozenset[str]:
    """The parts of a form as instructions spell it out: labels and headings of three lines or more, one below the other. A
    single `Rules:` is a label of the instructions themselves."""
    runs: list[list[str]] = [[]]
    for line in system[:40_000].split("\n"):
        if _of_the_form(line):
            runs[-1].append(line)
        elif line.strip() and runs[-1]:
            runs.append([])
    long = ["\n".join(run) for run in runs if len(run) >= 3]
    return frozenset(
        part for text in long for part in _parts(text) if part.startswith(("label ", "heading ")) and " or " not in part
    )


def announcement_alone(look: TakenApart) -> bool:
    """One sentence that says what will come ("Sure! Here is the plan."), and nothing behind it."""
    text = look.text.strip()
    if len(look.words) > MOST_ANNOUNCED_WORDS or "\n" in text or PREAMBLE.match(text) is None:
        return False
    return TO_THE_PERSON.match(text) is not None or text.endswith((":", "!"))


def _far_too_short(look: TakenApart) -> bool:
    """A fifth of the shortest reference to this input; or a word or two, where all good answers are sentences and the
    instructions know no such word."""
    lengths = [len(known_words(text)) for text in look.seen.references]
    if lengths:
        return min(lengths) >= LEAST_REFERENCE_WORDS and len(look.words) < SHORT_OF_REFERENCE * min(lengths)
    good = look.good
    if len(look.words) > MOST_FRAGMENT_WORDS or look.text.rstrip()[-1:] in ".!?。…":
        return False
    if len(set(good)) >= LEAST_USUAL:
        sentences = all(len(known_words(text)) >= LEAST_SENTENCE and text.rstrip()[-1:] in ".!?。" for text in good)
    else:
        sentences = _WANTS_SENTENCES.search(look.seen.system) is not None
    said = " ".join(look.words)
    return sentences and f" {said} " not in f" {' '.join(known_words(look.seen.system))} "
