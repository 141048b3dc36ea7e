"""The failure modes of the candidates of a bake-off as text: how many answers have each, and which answer shows it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.bakeoff.figures import p_value
from core.bakeoff.leaderboard import Leaderboard, plain_types
from core.bakeoff.mode_counts import ModeCount
from core.bakeoff.rows import CandidateRow
from core.bakeoff.short_names import heads
from core.cli.output import print_json, say
from core.cli.results_answers import check_names
from core.cli.text_grid import NAME_WIDTH, grid, wrap
from core.format import listed
from core.results.load import StoredBakeoff, StoredTask
from core.scoring.scored_answers import shown_piece
from core.store.scores import answer_modes
from core.text import one_line, printable
from core.wording.failure_modes import NAMES, NONE_SEEN, NOT_LOOKED_FOR, briefly, counted, share_words

SHOWN = 3
"""Failure modes of each candidate that a report shows an answer of; the others are named."""
SHOWN_EXCERPT = 150


def mode_lines(board: Leaderboard, width: int, job_id: int | None = None) -> Iterator[str]:
    """What is wrong with the answers of each candidate, the most frequent first, each with the answer that shows it best."""
    rows = [row for row in board.rows if row.answers]
    if not rows:
        return
    if all(row.modes is None for row in rows):
        yield from _not_looked_for(job_id, width)
        return
    yield "why answers fail: what is wrong with them, seen without a model"
    for row in rows:
        yield from _candidate(row, board, width)


def _candidate(row: CandidateRow, board: Leaderboard, width: int) -> Iterator[str]:
    if not row.modes:
        yield from wrap(f"  {printable(row.name)}: {briefly(row.modes)}", width, indent=4)
        return
    yield from wrap(f"  {printable(row.name)}", width, indent=4)
    for mode in row.modes[:SHOWN]:
        tested = "" if mode.p_to_incumbent is None or board.incumbent is None else f", p {p_value(mode.p_to_incumbent)}"
        yield from wrap(f"    {counted(mode)}, {share_words(mode)}{tested}", width, indent=6)
        yield from wrap(f"      {shown_answer(mode)}", width, indent=6)
    if further := row.modes[SHOWN:]:
        yield from wrap(f"    {listed([counted(mode) for mode in further])}", width, indent=6)
    if any(mode.p_to_incumbent is not None for mode in row.modes[:SHOWN]) and row is _last_tested(board):
        against = printable(str(board.incumbent))
        yield from wrap(
            f"  p: McNemar's, over inputs, against {against}; not adjusted for their number", width, indent=4
        )


def _last_tested(board: Leaderboard) -> CandidateRow:
    tested = [row for row in board.rows if any(one.p_to_incumbent is not None for one in (row.modes or ())[:SHOWN])]
    return tested[-1]


def shown_answer(mode: ModeCount) -> str:
    """`sofa #2: “You grade notes. …”`."""
    said = one_line(mode.excerpt, limit=SHOWN_EXCERPT)
    return f"{printable(mode.input_id)} #{mode.repeat}: " + (f"“{said}”" if said else "no text")


def _not_looked_for(job_id: int | None, width: int) -> Iterator[str]:
    yield from wrap(NOT_LOOKED_FOR, width)
    if job_id is not None:
        yield f"  `bakehouse results {job_id} --rescore`"


def modes_of_tasks(boards: Iterable[Leaderboard], width: int, job_id: int | None = None) -> Iterator[str]:
    """A line for each task and candidate, for beside a matrix; candidates of which nothing is wrong are left out."""
    given = [(board, row) for board in boards for row in board.rows if row.answers]
    if not given:
        return
    if all(row.modes is None for _, row in given):
        yield from _not_looked_for(job_id, width)
        return
    lines = [["task", "candidate", "what is wrong with its answers"]]
    short = heads(list(dict.fromkeys(row.name for _, row in given)), NAME_WIDTH)
    lines += [
        [printable(board.task), short.of[row.name], briefly(row.modes, 2)]
        for board, row in given
        if row.modes is None or row.modes
    ]
    if len(lines) == 1:
        yield f"failure modes: {NONE_SEEN}"
        return
    yield from grid(lines, width, left=3)
    if short.key:
        yield from wrap(short.key, width)


def show_modes(
    connection: sqlite3.Connection,
    job_id: int,
    stored: StoredBakeoff,
    tasks: Sequence[StoredTask],
    input_id: str | None,
    candidate: str | None,
    width: int,
    as_json: bool,
) -> None:
    """Every failure mode of each candidate with all the answers that have it."""
    check_names([answer for task in tasks for answer in task.answers], input_id=input_id, candidate=candidate)
    found: list[dict[str, Any]] = []
    unlooked: list[dict[str, str]] = []
    looked = False
    for task in tasks:
        board = task.leaderboard()
        having = answers_by_mode(task, answer_modes(connection, job_id, stored.scoring.number, task.name))
        for row in board.rows:
            if candidate in {None, row.name}:
                found += _documents(task.name, row, having, input_id)
                looked |= row.modes is not None
                if row.modes is None:
                    unlooked.append({"task": task.name, "candidate": row.name})
    if as_json:
        document = {"job": job_id, "modes": plain_types(found), "not_looked_for": unlooked}
        print_json({**document, "scoring": stored.scoring.to_json()}, data=True)
        return
    for name in dict.fromkeys(one["candidate"] for one in unlooked):
        say(f"{name}: {NOT_LOOKED_FOR} (`bakehouse results {job_id} --rescore`)")
    for one in found:
        of_task = f"{one['task']} · " if len(stored.tasks) > 1 else ""
        say(f"── {one['candidate']} · {of_task}{NAMES[one['code']]}: {one['count']:,} of {one['of']:,} answers")
        for answer in one["answers"]:
            said = one_line(answer["excerpt"], limit=SHOWN_EXCERPT)
            for line in wrap(f"   {answer['input_id']} #{answer['repeat']}: “{said}”", width, indent=5):
                say(line, data=True)
        say()
    if not found and looked:
        say(NONE_SEEN)


def _documents(
    task: str, row: CandidateRow, having: Mapping[tuple[str, str], list[dict[str, Any]]], input_id: str | None
) -> Iterator[dict[str, Any]]:
    for mode in row.modes or ():
        answers = [one for one in having.get((row.name, mode.code), []) if input_id in {None, one["input_id"]}]
        if answers:
            interval = {"low": mode.interval.low, "high": mode.interval.high}
            counts = {"code": mode.code, "count": mode.count, "of": mode.of, "share": mode.share, "interval": interval}
            yield {"task": task, "candidate": row.name, **counts, "answers": answers}


def answers_by_mode(
    task: StoredTask, modes: Mapping[tuple[str, str], tuple[str, ...]]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By candidate and failure mode: its answers in the order of the golden set, each with the excerpt that shows it."""
    order = {item.id: number for number, item in enumerate(task.inputs)}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for answer in sorted(task.answers, key=lambda one: (order.get(one.input_id, len(order)), one.repeat)):
        for code in modes.get((answer.key, answer.candidate), ()):
            piece = shown_piece(code, answer.text, answer.thinking)
            said = {"input_id": answer.input_id, "repeat": answer.repeat, "excerpt": piece}
            found.setdefault((answer.candidate, code), []).append(said)
    return found
