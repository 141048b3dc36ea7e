"""Answers in another language than the task wants: told by script where that is enough, else by py3langid."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from core.failure_modes.taken_apart import TakenApart

OTHER_SHARE = 1 / 3
"""Of the words of an answer that are in another language, from which on the answer is."""
LEAST_WORDS = 4
LEAST_LETTERS = 20
"""Of one script; below them nothing is said."""
SURE = 0.95
"""Confidence of py3langid (a softmax at a temperature of the root of the bytes) for a piece of 8 words and more."""
SURE_OF_SHORT = 0.995
LONG_PIECE = 8
SURE_OF_TASK = 0.8
MOST_PIECES = 60
PIECE_CHARACTERS = 600

# First code point of each range, and the script that stands there; kana count as Japanese, which also writes Han.
_RANGES = (
    (0x0041, "latin"), (0x0370, "greek"), (0x0400, "cyrillic"), (0x0530, "armenian"), (0x0590, "hebrew"), (0x0600, "arabic"),
    (0x0900, "devanagari"), (0x0980, "indic"), (0x0E00, "thai"), (0x0E80, "other"), (0x10A0, "georgian"), (0x1100, "hangul"),
    (0x1200, "other"), (0x1C80, "cyrillic"), (0x1C90, "other"), (0x1D00, "latin"), (0x1F00, "greek"), (0x2000, "other"),
    (0x3040, "kana"), (0x3100, "han"), (0x3130, "hangul"), (0x3190, "han"), (0xA000, "other"), (0xAC00, "hangul"),
    (0xD7B0, "other"), (0xF900, "han"), (0xFB00, "latin"), (0xFB1D, "hebrew"), (0xFB50, "arabic"), (0xFF21, "latin"),
    (0xFF66, "kana"), (0xFFA0, "hangul"), (0x10000, "other"), (0x20000, "han"),
)  # fmt: skip
_STARTS = [start for start, _ in _RANGES]
_NAMES = {
    "en": "english|englisch|anglais|inglés", "de": "german|deutsch|allemand|alemán", "fr": "french|français|französisch",
    "es": "spanish|español|castellano|spanisch", "it": "italian|italiano|italienisch", "nl": "dutch|nederlands",
    "pt": "portuguese|português", "ru": "russian|русск\\w+", "zh": "chinese|mandarin|中文|汉语", "ja": "japanese|日本語",
    "ko": "korean|한국어", "pl": "polish|polski", "sv": "swedish|svenska", "da": "danish|dansk", "no": "norwegian|norsk",
    "fi": "finnish|suomi", "cs": "czech|česky", "tr": "turkish|türkçe", "ar": "arabic|العربية", "he": "hebrew|עברית",
    "el": "greek|ελληνικά", "hi": "hindi|हिन्दी", "uk": "ukrainian|українськ\\w+", "th": "thai", "la": "latin",
    "hu": "hungarian", "ro": "romanian", "bg": "bulgarian", "vi": "vietnamese", "id": "indonesian",
}  # fmt: skip
_NAMED = {code: re.compile(rf"\b(?:{names})\b", re.IGNORECASE) for code, names in _NAMES.items()}
# What is to be written in it, not what is read: "Translate the French letter into English".
_TARGET = {
    code: re.compile(rf"\b(?:in|into|auf|ins|en) (?:\w+ )?(?:{names})\b", re.I) for code, names in _NAMES.items()
}
_OF_THE_INPUT = re.compile(
    r"\bsame language\b|\blanguage (?:of|as) (?:the|its|your)\b|\blanguage (?:that|in which|it is)\b"
    r"|\b(?:their|its own) language\b"
    r"|sprache (?:der|des|in der)|même langue|mismo idioma",
    re.IGNORECASE,
)
_SCRIPT_OF = {
    "ru": "cyrillic", "uk": "cyrillic", "bg": "cyrillic", "zh": "han", "ja": "kana", "ko": "hangul", "ar": "arabic",
    "he": "hebrew", "el": "greek", "hi": "devanagari", "th": "thai",
}  # fmt: skip
# Languages that short pieces of English are taken for, and of which nobody has fine-tuned data: they say nothing of an answer.
_UNSURE = """
    pcm bcl an ext vec lij wa ht lb fy vls nds sco la qu xh zu rw mg jv oc br vo ia io eo mt tl ceb war nah pap srn tpi
