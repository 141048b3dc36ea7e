"""The leaderboards of a bake-off and their matrix, as a document or as text."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.matrix import Matrix
from core.bakeoff.stages import StageTable, stage_table
from core.cli.results_matrix import matrix_text
from core.cli.results_modes import modes_of_tasks
from core.cli.results_report import render_text
from core.cli.results_stages import stages_text
from core.cli.submitted import Show
from core.home import Home
from core.results.load import StoredBakeoff, load_bakeoff
from core.results.trainings import bakeoff_matrix, training_jobs
from core.staleness.staleness import Staleness, staleness
from core.wording.judges import unjudged_words
from core.wording.lacking import lacking_words
from core.wording.runs import trainings
from core.wording.scoring import scoring_words
from core.wording.staleness import stale_words, unknown_words

WIDEST = 120
HOW_TO_ASK = "--ask-servers asks"


def terminal_width() -> int:
    return min(WIDEST, shutil.get_terminal_size((100, 40)).columns)


def board_documents(
    boards: Mapping[str, Leaderboard],
    matrix: Matrix | None,
    stored: StoredBakeoff,
    trained: Mapping[str, str],
    changed: Staleness,
) -> dict[str, Any]:
    """All there is: the boards with each input and check, the matrix, what was measured, which scores these are, and what
    has changed since."""
    documents = {name: board.to_json() for name, board in boards.items()}
    many = {"leaderboards": documents} if len(documents) > 1 else {"leaderboard": next(iter(documents.values()))}
    measured = next((task.measured for task in stored.tasks), ())
    tables = {name: found for name, board in boards.items() if (found := stages_of(stored, board))}
    return {
        **many,
        **({} if matrix is None else {"matrix": matrix.to_json()}),
        **({"stages": {name: table.to_json() for name, table in tables.items()}} if tables else {}),
        "scoring": stored.scoring.to_json(),
        "staleness": changed.to_json(),
        "trainings": dict(trained),
        **({"left_out": [one.to_json() for one in stored.left_out]} if stored.left_out else {}),
        "measured": [one.to_json() for one in measured],
    }


def boards_text(
    boards: Mapping[str, Leaderboard],
    matrix: Matrix | None,
    stored: StoredBakeoff,
    trained: Mapping[str, str],
    changed: Staleness,
    shown: Sequence[str],
) -> str:
    """The matrix where there is one, with what is wrong with the answers of each task where no board tells it, then the boards
    of the tasks in `shown`; what has changed since stands above each.

    Above the board of a bake-off over the stages of an adapter stands where quality was lost.
    """
    width, scored = terminal_width(), scoring_words(stored.scoring)
    blocks = []
    if matrix is not None:
        above = [*filter(None, [scored, lacking_words(stored.left_out)]), *changed_lines(changed)]
        blocks.append(matrix_text(matrix, width, above=above, trained=trained))
        if not shown and (lines := list(modes_of_tasks(boards.values(), width, stored.job_id))):
            blocks[-1] = "\n\n".join((blocks[-1].rstrip("\n"), "\n".join(lines)))
    for name in shown:
        if (table := stages_of(stored, boards[name])) is not None:
            blocks.append(stages_text(table, width))
        told = (unjudged_words(boards[name], stored.job_id), lacking_words(stored.left_out))
        stale = [*changed_lines(changed.of_task(name)), *filter(None, told)]
        blocks.append(
            render_text(boards[name], width=width, scored=scored, stale=stale, trained=trained, job_id=stored.job_id)
        )
    return "\n\n".join(blocks)


def stages_of(stored: StoredBakeoff, board: Leaderboard) -> StageTable | None:
    """The stages of a task; None of a bake-off over other candidates."""
    return stage_table(board, stored.spec.stages, stored.task(board.task).same_answers)


def changed_lines(changed: Staleness) -> list[str]:
    """What has changed since, and of what that is not known; none where all is known and the same."""
    said = (stale_words(changed.causes), unknown_words(changed.unknown, HOW_TO_ASK))
    return [line for line in said if line]


def leaderboard_of(home: Home, *, as_json: bool, job_id: int | None = None) -> Show:
    """What a finished bake-off came to, for `submitted`: the job itself, or `job_id`."""

    def show(connection: sqlite3.Connection, job: Any) -> dict[str, Any] | str:
        bakeoff = job.id if job_id is None else job_id
        stored = load_bakeoff(home, connection, bakeoff)
        boards = stored.leaderboards()
        matrix = bakeoff_matrix(home, stored, boards)
        trained = trainings(training_jobs(home, connection, stored.spec))
        changed = staleness(home, connection, bakeoff)
        if as_json:
            return board_documents(boards, matrix, stored, trained, changed)
        # It has just answered: what its servers have now needs no asking.
        asked = replace(changed, unknown=tuple(one for one in changed.unknown if one.why != "not_asked"))
        return boards_text(boards, matrix, stored, trained, asked, list(boards))

    return show
