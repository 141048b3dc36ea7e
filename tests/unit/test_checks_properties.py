"""What holds of every check of structure, whatever the answer and the definition."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.checks import REGISTRY, CheckResult, build, check_hash
from core.checks.base import CheckFault
from core.checks.forgiveness import whole_fence
from core.checks.markdown import parse
from core.checks.numbers import read_number
from tests.support.answers_as_met import ANSWER, CAPTURED, DEFINITION, ITEMS, LENGTHS, LINE, NUMBERS, ONE
from tests.support.depth import SOAK, at_most, example_count

MANY = settings(max_examples=example_count(75), deadline=None)
SECONDS = 30.0
"""For patterns: a machine that is busy must not make a check faulty in one of two runs."""


def score(keys: dict[str, Any], text: str, captured: dict[str, list[str]]) -> CheckResult:
    return build(ONE.validate_python(keys), SECONDS).score(text, {}, captured)


@MANY
@given(DEFINITION, ANSWER, CAPTURED)
def test_a_value_is_a_share_with_a_reason_and_the_same_each_time(
    keys: dict[str, Any], text: str, captured: dict[str, list[str]]
) -> None:
    result = score(keys, text, captured)
    assert 0 <= result.value <= 1 and not result.faulty
    assert (result.detail == "") == (result.value == 1)
    parse.cache_clear()
    assert score(keys, text, captured) == result


@MANY
@given(DEFINITION, ANSWER, CAPTURED)
def test_a_part_is_never_less_than_all_or_nothing_and_whole_only_where_that_is(
    keys: dict[str, Any], text: str, captured: dict[str, list[str]]
) -> None:
    whole, share = (score({**keys, "partial": partial}, text, captured) for partial in (False, True))
    assert whole.value in (0, 1) and share.value >= whole.value
    assert (share.value == 1) == (whole.value == 1)
    assert share.captures == whole.captures


@MANY
@given(DEFINITION, ANSWER, CAPTURED)
def test_composed_and_decomposed_letters_score_the_same(
    keys: dict[str, Any], text: str, captured: dict[str, list[str]]
) -> None:
    keys = {**keys, "normalise": True}

    def formed(form: Any) -> CheckResult:
        given_captures = {name: [unicodedata.normalize(form, one) for one in texts] for name, texts in captured.items()}
        return score(keys, unicodedata.normalize(form, text), given_captures)

    assert formed("NFC").value == formed("NFD").value


@MANY
@given(LENGTHS | NUMBERS, ANSWER, CAPTURED, st.integers(0, 5), st.integers(0, 5))
def test_a_wider_range_never_scores_less(
    keys: dict[str, Any], text: str, captured: dict[str, list[str]], less: int, more: int
) -> None:
    wider = dict(keys)
    if "min" in keys:
        wider["min"] = keys["min"] - less if keys["check"] == "number_range" else max(0, keys["min"] - less)
    if "max" in keys:
        wider["max"] = keys["max"] + more
    assert score(wider, text, captured).value >= score(keys, text, captured).value


@MANY
@given(ITEMS, ANSWER, st.integers(0, 3))
def test_a_wider_range_of_words_or_items_never_scores_less(keys: dict[str, Any], text: str, more: int) -> None:
    def widened(bounds: Any) -> Any:
        if bounds is None:
            return None
        low, high = bounds if isinstance(bounds, list) else (bounds, bounds)
        return [max(0, low - more), None if high is None else high + more]

    narrow = score(keys, text, {}).value
    assert score({**keys, "count": widened(keys["count"])}, text, {}).value >= narrow
    # A wider range lets more items be right, of which a pattern and `unique` ask the same as before.
    if not keys["unique"]:
        assert score({**keys, "words": widened(keys["words"])}, text, {}).value >= narrow


@MANY
@given(DEFINITION)
def test_a_definition_survives_json_and_yaml(keys: dict[str, Any]) -> None:
    made = ONE.validate_python(keys)
    for written in (made.model_dump(mode="json"), yaml.safe_load(yaml.safe_dump(made.model_dump(mode="json")))):
        again = ONE.validate_python(written)
        assert again == made and check_hash(again) == check_hash(made)


@MANY
@given(st.floats(-1e12, 1e12), st.sampled_from([".", ","]), st.sampled_from(["-", "−", "–"]))
def test_a_number_is_read_as_it_is_written(value: float, point: str, minus: str) -> None:
    for decimals in (1, 2, 4):
        text = f"{value:.{decimals}f}"
        assert read_number(text.replace(".", point).replace("-", minus)) == pytest.approx(float(text))
        grouped = f"{value:,.{decimals}f}"
        assert read_number(grouped) == pytest.approx(float(text))
        assert read_number(grouped.translate({ord(","): ".", ord("."): ","}), "comma") == pytest.approx(float(text))
    assert read_number(repr(value)) == pytest.approx(value)


@MANY
@given(LINE | st.text(max_size=30))
def test_any_text_is_a_finite_number_or_none(text: str) -> None:
    for decimal in ("point", "comma"):
        number = read_number(text, decimal)
        assert number is None or abs(number) < float("inf")


@MANY
@given(ANSWER, st.sampled_from(["`````", "~~~~~"]), st.sampled_from(["", "markdown", "TEXT"]))
def test_what_stands_in_a_fence_that_is_the_whole_answer_is_found_again(text: str, marks: str, info: str) -> None:
    text = text.replace("\r\n", "\n")
    assert whole_fence(f"{marks}{info}\n{text}\n{marks}\n") in (text + "\n", None)
    if not any(line.lstrip().startswith(("```", "~~~")) for line in text.split("\n")):
        assert whole_fence(f"\n{marks}{info}\n{text}\n{marks}\n\n") == text + "\n"
        assert whole_fence(f"Sure:\n{marks}{info}\n{text}\n{marks}") is None
        assert whole_fence(f"{marks}{info}\n{text}\n{marks}\nDone.") is None


LONG = 199_000 if SOAK else 19_000
AGAIN = [
    "> ",
    "- ",
    "1. ",
    "# a\n",
    "# a\n## b\n",
    "**a**\n",
    "• a\n",
    "a\n-\n",
    "```a\n",
    "[a](b ",
    "[a]: b\n",
    "> - a\n",
    "|a|b|\n|-|-|\n",
    "- a\n\n  ",
    "\\|",
    "&#92;",
    '{"a":',
    "a\u0301",
    "👨‍👩‍👧",
    "a\u200b",
    "1.",
    "<b>",
    "* * *\n",
    "\t",
    " ",
]
HOSTILE = {
    **{f"only {sign}": sign for sign in "|#[*<_\\`~-=(!&"},
    **{f"{pieces!r} again and again": pieces for pieces in AGAIN},
    "a table with a wide row": "|a",
    "a fence of blanks": "~~~ ",
}
BEFORE = {"'1.' again and again": "# ", "a table with a wide row": "|a|\n|-|\n", "a fence of blanks": "~~~"}
READERS: list[dict[str, Any]] = [
    {"check": "heading", "level": 3, "pattern": "^a$"},
    {"check": "section_order", "sections": ["b", "c"], "only": True},
    {"check": "table", "rows": 2},
    {"check": "each_item", "of": "list", "pattern": "^x$", "unique": True},
    {"check": "each_item", "of": "rows", "pattern": "^x$", "words": [1, 2]},
    {"check": "each_item", "of": "sections", "words": [1, 2]},
    {"check": "each_item", "of": "lines", "pattern": "(x+x+)+y"},
    {"check": "each_item", "of": "/a/*", "unique": True},
    {"check": "lines", "max": 1, "section": "a"},
    {"check": "words", "max": 1},
    {"check": "characters", "max": 1},
]


@pytest.mark.timed
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_markdown_is_read_in_bounded_time_with_everything_forgiven(name: str) -> None:
    text = (BEFORE.get(name, "") + HOSTILE[name] * LONG)[:LONG]
    for keys in READERS:
        # Not through `build`: of a long answer that has a process do it, and here the reading itself is to be bounded.
        definition = ONE.validate_python({**keys, "forgive": True, "partial": True})
        start = time.process_time()
        try:
            assert 0 <= REGISTRY[type(definition)](definition, text, {}, {}, 1.0).value <= 1
        except CheckFault as fault:
            assert "ran longer than" in str(fault)
        assert time.process_time() - start < at_most(5)
