"""The one normal form of all checks: what is equal to a reader is equal to every check, and the switch that turns it off."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.checks import CheckDefinition, build, check_hash
from core.checks.base import BaseDefinition, CheckResult
from core.checks.normal_form import ALL, AS_WRITTEN, PARTS, Part, Parts, parts_for, plain, written

ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)

# What the check asks for, and what an answer has in its place. One row for each part of the form.
PAIRS: dict[Part, list[tuple[str, str]]] = {
    "unicode": [
        ("caf\u00e9", "cafe\u0301"),
        ("Ngu\u1ec5n", "Ngue\u0302\u0303n"),
        ("\u212bngstr\u00f6m", "\u00c5ngstro\u0308m"),
    ],
    "lines": [
        ("one\ntwo", "one\r\ntwo"),
        ("one\ntwo", "one\rtwo"),
        ("one\ntwo", "one\u2028two"),
        ("one\ntwo", "one\x85two"),
    ],
    "spaces": [("10 kg", "10\u00a0kg"), ("10 kg", "10\u2009kg"), ("10 kg", "10\u3000kg"), ("10 kg", "10\u202fkg")],
    "invisible": [("handmade", "hand\u00admade"), ("handmade", "hand\u200bmade"), ("handmade", "\ufeffhand\u2060made")],
    "dashes": [("3-4 h", "3\u20134 h"), ("3\u20144 h", "3-4 h"), ("-5 C", "\u22125 C"), ("a\u2011b", "a\u2010b")],
    "quotes": [("don't", "don\u2019t"), ('say "yes"', "say \u201cyes\u201d"), ("\u00abyes\u00bb", "\u201eyes\u201c")],
    "width": [("no 42", "no \uff14\uff12"), ("PASS: a", "\uff30ASS\uff1a a"), ("a(b)", "a\uff08b\uff09")],
}
ROWS = [(part, want, have) for part, pairs in PAIRS.items() for want, have in pairs]


def define(**keys: Any) -> BaseDefinition:
    made = ONE.validate_python(keys)
    assert isinstance(made, BaseDefinition)
    return made


def score(text: str, expect: dict[str, Any] | None = None, captures: Any = None, **keys: Any) -> CheckResult:
    return build(define(**keys)).score(text, expect or {}, captures)


def escaped(text: str) -> str:
    import regex

    return str(regex.escape(text, special_only=True))


def scores(want: str, have: str, **keys: Any) -> dict[str, CheckResult]:
    """What each check says of an answer that has the one where the other is asked for."""
    line = " ".join(have.split("\n")) if "\n" in want else have
    wanted_line = want.replace("\n", " ")
    found = {
        "contains_any": score(f"so {have}.", check="contains_any", values=[want], **keys),
        "contains_all": score(f"so {have}.", check="contains_all", values=[want], **keys),
        "not_contains": score(f"so {have}.", check="not_contains", values=[want], **keys),
        "regex": score(f"so {have}.", check="regex", pattern=f"so (?P<x>{escaped(want)})\\.", **keys),
        "captured_equals": score("", {"x": want}, {"x": [have]}, check="captured_equals", name="x", **keys),
    }
    if "\n" not in want:
        found["heading"] = score(f"### {line} now", check="heading", level=3, pattern=escaped(wanted_line), **keys)
        table = f"| {line} | b |\n|---|---|\n| 1 | 2 |\n"
        found["table"] = score(table, check="table", columns=[wanted_line, "b"], **keys)
    return found


@pytest.mark.parametrize(("part", "want", "have"), ROWS)
def test_what_is_equal_to_a_reader_is_equal_to_every_check(part: Part, want: str, have: str) -> None:
    for name, result in scores(want, have).items():
        assert result.value == (0 if name == "not_contains" else 1), (name, result.detail)


@pytest.mark.parametrize(("part", "want", "have"), ROWS)
def test_without_its_part_it_is_not_and_the_reason_names_the_sign(part: Part, want: str, have: str) -> None:
    for name, result in scores(want, have, normalise=[other for other in PARTS if other != part]).items():
        if name == "not_contains":
            assert result.value == 1
        elif name not in ("heading", "table") or part not in ("lines",):
            assert result.value == 0, name
            assert "U+" in result.detail, (name, result.detail)


def test_off_is_off() -> None:
    assert score("caf\u00e9", check="contains_any", values=["cafe\u0301"], normalise=False).value == 0
    assert score("a\r\nb", check="regex", pattern="a\nb", normalise=False).value == 0
    assert score("a\r\nb", check="regex", pattern="a\r\nb", normalise=False).value == 1
    assert score("caf\u00e9", check="contains_any", values=["cafe\u0301"], normalise=["unicode"]).value == 1


@pytest.mark.parametrize("switch", ["no", [], ["space"], 1, None, {"unicode": True}])
def test_a_wrong_switch_is_refused_with_those_that_exist(switch: object) -> None:
    with pytest.raises(ValidationError, match=r"unicode, lines, spaces, invisible, dashes, quotes, width|bool"):
        define(check="regex", pattern="a", normalise=switch)


def test_the_switch_belongs_to_what_a_score_stands_for() -> None:
    plainly, off = define(check="regex", pattern="a"), define(check="regex", pattern="a", normalise=False)
    assert check_hash(plainly) != check_hash(off)


def test_a_sign_by_itself_means_that_sign() -> None:
    text = "A well-known tea \u2013 hot."
    assert score(text, check="not_contains", values=["\u2014"]).value == 1
    assert score(text + "\u2014", check="not_contains", values=["\u2014"]).value == 0
    assert score(text, check="regex", pattern="\u2014", count=0).value == 1
    assert score(text, check="regex", pattern=r"[\u2014\u2015]", count=0).value == 1
    assert score("two\u00a0words", check="regex", pattern=r"\u00a0", count=0).value == 0
    assert score("two words", check="regex", pattern=r"\u00a0", count=0).value == 1
    assert score("zero\u200bwidth", check="regex", pattern="\u200b").value == 1
    assert score("zero\u200bwidth", check="not_contains", values=["\u200b"]).value == 0
    # With letters beside it, it is a phrase, and a reader finds it in any shape.
    assert score("I don\u2019t know", check="regex", pattern="I don't know", count=0).value == 0


@pytest.mark.parametrize(
    ("pattern", "text", "captured"),
    [
        (r"^(?P<x>.+) — (PASS|FAIL)$", "tea-room \u2013 PASS", "tea-room"),
        (r"^(?P<x>[^—]+) — (PASS|FAIL)$", "tea-room — PASS", "tea-room"),
        (r"^(?P<x>[\w-]+)—\w+$", "tea-room—PASS", "tea-room"),
        (r"^(?P<x>\w+)(?!—)-PASS$", "tea-PASS", "tea"),
        (r"^\"(?P<x>[^\"]+)\"$", "\u201ctea\u201d", "tea"),
        (r"^(?P<x>\d+)\N{EN DASH}5$", "4-5", "4"),
        (r"^(?P<x>[0-9]+)\x3a 5$", "\uff14\uff12\uff1a\u00a05", "42"),
        (r"^(?P<x>[\uff10-\uff19]+)$", "42", "42"),
        (r"^(?P<größe>\d+) (?P<x>kg)$", "5\u00a0kg", "kg"),
        (r"^(?P<x>a)(?:-(?P=x)){2}$", "a\u2013a\u2014a", "a"),
        (r"^(?P<x>tea)\r\nroom$", "tea\nroom", "tea"),
        (r"^(?P<x>tea)\r?\nroom$", "tea\r\nroom", "tea"),
        (r"^(?P<x>tea)\rroom$", "tea\rroom", "tea"),
        (r"^(?P<x>\p{L}+)\p{Pd}\p{L}+$", "tea\u2013room", "tea"),
        (r"^(?P<x>[[:alpha:]\-]+)\{3\}$", "tea-s\uff5b3\uff5d", "tea-s"),
        (r"(?i)^(?P<x>CAFÉ)$", "cafe\u0301", "café"),
        (r"^(?P<x>[–—])$", "-", "-"),
    ],
)
def test_a_pattern_means_its_signs_in_all_shapes(pattern: str, text: str, captured: str) -> None:
    result = score(text, check="regex", pattern=pattern)
    assert result.value == 1 and result.captures["x"] == [captured]


def test_a_verbose_pattern_keeps_its_blanks_and_comments() -> None:
    pattern = "^ (?P<x> tea ) \\ - \\ room  # a – comment (\n $"
    assert score("tea\u00a0\u2014 room", check="regex", pattern=pattern, flags=["verbose"]).value == 1
    assert score("tea\u2014room", check="regex", pattern="(?x) tea — room").value == 1


def test_what_a_group_captures_keeps_the_signs_of_the_answer() -> None:
    result = score("tea \u2013 \u201cPASS\u201d", check="regex", pattern="tea - (?P<v>.+)")
    assert result.captures == {"v": ["\u201cPASS\u201d"]}


def test_numbers_are_numbers_with_any_minus_and_width() -> None:
    for have in ("\u22125", "-5", "\uff0d5", "\u20135\u00a0", "-\uff15"):
        assert score("", {"n": -5}, {"n": [have]}, check="captured_equals", name="n").value == 1


def test_a_table_in_a_code_block_beside_text_is_a_table() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n"
    for text in (f"Here it is:\n\n```\n{table}```\n", f"Here:\n```markdown\n{table}```", f"~~~text\n{table}~~~\nDone."):
        assert score(text, check="table", columns=["a", "b"], rows=1).value == 1
    assert score(f"Here:\n\n```python\n{table}```\n", check="table", columns=["a", "b"]).detail == "no table"
    assert score(f"{table}\nor\n\n```\n{table}```\n", check="table", columns=["a", "b"]).value == 1
    assert (
        score(f"Here:\n\n```\n{table}```\n", check="table", columns=["a", "c"]).detail == "the table has other columns"
    )


def test_a_heading_is_one_behind_any_blank() -> None:
    for text in ("###\u00a0tea", "###\u3000tea", "\ufeff### tea", "### tea\r\n\r\ntext", "### te\u200ba&nbsp;"):
        assert score(text, check="heading", level=3, pattern="^tea$").value == 1, text
    # A dash makes no heading and no list of a text that was none.
    assert score("tea\n\u2014\n", check="heading", level=2, pattern="tea", count=0).value == 1


@pytest.mark.parametrize(
    ("have", "want", "sign"),
    [
        ("Coffee n\u043e 4", "Coffee no 4", "CYRILLIC SMALL LETTER O (U+043E) where LATIN SMALL LETTER O (U+006F)"),
        ("\u0391SS", "ASS", "GREEK CAPITAL LETTER ALPHA (U+0391) where LATIN CAPITAL LETTER A (U+0041)"),
        ("step \u2460", "step 1", "CIRCLED DIGIT ONE (U+2460) where DIGIT ONE (U+0031)"),
        ("x\u00b2", "x2", "SUPERSCRIPT TWO (U+00B2) where DIGIT TWO (U+0032)"),
    ],
)
def test_texts_that_look_alike_are_told_apart_by_name(have: str, want: str, sign: str) -> None:
    for name, result in scores(want, have).items():
        if name == "not_contains":
            continue
        assert result.value == 0
        if name in ("regex", "heading"):
            if sign.startswith(("CYRILLIC", "GREEK")):
                assert sign.partition(" where")[0] in result.detail
        else:
            assert f"{sign} is expected" in result.detail, name


def test_of_a_pattern_in_another_alphabet_the_sign_that_differs_is_named() -> None:
    detail = score("Вывод: \u0410B", check="regex", pattern="^Вывод: [A-Z]+$").detail
    assert detail == "pattern: no match (CYRILLIC CAPITAL LETTER A (U+0410) only looks like what is asked for)"
    assert "the pattern has CYRILLIC SMALL LETTER A" in score("ta", check="regex", pattern="t\u0430").detail
    assert score("Ответ: нет", check="regex", pattern="^Вывод: да$").detail == "pattern: no match"


TEXT = st.text(st.characters(codec="utf-8"), max_size=40) | st.text("a-–—'’\"“ \u00a0\u200be\u0301é1１:：", max_size=12)
SOME: st.SearchStrategy[Parts] = st.frozensets(st.sampled_from(PARTS))


@given(TEXT, SOME)
def test_the_normal_form_of_a_normal_form_is_itself(text: str, parts: Parts) -> None:
    assert plain(plain(text, parts), parts) == plain(text, parts)
    assert written(written(text, parts), parts) == written(text, parts)
    assert plain(text, frozenset()) == text
    assert parts_for("\u2014", parts) == parts & AS_WRITTEN


@given(TEXT.filter(str.strip), TEXT, TEXT)
def test_a_text_is_found_in_all_shapes_by_every_check(value: str, before: str, behind: str) -> None:
    """Whatever shape a value is written in, a text that holds it holds it for a plain check and for a pattern."""
    other = unicodedata.normalize("NFD", value).translate({ord("-"): "\u2013", ord("'"): "\u2019", ord(" "): "\u00a0"})
    apart = f"{before}\n{other}\n{behind}"
    held = plain(value, ALL) in plain(apart, ALL)
    if any(letter.isalnum() for letter in value):
        assert (score(apart, check="contains_any", values=[value], case_sensitive=True).value == 1) == held
        assert (score(apart, check="regex", pattern=escaped(value)).value == 1) >= held or "\u200b" in value
    assert score(value, check="contains_all", values=[value]).value == 1
    assert score("", {"x": value}, {"x": [value]}, check="captured_equals", name="x").value == 1


PIECES = st.sampled_from(
    [
        *"ab1 -–—'’\"“:：(",
        *("é", "e\u0301", r"\d", r"\w", r"\s", r"\S", ".", r"\-", r"\.", r"\u2014", r"\xa0", r"\N{EM DASH}", r"\t"),
        *("[a-z]", "[^—]", "[^-]", "[–—:]", r"[\w-]", r"[^\d\u2013]", "[]a]", "[^]’]", "[ -~]", r"[\u2010-\u2015]"),
        *("[[:alpha:]’]", "(?!—)", "(?<!-)", "(?=.)", "(?<=–)", r"\b", r"\p{L}", r"\p{Pd}", "(?:a|–)", "(?P<x>—)"),
        *("(?#a – b)", "^", "$", "|"),
    ]
)
COUNTED = st.tuples(PIECES, st.sampled_from(["", "", "", "?", "*", "+", "{1,2}", "+?"])).map("".join)
PATTERN = st.lists(COUNTED, min_size=1, max_size=6).map("".join)


@given(PATTERN, st.text("ab1 -–—'’\"“:e\u0301é.\t\n]", max_size=14))
def test_a_pattern_never_matches_less_for_its_shapes(pattern: str, text: str) -> None:
    import regex

    from core.checks.pattern_shapes import in_all_shapes

    text = written(text, ALL)
    try:
        plainly = regex.compile(unicodedata.normalize("NFC", pattern))
    except regex.error:
        return
    shaped = regex.compile(in_all_shapes(pattern, ALL))
    assert shaped.groupindex == plainly.groupindex
    found = plainly.search(text)
    assert found is None or shaped.search(text) is not None
    assert in_all_shapes(pattern, frozenset()) == pattern


@pytest.mark.parametrize(
    ("want", "have", "sign"),
    [
        ("a b", "a\tb", "TAB"),
        ("don't", "don`t", "GRAVE ACCENT"),
        ("1/2", "1\u20442", "FRACTION SLASH"),
        ("a\u00b7b", "a\u22c5b", "DOT OPERATOR"),
        ("A B", "A  B", "SPACE"),
    ],
)
def test_a_reason_never_shows_the_same_text_twice_without_the_sign_that_differs(
    want: str, have: str, sign: str
) -> None:
    result = score("x", {"v": want}, {"v": [have]}, check="captured_equals", name="v")
    assert result.value == 0 and sign in result.detail.partition("(")[2]


@pytest.mark.parametrize(("want", "have"), [("5 \u00b5m", "5 \u03bcm"), ("5 \u03bcm", "5 \u00b5m")])
def test_the_sign_for_micro_is_the_greek_letter(want: str, have: str) -> None:
    for name, result in scores(want, have).items():
        assert result.value == (0 if name == "not_contains" else 1), (name, result.detail)
    apart = score("x", {"v": want}, {"v": [have]}, check="captured_equals", name="v", normalise=False)
    assert apart.value == 0 and "MICRO SIGN" in apart.detail
