"""The rows of the answers: two beside each other, as they are or with only what differs marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from core.format import listed
from core.results.answer_diff import CLOSING, OPENING
from core.scoring.passing import passes
from core.text import printable
from core.wording.failure_modes import NAMES
from tui.lines import Line, folded, wrapped
from tui.model.answers import AnswerRead, Answers, worst
from tui.model.snapshot import Board, RankedCandidate

if TYPE_CHECKING:
    from core.results.answer_diff import AnswerDiff, DiffLine


def check_mark(value: float | None) -> tuple[str, str]:
    """One input of one check: its sign, and a role that repeats it."""
    if value is None:
        return "·", "dim"
    return ("▪", "good") if passes(value) else ("×", "bad") if value <= 0.001 else ("▫", "warn")


def repeat_words(repeats: Sequence[AnswerRead], index: int) -> str:
    """`repeat 2 of 3, worst · 3/8 checks`: which answer is shown, and what its own checks say."""
    one = repeats[index]
    said = f"repeat {index + 1} of {len(repeats)}" if len(repeats) > 1 else ""
    if said and len({other.rank for other in repeats}) > 1 and one.rank == repeats[worst(repeats)].rank:
        said += ", worst"
    checks = f"{one.passed}/{len(one.checks)} checks" if one.checks else "not scored"
    return f"{said} · {checks}" if said else checks


def shown_repeat(repeats: Sequence[AnswerRead], wanted: int | None) -> int:
    """The index of the repeat to show: the wanted one, else the worst."""
    return worst(repeats) if wanted is None else wanted % len(repeats)


def answer_head(
    candidate: RankedCandidate, repeats: Sequence[AnswerRead], wanted: int | None, width: int
) -> list[Line]:
    """Whose answer it is, and the checks that it failed with their detail."""
    if not repeats:
        return [Line(printable(candidate.name), "dim").cut(width), Line("no answer", "dim")]
    index = shown_repeat(repeats, wanted)
    one, said = repeats[index], repeat_words(repeats, index)
    name = Line(printable(candidate.name), "bold")
    if name.width + len(said) + 2 <= width:
        rows = [name.right(Line(said, "dim"), width)]
    else:
        rows = [name.cut(width), Line(said, "dim").cut(width)]
    rows += [Line(row, "warn") for row in wrapped(printable(one.problem), width)]
    if one.modes:
        modes = wrapped(listed([NAMES[code] for code in one.modes]), width - 2)
        rows += [Line("✗ " if number == 0 else "  ", "bad").add(row, "bad") for number, row in enumerate(modes)]
    why: dict[tuple[str, str, str], list[str]] = {}  # what cuts an answer fails all its checks: told once
    for check in one.failed:
        why.setdefault((*check_mark(check.value), printable(check.detail)), []).append(printable(check.id))
    for (sign, role, detail), names in why.items():
        # A reason that begins with the check's own name need not be told whose it is.
        own = len(names) == 1 and detail.startswith(f"{names[0]}: ")
        text = detail if own else ", ".join(names) + (f": {detail}" if detail else "")
        rows += [
            Line(f"{sign} " if number == 0 else "  ", role).add(row, role)
            for number, row in enumerate(wrapped(text, width - 2))
        ]
    return rows


def answer_part(
    candidate: RankedCandidate, repeats: Sequence[AnswerRead], wanted: int | None, width: int
) -> list[Line]:
    """One answer under its heading: the checks it failed with their detail, then its text."""
    rows = answer_head(candidate, repeats, wanted, width)
    if not repeats:
        return rows
    one = repeats[shown_repeat(repeats, wanted)]
    if one.failed:
        rows.append(Line("─" * min(width, 12), "frame"))
    for text in one.text.splitlines():
        rows += [Line(row) for row in wrap_text(printable(text), width)]
    if one.further:
        rows.append(Line(f"… {one.further:,} more characters", "dim"))
    return rows


def use_words(board: Board, name: str) -> str:
    """Whether an input is to choose or to confirm by; empty where none is kept to confirm by."""
    if not board.confirming:
        return ""
    return "to confirm by" if name in board.confirming else "to choose by"


def input_head(board: Board, position: int, inputs: Mapping[str, str], width: int) -> list[Line]:
    """Which input, and what it asks."""
    name = board.input_ids[position]
    place = " · ".join(filter(None, (use_words(board, name), f"‹ {position + 1} of {len(board.input_ids)} ›")))
    head = Line(printable(name), "bold").right(Line(place, "dim"), width)
    asked = " ".join(printable(line) for line in inputs.get(name, "").splitlines() if line.strip())
    return [head, Line(asked or ("an empty input" if name in inputs else ""), "dim").cut(width)]


def answer_rows(
    board: Board,
    pair: Sequence[RankedCandidate],
    position: int,
    answers: Answers | None,
    inputs: Mapping[str, str],
    wanted: int | None,
    width: int,
) -> list[Line]:
    """One input and what one or two candidates answered to it, as text and nothing else."""
    if not board.input_ids:
        return []
    rows = input_head(board, position, inputs, width)
    if answers is None:
        return [*rows, Line(), Line("reading the answers …", "dim")]
    name = board.input_ids[position]
    column = column_width(pair, width)
    return rows + beside([answer_part(one, answers.get((one.name, name), ()), wanted, column) for one in pair], column)


def column_width(pair: Sequence[RankedCandidate], width: int) -> int:
    return (width - (3 if len(pair) > 1 else 0)) // max(1, len(pair))


def beside(columns: Sequence[Sequence[Line]], column: int, signs: Sequence[str] = ()) -> list[Line]:
    """Columns with a rule between them; `signs` stand in its place, row by row."""
    rows = []
    for index in range(max((len(part) for part in columns), default=0)):
        line = Line()
        for number, part in enumerate(columns):
            if number:
                sign = signs[index] if index < len(signs) else "│"
                line.to(column).add(f" {sign} ", "frame" if sign == "│" else "warn")
            if index < len(part):
                line.extend(Line().extend(part[index]).cut(column))
        rows.append(line)
    return rows


def diff_rows(
    board: Board,
    pair: Sequence[RankedCandidate],
    position: int,
    answers: Answers,
    inputs: Mapping[str, str],
    wanted: int | None,
    diff: AnswerDiff | None,
    width: int,
) -> list[Line]:
    """Two answers beside each other, between them the sign of each row of `diff`; None: being worked out."""
    rows = input_head(board, position, inputs, width)
    name, column = board.input_ids[position], column_width(pair, width)
    rows += beside([answer_head(one, answers.get((one.name, name), ()), wanted, column) for one in pair], column)
    rows.append(Line("─" * column + "─┼─" + "─" * column, "frame"))
    if diff is None:
        return [*rows, Line("comparing …", "dim")]
    left: list[Line] = []
    right: list[Line] = []
    signs: list[str] = []
    for row in diff.rows:
        sides = [marked_lines(line, column, row.differs) for line in (row.left, row.right)]
        for number, (one, other) in enumerate(zip_longest(*sides, fillvalue=Line())):
            left.append(one)
            right.append(other)
            signs.append(row.sign if number == 0 else "│")
    rows += beside((left, right), column, signs)
    if not diff.different:
        rows.append(Line("The answers are the same.", "dim"))
    if diff.cut:
        rows.append(Line("Only the beginning is compared: an answer is longer.", "dim"))
    return rows


def marked_lines(line: DiffLine | None, width: int, differs: bool) -> list[Line]:
    """A line of an answer in rows of `width`: what differs in brackets and bright, what is alike dimmed."""
    if line is None:
        return [Line()]
    shown = Line()
    for piece in line:
        text = printable(piece.text, keep="\t").expandtabs(4)
        if len(line) > 1 and piece.differs:
            shown.add(f"{OPENING}{text}{CLOSING}", "warn bold")
        else:
            shown.add(text, "text" if piece.differs else "dim")
    return folded(shown, width) or [Line()]


def wrap_text(text: str, width: int) -> list[str]:
    """Foreign text in rows of `width`, its own spaces kept."""
    if len(text) <= width:
        return [text]
    return list(wrapped(text, width))
