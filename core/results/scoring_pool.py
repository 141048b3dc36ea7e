"""Many stored answers scored side by side, in processes of their own: a check can keep a core busy, and Python has one."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from core.scoring.answers import Answer
from core.scoring.scorer import Scorer
from core.scoring.verdicts import NO_VERDICTS, VerdictBook
from core.store.answer_scores import AnswerScores

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task
    from core.scoring.seen_answers import AskedCandidate

CHUNK = 500
"""Answers that a process is given at a time."""
WORTH_PROCESSES = 4_000
"""For fewer answers the start of the processes takes longer than they save."""
MOST_PROCESSES = 8

_scorer: Scorer | None = None
"""Of a worker process."""


def score_stored(
    connection: sqlite3.Connection,
    job_id: int,
    task: Task,
    inputs: Sequence[GoldenInput],
    pattern_timeout: float,
    processes: int | None = None,
    asked: Mapping[str, AskedCandidate] | None = None,
    verdicts: VerdictBook = NO_VERDICTS,
) -> list[AnswerScores]:
    """What the checks of the task say of each stored answer, in the order of the answers; none of a server's fault.

    `processes`: by default one for each core, and none for few answers. InputError when an answer is to an input that the
    golden set lacks. `asked` as `Scorer` takes it.
    """
    rows = connection.execute("SELECT count(*) FROM answers WHERE job_id = ? AND task = ?", [job_id, task.name])
    count = int(rows.fetchone()[0])
    if processes is None:
        processes = min(MOST_PROCESSES, len(os.sched_getaffinity(0))) if count >= WORTH_PROCESSES else 1
    if processes > 1:
        # A process that was killed (too little memory, say) takes the pool with it: then it is done here, one after the other.
        with suppress(BrokenProcessPool):
            return _side_by_side(
                _documents(connection, job_id, task.name),
                (task, list(inputs), pattern_timeout, asked, verdicts),
                processes,
            )
    scorer = Scorer(task, inputs, pattern_timeout, asked, verdicts)
    return [found for chunk in _documents(connection, job_id, task.name) for found in _score(scorer, chunk)]


def _side_by_side(documents: Iterator[list[str]], prepared: tuple[Any, ...], processes: int) -> list[AnswerScores]:
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _prepare, prepared) as pool:
        # No more is read than can be scored soon: 10 MB answers exist.
        waiting = deque(pool.submit(_score_chunk, chunk) for chunk in islice(documents, 2 * processes))
        found: list[AnswerScores] = []
        while waiting:
            found += waiting.popleft().result()
            waiting += [pool.submit(_score_chunk, chunk) for chunk in islice(documents, 1)]
        return found


def _documents(connection: sqlite3.Connection, job_id: int, task: str) -> Iterator[list[str]]:
    """The documents of a task's answers, in chunks."""
    cursor = connection.execute(
        "SELECT document FROM answers WHERE job_id = ? AND task = ? ORDER BY id", [job_id, task]
    )
    while rows := cursor.fetchmany(CHUNK):
        yield [row[0] for row in rows]


def _prepare(
    task: Task,
    inputs: Sequence[GoldenInput],
    pattern_timeout: float,
    asked: Mapping[str, AskedCandidate] | None,
    verdicts: VerdictBook,
) -> None:
    global _scorer
    _scorer = Scorer(task, inputs, pattern_timeout, asked, verdicts)


def _score_chunk(documents: Sequence[str]) -> list[AnswerScores]:
    assert _scorer is not None  # the pool has prepared it
    return _score(_scorer, documents)


def _score(scorer: Scorer, documents: Sequence[str]) -> list[AnswerScores]:
    answers = (Answer.from_json(json.loads(document)) for document in documents)
    return [found for answer in answers if (found := scorer.score(answer)) is not None]
