"""Text of others: whatever it is, nothing of it that reaches the terminal can move the cursor or speak to it."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.text import cell_width, clip, log_line, printable, visible
from tests.support.hostile import FRAGMENTS, NAME, assert_only_printed, texts


@given(texts)
@example(NAME)
@example("".join(FRAGMENTS))
def test_no_text_moves_the_cursor_or_speaks_to_the_terminal(text: str) -> None:
    """The one test of the one sanitiser: its result is the only thing that a terminal shows of it."""
    for shown in (
        printable(text),
        printable(text, limit=20),
        printable(text, instead="?"),
        log_line(text),
        *printable(text, keep="\n").split("\n"),
        *visible(text).replace("\t", " ").split("\n"),
        *visible(text, limit=20).replace("\t", " ").split("\n"),
    ):
        assert_only_printed(shown)
        shown.encode()  # no lone surrogates: a terminal has no bytes for them
        assert printable(shown) == shown, "once is enough"


@given(texts, st.integers(1, 40))
def test_a_limit_is_kept_and_cuts_no_grapheme(text: str, limit: int) -> None:
    import regex

    whole, cut = printable(text), printable(text, limit=limit)
    assert len(cut) <= limit
    if len(whole) <= limit:
        assert cut == whole
    else:
        kept = cut.removesuffix("…")
        assert cut.endswith("…") and whole.startswith(kept)
        ends = {found.end() for found in regex.finditer(r"\X", whole)} | {0}
        first = regex.match(r"\X", whole).end()
        assert len(kept) in ends or first > len(kept), "a letter was cut from its accent"


@given(texts)
def test_kept_controls_are_the_only_ones_that_stay(text: str) -> None:
    assert "\t" not in printable(text, keep="\n") and "\n" not in printable(text, keep="\t")
    kept = printable(text, keep="\t\n").replace("\t", " ").replace("\n", " ")
    # A mark on a blank stays, one at the beginning of a line has nothing to stand on.
    assert without_marks(kept) == without_marks(printable(text))


def without_marks(text: str) -> str:
    return "".join(letter for letter in text if not unicodedata.category(letter).startswith("M"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain [bold]text[/] é 日本", "plain [bold]text[/] é 日本"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        ("\x9b2Jc1", "c1"),
        ("cut off \x1b[", "cut off "),
        ("\x1b]0;not ended, not hidden", "0;not ended, not hidden"),
        ("bell\x07null\x00del\x7f", "bellnulldel"),
        ("right\u202eleft\u2066x\u200b", "rightleftx"),
        ("line\u2028break\r\nand\nmore", "line break and more"),
        ("a\tb", "a b"),
        ("no\u00a0break", "no break"),
        ("torn \ud83d name\udcff", "torn  name"),
        ("zalgo o" + "\u0301" * 50, "zalgo o" + "\u0301" * 4),
        ("\u0301at the beginning", "at the beginning"),
        ("hangul\u3164filler \U000e0041tag", "hangulfiller tag"),
        ("👩\u200d💻 ❤\ufe0f 🇩🇪", "👩💻 ❤ 🇩🇪"),
        ("হিন্দি नमस्ते สวัสดี שָׁלוֹם", "হিন্দি नमस्ते สวัสดี שָׁלוֹם"),
    ],
)
def test_what_is_taken_out_and_what_stays(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_stands_instead() -> None:
    assert printable("a\x00b\x1b[2Jc\td", instead="?") == "a?b?c d"
    assert printable("one\ntwo\tthree", keep="\n\t") == "one\ntwo\tthree"
    assert printable("\x1b[1mone\r\ntwo\rthree\x0bfour", keep="\n") == "one\ntwo\nthree\nfour"


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…"), ("abcde\u0301\u0302fgh", 7, "abcd…"), ("ab🇩🇪cd", 4, "ab…")],
)
def test_where_it_is_cut(text: str, limit: int, shown: str) -> None:
    assert printable(text, limit=limit) == shown


def test_of_a_log_line_what_was_overwritten_is_dropped_and_tabs_are_columns() -> None:
    assert log_line("10 %\r 20 %\r 30 %") == " 30 %"
    assert log_line("windows\r\n") == "windows"
    assert log_line("a\tb") == "a   b"
    assert log_line("a\tb", tab=None) == "a\tb"


def test_hidden_characters_of_data_are_made_visible() -> None:
    assert visible("a\x1b[31m\u200b\u202eb\x7f\ud800\U000e0041\r") == "a␛[31m\\u200b\\u202eb␡\\ud800\\U000e0041␍"
    assert visible("tab\tand\nline") == "tab\tand\nline"
    assert visible("é \u00a0日") == "é  日"


@pytest.mark.parametrize("piece", ["\x1b]", "\x9d", "\x1b", "\x90a", "\u0301", "\x1b[1", "\r", "\x98\x1b"])
def test_no_text_is_slow(piece: str) -> None:
    """Twice the text takes about twice the time: by the square it would be four times, and a log could hold up the console."""
    took = []
    for count in (50_000, 200_000):
        started = time.process_time()
        printable(piece * count)
        took.append(time.process_time() - started)
    assert took[1] < 10 * took[0] + 0.5


def test_widths_are_terminal_cells() -> None:
    assert cell_width("日本") == 4
    assert clip("日本語の本", 6) == "日本…"
    assert clip("short", 6) == "short"


@pytest.mark.parametrize(
    "spoken",
    [
        "\x1b[2J",
        "\x1b[1;1H",
        "\x1b[31m",
        "\x1b[6n",
        "\x1b]0;t\x07",
        "\x9b2J",
        "\x1bM",
        "\x1b7",
        "\x08",
        "\r",
        "\n",
        "\t",
    ],
)
def test_the_terminal_of_these_tests_sees_what_is_done_to_it(spoken: str) -> None:
    with pytest.raises(AssertionError):
        assert_only_printed(f"a{spoken}b")
