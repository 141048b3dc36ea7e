"""Answers made of pieces as models write them, and definitions of the checks of structure: what property tests draw from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.checks import CheckDefinition
from core.checks.each_item import EachItemCheck
from core.checks.forgiveness import ForgivingDefinition
from core.checks.heading import HeadingCheck
from core.checks.lengths import WordsCheck
from core.checks.normal_form import PARTS
from core.checks.section_order import SectionOrderCheck
from core.checks.table import TableCheck

ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)
NAMES = ["Goal", "Steps", "Risks", "Résumé"]

WORD = st.sampled_from(
    [
        *NAMES,
        "goal",
        "re\u0301sume\u0301",
        "tea",
        "4,2",
        "½",
        "—",
        "-3",
        "85 %",
        "`a`",
        "**b**",
        "שלום",
        "我茶",
        "👨‍👩‍👧",
        "\u00a0",
        "C\\#",
        "a\\|b",
    ]
)
LINE = st.lists(WORD, max_size=4).map(" ".join) | st.text(
    "aé# -*>|`~[]()\\_=\t\u00a0\u200be\u0301\u20281.:", max_size=12
)
BLOCK = st.one_of(
    LINE,
    st.builds(
        "{}{} {}".format, st.sampled_from(["#", "##", "### ", "> ## ", "- # "]), st.sampled_from(["", "#"]), LINE
    ),
    st.builds("{}\n{}".format, LINE, st.sampled_from(["---", "====", "-"])),
    st.builds("{}{}".format, st.sampled_from(["- ", "* ", "1. ", "2) ", "  - ", "• ", "- [x] ", "> - "]), LINE),
    st.builds("| {} | {} |\n|---|:-:|\n| {} | {} |\n| {} |".format, LINE, LINE, LINE, LINE, LINE),
    st.builds(
        "**{}{}**{}".format, st.sampled_from(["", "1. ", "🎯 "]), st.sampled_from(NAMES), st.sampled_from(["", ":"])
    ),
    st.builds(
        "{}\n{}\n{}".format,
        st.sampled_from(["```", "```markdown", "~~~", "```python"]),
        LINE,
        st.sampled_from(["```", "~~~", ""]),
    ),
)
ANSWER = st.builds(
    lambda blocks, end: end.join(blocks), st.lists(BLOCK, max_size=8), st.sampled_from(["\n", "\n\n", "\r\n"])
)
CAPTURED = st.dictionaries(st.sampled_from(["score", "why"]), st.lists(LINE, max_size=4), max_size=2)


def _forgive(kind: type[ForgivingDefinition]) -> st.SearchStrategy[Any]:
    some = st.lists(st.sampled_from(kind.FORGIVES), min_size=1, unique=True)
    return st.booleans() | some | st.just(list(kind.model_fields["forgive"].default))


def _range(low: str, high: str, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(numbers, numbers, st.sampled_from(["both", low, high])).map(
        lambda drawn: {
            key: value for key, value in ((low, min(drawn[:2])), (high, max(drawn[:2]))) if drawn[2] in ("both", key)
        }
    )


SMALL = st.integers(0, 6)
BOUNDS = SMALL | st.tuples(SMALL, SMALL).map(lambda pair: sorted(pair)) | SMALL.map(lambda least: [least, None])
COMMON = {
    "partial": st.booleans(),
    "normalise": st.just(True) | st.lists(st.sampled_from(PARTS), min_size=1, unique=True),
}
PATTERN = st.sampled_from(["^Goal", "(?P<score>\\d)", "é$", r"^\S+ \S+$", ".", "^(?P<why>.+)$"])

HEADINGS = st.fixed_dictionaries(
    {
        "check": st.just("heading"),
        "level": st.integers(1, 3),
        "pattern": PATTERN,
        "count": SMALL,
        "forgive": _forgive(HeadingCheck),
        **COMMON,
    }
)
ORDERS = st.fixed_dictionaries(
    {
        "check": st.just("section_order"),
        "sections": st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
        "level": st.none() | st.integers(1, 3),
        "only": st.booleans(),
        "forgive": _forgive(SectionOrderCheck),
        **COMMON,
    }
)
TABLES = st.fixed_dictionaries(
    {"check": st.just("table"), "rows": st.none() | SMALL, "count": SMALL, "forgive": _forgive(TableCheck), **COMMON}
)
LENGTHS = st.builds(
    lambda keys, bounds: {**keys, **bounds},
    st.fixed_dictionaries(
        {
            "check": st.sampled_from(["lines", "words", "characters"]),
            "forgive": _forgive(WordsCheck),
            **COMMON,
        }
    ),
    _range("min", "max", st.integers(0, 30)),
) | st.builds(
    lambda keys, where: {**keys, "max": 3, **where},
    st.fixed_dictionaries({"check": st.sampled_from(["lines", "words", "characters"]), **COMMON}),
    st.sampled_from([{"of": "why"}, {"section": "Goal"}, {"section": "Résumé"}]),
)
NUMBERS = st.builds(
    lambda keys, bounds: {**keys, **bounds},
    st.fixed_dictionaries({"check": st.just("number_range"), "name": st.just("score"), **COMMON}),
    _range("min", "max", st.integers(-5, 9) | st.floats(-5, 9)),
)
ITEMS = st.fixed_dictionaries(
    {
        "check": st.just("each_item"),
        "of": st.sampled_from(["list", "ordered", "rows", "lines", "sections", "/a", "/*/b"]),
        "pattern": st.none() | PATTERN,
        "words": st.none() | BOUNDS,
        "count": BOUNDS,
        "unique": st.booleans(),
        "forgive": _forgive(EachItemCheck),
        **COMMON,
    }
)
DEFINITION = st.one_of(HEADINGS, ORDERS, TABLES, LENGTHS, NUMBERS, ITEMS)
