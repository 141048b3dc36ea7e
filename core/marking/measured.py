"""Scores of two candidates by input, from what is stored: of the newest bake-off with both, and of answers that were marked."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.errors import BakehouseError
from core.home import Home
from core.marking.answered import AnsweredJob
from core.marking.needs import leading_part
from core.results.load import bakeoff_file, load_bakeoff
from core.scoring.scorer import Scorer, needs_judge, part_score
from core.store.results import list_bakeoffs

NEWEST = 50
Scores = tuple[Mapping[str, float], Mapping[str, float]]
"""The mean scores of two candidates in [0, 1], by input."""


def measured_scores(
    home: Home, connection: sqlite3.Connection, project: Project, task: Task, names: tuple[str, str]
) -> Scores | None:
    """Those of the newest bake-off of the task with both; None where there is none. One whose files are gone is passed over."""
    for row in list_bakeoffs(connection, NEWEST):
        if row.state != "done" or row.project_id != project.id or task.name not in row.tasks:
            continue
        try:
            of_task = load_bakeoff(home, connection, row.job_id).task(task.name)
            if all(name in of_task.forms for name in names):
                one, other = (of_task.scored.by_candidate[name].means(leading_part(task)) for name in names)
                return one, other
        except (BakehouseError, OSError, ValueError, KeyError):
            continue
    return None


def newest_pair(home: Home, connection: sqlite3.Connection, project: Project, task: Task) -> tuple[str, str] | None:
    """The two that a task's newest bake-off compares first: its incumbent, and the first of the others. None without one."""
    for row in list_bakeoffs(connection, NEWEST):
        if row.state == "done" and row.project_id == project.id and task.name in row.tasks:
            try:
                _, spec = bakeoff_file(home, row.job_id)
            except BakehouseError:
                continue
            others = [name for name in spec.forms if name != spec.against]
            if others:
                return spec.against, others[0]
    return None


def scored_here(job: AnsweredJob, names: tuple[str, str], golden: Sequence[GoldenInput]) -> Scores:
    """What the answers of a job score on golden inputs that are its inputs, as these expect it now."""
    asked = {item.text(): item.id for item in job.inputs}
    part = leading_part(job.task)
    found: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for item in golden:
        input_id = asked.get(item.text())
        answers = [None if input_id is None else job.answers.get((name, input_id)) for name in names]
        if input_id is None or any(answer is None for answer in answers):
            continue
        scorer = Scorer(job.task, [item.model_copy(update={"id": input_id})], job.pattern_timeout)
        for scores, answer in zip(found, answers, strict=True):
            assert answer is not None
            said = scorer.score(answer)
            # What a judge model says of an answer is not known here, and so neither is a score that it is a part of.
            judged = any(needs_judge(check) and check.part == part for check in scorer.plans[input_id])
            if said is not None and not judged:
                values = {name: value for (name, _, _), value in zip(said.checks, said.points, strict=True)}
                score = part_score(job.task, part, values)
                if score is not None:
                    scores[item.id] = score
    return found