"""
_NEVER_SURE = frozenset(_UNSURE.split())
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\b[\w.+-]+@[\w-]+\.\w+|<[^<>\n]{1,80}>", re.DOTALL)
_QUOTED = re.compile(r"[„“\"«»”][^„“\"«»”\n]{1,300}[“”\"»«]")
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def is_in_another_language(look: TakenApart) -> bool:
    """A third of its words or more are in another language than the answer should be in.

    That is the language of a reference to the input, else those that the task names, else that of its instructions (of the
    input where these say so, or say nothing), as far as these can be told. Code, quotes and figures are left out.
    """
    seen = look.seen
    body = look.body
    words = _LETTERS.findall(body[:20_000])
    if sum(map(len, words)) < 4 or (len(words) < LEAST_WORDS and not _without_blanks(words)):
        return False
    wanted = wanted_languages(seen.system, seen.asked, seen.references, seen.usual)
    if not wanted:
        return False
    prose = _QUOTED.sub(" ", _CODE.sub(" ", body[:20_000])) or body
    return _other_script(prose, wanted) or _other_language(prose, wanted)


@lru_cache(maxsize=512)
def wanted_languages(
    system: str, asked: str, references: tuple[str, ...] = (), usual: tuple[str, ...] = ()
) -> frozenset[str]:
    """ISO 639 codes of the languages that an answer may be in; empty where that cannot be told."""
    if references:
        return _languages(references)
    told = system[:20_000]
    if target := frozenset(code for code, pattern in _TARGET.items() if pattern.search(told)):
        return target
    named = frozenset(code for code, pattern in _NAMED.items() if pattern.search(told))
    of_input = _OF_THE_INPUT.search(told) is not None
    if named or of_input:
        return (
            named
            | (_languages([asked]) if of_input else frozenset())
            | (_languages([system]) if not of_input else frozenset())
        )
    texts = [system] if len(_LETTERS.findall(system[:2_000])) >= LONG_PIECE else [asked]
    found = _languages(texts)
    # What good answers are written in is right as well, whatever the instructions are.
    return found | _languages(usual[:8]) if found else found


def _languages(texts: Iterable[str]) -> frozenset[str]:
    found = set()
    for text in texts:
        language, sure = _classified(_CODE.sub(" ", text)[:2_000])
        if language is not None and sure >= SURE_OF_TASK:
            found.add(language)
    return frozenset(found)


def _without_blanks(words: list[str]) -> bool:
    return any(_script(sign) in ("han", "kana", "thai") for word in words for sign in word[:3])


def _script(sign: str) -> str:
    at = bisect_right(_STARTS, ord(sign)) - 1
    return _RANGES[at][1] if at >= 0 else "other"


@lru_cache(maxsize=64)
def _scripts_of(languages: frozenset[str]) -> frozenset[str]:
    scripts = {_SCRIPT_OF.get(code, "latin") for code in languages}
    return frozenset(scripts | ({"han"} if "kana" in scripts else set()))


def _counts(text: str) -> Counter[str]:
    """Letters by their script; a sign of a script without blanks weighs as three letters, as it says about as much."""
    counts: Counter[str] = Counter()
    for sign, count in Counter(text).items():
        if unicodedata.category(sign) in ("Lu", "Ll", "Lt", "Lo"):
            script = _script(sign)
            counts[script] += count * (3 if script in ("han", "kana", "hangul") else 1)
    return counts


def _other_script(prose: str, wanted: frozenset[str]) -> bool:
    counts = _counts(prose)
    total = sum(counts.values())
    fine = _scripts_of(wanted)
    other = sum(count for script, count in counts.items() if script not in fine and script != "other")
    return total >= LEAST_LETTERS and other >= OTHER_SHARE * total


def _other_language(prose: str, wanted: frozenset[str]) -> bool:
    """Pieces of the prose that are surely of another language, by their words."""
    other = total = 0
    for piece in _pieces(prose):
        count = len(_LETTERS.findall(piece))
        total += count
        language, sure = _classified(piece)
        needed = SURE if count >= LONG_PIECE else SURE_OF_SHORT
        if language is not None and language not in wanted and language not in _NEVER_SURE and sure >= needed:
            other += count
    return total >= LEAST_WORDS and other >= OTHER_SHARE * total


def _pieces(prose: str) -> list[str]:
    """Sentences, lines and cells, short ones together with the next."""
    found: list[str] = []
    held = ""
    for part in re.split(r"(?<=[.!?。！？])\s+|\n+|\|", prose[:20_000]):
        held = f"{held} {part}".strip()
        if len(_LETTERS.findall(held)) >= LONG_PIECE:
            found.append(held[:PIECE_CHARACTERS])
            held = ""
        if len(found) >= MOST_PIECES:
            return found
    if held:
        found.append(held[:PIECE_CHARACTERS])
    return found


@lru_cache(maxsize=4_096)
def _classified(text: str) -> tuple[str | None, float]:
    words = " ".join(_LETTERS.findall(text))
    if len(words) < 8:
        return None, 0.0
    language, sure = _identifier().classify(words)
    return str(language), float(sure)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Loaded when the first answer needs it: that takes a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
