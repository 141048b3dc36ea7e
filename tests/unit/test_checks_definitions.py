"""Definitions of checks: what a person may write, and which mistakes are errors at load."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from core.checks import CheckDefinition, RegexCheck, TableCheck, build, capture_names, check_hash, check_ids
from core.checks.patterns import unfolded_size
from tests.support.depth import at_most

ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)


def define(**keys: Any) -> Any:
    return ONE.validate_python(keys)


def complaint(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        define(**keys)
    return str(caught.value)


def test_the_check_names_the_kind_of_definition() -> None:
    assert isinstance(define(check="table", rows=5), TableCheck)
    assert isinstance(define(check="regex", pattern="a"), RegexCheck)


def test_an_unknown_check_is_refused_with_those_that_exist() -> None:
    said = complaint(check="heding", level=3, pattern="a")
    assert "heding" in said
    assert "captured_equals" in said


@pytest.mark.parametrize("key", ["muliline", "Pattern", "counts"])
def test_an_unknown_key_is_refused(key: str) -> None:
    assert key in complaint(check="regex", pattern="a", **{key: 1})


@pytest.mark.parametrize("check", ["regex", "heading"])
@pytest.mark.parametrize("pattern", ["(", "[a", "(?P<a>x)(?P<1>y)", "*", ""])
def test_a_bad_pattern_is_an_error_at_load(check: str, pattern: str) -> None:
    level = {"level": 2} if check == "heading" else {}
    assert "pattern" in complaint(check=check, pattern=pattern, **level)


def test_a_pattern_is_compiled_with_its_flags_at_load() -> None:
    # Verbose: the bracket behind the # is a comment. Without the flag it is an open group.
    assert define(check="regex", pattern="a # (", flags=["verbose"]).flags == ("verbose",)


@pytest.mark.timed
@pytest.mark.parametrize("pattern", ["((a{1000}){1000}){1000}", "(?:(?:(?:x{99}){99}){99}){99}", "(a|b{9999}){9999}"])
def test_a_pattern_that_would_fill_the_memory_is_refused_before_it_is_compiled(pattern: str) -> None:
    start = time.monotonic()
    assert "unfold" in complaint(check="regex", pattern=pattern)
    assert time.monotonic() - start < at_most(1)


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("abc", 3),
        ("a{3}", 3),
        ("(ab{10}){10}", 120),
        (r"\(a\){5}", 7),
        ("[](]{4}", 4),
        ("x{2,}", 2),
        ("((", 0),
        ("))", 2),
    ],
)
def test_the_size_of_an_unfolded_pattern_counts_what_repeats_repeat(pattern: str, pieces: int) -> None:
    assert unfolded_size(pattern) == pieces


@pytest.mark.parametrize("count", [True, -1, 1.5, "3", "expect.", "expected.n", None])
def test_a_count_is_a_whole_number_or_a_key_of_expect(count: object) -> None:
    assert "count" in complaint(check="heading", level=3, pattern="a", count=count)


@pytest.mark.parametrize("values", [[], [""], [4.2], "word", None, [["a"]]])
def test_values_are_strings_or_a_key_of_expect(values: object) -> None:
    assert "values" in complaint(check="contains_any", values=values)


def test_a_value_that_is_a_number_is_told_to_be_quoted() -> None:
    assert "write it in quotes" in complaint(check="contains_all", values=["a", 7])


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "2", True])
def test_a_weight_is_a_finite_number_from_zero(weight: object) -> None:
    assert "weight" in complaint(check="regex", pattern="a", weight=weight)


def test_a_word_is_no_truth_value() -> None:
    assert "partial" in complaint(check="contains_all", values=["a"], partial="no")


def test_definitions_are_frozen() -> None:
    with pytest.raises(ValidationError):
        define(check="regex", pattern="a").pattern = "b"


def test_a_definition_survives_its_json() -> None:
    before = define(check="table", columns=["A", "B"], rows="expect.rows", count=2, id="t", weight=2, partial=True)
    assert ONE.validate_python(before.model_dump(mode="json")) == before


def test_checks_without_an_id_get_one_of_their_own() -> None:
    regex = define(check="regex", pattern="a")
    named = define(check="regex", pattern="a", id="regex-2")
    verdict = define(check="captured_equals", name="verdict")
    assert check_ids([regex, named, regex, regex, verdict]) == [
        "regex",
        "regex-2",
        "regex-3",
        "regex-4",
        "verdict equals expect",
    ]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (["Exeter"], "contains_any: Exeter"),
        (["Exeter", "Bath"], "contains_any: Exeter…"),
        ("expect.town", "contains_any: expect.town"),
        (["a text of\nseveral lines and more"], "contains_any: a text of several lines…"),
    ],
)
def test_a_check_on_plain_text_is_called_after_its_text(values: Any, name: str) -> None:
    assert check_ids([define(check="contains_any", values=values)]) == [name]


def test_capture_names_are_the_named_groups() -> None:
    heading = define(check="heading", level=1, pattern="(?P<note>.) (?P<score>.) (x)")
    assert capture_names([heading, define(check="table")]) == {"note", "score"}


def test_the_hash_changes_with_what_decides_the_value_and_with_nothing_else() -> None:
    one = define(check="regex", pattern="a", id="x")
    assert check_hash(one) == check_hash(define(check="regex", pattern="a", id="x", weight=3))
    assert check_hash(one) == check_hash(one, expect={"unrelated": 1})
    different = [
        check_hash(one),
        check_hash(define(check="regex", pattern="b", id="x")),
        check_hash(define(check="regex", pattern="a", id="x", partial=True)),
        check_hash(one, part="content"),
        check_hash(one, name="y"),
    ]
    assert len(set(different)) == len(different)


def test_the_hash_of_a_comparison_changes_with_what_it_is_compared_with() -> None:
    verdict = define(check="captured_equals", name="verdict")
    source = define(check="regex", pattern="(?P<verdict>PASS)")
    assert check_hash(verdict, expect={"verdict": "PASS"}) != check_hash(verdict, expect={"verdict": "FAIL"})
    assert check_hash(verdict, sources=[source]) != check_hash(verdict)


@pytest.mark.timed
def test_an_answer_of_absurd_length_is_not_parsed() -> None:
    start = time.monotonic()
    result = build(define(check="heading", level=3, pattern="a")).score("> " * 500_000, {})
    assert (result.value, result.faulty) == (0, True)
    assert "characters" in result.detail
    assert time.monotonic() - start < at_most(1)


@pytest.mark.process  # an answer of this length is scored in a process of its own
@pytest.mark.timed
@pytest.mark.parametrize(
    "text",
    [
        "> " * 90_000,
        "- " * 90_000,
        "|a" * 40_000 + "|\n" + "|-" * 40_000 + "|\n",
        "|a|b|\n|-|-|\n" + "|x|y|\n" * 30_000,
        "### a\n" * 30_000,
        "### " + "[" * 190_000,
        "### " + "*a_" * 60_000,
        "\n".join(" " * i + "- x" for i in range(600)),
        "[a]: b\n" * 25_000,
        "`" * 199_999,
    ],
    ids=["quotes", "list", "wide table", "long table", "headings", "brackets", "stars", "nested", "links", "ticks"],
)
def test_hostile_markdown_is_read_in_bounded_time(text: str) -> None:
    start = time.monotonic()
    build(define(check="table", rows=5)).score(text, {})
    build(define(check="heading", level=3, pattern="a")).score(text, {})
    assert time.monotonic() - start < at_most(6)


def test_a_message_replaces_the_words_of_a_failure_only() -> None:
    check = build(define(check="regex", pattern=r"\A###", message="text before the heading"))
    assert check.score("Sure!\n### a", {}).detail == "text before the heading"
    assert check.score("### a", {}).detail == ""


def test_a_bad_pattern_is_reported_at_its_key() -> None:
    for keys in ({"check": "regex"}, {"check": "heading", "level": 2}):
        with pytest.raises(ValidationError) as caught:
            define(pattern="(", **keys)
        assert caught.value.errors()[0]["loc"][-1] == "pattern"
