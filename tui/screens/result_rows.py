"""The rows of the results screen: the table of candidates, the checks, the answers side by side."""

from __future__ import annotations

from typing import Any

from core.format import gb, percent, plural, score_figure, share, when
from core.scoring.passing import passes
from core.text import cell_width, printable
from core.wording.failure_modes import NAMES, NOT_LOOKED_FOR, briefly, share_words
from core.wording.scoring import scoring_words
from tui.lines import Line, side_by_side, wrapped
from tui.model.snapshot import Board, Changed, RankedCandidate
from tui.panes.bakeoff import LEADS, axis, has_leader, mark_of, scale_start
from tui.screens.result_answers import check_mark
from tui.widgets.bars import interval

DASH = "—"
CURTAILED = "curtailed"
# (title, width, figure); left out from the right where there is no room.
COLUMNS = (
    ("content", 9, lambda row: score_figure(row.content)),
    ("noise", 7, lambda row: score_figure(row.noise_floor)),
    ("worst", 7, lambda row: score_figure(row.worst)),
    ("same", 7, lambda row: DASH if row.consistency is None else share(row.consistency)),
    ("s/answer", 10, lambda row: timed(row, row.seconds_per_answer, 2)),
    ("tok/s", 8, lambda row: timed(row, row.tokens_per_second, 0)),
    ("cut", 5, lambda row: f"{row.at_limit}"),
    ("char/s", 9, lambda row: timed(row, row.characters_per_second, 0)),
    ("first s", 9, lambda row: timed(row, row.first_token_seconds, 2)),
    ("load s", 8, lambda row: DASH if row.cold_load_seconds is None else f"{row.cold_load_seconds:.1f}"),
    ("GB", 7, lambda row: gb(row.vram_bytes)),
)
OPTIONAL = ("noise", "first s", "load s", "GB")
"""Columns that are left out where no candidate has a figure for them."""
LEAST_SCALE = 16
MOST_MODES = 4
"""Failure modes above the checks, and candidates of whom the board names some."""
WIDTH_OF_SCALE = 90


def told_apart(candidate: RankedCandidate) -> str:
    """The name, what tells it from other trainings of its model, and whether it was not asked on."""
    stopped = CURTAILED if candidate.curtailed else ""
    return printable(" ".join(filter(None, (candidate.name, candidate.trained_with, stopped))))


def timed(row: RankedCandidate, value: float | None, digits: int) -> str:
    """A speed; `~` behind one that was measured in part while others used the server."""
    return DASH if value is None else f"{value:,.{digits}f}{'~' if row.timed_shared else ''}"


def table_rows(board: Board, selected: int, width: int, height: int) -> list[Line]:
    """The candidates, best first, with as many columns as fit, and their intervals where there is room for a scale."""
    longest = max((cell_width(told_apart(candidate)) + 3 for candidate in board.candidates), default=0)
    name = min(38 if width >= WIDTH_OF_SCALE else 30, max(12, longest))
    versus = f"to {printable(board.incumbent)}" if board.incumbent else ""
    difference = max((len(candidate.difference) for candidate in board.candidates), default=0)
    difference = max(difference, min(len(versus), 24)) + 2 if difference else 0
    shown: list[Any] = []
    room = width - name - 8 - difference
    # The drawn intervals tell more than the lesser columns: at 100 columns they have their place.
    if width >= WIDTH_OF_SCALE:
        room -= LEAST_SCALE + 2
    for column in COLUMNS:
        if column[0] in OPTIONAL and all(column[2](one) == DASH for one in board.candidates):
            continue
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
        line.add(printable(candidate.name), role)
        if candidate.trained_with:
            line.add(f" {printable(candidate.trained_with)}", "dim")
        if candidate.curtailed:
            line.add(f" {CURTAILED}", "warn")
        line.cut(name - 1).to(name)
        line.add(f"{score_figure(candidate.score):>8}", role)
        if difference:
            line.add(f"{candidate.difference or DASH:>{difference}}")
        for _, columns, figure in shown:
            line.add(f"{figure(candidate):>{columns}}")
        if scale and candidate.score is not None:
            line.add("  ").extend(interval(candidate.low, candidate.score, candidate.high, start, 1.0, scale, role))
        rows.append(line)
    return rows


def failure_rows(board: Board, width: int, most: int = MOST_MODES) -> list[Line]:
    """What is wrong with the answers of each candidate, in at most so many rows; nothing of those without a failure mode."""
    ill = [one for one in board.candidates if one.modes]
    shown = ill if len(ill) <= most else ill[: max(1, most - 1)]
    name = min(30, max((cell_width(printable(one.name)) for one in shown), default=0))
    rows = []
    for one in shown:
        line = Line("✗ ", "bad").add(printable(one.name)).cut(name + 2).to(name + 4)
        room = width - line.width
        said = next((said for count in (3, 2) if len(said := briefly(one.modes, count)) <= room), briefly(one.modes, 1))
        rows.append(line.add(said, "bad").cut(width))
    if len(shown) < len(ill) and len(rows) < most:
        rows.append(Line(f"  {plural(len(ill) - len(shown), 'further candidate')} with failure modes", "dim"))
    return rows


