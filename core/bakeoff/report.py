"""A leaderboard as plain text: no colours, so signs carry the meaning, and it reads the same in a file or a mail."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from core.bakeoff.comparison import RESOLVE
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.rows import CandidateRow
from core.bakeoff.scoring import Part
from core.bakeoff.statistics import Interval
from core.bakeoff.words import DASH, bounds, count, of_five, p_value, score_of, signed

MIN_WIDTH = 60
_NAME_WIDTH = 28
_SCALE_WIDTH = 21
# Reasons that are shown of each candidate; the JSON has them all.
_REASONS = 4

Column = tuple[str, Callable[[CandidateRow], str]]


def render_text(leaderboard: Leaderboard, width: int = 100) -> str:
    """The leaderboard, the checks, the reasons and the notes, no line wider than `width` (at least 60 columns)."""
    width = max(width, MIN_WIDTH)
    blocks = [
        list(_title(leaderboard, width)),
        list(_scores(leaderboard, width)),
        list(_comparisons(leaderboard, width)),
        list(_costs(leaderboard, width)),
        list(_checks(leaderboard, width)),
        list(_reasons(leaderboard, width)),
        [line for note in leaderboard.notes for line in _wrap(f"* {note}", width)],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _title(board: Leaderboard, width: int) -> Iterator[str]:
    asked = f"{count(len(board.input_ids), 'input')} × {board.repeats}, paired, 95 %"
    state = "" if board.complete else ", not complete"
    yield from _wrap(f"Bake-off {plain(board.task)}: {asked}{state}", width)
    yield from _wrap(board.headline, width)


def _scores(board: Leaderboard, width: int) -> Iterator[str]:
    columns: list[Column] = []
    for part in board.parts:
        columns.append((part, _score_column(part)))
        if part == board.parts[0] and len(board.rows) > 1:
            columns.append((f"to {_clip(plain(board.incumbent or DASH), 16)}", _difference_column(board, part)))
    columns += [
        ("worst", lambda row: of_five(row.worst)),
        ("same", lambda row: DASH if row.consistency is None else f"{row.consistency:.2f}"),
    ]
    scale: Column = (_SCALE, lambda row: _draw(score_of(row, board.parts[0]), row.interval))
    yield from _table(board, columns, width, last=scale if board.parts else None)
    if any(row.tied for row in board.rows):
        yield from _wrap("= tied set: the inputs show no difference between these", width)


def _costs(board: Leaderboard, width: int) -> Iterator[str]:
    columns: list[Column] = [
        ("s/answer", lambda row: _number(row.seconds_per_answer, 2)),
        ("tok/s", lambda row: _number(row.tokens_per_second, 0)),
        ("char/s", lambda row: _number(row.characters_per_second, 0)),
        ("tokens", lambda row: _number(row.completion_tokens, 0)),
        ("answers", lambda row: str(row.answers)),
        ("missing", lambda row: str(row.missing)),
        ("cut", lambda row: str(row.at_limit)),
        ("empty", lambda row: str(row.faults.get("empty", 0))),
    ]
    yield from _table(board, columns, width)
    batch = max((row.batch_size or 0 for row in board.rows), default=0)
    if batch > 1:
        yield from _wrap(f"Times are shared out over batches of {batch}; tokens are those of a mean answer.", width)


def _table(board: Leaderboard, columns: Sequence[Column], width: int, last: Column | None = None) -> Iterator[str]:
    """A line a candidate; what does not fit is left out from the right, and `last` comes only where it still fits."""
    if not board.rows:
        return
    cells = [[title for title, _ in columns], *([show(row) for _, show in columns] for row in board.rows)]
    widths = [max(_width(line[i]) for line in cells) for i in range(len(columns))]
    name_width = min(_NAME_WIDTH, max(9, *(_width(plain(row.name)) for row in board.rows)))
    room = width - 2 - name_width
    shown = 0
    while shown < len(columns) and room >= 2 + widths[shown]:
        room -= 2 + widths[shown]
        shown += 1
    for line, row in zip(cells, (None, *board.rows), strict=True):
        mark = "= " if row is not None and row.tied else "  "
        text = mark + _pad("candidate" if row is None else _clip(plain(row.name), name_width), name_width)
        text += "".join("  " + " " * (widths[i] - _width(line[i])) + line[i] for i in range(shown))
        if last is not None and shown == len(columns) and room >= 2 + _SCALE_WIDTH:
            text += "  " + (last[0] if row is None else last[1](row))
        yield text.rstrip()


def _score_column(part: Part) -> Callable[[CandidateRow], str]:
    def show(row: CandidateRow) -> str:
        score = score_of(row, part)
        return DASH if score is None else f"{of_five(score)} {100 * score:3.0f} %"

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
    """One line a comparison with the incumbent: difference, interval, p, and what the inputs can show."""
    words = {"better": "better", "worse": "worse", "no_worse": "no worse", "tied": "no difference shown"}
    for one in board.comparisons:
        said = f"{plain(one.candidate)} against {plain(one.against)}, {one.part}: {words[one.verdict]}"
        p = f"p {p_value(one.p_adjusted)}" + (f" ({one.correction})" if one.correction else "")
        figures = f"{signed(one.difference)} {bounds(one.interval)}, {p}"
        if one.minimum_detectable is not None:
            figures += f", can show {of_five(one.minimum_detectable)}"
        if one.add_inputs:
            figures += f", add {count(one.add_inputs, 'input')} to resolve {of_five(RESOLVE)}"
        yield from _wrap(f"{said}, {figures}", width)


def _checks(board: Leaderboard, width: int) -> Iterator[str]:
    """A line a check with the mean of each candidate, as many candidates beside each other as there is room for."""
    if not board.rows or not board.rows[0].checks:
        return
    label = min(20, max(len("check"), *(_width(check.id) for check in board.rows[0].checks)))
    per_row = max(1, (width - label - 10) // 16)
    for start in range(0, len(board.rows), per_row):
        rows = board.rows[start : start + per_row]
        yield _pad("check", label) + " " * 9 + "".join(f"  {_clip(plain(row.name), 14):>14}" for row in rows)
        for index, check in enumerate(board.rows[0].checks):
            shares = [row.checks[index].mean for row in rows]
            text = "".join(f"  {DASH if share is None else f'{100 * share:.0f} %':>14}" for share in shares)
            yield f"{_pad(_clip(plain(check.id), label), label)}  {check.part:<7}{text}"


def _reasons(board: Leaderboard, width: int) -> Iterator[str]:
    for row in board.rows:
        if row.reasons:
            yield from _wrap(f"why {plain(row.name)} lost points", width)
            for reason in row.reasons[:_REASONS]:
                yield from _wrap(f"{reason.count:>6} ×  {plain(reason.detail)}", width, indent=10)
            if len(row.reasons) > _REASONS:
                yield f"{'':>10}and {count(len(row.reasons) - _REASONS, 'other reason')}"


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:,.{digits}f}"


def plain(text: str) -> str:
    """One line without control characters: what models print never reaches the terminal as a command."""
    return "".join(" " if character in "\n\t" else character for character in text if _printable(character))


def _printable(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _clip(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _wrap(text: str, width: int, indent: int = 2) -> Sequence[str]:
    return textwrap.wrap(plain(text), width, subsequent_indent=" " * indent, break_on_hyphens=False) or [""]
