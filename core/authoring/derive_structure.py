"""Checks of structure that all of a person's examples pass: sections in one order, items of lists, and how long both are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from core.authoring.yaml_text import flow
from core.checks import CheckDefinition, build
from core.checks.each_item import EachItemCheck
from core.checks.forgiveness import Forgiven, same_name
from core.checks.lengths import count_words
from core.checks.markdown import Heading, document, headings, list_items
from core.checks.normal_form import ALL
from core.checks.section_order import SectionOrderCheck

FEWEST_SECTIONS = 2
MOST_SECTIONS = 12
LONGEST_NAME = 60
FEWEST_ITEMS = 2
LOOSER = 2
"""How many times longer or shorter than all examples an answer may be: what a few have in common is narrower than the task."""

_ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)
_PLAIN = frozenset(SectionOrderCheck.model_fields["forgive"].default)
_BOLD: frozenset[Forgiven] = frozenset(("setext", "escaped_pipes", "emphasis"))
_LISTS = frozenset(EachItemCheck.model_fields["forgive"].default)


def structure_checks(completions: Sequence[str]) -> list[str]:
    """The checks as lines of YAML; none where the completions have neither sections nor lists in common."""
    if not completions:
        return []
    found = [made for made in (_sections(completions), _items(completions)) if made and _all_pass(made, completions)]
    if found:
        longest = max(count_words(text, ALL) for text in completions)
        found.append({"check": "words", "max": _rounded(LOOSER * longest)})
    return [flow(definition) for definition in found]


def _all_pass(definition: dict[str, Any], completions: Sequence[str]) -> bool:
    check = build(_ONE.validate_python(definition))
    return all(check.score(text, {}).value == 1 for text in completions)


def _sections(completions: Sequence[str]) -> dict[str, Any] | None:
    """The headings that every completion has once, where they stand in one order; bold lines where there are no others."""
    for forgiven in (_PLAIN, _BOLD):
        every = _common(completions, forgiven)
        if every is None:
            continue
        names, levels = every
        level = {"level": levels.pop()} if len(levels) == 1 and levels != {0} else {}
        said = {"forgive": sorted(forgiven)} if forgiven is _BOLD else {}
        return {"check": "section_order", "sections": names, **level, **said}
    return None


def _common(completions: Sequence[str], forgiven: frozenset[Forgiven]) -> tuple[list[str], set[int]] | None:
    """The texts of the common headings in their order, and their levels."""
    written: list[list[Heading]] = []
    shared: set[str] | None = None
    for text in completions:
        found = headings(document(text, ALL, forgiven), forgiven)
        counted = Counter(same_name(heading.text, ALL) for heading in found)
        once = {name for name, times in counted.items() if times == 1 and 0 < len(name) <= LONGEST_NAME}
        shared = once if shared is None else shared & once
        if len(shared) < FEWEST_SECTIONS:
            return None
        written.append(found)
    assert shared is not None
    kept = [[heading for heading in found if same_name(heading.text, ALL) in shared] for found in written]
    orders = {tuple(same_name(heading.text, ALL) for heading in found) for found in kept}
    if len(orders) > 1 or len(shared) > MOST_SECTIONS:
        return None
    return [heading.text for heading in kept[0]], {heading.level for found in kept for heading in found}


def _items(completions: Sequence[str]) -> dict[str, Any] | None:
    """How many items the lists of every completion have, and of how many words."""
    for kind, ordered in (("ordered", True), ("list", False)):
        counts: list[int] = []
        words: list[int] = []
        for text in completions:
            items = list_items(document(text, ALL, _LISTS), _LISTS, ordered=ordered)
            counts.append(len(items))
            words += [count_words(item, ALL) for item in items]
            if len(items) < FEWEST_ITEMS:
                break
        else:
            least, most = min(counts), max(counts)
            count: Any = least if least == most else [max(1, least // LOOSER), most * LOOSER]
            shortest, longest = min(words), max(words)
            span = [min(shortest, max(1, shortest // LOOSER)), longest * LOOSER]
            said = {"check": "each_item", "of": kind, "count": count}
            return {**said, "words": span} if longest else said
    return None


def _rounded(words: int) -> int:
    """Up to the next ten: nobody counts words more closely."""
    return -(-words // 10) * 10