def note_rows(board: Board, width: int, now: float, height: int | None = None) -> list[Line]:
    """What is wrong with answers, the headline, which scores these are and what has changed since, and what the figures
    cannot tell. Where there are `height` rows for all of it, the headline is among them."""
    headline = [Line(row, "bold") for row in wrapped(printable(board.headline), width)]
    most = MOST_MODES if height is None else max(1, min(MOST_MODES, height - len(headline) - 1))
    rows = [*failure_rows(board, width, most), *headline]
    rows += [Line(row, "warn") for row in wrapped(printable(scoring_words(board.scored, now)), width)]
    rows += changed_rows(board.changed, width, now)
    tied = sum(candidate.tied for candidate in board.candidates)
    if tied > 1:
        rows.append(Line("= ", "good").add("tied set: the inputs show no difference between these", "dim"))
    elif has_leader(board):
        rows.append(Line(f"{LEADS} ", "good").add("leads: alone at the top", "dim"))
    if any(candidate.noise_floor is not None for candidate in board.candidates):
        said = "noise: a smaller difference can come from sampling alone; training again is not in it"
        rows += [Line(row, "dim") for row in wrapped(said, width)]
    if any(candidate.timed_shared for candidate in board.candidates):
        rows.append(Line("~ ", "warn").add("timed in part while others used the server", "dim"))
    for note in board.notes:
        rows += [
            Line(f"{'· ' if index == 0 else '  '}{row}", "dim")
            for index, row in enumerate(wrapped(printable(note), width - 2))
        ]
    if any(one.modes is None for one in board.candidates):
        rows += [Line(row, "dim") for row in wrapped(f"Failure modes: {NOT_LOOKED_FOR} (R)", width)]
    return rows


def changed_rows(changed: Changed | None, width: int, now: float, most: int = 20) -> list[Line]:
    """What has changed since, of what that is not known, and when servers were asked; nothing before the first look.

    In about `most` rows, each of the two with at least one; what is left out is marked.
    """
    if changed is None:
        return []
    stale, unknown = (list(wrapped(printable(text), width - 2)) for text in (changed.stale, changed.unknown))
    of_unknown = unknown[: max(1, most - len(stale), most // 3)]
    rows = []
    for found, shown in ((stale, stale[: max(1, most - len(of_unknown))]), (unknown, of_unknown)):
        rows += [Line(row, "warn") for row in shown]
        if len(shown) < len(found):
            rows[-1].add(" …", "warn")
    if changed.asking:
        asked = "asking the servers …"
    else:
        asked = "" if changed.asked is None else f"servers asked {when(changed.asked, now)}"
    if not rows:
        return [Line(" · ".join(filter(None, ("unchanged since it was measured", asked))), "dim").cut(width)]
    return [*rows, Line(asked, "dim")] if asked else rows


def check_rows(candidate: RankedCandidate, width: int, height: int) -> list[Line]:
    """Each check over the inputs (the worst repeat of each), and why points were lost."""
    inputs = max((len(check.worst) for check in candidate.checks), default=0)
    head = Line(printable(candidate.name), "bold")
    whole, short = f"   worst repeat of each of {plural(inputs, 'input')}", "   worst repeats"
    head.add(whole if head.width + len(whole) <= width else short, "dim")
    rows = [head.cut(width), *mode_rows(candidate, width), Line()]
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
            failed = sum(value is not None and not passes(value) for value in check.worst)
            line.add(f"{failed} of {len(check.worst)} not passed", "dim")
        mean = percent(check.mean) if check.mean is not None else DASH
        rows.append(line.right(Line(mean), width))
    if candidate.reasons:
        rows.append(Line())
    for index, (reason, count) in enumerate(candidate.reasons):
        line = Line("why" if index == 0 else "", "dim").to(5).add(f"{count:>4} ×  ")
        rows.append(line.add(printable(reason)).cut(width))
    return rows[:height]


def mode_rows(candidate: RankedCandidate, width: int) -> list[Line]:
    """The failure modes of a candidate's answers, each with how many have it and the interval of the share."""
    modes = candidate.modes
    if not modes:
        return []
    name = max(len(NAMES[one.code]) for one in modes[:MOST_MODES]) + 4
    rows = []
    for one in modes[:MOST_MODES]:
        line = Line("✗ ", "bad").add(NAMES[one.code], "bad").to(name)
        said, count = share_words(one), f"{one.count:,} of {one.of:,}"
        if line.width + len(count) + len(said) + 2 <= width:
            line.add(count)
        rows.append(line.right(Line(said, "dim"), width))
    if len(modes) > MOST_MODES:
        rows.append(Line(f"  and {len(modes) - MOST_MODES} more", "dim"))
    return rows


def title_of(board: Board) -> Line:
    answers = sum(candidate.answers for candidate in board.candidates)
    missing = sum(candidate.missing for candidate in board.candidates)
    parts = [(board.state, "dim"), (f"{plural(answers, 'answer')}", "dim")]
    if missing:
        parts.append((f"{missing:,} missing", "warn"))
    return side_by_side(parts)
