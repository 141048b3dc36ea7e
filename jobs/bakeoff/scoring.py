"""The end of a bake-off, and of a judging of one: all answers scored, a board of each task."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.config.golden import GoldenInput
from core.files import write_atomic
from core.format import of_five
from core.jobfile.bakeoff import CandidateSpec, TaskUnderTest
from core.scoring.answers import Answer
from core.scoring.verdicts import VerdictBook
from jobs.bakeoff.judges import JudgeCost
from jobs.context import JobContext

if TYPE_CHECKING:
    from core.bakeoff.leaderboard import Leaderboard


def scored_boards(
    context: JobContext,
    tasks: Sequence[TaskUnderTest],
    candidates: Sequence[CandidateSpec],
    incumbent: str | None,
    inputs: Mapping[str, tuple[GoldenInput, ...]],
    answers: Sequence[Answer],
    verdicts: VerdictBook,
    curtailed: Mapping[str, Collection[str]],
    pattern_timeout: float,
) -> dict[str, Leaderboard]:
    """Score all answers, write the scores down whole, and return the board of each task by its name."""
    from core.bakeoff.ranking import build_leaderboard
    from core.scoring.scorer import Scorer, singles
    from core.scoring.seen_answers import asked_candidates
    from core.wording.failure_modes import briefly

    context.phase("scoring")
    forms: dict[str, str] = {one.name: one.form for one in candidates}
    lines, boards = [], {}
    for under_test in tasks:
        task = under_test.task
        given = [answer for answer in answers if answer.task == task.name]
        asked = asked_candidates(under_test, inputs[task.name], candidates)
        scorer = Scorer(task, inputs[task.name], pattern_timeout, asked, verdicts)
        scores = [found for answer in given if (found := scorer.score(answer)) is not None]
        lines += [json.dumps(one.to_json(), ensure_ascii=False) for one in scores]
        boards[task.name] = board = build_leaderboard(
            task,
            inputs[task.name],
            given,
            singles(scores),
            incumbent,
            candidates=forms,
            repeats=under_test.repeats,
            curtailed=curtailed.get(task.name, ()),
            modes={(one.answer_key, one.candidate or ""): one.modes for one in scores},
        )
        for row in board.rows:
            of_task = f"{task.name}, " if len(tasks) > 1 else ""
            format_score, content_score = of_five(row.format_score), of_five(row.content_score)
            unjudged = f", {row.unjudged} answers not judged" if row.unjudged else ""
            context.say(f"{of_task}{row.name}: format {format_score}, content {content_score}{unjudged}")
            if row.answers:
                context.say(f"{of_task}{row.name}: {briefly(row.modes, 3)}")
    # Whole before result.json is there: whoever sees that finds every score.
    write_atomic(context.run.scores, "".join(f"{line}\n" for line in lines))
    return boards


def summary_of(
    boards: Mapping[str, Leaderboard], candidates: Sequence[CandidateSpec], costs: Sequence[JudgeCost]
) -> dict[str, Any]:
    """What a result says of the boards, and what its judges took."""
    from core.bakeoff.result import result_summary

    judges = {"judges": [asdict(one) for one in costs]} if costs else {}
    return {**result_summary(boards, {one.name: one.made_ref for one in candidates}), **judges}
