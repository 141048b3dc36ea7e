"""What a parity check found, prompt by prompt: where the served one parts from the trained one, and the likely cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.format import plural
from core.parity.gate import TOLD
from core.reasons import Reason
from core.text import printable
from core.wording.parity import finding_words, remedy_words
from tui.lines import Line, wrapped

NAMES = 26
"""Cells for the name of a conversation, at the most."""
LINE_FEED = "⏎"
SPACE = "·"


def parity_rows(document: Mapping[str, Any], width: int) -> list[Line]:
    """The rows of a `parity.json` in so many columns; one row where there is none yet."""
    cases = document.get("cases")
    if not isinstance(cases, list):
        return [Line("No prompts were compared yet.", "dim")]
    findings = [Reason.from_json(finding) for finding in document.get("findings", [])]
    differing = [case for case in cases if not case["same"]]
    rows = [_headline(cases, differing, findings, passed=document.get("passed") is True)]
    for reason in findings:
        rows += [Line(row, "warn") for row in wrapped(_sentence(finding_words(reason)), width)]
    causes = {case["cause"]["code"]: Reason.from_json(case["cause"]) for case in differing}
    refused = (reason for reason in [*causes.values(), *findings] if reason.code not in TOLD)
    first = next(refused, None)
    if document.get("passed") is not True and first is not None:
        rows += [Line(row, "text") for row in wrapped(f"Remedy: {remedy_words(first)}.", width)]
    rows.append(Line())
    names = min(NAMES, max(len(case["name"]) for case in cases))
    for case in cases:
        rows += _case_rows(case, names, width)
    return rows


def _headline(cases: list[Any], differing: list[Any], findings: list[Reason], *, passed: bool) -> Line:
    if differing:
        return Line(f"✗ {len(differing)} of {plural(len(cases), 'prompt')} differ from the trained ones", "bad")
    said = f"{plural(len(cases), 'prompt')}: the trained ones, token by token"
    return Line(f"✓ {said}", "good") if passed else Line(f"✗ {said}; the file or its answer is at fault", "bad")


def _case_rows(case: Mapping[str, Any], names: int, width: int) -> list[Line]:
    name = printable(case["name"], limit=names)
    line = Line("✓ " if case["same"] else "✗ ", "good" if case["same"] else "bad").add(f"{name:<{names}}  ")
    if case["same"]:
        return [line.add(f"{case['tokens']:>5} tokens", "dim").cut(width)]
    at, tokens = case["first_difference"] + 1, case["tokens"]
    line.add(f"differs from token {at} of {tokens} on", "warn")
    rows = [line.cut(width)]
    rows += [Line(f"    {row}", "text") for row in wrapped(finding_words(Reason.from_json(case["cause"])), width - 4)]
    before = _visible(case["before"])
    for label in ("trained", "served"):
        room = max(0, width - 4 - 9 - 2)
        behind = _visible(case[label]) or "(nothing)"
        shown = before[-(room // 2) :]
        part = Line(f"    {label:<9}", "dim").add(shown, "dim").add(behind[: room - len(shown)], "chosen bold")
        rows.append(part.cut(width))
    return rows


def _visible(text: str) -> str:
    """The text in one row, with what cannot be seen as a sign: line feeds, and blanks at its ends."""
    shown = printable(text, keep="\n")
    stripped = shown.strip(" ")
    lead, tail = len(shown) - len(shown.lstrip(" ")), len(shown) - len(shown.rstrip(" "))
    marked = SPACE * lead + stripped + SPACE * tail if stripped else SPACE * len(shown)
    return marked.replace("\n", LINE_FEED)


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."
