"""Two answers compared: lines that belong together stand beside each other, and only what differs is marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cli.results_diff import marked, one_below, side_by_side
from core.results.answer_diff import MOST_CHARACTERS, DiffPiece, DiffRow, diff_answers
from core.text import cell_width, printable


def shown(row: DiffRow) -> tuple[str | None, str | None]:
    left, right = (None if line is None else marked(line) for line in (row.left, row.right))
    return left, right


def test_a_word_that_changed_is_marked_in_its_line() -> None:
    (row,) = diff_answers("### tea — PASS (4.2/5)", "### tea — FAIL (4.2/5)").rows
    assert shown(row) == ("### tea — ⟦PASS⟧ (4.2/5)", "### tea — ⟦FAIL⟧ (4.2/5)")


def test_a_line_that_one_answer_has_more_does_not_move_the_others() -> None:
    ours = "TITLE: tea\nVERDICT: pass\nNEXT: none"
    theirs = "Sure! Here is my verdict:\nTITLE: tea\nVERDICT: fail"
    assert [shown(row) for row in diff_answers(ours, theirs).rows] == [
        (None, "Sure! Here is my verdict:"),
        ("TITLE: tea", "TITLE: tea"),
        ("VERDICT: ⟦pass⟧", "VERDICT: ⟦fail⟧"),
        ("NEXT: none", None),
    ]


def test_lines_without_a_word_in_common_are_not_cut_into_pieces() -> None:
    (row,) = diff_answers("I can't help.", "TITLE: brief").rows
    assert row.left == (DiffPiece("I can't help.", differs=True),)


@given(st.text(), st.text())
def test_nothing_of_either_answer_is_lost(ours: str, theirs: str) -> None:
    rows = diff_answers(ours, theirs).rows
    left = [piece.text for row in rows for piece in row.left or () if row.left is not None]
    assert "".join(left) == "".join(ours.splitlines())
    assert "".join(piece.text for row in rows for piece in row.right or ()) == "".join(theirs.splitlines())
    assert all(row.differs or not any(piece.differs for piece in row.left or ()) for row in rows)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("ramble ramble\n" * 700_000, "ramble ramble\n" * 500_000 + "x\n" * 20_000),
        ("a b " * 2_500_000, "b a a " * 1_500_000),
        ("\n".join(f"a {n % 7}" for n in range(50_000)), "\n".join(f"a {n % 5}" for n in range(50_000))),
    ],
    ids=["lines", "one line", "lines much alike"],
)
def test_ten_megabytes_are_compared_in_their_beginning(ours: str, theirs: str) -> None:
    diff = diff_answers(ours, theirs)  # without the limits this takes minutes
    assert diff.cut
    assert sum(len(piece.text) for row in diff.rows for piece in row.left or ()) <= MOST_CHARACTERS


HOSTILE = "\x1b[2JTITLE: \x1b]0;own\x07 [bold]te\u202ea[/]\tok"


@pytest.mark.parametrize("width", [24, 60, 120])
def test_no_line_is_wider_than_the_terminal_and_none_has_what_a_terminal_obeys(width: int) -> None:
    diff = diff_answers(f"{HOSTILE}\n{'word ' * 60}\n{'x' * 300}", f"{HOSTILE} more\n{'word ' * 60}\n茶{'茶' * 90}")
    heads = ([f"one {HOSTILE}"], ["other"])
    for lines in (side_by_side(diff, heads, width), one_below(diff, heads, width)):
        for line in lines:
            assert line == printable(line)
            assert cell_width(line) <= width


def test_many_lines_alike_are_counted_and_not_shown() -> None:
    ours = "\n".join(f"line {number}" for number in range(40))
    text = list(side_by_side(diff_answers(f"{ours}\nend", f"{ours}\nanother end"), (["a"], ["b"]), 100))
    assert any(line.startswith("… 38 lines alike") for line in text)
    assert len(text) < 8
