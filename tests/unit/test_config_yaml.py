"""YAML is read by the 1.2 core rules, with lines, and refuses what is doubled or broken in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.authoring.yaml_text import block, flow, scalar
from core.config.yaml import load_mapping, load_marked, parse_scalar
from core.errors import InputError


@pytest.fixture
def written(tmp_path: Path):
    def write(content: str | bytes) -> Path:
        file = tmp_path / "file.yaml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


def refused(file: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load_marked(file)
    assert caught.value.exit_code == 2
    assert caught.value.file == str(file)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("No", "No"),
        ("yes", "yes"),
        ("2026-01-05", "2026-01-05"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("'5'", "5"),
        ("5e-5", 5e-5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("-3", -3),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("!!str 5", "5"),
    ],
)
def test_a_value_is_read_as_yaml_1_2_says(written, text: str, value: object) -> None:
    read = load_marked(written(f"key: {text}\n")).data["key"]
    assert read == value
    assert type(read) is type(value)


def test_a_key_is_text_even_where_a_value_would_be_a_number_or_a_boolean(written) -> None:
    assert load_marked(written("1: a\ntrue: b\noff: c\n")).data == {"1": "a", "true": "b", "off": "c"}


@pytest.mark.parametrize(
    ("text", "value"), [("5e-5", 5e-5), ("off", "off"), ("3", 3), ("true", True), ("a: b", "a: b")]
)
def test_a_value_on_the_command_line_follows_the_same_rules(text: str, value: object) -> None:
    assert parse_scalar(text) == value


def test_every_key_and_item_knows_its_line(written) -> None:
    document = load_marked(written("a: 1\nb:\n  c: 2\n  d:\n    - x\n    -\n      e: 5\n"))
    assert [document.line(path) for path in [("a",), ("b",), ("b", "c"), ("b", "d", 0), ("b", "d", 1, "e")]] == [
        1,
        2,
        3,
        5,
        7,
    ]


def test_a_key_that_is_not_there_has_the_line_of_what_it_would_stand_in(written) -> None:
    assert load_marked(written("a: 1\nb:\n  c: 2\n")).line(("b", "missing", "deeper")) == 2


def test_a_doubled_key_is_refused_with_both_lines(written) -> None:
    error = refused(written("name: x\ndata:\n  train: a\n  system: keep\n  train: b\n"))
    assert (error.code, error.line, error.key) == ("doubled_key", 5, "data.train")
    assert "lines 3 and 5" in error.message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\n\tb: 2\n", 2, "not with tabs"),
        ("a: b: c\n", 1, "between quotes"),
        ('a: "\\S"\n', 1, "single quotes"),
        ("a:\n\tb: 2\n", 2, "not with tabs"),
        ("\ta: 1\n", 1, "a tab in the indent"),
        ("c: 1\na: 'x\nb: 1\n", 2, "a quote that begins here"),
        ("a: 'x\nb: 'y'\nc: 2\n", 1, "stops making sense in line 2"),
        ("l:\n  - {id: a, pattern: 'foo}\n  - {id: b, pattern: 'bar'}\n", 2, "close it, and double a quote"),
        ("a: 'it's'\n", 1, "double a quote inside quotes"),
        ("a: [1, 2\nb: 3\n", 2, "began in line 1"),
        ("a: 1\n---\nb: 2\n", 2, "one document"),
        ("a: *nowhere\n", 1, "undefined alias"),
        ("a: !!python/object:os.system x\n", 1, "not supported"),
        ("a: !!int x\n", 1, "not supported"),
        ("a: &a [*a]\n", 1, "contains itself"),
        ("a: \x07\n", 1, "control character (0x07)"),
        ("? [a]\n: 1\n", 1, "a key must be a word"),
        ('pattern: "\\bword\\b"\n', 1, "single quotes"),
        ('a:\n  - "not \\b"\n', 2, "is a backspace"),
        ('a: "C:\\Users\\x"\n', 1, "single quotes"),
        ("a:\n  - foo\n   - bar\n", 3, "one indent"),
        ("a:\n- 1\n- 2\n  - 3\n- 4\n", 4, "value of line 3"),
        ("a: Be brief.\n  - no list\n", 2, "needs '|'"),
    ],
)
def test_a_broken_file_is_one_line_that_says_where_and_what_to_do(written, text: str, line: int, words: str) -> None:
    error = refused(written(text))
    assert error.line == line
    assert words in str(error)


def test_a_file_that_is_empty_or_only_comments_is_said_to_be_empty(written) -> None:
    assert refused(written("")).code == "empty_file"
    assert refused(written("# nothing\n\n")).code == "empty_file"


def test_bytes_that_are_no_utf_8_are_named_with_their_line(written) -> None:
    error = refused(written(b"a: 1\nb: caf\xe9\n"))
    assert (error.code, error.line) == ("not_utf8", 2)


def test_a_byte_order_mark_is_no_part_of_the_first_key(written) -> None:
    assert load_marked(written(b"\xef\xbb\xbfa: 1\n")).data == {"a": 1}


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.yaml").code == "missing_file"
    assert refused(tmp_path).code == "not_a_file"


def test_a_list_where_a_mapping_is_expected_is_named_so(written) -> None:
    with pytest.raises(InputError, match=r"expected a mapping .* found a list"):
        load_mapping(written("- a\n"))


def test_aliases_may_be_used_but_not_to_blow_up(written) -> None:
    assert load_marked(written("a: &x {k: 1}\nb: *x\n")).data["b"] == {"k": 1}
    rows = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 8)]
    assert "100,000" in refused(written("\n".join(rows))).message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_a_file_nested_thousands_deep_is_refused_and_does_not_end_the_process(written, opening: str) -> None:
    assert "deep" in refused(written(opening * 300_000)).message


text_of_people = st.text(st.characters(codec="utf-8"), max_size=200)


@given(text_of_people, st.integers(0, 3))
def test_text_written_as_a_value_or_block_is_read_back_unchanged(tmp_path_factory, text: str, depth: int) -> None:
    file = tmp_path_factory.getbasetemp() / "round-trip.yaml"
    margin = "  " * depth
    nest = "".join(f"{'  ' * level}n{level}:\n" for level in range(depth))
    rows = [
        f"block: {block(text, 2 * depth + 2)}",
        f"plain: {scalar(text)}",
        f"flow: {flow({'x': text, 'y': [text, 1]})}",
    ]
    file.write_bytes((nest + "".join(f"{margin}{row}\n" for row in rows)).encode())
    data = load_marked(file).data
    for level in range(depth):
        data = data[f"n{level}"]
    assert data == {"block": text, "plain": text, "flow": {"x": text, "y": [text, 1]}}


def test_text_of_several_lines_is_written_as_a_block_and_a_word_as_it_is() -> None:
    assert block("one\n\n  two\n", 4) == "|\n    one\n\n      two\n"[:-1]
    assert scalar("billing") == "billing"
    assert scalar("5e-5") == "'5e-5'"
    assert scalar("it's") == "'it''s'"


@pytest.mark.parametrize(
    ("text", "data", "lines"),
    [
        (
            "base: &base\n  epochs: 3\n  lr: 1e-4\nlong:\n  <<: *base\n  epochs: 5\n",
            {"base": {"epochs": 3, "lr": 1e-4}, "long": {"epochs": 5, "lr": 1e-4}},
            {("long", "epochs"): 6, ("long", "lr"): 3},
        ),
        ("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\n", {"x": 1, "y": 2}, {("c", "y"): 2}),
        ("a: &a {x: 1}\nb: &b\n  <<: *a\n  y: 2\nc:\n  <<: *b\n", {"y": 2, "x": 1}, {("c", "x"): 1}),
        ("c: {'<<': 1}\n", {"<<": 1}, {}),
    ],
)
def test_a_merge_key_brings_what_is_not_said_and_keeps_its_lines(written, text: str, data: object, lines: dict) -> None:
    document = load_mapping(written(text))
    assert (document.data if "base" in document.data else document.data["c"]) == data
    assert {path: document.line(path) for path in lines} == lines


@pytest.mark.parametrize("text", ["a: 1\nb:\n  <<: [1]\n", "a: 1\nb:\n  <<: word\n", "b: &b\n  c: 1\n  <<: *b\n"])
def test_a_merge_key_of_no_mapping_or_of_itself_is_refused(written, text: str) -> None:
    problem = refused(written(text))
    assert problem.code == "yaml_syntax"
    assert problem.line in (1, 3)


@pytest.mark.parametrize("sign", ["\u00a0", "\u2003", "\u3000", "\u202f", "\u200b", "\u2060"])
@pytest.mark.parametrize(
    ("text", "line"),
    [("a:\n_ b: 1\n", 2), ("a:\n  b: 1\n  _c: 2\n", 3), ("a_: 1\n", 1), ("- x\n- _id: 1\n", 2), ("a: _b\n", 1)],
)
def test_a_blank_that_yaml_takes_for_a_letter_is_named(written, sign: str, text: str, line: int) -> None:
    problem = refused(written(text.replace("_", sign)))
    assert problem.line == line
    assert f"U+{ord(sign):04X}" in problem.message


@pytest.mark.parametrize(
    "text", ["a: 'x\u00a0'\n", "a: '\u00a0x'\n", "a: |\n  \u00a0x\n", "a: Bonjour\u00a0!\n", "'\u00a0a': 1\n"]
)
def test_such_a_blank_within_a_text_stays(written, text: str) -> None:
    assert "\u00a0" in str(load_marked(written(text)).data) or "\\xa0" in repr(load_marked(written(text)).data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: '\\bword\\b'\n", "\\bword\\b"),
        ("a: \\bword\n", "\\bword"),
        ('a: "\\x08 and \\\\b"\n', "\b and \\b"),
        ("a: one - two\n  three\n", "one - two three"),
        ("a: |\n  one\n  - two\n", "one\n- two\n"),
        ('a: "one\n  - two"\n', "one - two"),
        ("a:\n  -\n    one\n  - two - three\n", ["one", "two - three"]),
    ],
)
def test_what_only_looks_like_such_a_mistake_is_read(written, text: str, value: object) -> None:
    assert load_mapping(written(text)).data["a"] == value
