"""The rows of the results screen: the table of candidates, the checks, the answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.format import percent, plural, score_figure, share
from core.text import printable
from core.wording.scoring import scoring_words
from tui.lines import Line, side_by_side, wrapped
from tui.model.answers import AnswerRead, Answers, worst
from tui.model.snapshot import Board, RankedCandidate
from tui.panes.bakeoff import LEADS, axis, has_leader, mark_of, scale_start
from tui.widgets.bars import interval

DASH = "—"
# (title, width, figure); left out from the right where there is no room.
COLUMNS = (
    ("content", 9, lambda row: score_figure(row.content)),
    ("worst", 7, lambda row: score_figure(row.worst)),
    ("same", 7, lambda row: DASH if row.consistency is None else share(row.consistency)),
    ("s/answer", 10, lambda row: DASH if row.seconds_per_answer is None else f"{row.seconds_per_answer:.2f}"),
    ("tok/s", 7, lambda row: DASH if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}"),
    ("cut", 5, lambda row: f"{row.at_limit}"),
)
LEAST_SCALE = 16
WIDTH_OF_SCALE = 90


def table_rows(board: Board, selected: int, width: int, height: int) -> list[Line]:
    """The candidates, best first, with as many columns as fit, and their intervals where there is room for a scale."""
    name = min(30, max(12, *(len(candidate.name) + 3 for candidate in board.candidates), 0)) if board.candidates else 12
    versus = f"to {printable(board.incumbent)}" if board.incumbent else ""
    difference = max((len(candidate.difference) for candidate in board.candidates), default=0)
    difference = max(difference, min(len(versus), 24)) + 2 if difference else 0
    shown: list[Any] = []
    room = width - name - 8 - difference
    # The drawn intervals tell more than the lesser columns: at 100 columns they have their place.
    if width >= WIDTH_OF_SCALE:
        room -= LEAST_SCALE + 2
    for column in COLUMNS:
        if room < column[1]:
            break
        shown.append(column)
        room -= column[1]
    if width >= WIDTH_OF_SCALE:
        room += LEAST_SCALE + 2
    scale = room - 2 if room - 2 >= LEAST_SCALE else 0
    start = scale_start(board.candidates)
    head = Line("  candidate", "dim").to(name).add(f"{'format':>8}", "dim")
    if difference:
        head.add(f"{versus[: difference - 2]:>{difference}}", "dim")
    for title, columns, _ in shown:
        head.add(f"{title:>{columns}}", "dim")
    if scale:
        head.add("  ").extend(axis(start, scale))
    rows = [head]
    for index, candidate in enumerate(board.candidates[: height - 1]):
        role = "good" if mark_of(board, candidate) != " " else "text"
        line = Line(f"{mark_of(board, candidate)} ", role, mark="chosen" if index == selected else "")
        line.add(printable(candidate.name), role).cut(name - 1).to(name)
        line.add(f"{score_figure(candidate.score):>8}", role)
        if difference:
            line.add(f"{candidate.difference or DASH:>{difference}}")
        for _, columns, figure in shown:
            line.add(f"{figure(candidate):>{columns}}")
        if scale and candidate.score is not None:
            line.add("  ").extend(interval(candidate.low, candidate.score, candidate.high, start, 1.0, scale, role))
        rows.append(line)
    return rows


def note_rows(board: Board, width: int, now: float) -> list[Line]:
    """Which scores these are, the headline, and what the figures cannot tell."""
    said = scoring_words(board.scored, now)
    rows = [Line(row, "warn") for row in wrapped(said, width)] if said else []
    rows += [Line(row, "bold") for row in wrapped(printable(board.headline), width)]
    tied = sum(candidate.tied for candidate in board.candidates)
    if tied > 1:
        rows.append(Line("= ", "good").add("tied set: the inputs show no difference between these", "dim"))
    elif has_leader(board):
        rows.append(Line(f"{LEADS} ", "good").add("leads: alone at the top", "dim"))
    for note in board.notes:
        rows += [
            Line(f"{'· ' if index == 0 else '  '}{row}", "dim")
            for index, row in enumerate(wrapped(printable(note), width - 2))
        ]
    return rows


def check_mark(value: float | None) -> tuple[str, str]:
    """One input of one check: its sign, and a role that repeats it."""
    if value is None:
        return "·", "dim"
    return ("▪", "good") if value >= 0.999 else ("×", "bad") if value <= 0.001 else ("▫", "warn")


def check_rows(candidate: RankedCandidate, width: int, height: int) -> list[Line]:
    """Each check over the inputs (the worst repeat of each), and why points were lost."""
    inputs = max((len(check.worst) for check in candidate.checks), default=0)
    head = Line(printable(candidate.name), "bold")
    whole, short = f"   worst repeat of each of {plural(inputs, 'input')}", "   worst repeats"
    head.add(whole if head.width + len(whole) <= width else short, "dim")
    rows = [head.cut(width), Line()]
    name = min(24, max((len(check.id) for check in candidate.checks), default=8) + 3)
    part = ""
    for check in candidate.checks:
        if check.part != part:
            part = check.part
            rows.append(Line(part, "dim"))
        line = Line(" ").add(printable(check.id)).cut(name - 1).to(name)
        room = width - name - 7
        if len(check.worst) <= room:
            for value in check.worst:
                line.add(*check_mark(value))
        else:
            failed = sum(value is not None and value < 0.999 for value in check.worst)
            line.add(f"{failed} of {len(check.worst)} not passed", "dim")
        mean = percent(check.mean) if check.mean is not None else DASH
        rows.append(line.right(Line(mean), width))
    if candidate.reasons:
        rows.append(Line())
    for index, (reason, count) in enumerate(candidate.reasons):
        line = Line("why" if index == 0 else "", "dim").to(5).add(f"{count:>4} ×  ")
        rows.append(line.add(printable(reason)).cut(width))
    return rows[:height]


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


def answer_part(
    candidate: RankedCandidate, repeats: Sequence[AnswerRead], wanted: int | None, width: int
) -> list[Line]:
    """One answer under its heading: the checks it failed with their detail, then its text."""
    if not repeats:
        return [Line(printable(candidate.name), "dim").cut(width), Line("no answer", "dim")]
    index = shown_repeat(repeats, wanted)
    one, said = repeats[index], repeat_words(repeats, index)
    name = Line(printable(candidate.name), "bold")
    if name.width + len(said) + 2 <= width:
        rows = [name.right(Line(said, "dim"), width)]
    else:
        rows = [name.cut(width), Line(said, "dim").cut(width)]
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
    if one.failed:
        rows.append(Line("─" * min(width, 12), "frame"))
    for text in one.text.splitlines():
        rows += [Line(row) for row in wrap_text(printable(text), width)]
    return rows


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
    name = board.input_ids[position]
    head = Line(printable(name), "bold").right(Line(f"‹ {position + 1} of {len(board.input_ids)} ›", "dim"), width)
    asked = " ".join(printable(line) for line in inputs.get(name, "").splitlines() if line.strip())
    rows = [head, Line(asked or ("an empty input" if name in inputs else ""), "dim").cut(width)]
    if answers is None:
        return [*rows, Line(), Line("reading the answers …", "dim")]
    gap = 3 if len(pair) > 1 else 0
    column = (width - gap) // max(1, len(pair))
    columns = [answer_part(one, answers.get((one.name, name), ()), wanted, column) for one in pair]
    for index in range(max(len(part) for part in columns)):
        line = Line()
        for number, part in enumerate(columns):
            if number:
                line.to(column).add(" │ ", "frame")
            line.extend(part[index].cut(column) if index < len(part) else Line())
        rows.append(line)
    return rows


def wrap_text(text: str, width: int) -> list[str]:
    """Foreign text in rows of `width`, its own spaces kept."""
    if len(text) <= width:
        return [text]
    return list(wrapped(text, width))


def title_of(board: Board) -> Line:
    answers = sum(candidate.answers for candidate in board.candidates)
    missing = sum(candidate.missing for candidate in board.candidates)
    parts = [(board.state, "dim"), (f"{plural(answers, 'answer')}", "dim")]
    if missing:
        parts.append((f"{missing:,} missing", "warn"))
    return side_by_side(parts)
