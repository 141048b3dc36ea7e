"""A leaderboard as plain text: no colours, so signs carry the meaning, and it reads the same in a file or a mail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from core.bakeoff.comparison import RESOLVE
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.rows import CandidateRow
from core.bakeoff.scoring import Part
from core.bakeoff.short_names import heads
from core.bakeoff.statistics import Interval
from core.bakeoff.summary import DASH, bounds, clipped, count, p_value, score_of, signed
from core.format import SCORE_SCALE, score_figure, share
from core.text import cell_width, clip, first_cells, printable

MIN_WIDTH = 60
# Columns that a drawn scale does not push out: the name, the leading score, its difference.
MOST_TELLING = 3
_NAME_WIDTH = 30
_SCALE_WIDTH = 21
_CHECK_WIDTH = 28
# Reasons that are shown of each candidate; the JSON has them all.
_REASONS = 4

Column = tuple[str, Callable[[CandidateRow], str]]


def render_text(leaderboard: Leaderboard, width: int = 100, scored: str = "") -> str:
    """The leaderboard, the checks, the reasons and the notes, no line wider than `width` (at least 60 columns).

    `scored` says which scores these are: it stands below the title.
    """
    width = max(width, MIN_WIDTH)
    blocks = [
        list(_title(leaderboard, width, scored)),
        list(_scores(leaderboard, width)),
        list(_comparisons(leaderboard, width)),
        list(_costs(leaderboard, width)),
        list(_checks(leaderboard, width)),
        list(_reasons(leaderboard, width)),
        list(_notes(leaderboard, width)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _title(board: Leaderboard, width: int, scored: str) -> Iterator[str]:
    asked = f"{count(len(board.input_ids), 'input')} × {board.repeats}, paired, 95 %, scores 0 to {SCORE_SCALE}"
    state = "" if board.complete else ", not complete"
    yield from _wrap(f"Bake-off {printable(board.task)}: {asked}{state}", width)
    if scored:
        yield from _wrap(scored, width)
    yield from _wrap(board.headline.text, width)


def _notes(board: Leaderboard, width: int) -> Iterator[str]:
    if board.notes:
        yield "notes (* above marks figures that they are about)" if any(map(_starred, board.rows)) else "notes"
    for note in board.notes:
        yield from _wrap(f"* {note}", width)


def _starred(row: CandidateRow) -> bool:
    return bool(row.missing or row.at_limit or row.faults.get("empty"))


def _scores(board: Leaderboard, width: int) -> Iterator[str]:
    columns: list[Column] = []
    for part in board.parts:
        columns.append((part, _score_column(part)))
        if part == board.parts[0] and len(board.rows) > 1:
            columns.append((f"to {_incumbent(board, 16)}", _difference_column(board, part)))
    columns += [
        ("worst", lambda row: score_figure(row.worst)),
        ("same", lambda row: DASH if row.consistency is None else share(row.consistency)),
    ]
    scale: Column = (_SCALE, lambda row: _draw(score_of(row, board.parts[0]), row.interval))
    yield from _table(board, columns, width, last=scale if board.parts else None)
    if any(row.tied for row in board.rows):
        yield from _wrap("= tied set: the inputs show no difference between these", width)
    if any(row.worst is not None for row in board.rows):
        legend = "worst: the mean of each input's worst repeat"
        if any(row.consistency is not None for row in board.rows):
            legend += "; same: the share of inputs whose repeats all say the same"
        yield from _wrap(legend, width)


def _incumbent(board: Leaderboard, width: int) -> str:
    """The incumbent's name for a column's head; "incumbent" where only a letter would be left of it."""
    if board.incumbent is None:
        return DASH
    short = heads([row.name for row in board.rows], width)
    return "incumbent" if short.key else short.of[board.incumbent]


def _costs(board: Leaderboard, width: int) -> Iterator[str]:
    noted = any(map(_starred, board.rows))

    def star(number: int) -> str:
        return f"{number}*" if number else "0 " if noted else "0"

    columns: list[Column] = [
        ("s/answer", lambda row: _number(row.seconds_per_answer, 2)),
        ("tok/s", lambda row: _number(row.tokens_per_second, 0)),
        ("char/s", lambda row: _number(row.characters_per_second, 0)),
        ("tokens", lambda row: _number(row.completion_tokens, 0)),
        ("answers", lambda row: str(row.answers)),
        ("missing", lambda row: star(row.missing)),
        ("cut", lambda row: star(row.at_limit)),
        ("empty", lambda row: star(row.faults.get("empty", 0))),
    ]
    yield from _table(board, columns, width)
    batch = max((row.batch_size or 0 for row in board.rows), default=0)
    if batch > 1:
        yield from _wrap(f"Times are shared out over batches of {batch}; tokens are those of a mean answer.", width)


def _table(board: Leaderboard, columns: Sequence[Column], width: int, last: Column | None = None) -> Iterator[str]:
    """A line a candidate, a mark before those of the tied set; `last` comes only where it fits."""
    if not board.rows:
        return
    short = heads([row.name for row in board.rows], _NAME_WIDTH - 2)
    lines = [["  candidate", *(title for title, _ in columns)]]
    for row in board.rows:
        lines.append([f"{'=' if row.tied else ' '} {short.of[row.name]}", *(show(row) for _, show in columns)])
    drawn = [] if last is None else [last[0], *(last[1](row) for row in board.rows)]
    yield from _grid(lines, width, last=drawn)
    if short.key:
        yield from _wrap(short.key, width)


def _grid(lines: Sequence[Sequence[str]], width: int, *, left: int = 1, last: Sequence[str] = ()) -> Iterator[str]:
    """Columns two cells apart, the first `left` of them to the left; those that do not fit are left out from the right."""
    widths = [max(cell_width(line[i]) for line in lines) for i in range(len(lines[0]))]
    widths[0] = min(_NAME_WIDTH, widths[0])
    shown = next((n for n in range(len(widths), 0, -1) if sum(widths[:n]) + 2 * (n - 1) <= width), 1)
    if last:  # what is drawn tells more than the lesser columns
        with_scale = [n for n in range(MOST_TELLING, shown + 1) if sum(widths[:n]) + 2 * n + _SCALE_WIDTH <= width]
        shown = max(with_scale, default=shown)
    room = width - sum(widths[:shown]) - 2 * shown
    for number, line in enumerate(lines):
        cells = [clip(cell, widths[i]) for i, cell in enumerate(line[:shown])]
        spaces = [" " * (widths[i] - cell_width(cell)) for i, cell in enumerate(cells)]
        padded = [
            cell + space if i < left else space + cell
            for i, (cell, space) in enumerate(zip(cells, spaces, strict=True))
        ]
        if last and room >= _SCALE_WIDTH:
            padded.append(last[number])
        yield "  ".join(padded).rstrip()


def _score_column(part: Part) -> Callable[[CandidateRow], str]:
    def show(row: CandidateRow) -> str:
        return score_figure(score_of(row, part))

    return show


def _difference_column(board: Leaderboard, part: Part) -> Callable[[CandidateRow], str]:
    def show(row: CandidateRow) -> str:
        one = board.comparison(row.name, part)
        if one is None:
            return DASH
        return signed(one.difference) + (f" {bounds(one.interval)}" if one.interval.estimable else "")

    return show


_SCALE = "0   1   2   3   4   5"


def _draw(score: float | None, interval: Interval) -> str:
    """The score and its interval on a scale from 0 to 5 of 21 columns: ├──●─┤."""
    if score is None:
        return ""
    line = [" "] * _SCALE_WIDTH
    place = round(score * (_SCALE_WIDTH - 1))
    if interval.low is not None and interval.high is not None:
        low, high = (round(end * (_SCALE_WIDTH - 1)) for end in (interval.low, interval.high))
        line[low : high + 1] = "─" * (high + 1 - low)
        line[low], line[high] = "├", "┤"
    line[place] = "●"
    return "".join(line)


def _comparisons(board: Leaderboard, width: int) -> Iterator[str]:
    """A line a comparison with the incumbent: what may be said, the difference, its p, and what the inputs can detect."""
    if not board.comparisons:
        return
    said = {"better": "better", "worse": "worse", "no_worse": "no worse", "tied": "tied"}
    short = heads([row.name for row in board.rows], _NAME_WIDTH)
    against = f"against {_incumbent(board, _NAME_WIDTH - len('against '))}"
    lines = [[against, "part", "verdict", "difference", "p", "MDE", "+n"]]
    for one in board.comparisons:
        interval = bounds(one.interval) if one.interval.estimable else "[not estimable]"
        figures = [
            f"{signed(one.difference)} {interval}",
            p_value(one.p_adjusted),
            score_figure(one.minimum_detectable),
        ]
        more = DASH if one.add_inputs is None else f"{one.add_inputs:,}"
        lines.append([short.of[one.candidate], one.part, said[one.verdict], *figures, more])
    yield from _grid(lines, width, left=3)
    corrected = " and ".join(sorted({one.correction for one in board.comparisons if one.correction}))
    adjusted = f", adjusted for {len(board.rows) - 1} candidates by {corrected}" if corrected else ""
    legend = f"p: sign-flip permutation test{adjusted}. MDE: smallest difference detectable at 80 % power. "
    legend += f"+n: inputs needed to detect {score_figure(RESOLVE)}."
    yield from _wrap(legend, width)
    if any(clipped(one.interval) for one in board.comparisons):
        yield from _wrap("[…] is a t interval; an end beyond what is possible (±5) is shown as ±5", width)


def _checks(board: Leaderboard, width: int) -> Iterator[str]:
    """A line a check with the mean of each candidate, as many candidates beside each other as there is room for."""
    if not board.rows or not board.rows[0].checks:
        return
    labels = heads([check.id for check in board.rows[0].checks], _CHECK_WIDTH).of
    label = max(len("check"), *map(cell_width, labels.values()))
    per_row = max(1, (width - label - 10) // 16)
    short = heads([row.name for row in board.rows], 14)
    for start in range(0, len(board.rows), per_row):
        rows = board.rows[start : start + per_row]
        names = [short.of[row.name] for row in rows]
        yield _pad("check", label) + " " * 9 + "".join(" " * (16 - cell_width(name)) + name for name in names)
        for index, check in enumerate(board.rows[0].checks):
            shares = [row.checks[index].mean for row in rows]
            text = "".join(f"  {DASH if share is None else f'{100 * share:.0f} %':>14}" for share in shares)
            yield f"{_pad(labels[check.id], label)}  {check.part:<7}{text}"
    if short.key:
        yield from _wrap(short.key, width)


def _reasons(board: Leaderboard, width: int) -> Iterator[str]:
    for row in board.rows:
        if row.reasons:
            yield from _wrap(f"why {printable(row.name)} lost points", width)
            for reason in row.reasons[:_REASONS]:
                yield from _wrap(f"{reason.count:>6} ×  {printable(reason.detail)}", width, indent=10)
            if len(row.reasons) > _REASONS:
                yield f"{'':>10}and {count(len(row.reasons) - _REASONS, 'other reason')}"


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:,.{digits}f}"


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_width(text))


def _wrap(text: str, width: int, indent: int = 2) -> Iterator[str]:
    """Lines of at most `width` terminal cells, broken between words (and inside a word that is wider than a line)."""
    line = ""
    for word in re.findall(r"^ +\S*|\S+", printable(text)):
        if line and cell_width(line) + 1 + cell_width(word) <= width:
            line = f"{line} {word}" if line.strip() else line + word
            continue
        if line:
            yield line
            word = " " * indent + word
        while cell_width(word) > width:
            head = first_cells(word, width)
            yield head
            word = " " * indent + word[len(head) :]
        line = word
    yield line
