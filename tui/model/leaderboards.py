"""A leaderboard of `core.bakeoff` as the console shows it. Imported by the background reader alone: scipy stands behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from core.bakeoff.figures import bounds, signed
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.matrix import Matrix
from core.bakeoff.rows import CandidateRow, CheckSummary
from core.bakeoff.stages import stage_table
from core.errors import BakehouseError
from core.home import Home
from core.results.load import StoredBakeoff, load_bakeoff
from core.results.trainings import bakeoff_matrix, training_jobs
from core.statistics.comparison import Comparison
from core.store.rescorings import ORIGINAL
from core.store.results import BakeoffRow
from core.wording.judges import judge_lines, unjudged_words
from core.wording.lacking import lacking_words
from core.wording.runs import trainings
from core.wording.staleness import stale_words, unknown_words
from tui.model.snapshot import Board, Changed, CheckMarks, RankedCandidate, Scored
from tui.model.staleness_reader import Looked

MOST_REASONS = 6


def build_boards(
    connection: sqlite3.Connection, home: Home, row: BakeoffRow, number: int | None = None
) -> tuple[Board, ...]:
    """The leaderboards of a bake-off, a task each, under its newest scores, the original ones beside them, or under those of
    `number`.

    One that cannot be built says why, so that the others still show.
    """
    try:
        stored = load_bakeoff(home, connection, row.job_id, number)
        boards = stored.leaderboards()
        matrix = bakeoff_matrix(home, stored, boards)
        trained = trainings(training_jobs(home, connection, stored.spec))
    except (BakehouseError, OSError) as error:
        # The path is long and of no use here: the message alone says what is missing.
        return (without_leaderboard(row, error.message if isinstance(error, BakehouseError) else str(error)),)
    except (KeyError, TypeError, ValueError) as error:
        return (without_leaderboard(row, f"its files are not as this version expects them: {error}"),)
    original: dict[str, Board] = {}
    if not stored.scoring.is_original:
        original = {board.task: board for board in build_boards(connection, home, row, ORIGINAL)}
    return tuple(board_of(row, stored, found, matrix, trained, original.get(task)) for task, found in boards.items())


def with_changes(boards: tuple[Board, ...], looked: Looked) -> tuple[Board, ...]:
    """The leaderboards of a bake-off with what has changed since; the same objects where nothing is new."""
    return tuple(with_change(board, looked, None) for board in boards)


def with_change(board: Board, looked: Looked, number: int | None) -> Board:
    found = looked.found.get((board.job_id, number))
    if found is None:
        return board
    servers = board.job_id in looked.served
    here, anywhere = (
        Changed(
            stale_words(one.causes),
            unknown_words(one.unknown),
            looked.asked if servers else None,
            looked.asking and servers,
        )
        for one in (found.of_task(board.task), found)
    )
    original = None if board.original is None else with_change(board.original, looked, ORIGINAL)
    if (here, anywhere) == (board.changed, board.changed_anywhere) and original is board.original:
        return board
    return replace(board, changed=here, changed_anywhere=anywhere, original=original)


def without_leaderboard(row: BakeoffRow, problem: str) -> Board:
    return Board(row.job_id, row.task, row.project_id, row.state, row.time, problem=problem)


def board_of(
    row: BakeoffRow,
    stored: StoredBakeoff,
    found: Leaderboard,
    matrix: Matrix | None,
    trained: Mapping[str, str],
    original: Board | None,
) -> Board:
    """The leaderboard of one task as the console shows it."""
    scoring = stored.scoring
    told = (unjudged_words(found, row.job_id), lacking_words(stored.left_out))
    return Board(
        job_id=row.job_id,
        task=found.task,
        project_id=row.project_id,
        state=row.state,
        time=row.time,
        input_ids=found.input_ids,
        repeats=found.repeats,
        candidates=tuple(candidate(found, one, trained) for one in found.rows),
        headline=found.headline.text,
        headline_short=found.headline.short,
        headline_difference=found.headline.difference,
        notes=(*filter(None, told), *judge_lines(found), *found.notes),
        incumbent=found.incumbent,
        scored=Scored(scoring.number, scoring.newest, scoring.time, scoring.author, scoring.changes, scoring.outdated),
        original=original,
        parts=found.parts,
        confirming=frozenset(found.confirming),
        matrix=matrix,
        stages=stage_table(found, stored.spec.stages, stored.task(found.task).same_answers),
        judges=len(found.judges),
        lacks_verdicts=found.lacks_verdicts,
    )


def candidate(board: Leaderboard, row: CandidateRow, trained: Mapping[str, str]) -> RankedCandidate:
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
        inputs=row.inputs,
        trained_with=words if (words := trained.get(row.name, "")) not in row.name else "",
        characters_per_second=row.characters_per_second,
        first_token_seconds=row.first_token_seconds,
        cold_load_seconds=row.cold_load_seconds,
        vram_bytes=row.vram_bytes,
        timed_shared=row.timed_shared,
        curtailed=row.curtailed,
        noise_floor=None if compared is None else compared.noise_floor,
        modes=row.modes,
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
