"""A leaderboard of `core.bakeoff` as the console shows it. Imported by the background reader alone: scipy stands behind it."""

from __future__ import annotations

import sqlite3

from core.bakeoff.comparison import Comparison
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.load import load_bakeoff
from core.bakeoff.rows import CandidateRow, CheckSummary
from core.bakeoff.summary import bounds, signed
from core.errors import BakehouseError
from core.home import Home
from core.store.rescorings import ORIGINAL
from core.store.results import BakeoffRow
from tui.model.snapshot import Board, CheckMarks, RankedCandidate, Scored

MOST_REASONS = 6


def build_board(connection: sqlite3.Connection, home: Home, row: BakeoffRow, number: int | None = None) -> Board:
    """The leaderboard of a bake-off under its newest scores, the original ones beside it, or under those of `number`.

    One that cannot be built says why, so that the others still show.
    """
    try:
        stored = load_bakeoff(home, connection, row.job_id, number)
        # The first task alone: the screen shows one.
        found, scoring = stored.task().leaderboard(), stored.scoring
    except (BakehouseError, OSError) as error:
        # The path is long and of no use here: the message alone says what is missing.
        problem = error.message if isinstance(error, BakehouseError) else str(error)
        return Board(row.job_id, row.task, row.project_id, row.state, row.time, problem=problem)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"its files are not as this version expects them: {error}"
        return Board(row.job_id, row.task, row.project_id, row.state, row.time, problem=problem)
    return Board(
        job_id=row.job_id,
        task=row.task,
        project_id=row.project_id,
        state=row.state,
        time=row.time,
        input_ids=found.input_ids,
        repeats=found.repeats,
        candidates=tuple(candidate(found, one) for one in found.rows),
        headline=found.headline.text,
        headline_short=found.headline.short,
        headline_difference=found.headline.difference,
        notes=found.notes,
        incumbent=found.incumbent,
        scored=Scored(scoring.number, scoring.newest, scoring.time, scoring.author, scoring.changes, scoring.outdated),
        original=None if scoring.is_original else build_board(connection, home, row, ORIGINAL),
    )


def candidate(board: Leaderboard, row: CandidateRow) -> RankedCandidate:
    compared = board.comparison(row.name, board.parts[0]) if board.parts else None
    return RankedCandidate(
        name=row.name,
        score=row.score,
        low=row.interval.low,
        high=row.interval.high,
        format=row.format_score,
        content=row.content_score,
        worst=row.worst,
        consistency=row.consistency,
        seconds_per_answer=row.seconds_per_answer,
        tokens_per_second=row.tokens_per_second,
        answers=row.answers,
        missing=row.missing,
        at_limit=row.at_limit,
        tied=row.tied,
        incumbent=row.incumbent,
        difference=difference(compared),
        checks=tuple(check(summary) for summary in row.checks),
        reasons=tuple((reason.detail, reason.count) for reason in row.reasons[:MOST_REASONS]),
    )


def difference(compared: Comparison | None) -> str:
    """`+4.63 [4.31, 4.95]`, on the scale of five."""
    if compared is None:
        return ""
    interval = f" {bounds(compared.interval)}" if compared.interval.estimable else ""
    return f"{signed(compared.difference)}{interval}"


def check(summary: CheckSummary) -> CheckMarks:
    return CheckMarks(
        id=summary.id,
        part=summary.part,
        mean=summary.mean,
        worst=summary.worst_by_input,
        reasons=tuple((reason.detail, reason.count) for reason in summary.reasons[:MOST_REASONS]),
    )
