"""Scoring the stored answers of a bake-off again, with the checks that its task has now. No model is run."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.bakeoff.result import result_message, result_summary
from core.checks import check_ids
from core.config.project import Project, shipped
from core.config.task import Task
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.spec import JobFile
from core.results.judges import stored_book
from core.results.load import (
    Scoring,
    StoredBakeoff,
    bakeoff_file,
    described,
    golden_inputs,
    load_bakeoff,
    with_checks,
)
from core.results.scoring_pool import score_stored
from core.scoring.seen_answers import asked_candidates
from core.scoring.to_judge import judge_checks
from core.store.answer_scores import AnswerScores
from core.store.database import transaction
from core.store.jobs import get_job
from core.store.rescorings import CheckChange, conclude_rescoring, insert_rescoring, list_rescorings
from core.store.scores import answer_scores, insert_answer_scores


def rescore(
    home: Home,
    connection: sqlite3.Connection,
    job_id: int,
    *,
    author: str,
    told: Callable[[Sequence[Task]], object] = lambda tasks: None,
) -> tuple[Scoring, bool]:
    """Score the answers of a finished bake-off with the present checks of its task; returns the scoring that counts now, and
    whether it is new.

    The result is stored beside the original one and counts from then on. Nothing is stored when the newest result was made
    with the same checks and the same scores came out. Golden inputs, thinking policy and sampling are those that the answers
    were made with. `told` is given the tasks as they are now before any of their checks runs. Raises `NotFoundError`,
    `InputError` for a task that is not valid, `BakehouseError` for a bake-off that is not done.
    """
    state = get_job(connection, job_id).state
    file, spec = bakeoff_file(home, job_id)
    if state != "done":
        raise BakehouseError(
            f"Bake-off {job_id} is {state}. Only a finished bake-off can be rescored.", code="not_done"
        )
    project = project_of(file)
    present = {one.name: project.task(one.name) for one in spec.tasks}
    told(list(present.values()))
    checks = {name: task.scored_by() for name, task in present.items()}
    timeout = project.settings.bakeoff.pattern_timeout_seconds
    tasks = [with_checks(under_test.task, checks[under_test.name]) for under_test in spec.tasks]
    by_task: dict[str, list[AnswerScores]] = {}
    for task, under_test in zip(tasks, spec.tasks, strict=True):
        inputs = golden_inputs(under_test)
        asked = asked_candidates(under_test, inputs, spec.candidates)
        verdicts = stored_book(connection, job_id, task)
        by_task[under_test.name] = score_stored(
            connection, job_id, task, inputs, timeout, asked=asked, verdicts=verdicts
        )
    scores = [one for found in by_task.values() for one in found]
    changes = tuple(
        replace(change, task=before.name if len(spec.tasks) > 1 else "")
        for before, now in zip(spec.tasks, tasks, strict=True)
        for change in changed_checks(before.task, now)
    )
    references = {candidate.name: candidate.made_ref for candidate in spec.candidates}
    with transaction(connection):
        newest = load_bakeoff(home, connection, job_id)
        if same_result(connection, job_id, newest, checks, scores) and not newest.scoring.outdated:
            return newest.scoring, False
        changes += tuple(_judged_since(connection, job_id, newest, by_task))
        # What it came to is read from the very scores that are stored: one way from scores to a board.
        number = insert_rescoring(
            connection,
            job_id,
            author=author,
            message="",
            checks=next(iter(checks.values())) if len(checks) == 1 else {"tasks": checks},
            changes=changes,
            summary={},
        )
        insert_answer_scores(connection, job_id, scores, number)
        boards = load_bakeoff(home, connection, job_id, number).leaderboards()
        conclude_rescoring(connection, job_id, number, result_message(boards), result_summary(boards, references))
        stored = next(one for one in list_rescorings(connection, job_id) if one.number == number)
    return described(stored, number), True


def project_of(file: JobFile) -> Project:
    """The project of a job, as it is now."""
    return shipped() if file.project_id == shipped().id else Project.find(explicit=Path(file.project_root))


def _judged_since(
    connection: sqlite3.Connection, job_id: int, former: StoredBakeoff, scores: Mapping[str, Sequence[AnswerScores]]
) -> Iterator[CheckChange]:
    """The checks of judges that leave another number of answers open than they did in the former result; `scores` by task."""
    for task in former.tasks:
        if not (checks := judge_checks(task.task)):
            continue
        before = _open_checks(answer_scores(connection, job_id, former.scoring.number, task.name))
        now = _open_checks(scores[task.name])
        for name, _ in checks:
            if before[name] != now[name]:
                yield CheckChange("judged", name, task.name if len(former.tasks) > 1 else "")


def _open_checks(scores: Iterable[AnswerScores]) -> Counter[str]:
    return Counter(one.checks[at][0] for one in scores for at in one.faulty)


def same_result(
    connection: sqlite3.Connection,
    job_id: int,
    former: StoredBakeoff,
    checks: Mapping[str, Any],
    scores: Iterable[AnswerScores],
) -> bool:
    """Was a former result made with these checks by task, and is the same said of every answer, its failure modes among it?"""
    if {task.name: task.task.scored_by() for task in former.tasks} != checks:
        return False
    return _said(answer_scores(connection, job_id, former.scoring.number)) == _said(scores)


def _said(found: Iterable[AnswerScores]) -> set[tuple[Any, ...]]:
    """Without the reasons: another version can word them in another way."""
    ids: dict[Any, tuple[str, ...]] = {}

    def names(checks: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
        if checks not in ids:
            ids[checks] = tuple(name for name, _, _ in checks)
        return ids[checks]

    return {
        (
            one.answer_key,
            one.candidate,
            frozenset(zip(names(one.checks), one.points, strict=True)),
            frozenset(names(one.checks)[at] for at in one.faulty),
            one.modes,
        )
        for one in found
    }


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
