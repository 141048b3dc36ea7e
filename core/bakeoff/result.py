"""What a bake-off came to, as it is kept: by the job in `result.json`, by a rescoring in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.short_names import shortened, without_common_words


def result_summary(boards: Mapping[str, Leaderboard], references: Mapping[str, str | None]) -> dict[str, Any]:
    """The headline and a row a candidate, best first; scores are in [0, 1]. With several tasks: `tasks`, one of these each.

    `references` are those of the candidates by name, such as `job:12/adapter`: by them a run finds its own score.
    """
    tasks = [of_board(board, references) for board in boards.values()]
    return tasks[0] if len(tasks) == 1 else {"tasks": tasks}


def of_board(board: Leaderboard, references: Mapping[str, str | None]) -> dict[str, Any]:
    """The headline and the rows of one task."""
    rows = [
        {
            "name": row.name,
            "ref": references.get(row.name),
            "form": row.form,
            "score": row.score,
            "format_score": row.format_score,
            "content_score": row.content_score,
            "consistency": row.consistency,
            "seconds_per_answer": row.seconds_per_answer,
            "tokens_per_second": row.tokens_per_second,
            "answers": row.answers,
            "missing": row.missing,
            "at_limit": row.at_limit,
        }
        for row in board.rows
    ]
    return {"task": board.task, "headline": board.headline.text, "candidates": rows}


def result_message(boards: Mapping[str, Leaderboard]) -> str:
    """One line for the queue, which names the candidates in full elsewhere."""
    if len(boards) == 1:
        board = next(iter(boards.values()))
        return shortened(board.headline.text, [row.name for row in board.rows])
    names = [row.name for row in next(iter(boards.values())).rows]
    short = dict(zip(names, without_common_words(names), strict=True))
    best = [
        f"{task}: {short.get(board.best, board.best) if board.best else 'nothing'}" for task, board in boards.items()
    ]
    return f"{len(boards)} tasks; best {', '.join(best)}"
