"""What a parity check found, prompt by prompt: where the served one parts from the trained one, and the likely cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.format import plural
from core.parity.blocking import ROOTS, TOLD
from core.reasons import Reason
from core.text import printable
from core.wording.parity import finding_words, remedy_words
from tui.lines import Line, folded

NAMES = 26
"""Cells for the name of a conversation, at the most."""
LABEL = 9
LINE_FEED = "⏎"
SPACE = "·"
PIECE = re.compile(rf"<[^<>\s]*>|{LINE_FEED}+|\w+|\s+|.")
"""What is marked of a text where it begins to differ: a sign of the frame, line feeds, a word, or one sign."""


def parity_rows(document: Mapping[str, Any], width: int) -> list[Line]:
    """The rows of a `parity.json` in so many columns; one row where there is none yet.

    A cause stands once, with how many prompts have it and what to do; behind it the prompts that differ, and those that do
    not.
    """
    cases = document.get("cases")
    if not isinstance(cases, list):
        return [Line("No prompts were compared yet.", "dim")]
    findings = [Reason.from_json(finding) for finding in document.get("findings", [])]
    differing, passed = [case for case in cases if not case["same"]], document.get("passed") is True
    rows = [_headline(cases, differing, passed=passed)]
    causes = causes_of(differing)
    for reason, count in causes:
        rows += _said(finding_words(reason), f" · {plural(count, 'prompt')}", width)
    for reason in findings:
        rows += _said(finding_words(reason), "", width)
    if not passed:
        refused = [one for one in (*(cause for cause, _ in causes), *findings) if one.code not in TOLD]
        refused.sort(key=lambda one: one.code not in ROOTS)
        remedies = dict.fromkeys(remedy_words(one, document.get("made_from")) for one in refused)
        rows += [row for text in remedies for row in folded(Line("  → ").add(text), width)]
    names = min(NAMES, max((len(case["name"]) for case in cases), default=0))
    for case in differing:
        rows += [Line(), *_difference_rows(case, names, width)]
    if len(differing) < len(cases):
        rows.append(Line())
    for case in cases:
        if case["same"]:
            line = Line("✓ ", "good").add(f"{printable(case['name'], limit=names):<{names}}  ")
            rows.append(line.add(f"{case['tokens']:>5} tokens", "dim").cut(width))
    return rows


def first_difference_rows(document: Mapping[str, Any], width: int, height: int) -> list[Line]:
    """The most telling of it, for a pane beside something else; nothing where nothing was refused."""
    if document.get("passed") is not False:
        return []
    rows = parity_rows(document, width)
    return rows if len(rows) <= height else [*rows[: max(0, height - 1)], Line("⏎ shows all of it", "dim").cut(width)]


def causes_of(differing: Sequence[Mapping[str, Any]]) -> list[tuple[Reason, int]]:
    """Each cause with how many prompts have it, the most frequent first; one that is told in other words is another one."""
    reasons = [Reason.from_json(cause) for case in differing for cause in (case["cause"], *case.get("also", ()))]
    of_words = {finding_words(reason): reason for reason in reasons}
    return [(of_words[words], count) for words, count in Counter(map(finding_words, reasons)).most_common()]


def _headline(cases: Sequence[Any], differing: Sequence[Any], *, passed: bool) -> Line:
    if differing and passed:
        return Line(f"✓ {len(cases) - len(differing)} of {plural(len(cases), 'prompt')} are the trained ones", "good")
    if differing:
        return Line(f"✗ {len(differing)} of {plural(len(cases), 'prompt')} differ from the trained ones", "bad")
    said = f"{plural(len(cases), 'prompt')}: the trained ones, token by token"
    return Line(f"✓ {said}", "good") if passed else Line(f"✗ {said}; the file or its answer is at fault", "bad")


def _said(clause: str, behind: str, width: int) -> list[Line]:
    return folded(Line("  ").add(f"{clause[:1].upper()}{clause[1:]}", "warn").add(behind, "dim"), width)


def _difference_rows(case: Mapping[str, Any], names: int, width: int) -> list[Line]:
    harmless = all(one["code"] in TOLD for one in (case["cause"], *case.get("also", ())))
    line = Line("! " if harmless else "✗ ", "warn" if harmless else "bad")
    line.add(f"{printable(case['name'], limit=names):<{names}}  ")
    at, tokens, served = case["first_difference"] + 1, case["tokens"], case.get("served_tokens")
    behind = "" if served is None else f", served {served}"
    line.add(f"differs from token {at} on", "warn").add(f"  trained {tokens} tokens{behind}", "dim")
    rows = [line.cut(width)]
    before, trained, served_text = (_visible(case[key]) for key in ("before", "trained", "served"))
    room = max(0, width - 4 - LABEL)
    kept = before[-min(len(before), max(room // 2, room - max(len(trained), len(served_text), 9))) :] if room else ""
    for label, text in (("trained", trained), ("served", served_text)):
        part = Line(f"    {label:<{LABEL}}", "dim").add(kept, "dim")
        rows.append(_marked(part, text).cut(width))
    if trained == served_text:  # the texts are alike, and their tokens are not
        for label in ("trained", "served"):
            ids = case.get(f"{label}_tokens_there") or ()
            told = " ".join(map(str, ids)) or "end of the prompt"
            rows.append(Line(f"    {label:<{LABEL}}", "dim").add("token ids ", "dim").add(told, "warn").cut(width))
    return rows


def _marked(line: Line, text: str) -> Line:
    """The text behind what both have in common, marked where it begins."""
    first = PIECE.match(text)
    if first is None:
        return line.add("(nothing)", "chosen bold")
    return line.add(first[0], "chosen bold").add(text[first.end() :])


def _visible(text: str) -> str:
    """The text in one row, with what cannot be seen as a sign: line feeds, and blanks at its ends."""
    shown = printable(text, keep="\n")
    stripped = shown.strip(" ")
    lead, tail = len(shown) - len(shown.lstrip(" ")), len(shown) - len(shown.rstrip(" "))
    marked = SPACE * lead + stripped + SPACE * tail if stripped else SPACE * len(shown)
    return marked.replace("\n", LINE_FEED)
