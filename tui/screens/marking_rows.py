"""The rows of the marking screen: how many inputs are missing, the input, and two answers without names beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from core.text import printable
from tui.lines import Line, folded, wrapped
from tui.queries.marking import MarkingView
from tui.screens.result_answers import beside, marked_lines, wrap_text

if TYPE_CHECKING:
    from core.marking.expectations import Expectation
    from core.marking.usefulness import MarkingOffer

INPUT_SHARE = 3
"""Of the rows there are, one in so many may show the input."""
LEAST_INPUT = 3


def marking_rows(
    view: MarkingView, written: Mapping[str, Any] | None, told: Line, width: int, height: int
) -> list[Line]:
    """All rows. `written`: the expectations that the person wrote for this input; `told`: what came of the last key."""
    rows = head_rows(view, told, width)
    if view.offer is None:
        more = view.session.only_random and view.session.left
        said = "Chance offers nothing more; o offers the rest." if more else "Nothing is left to mark."
        return [*rows, Line(), Line(said, "good")]
    offer = view.offer
    rows += [Line(), *input_rows(offer, width, max(LEAST_INPUT, height // INPUT_SHARE))]
    column = (width - 3) // 2
    assert view.expected is not None and view.diff is not None  # of an offer they are known
    heads = [
        side_head(name, expected, written, column, view.session.job.drafts)
        for name, expected in zip(("◂ left", "right ▸"), view.expected, strict=True)
    ]
    rows += [Line(), *beside(heads, column)]
    rows.append(Line("─" * column + "─┼─" + "─" * column, "frame"))
    rows += answer_rows(view, column)
    return rows


def head_rows(view: MarkingView, told: Line, width: int) -> list[Line]:
    """The countdown, what it counts, and what came of the last key."""
    from core.wording.marking import counted_words, needs_words

    needs = view.needs
    role = "good" if needs.more == 0 else "focus" if needs.more else "warn"
    rows = folded(Line(needs_words(needs), role), width)
    rows += folded(Line(counted_words(needs), "dim"), width)
    if told.plain:
        rows += folded(Line().extend(told), width)
    return rows


def input_rows(offer: MarkingOffer, width: int, most: int) -> list[Line]:
    """Which input, why it is offered, and what it asks."""
    from core.wording.marking import offer_words

    name = Line(printable(offer.pair.input_id), "bold")
    words = offer_words(offer)
    head = (
        [name.right(Line(words, "dim"), width)]
        if name.width + len(words) + 2 <= width
        else [
            name.cut(width),
            *folded(Line(words, "dim"), width),
        ]
    )
    text = [
        Line("│ ", "frame").add(row)
        for line in offer.pair.text.splitlines() or [""]
        for row in wrap_text(printable(line), width - 2) or [""]
    ]
    if not offer.pair.text.strip():
        text = [Line("│ ", "frame").add("an empty input", "dim")]
    if len(text) > most:
        text = [*text[: most - 1], Line(f"│ … {len(text) - most + 1} more rows", "dim")]
    return [*head, *text]


def side_head(
    name: str, expected: Expectation, written: Mapping[str, Any] | None, width: int, drafts: bool
) -> list[Line]:
    """One side: what a golden input would expect by it; of inputs that are golden already, what the checks read in it."""
    from core.marking.written_expect import expect_text

    rows = [Line(name, "bold")]
    if written is not None:
        return [*rows, *(Line(row, "focus") for row in wrapped(f"expect {expect_text(written)} (yours)", width))]
    said = expect_text(expected.values)
    said = f"{'expect' if drafts else 'reads'} {said}" if said else "expects nothing"
    rows += [Line(row) for row in wrapped(printable(said), width)]
    if expected.missing and drafts:
        rows += [
            Line(row, "warn") for row in wrapped(f"does not show {', '.join(expected.missing)}: e writes it", width)
        ]
    return rows


def answer_rows(view: MarkingView, column: int) -> list[Line]:
    """The two answers, what differs marked."""
    assert view.diff is not None and view.offer is not None
    sides: tuple[list[Line], list[Line]] = ([], [])
    signs: list[str] = []
    for row in view.diff.rows:
        lines = [marked_lines(line, column, row.differs) for line in (row.left, row.right)]
        for number, pair in enumerate(zip_longest(*lines, fillvalue=Line())):
            for rows, line in zip(sides, pair, strict=True):
                rows.append(line)
            signs.append(row.sign if number == 0 else "│")
    for rows, side in zip(sides, (view.offer.left, view.offer.right), strict=True):
        if not side.text.strip():
            rows[:1] = [Line("an empty answer", "dim")]
    found = beside(sides, column, signs)
    if not view.diff.different:
        found.append(Line("The answers are the same.", "dim"))
    if view.diff.cut:
        found.append(Line("Only the beginning is compared: an answer is longer.", "dim"))
    return found


def title_right(view: MarkingView, *, whole: bool) -> str:
    """How many pairs are left, and, where there is room, in which order they come."""
    if not whole:
        return f"{view.session.left} of {len(view.session.pairs)} left"
    order = "by chance alone" if view.session.only_random else "by use, each third by chance"
    return f"{view.session.left} of {len(view.session.pairs)} left, {order}"


def told_line(text: str, failed: bool) -> Line:
    return Line(("✗ " if failed else "") + printable(text), "bad" if failed else "dim")
