"""Scoring the stored answers of a bake-off again, with the checks that its task has now. No model is run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.bakeoff.load import (
    Scoring,
    StoredBakeoff,
    StoredTask,
    bakeoff_file,
    described,
    load_bakeoff,
    with_checks,
)
from core.bakeoff.result import result_message, result_summary
from core.bakeoff.scoring import Score, score_answers
from core.checks import check_ids
from core.config.project import Project, shipped
from core.config.task import Task
from core.errors import BakehouseError
from core.home import Home
from core.store.database import transaction
from core.store.jobs import get_job
from core.store.rescorings import ORIGINAL, CheckChange, insert_rescoring, list_rescorings


def rescore(home: Home, connection: sqlite3.Connection, job_id: int, *, author: str) -> tuple[Scoring, bool]:
    """Score the answers of a finished bake-off with the present checks of its task; returns the scoring that counts now, and
    whether it is new.

    The result is stored beside the original one and counts from then on. Nothing is stored when the newest result was made
    with the same checks and the same scores came out. Golden inputs, thinking policy and sampling are those that the answers
    were made with. Raises `NotFoundError`, `InputError` for a task that is not valid, `BakehouseError` for a bake-off that is
    not done.
    """
    state = get_job(connection, job_id).state
    file, spec = bakeoff_file(home, job_id)
    if state != "done":
        raise BakehouseError(
            f"Bake-off {job_id} is {state}. Only a finished bake-off can be rescored.", code="not_done"
        )
    project = shipped() if file.project_id == shipped().id else Project.find(explicit=Path(file.project_root))
    checks = {one.name: checks_of(project.task(one.name)) for one in spec.tasks}
    original = load_bakeoff(home, connection, job_id, ORIGINAL)
    timeout = project.settings.bakeoff.pattern_timeout_seconds
    rescored = [under_checks(task, checks[task.name], timeout) for task in original.tasks]
    scores = [score for task in rescored for score in task.scores]
    changes = tuple(
        replace(change, task=before.name if len(spec.tasks) > 1 else "")
        for before, now in zip(spec.tasks, rescored, strict=True)
        for change in changed_checks(before.task, now.task)
    )
    boards = {task.name: task.leaderboard() for task in rescored}
    references = {candidate.name: candidate.ref for candidate in spec.candidates}
    with transaction(connection):
        newest = load_bakeoff(home, connection, job_id)
        if same_result(newest, checks, scores) and not newest.scoring.outdated:
            return newest.scoring, False
        number = insert_rescoring(
            connection,
            job_id,
            author=author,
            message=result_message(boards),
            checks=next(iter(checks.values())) if len(checks) == 1 else {"tasks": checks},
            changes=changes,
            summary=result_summary(boards, references),
            scores=(score.to_json() for score in scores),
        )
        stored = next(one for one in list_rescorings(connection, job_id) if one.number == number)
    return described(stored, number), True


def checks_of(task: Task) -> dict[str, Any]:
    """What a rescoring takes of a task, as plain values."""
    document = task.model_dump(mode="json")
    return {key: document[key] for key in ("format", "content", "margin")}


def under_checks(stored: StoredTask, checks: Mapping[str, Any], pattern_timeout: float) -> StoredTask:
    """A task's answers scored with other checks."""
    task = with_checks(stored.task, checks)
    return replace(stored, task=task, scores=score_answers(task, stored.inputs, stored.answers, pattern_timeout))


def same_result(former: StoredBakeoff, checks: Mapping[str, Any], scores: Iterable[Score]) -> bool:
    """Was a former result made with these checks by task, and do they still say the same of every answer?"""
    if {task.name: checks_of(task.task) for task in former.tasks} != checks:
        return False

    def said(found: Iterable[Score]) -> set[tuple[str, str, float, bool]]:
        """Without the reasons: another version can word them in another way."""
        return {(score.answer_key, score.check_id, score.value, score.faulty) for score in found}

    return said(score for task in former.tasks for score in task.scores) == said(scores)


def changed_checks(before: Task, now: Task) -> tuple[CheckChange, ...]:
    """How the checks differ, by their ids. None differ where only this version of Bakehouse does them in another way."""
    was, is_now = definitions(before), definitions(now)
    changes = [CheckChange("added", name) for part, name in is_now if (part, name) not in was]
    changes += [CheckChange("removed", name) for part, name in was if (part, name) not in is_now]
    changes += [CheckChange("changed", key[1]) for key in is_now if key in was and is_now[key] != was[key]]
    if before.margin != now.margin:
        changes.append(CheckChange("margin"))
    return tuple(changes)


def definitions(task: Task) -> dict[tuple[str, str], dict[str, Any]]:
    """The checks of a task by part and id."""
    parts = ["format"] * len(task.format) + ["content"] * len(task.content)
    checks = [*task.format, *task.content]
    dumped = [check.model_dump(mode="json", exclude={"id"}) for check in checks]
    return dict(zip(zip(parts, check_ids(checks), strict=True), dumped, strict=True))
