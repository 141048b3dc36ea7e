"""A leaderboard as plain text: no colours, so signs carry the meaning, and it reads the same in a file or a mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from core.bakeoff.figures import DASH, bounds, clipped, count, p_value, signed
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.rows import CandidateRow
from core.bakeoff.short_names import heads
from core.cli.results_modes import mode_lines
from core.cli.text_grid import MIN_WIDTH, NAME_WIDTH, SCALE_WIDTH, grid, padded, wrap
from core.format import SCORE_SCALE, gb, score_figure, share
from core.scoring.scorer import Part
from core.statistics.comparison import RESOLVE
from core.statistics.paired import Interval
from core.text import cell_width, clip, printable
from core.wording.judges import judge_lines

_CHECK_WIDTH = 28
_TRAINED_WIDTH = 24
# Reasons that are shown of each candidate; the JSON has them all.
_REASONS = 4
_HOLES = 5

Column = tuple[str, Callable[[CandidateRow], str]]


def render_text(
    leaderboard: Leaderboard,
    width: int = 100,
    scored: str = "",
    *,
    stale: Sequence[str] = (),
    trained: Mapping[str, str] | None = None,
    job_id: int | None = None,
) -> str:
    """The leaderboard, what is wrong with the answers, the checks, the reasons and the notes, no line wider than `width` (at
    least 60 columns).

    `scored` says which scores these are, `stale` what has changed since: they stand below the title. `trained` is what tells
    trainings of one model apart, by candidate. `job_id` is the bake-off's, for what can be asked of it.
    """
    width = max(width, MIN_WIDTH)
    blocks = [
        list(_title(leaderboard, width, [*filter(None, [scored]), *stale])),
        list(_scores(leaderboard, width, trained or {})),
        list(mode_lines(leaderboard, width, job_id)),
        list(_judges(leaderboard, width)),
        list(_comparisons(leaderboard, width)),
        list(_costs(leaderboard, width)),
        list(_checks(leaderboard, width)),
        list(_reasons(leaderboard, width)),
        list(_holes(leaderboard, width)),
        list(_notes(leaderboard, width)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _title(board: Leaderboard, width: int, scored: Sequence[str]) -> Iterator[str]:
    asked = f"{count(len(board.input_ids), 'input')} × {board.repeats}, paired, 95 %, scores 0 to {SCORE_SCALE}"
    state = "" if board.complete else ", not complete"
    yield from wrap(f"Bake-off {printable(board.task)}: {asked}{state}", width)
    for line in scored:
        yield from wrap(line, width)
    yield from wrap(board.headline.text, width)


def _notes(board: Leaderboard, width: int) -> Iterator[str]:
    if board.notes:
        yield "notes (* above marks figures that they are about)" if any(map(_starred, board.rows)) else "notes"
    for note in board.notes:
        yield from wrap(f"* {note}", width)


def _starred(row: CandidateRow) -> bool:
    return bool(row.missing or row.at_limit or row.faults)


def _scores(board: Leaderboard, width: int, trained: Mapping[str, str]) -> Iterator[str]:
    columns: list[Column] = []
    if any(trained.get(row.name, "") not in row.name for row in board.rows):
        columns.append(("trained with", lambda row: clip(printable(trained.get(row.name, "")), _TRAINED_WIDTH)))
    for part in board.parts:
        columns.append((part, _score_column(part)))
        if part == board.parts[0] and len(board.rows) > 1:
            columns.append((f"to {_incumbent(board, 16)}", _difference_column(board, part)))
    columns += [
        ("worst", lambda row: score_figure(row.worst)),
        ("same", lambda row: DASH if row.consistency is None else share(row.consistency)),
    ]
    scale: Column = (SCALE, lambda row: draw_score(row.score_of(board.parts[0]), row.interval))
    yield from _table(board, columns, width, last=scale if board.parts else None)
    if any(row.tied for row in board.rows):
        shown = f"no difference of at least {score_figure(board.margin)} is shown between these"
        yield from wrap(f"= tied set: {shown}", width)
    if any(row.worst is not None for row in board.rows):
        legend = "worst: the mean of each input's worst repeat"
        if any(row.consistency is not None for row in board.rows):
            legend += "; same: the share of inputs whose repeats all say the same"
        yield from wrap(legend, width)


def _incumbent(board: Leaderboard, width: int) -> str:
    """The incumbent's name for a column's head; "incumbent" where only a letter would be left of it."""
    if board.incumbent is None:
        return DASH
    short = heads([row.name for row in board.rows], width)
    return "incumbent" if short.key else short.of[board.incumbent]


def _costs(board: Leaderboard, width: int) -> Iterator[str]:
    """What an answer takes, and what went wrong with how many: one table, or two where it gets too wide."""
    speed, answered = _speed(board), _answered(board)
    if _table_width(board, [*speed, *answered]) <= width:
        yield from _table(board, [*speed, *answered], width)
    else:
        yield from _table(board, speed, width)
        yield ""
        yield from _table(board, answered, width)
    names = {name for name, _ in speed}
    legend = [
        "first s: until the first token, the median" if "first s" in names else "",
        "load s: of a cold load, the median" if "load s" in names else "",
        "GB: what the loaded model takes of the GPU" if "GB" in names else "",
        "thought: tokens of thinking" if "thought" in names else "",
        "~: timed in part while others used the server" if any(row.timed_shared for row in board.rows) else "",
    ]
    if any(legend):
        yield from wrap("; ".join(filter(None, legend)), width)
    batch = max((row.batch_size or 0 for row in board.rows), default=0)
    if batch > 1:
        yield from wrap(f"Times are shared out over batches of {batch}; tokens are those of a mean answer.", width)


def _speed(board: Leaderboard) -> list[Column]:
    """A column that no candidate has a figure for is left out, but for those that every bake-off has."""
    shared = any(row.timed_shared for row in board.rows)

    def timed(value: float | None, digits: int, row: CandidateRow) -> str:
        return _number(value, digits) + ("~" if row.timed_shared and value is not None else " " if shared else "")

    columns: list[Column] = [
        ("s/answer", lambda row: timed(row.seconds_per_answer, 2, row)),
        ("tok/s", lambda row: timed(row.tokens_per_second, 0, row)),
        ("char/s", lambda row: timed(row.characters_per_second, 0, row)),
        ("first s", lambda row: timed(row.first_token_seconds, 2, row)),
        ("load s", lambda row: _number(row.cold_load_seconds, 1)),
        ("GB", lambda row: gb(row.vram_bytes)),
        ("tokens", lambda row: _number(row.completion_tokens, 0)),
        ("thought", lambda row: _number(row.thinking_tokens, 0)),
    ]
    always = {"s/answer", "tok/s", "char/s", "tokens"}
    return [one for one in columns if one[0] in always or any(one[1](row).strip() != DASH for row in board.rows)]


def _answered(board: Leaderboard) -> list[Column]:
    noted = any(map(_starred, board.rows))

    def star(number: int) -> str:
        return f"{number}*" if number else "0 " if noted else "0"

    columns: list[Column] = [
        ("answers", lambda row: str(row.answers)),
        ("missing", lambda row: star(row.missing)),
        ("cut", lambda row: star(row.at_limit)),
        ("empty", lambda row: star(row.faults.get("empty", 0))),
    ]
    if any(row.faults.get("thinking") for row in board.rows):
        columns.append(("thinking", lambda row: star(row.faults.get("thinking", 0))))
    if any(row.asked_again for row in board.rows):
        columns.append(("asked again", lambda row: str(row.asked_again)))
    return columns


def _table_width(board: Leaderboard, columns: Sequence[Column]) -> int:
    name = max(
        (cell_width(name) for name in heads([row.name for row in board.rows], NAME_WIDTH - 2).of.values()), default=0
    )
    cells = [max([cell_width(title), *(cell_width(show(row)) for row in board.rows)]) for title, show in columns]
    return max(name + 2, len("  candidate")) + sum(cells) + 2 * len(cells)


def _table(board: Leaderboard, columns: Sequence[Column], width: int, last: Column | None = None) -> Iterator[str]:
    """A line a candidate, a mark before those of the tied set; `last` comes only where it fits."""
    if not board.rows:
        return
    short = heads([row.name for row in board.rows], NAME_WIDTH - 2)
    lines = [["  candidate", *(title for title, _ in columns)]]
    for row in board.rows:
        lines.append([f"{'=' if row.tied else ' '} {short.of[row.name]}", *(show(row) for _, show in columns)])
    drawn = [] if last is None else [last[0], *(last[1](row) for row in board.rows)]
    yield from grid(lines, width, last=drawn)
    if short.key:
        yield from wrap(short.key, width)


def _score_column(part: Part) -> Callable[[CandidateRow], str]:
    def show(row: CandidateRow) -> str:
        return score_figure(row.score_of(part))

    return show


def _difference_column(board: Leaderboard, part: Part) -> Callable[[CandidateRow], str]:
    def show(row: CandidateRow) -> str:
        one = board.comparison(row.name, part)
        if one is None:
            return DASH
        return signed(one.difference) + (f" {bounds(one.interval)}" if one.interval.estimable else "")

    return show


SCALE = "0   1   2   3   4   5"


def draw_score(score: float | None, interval: Interval) -> str:
    """The score and its interval on a scale from 0 to 5 of 21 columns: ├──●─┤."""
    if score is None:
        return ""
    line = [" "] * SCALE_WIDTH
    place = round(score * (SCALE_WIDTH - 1))
    if interval.low is not None and interval.high is not None:
        low, high = (round(end * (SCALE_WIDTH - 1)) for end in (interval.low, interval.high))
        line[low : high + 1] = "─" * (high + 1 - low)
        line[low], line[high] = "├", "┤"
    line[place] = "●"
    return "".join(line)


def _comparisons(board: Leaderboard, width: int) -> Iterator[str]:
    """A line a comparison with the incumbent: what may be said, the difference, its p, and what the inputs can detect."""
    if not board.comparisons:
        return
    said = {"better": "better", "worse": "worse", "no_worse": "no worse", "tied": "tied"}
    short = heads([row.name for row in board.rows], NAME_WIDTH)
    against = f"against {_incumbent(board, NAME_WIDTH - len('against '))}"
    lines = [[against, "part", "verdict", "difference", "p", "noise", "MDE", "+n"]]
    for one in board.comparisons:
        interval = bounds(one.interval) if one.interval.estimable else "[not estimable]"
        figures = [
            f"{signed(one.difference)} {interval}",
            p_value(one.p_adjusted),
            score_figure(one.noise_floor),
            _detectable(one.minimum_detectable),
        ]
        more = DASH if one.add_inputs is None else f"{one.add_inputs:,}"
        lines.append([short.of[one.candidate], one.part, said[one.verdict], *figures, more])
    yield from grid(lines, width, left=3)
    corrected = " and ".join(sorted({one.correction for one in board.comparisons if one.correction}))
    tested = count(len({one.candidate for one in board.comparisons}), "candidate")
    of_parts = f" and {len(board.parts)} parts" if len(board.parts) > 1 else ""
    adjusted = f", adjusted for {tested}{of_parts} by {corrected}" if corrected else ""
    legend = f"p: sign-flip permutation test{adjusted}. "
    if any(one.noise_floor is not None for one in board.comparisons):
        legend += "noise: a smaller difference can come from sampling alone; training again is not in it. "
    legend += "MDE: smallest difference detectable at 80 % power. "
    legend += f"+n: inputs needed to detect {score_figure(RESOLVE)}."
    yield from wrap(legend, width)
    if any(clipped(one.interval) for one in board.comparisons):
        yield from wrap("[…] is a t interval; an end beyond what is possible (±5) is shown as ±5", width)


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
        yield padded("check", label) + " " * 9 + "".join(" " * (16 - cell_width(name)) + name for name in names)
        for index, check in enumerate(board.rows[0].checks):
            shares = [row.checks[index].mean for row in rows]
            text = "".join(f"  {DASH if share is None else f'{100 * share:.0f} %':>14}" for share in shares)
            yield f"{padded(labels[check.id], label)}  {check.part:<7}{text}"
    if short.key:
        yield from wrap(short.key, width)


def _reasons(board: Leaderboard, width: int) -> Iterator[str]:
    for row in board.rows:
        if row.reasons:
            yield from wrap(f"why {printable(row.name)} lost points", width)
            for reason in row.reasons[:_REASONS]:
                yield from wrap(f"{reason.count:>6} ×  {printable(reason.detail)}", width, indent=10)
            if len(row.reasons) > _REASONS:
                yield f"{'':>10}and {count(len(row.reasons) - _REASONS, 'other reason')}"


def _holes(board: Leaderboard, width: int) -> Iterator[str]:
    """Which inputs have answers missing, by candidate; one that has none at all is noted as that alone."""
    for row in board.rows:
        holes = [(name, cell.missing) for name, cell in zip(board.input_ids, row.inputs, strict=True) if cell.missing]
        if not holes or not row.answers or row.curtailed:
            continue
        named = ", ".join(f"{name} ({missing} of {board.repeats})" for name, missing in holes[:_HOLES])
        more = f" and {count(len(holes) - _HOLES, 'further input')}" if len(holes) > _HOLES else ""
        server = f"; {count(row.server_faults, 'answer')} the server did not give" if row.server_faults else ""
        yield from wrap(f"{printable(row.name)} has answers missing at {named}{more}{server}", width)


def _judges(board: Leaderboard, width: int) -> Iterator[str]:
    """How far the judges can be believed that content rests on."""
    if board.judges:
        yield "judges: content rests on what they said" + (
            "" if not any(one.doubts for one in board.judges) else ", see !"
        )
    for line in judge_lines(board):
        yield from wrap(line, width, indent=len(line) - len(line.lstrip()) + 2)


def _detectable(difference: float | None) -> str:
    """The least difference that the inputs can show; one that no two scores can have is not given as a figure."""
    return f"> {SCORE_SCALE}" if difference is not None and difference > 1 else score_figure(difference)


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:,.{digits}f}"
