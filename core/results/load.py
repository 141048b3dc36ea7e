"""From what is stored of a bake-off to its leaderboard, under its original scores or those of a rescoring."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from core.bakeoff.curtailment import stopped_candidates
from core.bakeoff.judges import JudgeAgreement
from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.measured import MeasuredCandidate, parse_measured, read_measured, with_loads
from core.bakeoff.ranking import leaderboard_of
from core.config.golden import GoldenInput
from core.config.task import Task
from core.errors import InputError, NotFoundError
from core.files import read_json
from core.home import Home
from core.jobfile.as_done import as_done
from core.jobfile.bakeoff import BakeoffSpec, TaskUnderTest
from core.jobfile.kinds import kind_of
from core.jobfile.lacking import LackingCandidate, read_lacking
from core.jobfile.spec import JobFile
from core.results.gc_pause import gc_paused
from core.results.judges import stored_agreements
from core.results.stored_answers import StoredAnswers, read_stored_answers
from core.scoring.answers import Answer
from core.scoring.scorer import PlannedCheck, Score, plan_all
from core.store.database import open_database
from core.store.rescorings import ORIGINAL, CheckChange, Rescoring, list_rescorings
from core.store.results import bakeoff_answers, bakeoff_measured, require_bakeoff
from core.store.scores import bakeoff_scores


@dataclass(frozen=True)
class Scoring:
    """Which scores a leaderboard is made of: those of the bake-off itself (number 0), or of one of its rescorings.

    `time` (Unix seconds), `author` and `changes` of the checks are those of a rescoring. `newest` is the number of the one
    that counts wherever none is asked for.
    """

    number: int = ORIGINAL
    newest: int = ORIGINAL
    time: float | None = None
    author: str = ""
    changes: tuple[CheckChange, ...] = ()
    outdated: bool = False
    """This version of Bakehouse does some of these checks in another way than the one that scored."""

    @property
    def is_original(self) -> bool:
        return self.number == ORIGINAL

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "original": self.is_original}


@dataclass(frozen=True)
class StoredTask:
    """One task of a bake-off: with the checks that its scores were made with, its inputs, answers and their scores.

    `forms` is the form of each candidate by its name, in their order; `repeats` how often each input is asked. The board is
    made of `scored`; answers and scores, which hold the texts, are read when they are asked for.
    """

    task: Task
    inputs: Sequence[GoldenInput]
    repeats: int
    scored: StoredAnswers
    read: Callable[[], tuple[list[Answer], list[Score]]]
    forms: Mapping[str, str]
    incumbent: str | None = None
    measured: Sequence[MeasuredCandidate] = ()
    curtailed: frozenset[str] = frozenset()
    judges: tuple[JudgeAgreement, ...] = ()

    @property
    def name(self) -> str:
        return self.task.name

    @cached_property
    def _texts(self) -> tuple[list[Answer], list[Score]]:
        answers, scores = self.read()
        return answers, as_planned(self.task, self.inputs, answers, scores)

    @property
    def answers(self) -> Sequence[Answer]:
        return self._texts[0]

    @property
    def scores(self) -> Sequence[Score]:
        return self._texts[1]

    def same_answers(self, one: str, other: str) -> bool:
        """Whether two candidates answered the same inputs as often, each time in the same words. It reads all texts."""
        given: dict[str, dict[tuple[str, int], tuple[str, str]]] = {one: {}, other: {}}
        for answer in self.answers:
            if answer.candidate in given and answer.fault != "server":
                given[answer.candidate][answer.input_id, answer.repeat] = (answer.text, answer.finish)
        return bool(given[one]) and given[one] == given[other]

    def leaderboard(self) -> Leaderboard:
        """The leaderboard, finished or not."""
        board = leaderboard_of(
            self.task,
            self.inputs,
            self.scored.by_candidate,
            self.scored.strangers,
            self.incumbent,
            candidates=self.forms,
            repeats=self.repeats,
            curtailed=self.curtailed,
        )
        return replace(board, rows=with_loads(board.rows, self.measured), judges=self.judges)


@dataclass(frozen=True)
class StoredBakeoff:
    """What is stored of a bake-off, a task after the other in their order, under the scores of `scoring`."""

    spec: BakeoffSpec
    tasks: tuple[StoredTask, ...]
    scoring: Scoring
    job_id: int = 0
    left_out: tuple[LackingCandidate, ...] = ()
    """Candidates that it did without, which are not in `spec`."""

    def task(self, name: str | None = None) -> StoredTask:
        """One of the tasks; None: the first. Raises `NotFoundError`."""
        found = next((task for task in self.tasks if name in {None, task.name}), None)
        if found is None:
            raise NotFoundError(
                f"the bake-off has no task `{name}`",
                code="no_task",
                remedy=f"its tasks: {', '.join(task.name for task in self.tasks)}",
            )
        return found

    def leaderboards(self) -> dict[str, Leaderboard]:
        """The leaderboard of each task by its name."""
        with gc_paused():
            return {task.name: task.leaderboard() for task in self.tasks}


def bakeoff_file(home: Home, job_id: int) -> tuple[JobFile, BakeoffSpec]:
    """The job file of a bake-off, and what it compares: the candidates that were there. Raises `InputError` when the job is
    something else."""
    file = JobFile.load(home.run_dir(job_id))
    if not isinstance(file.spec, BakeoffSpec):
        raise InputError(f"job {job_id} is {kind_of(file.kind).noun}, not a bake-off", code="no_bakeoff")
    spec = as_done(home.run_dir(job_id), file.spec)
    assert isinstance(spec, BakeoffSpec)  # it stays one
    return file, spec


def golden_inputs(under_test: TaskUnderTest) -> list[GoldenInput]:
    """The golden inputs of a task as they were when the bake-off was submitted."""
    document = read_json(Path(under_test.golden.path))
    if document is None:
        message = f"the copy of the golden inputs of {under_test.name} is gone"
        raise InputError(message, code="missing_input", file=under_test.golden.path)
    return [GoldenInput.model_validate(item) for item in document]


def load_bakeoff(home: Home, connection: sqlite3.Connection, job_id: int, number: int | None = None) -> StoredBakeoff:
    """A bake-off under its original scores (`number` 0) or those of a rescoring; None: the newest there are.

    Raises `NotFoundError` for an unknown bake-off or rescoring, `InputError` when its files are not there.
    """
    require_bakeoff(connection, job_id)
    file, spec = bakeoff_file(home, job_id)
    rescorings = {one.number: one for one in list_rescorings(connection, job_id)}
    newest = max(rescorings, default=ORIGINAL)
    wanted = newest if number is None else number
    if wanted != ORIGINAL and wanted not in rescorings:
        raise NotFoundError(
            f"bake-off {job_id} has no rescoring {wanted}",
            code="no_rescoring",
            remedy=f"there are: original{''.join(f', {one}' for one in rescorings)}",
        )
    rescoring = rescorings.get(wanted)
    measured = measured_of(home, connection, job_id)
    with gc_paused():
        tasks = tuple(
            stored_task(home, connection, job_id, spec, under_test, rescoring, measured) for under_test in spec.tasks
        )
        tasks = tuple(
            replace(one, judges=stored_agreements(connection, job_id, file.project_id, spec, one.task, one.inputs))
            for one in tasks
        )
    if spec.curtail:
        tasks = tuple(
            replace(task, curtailed=_curtailed(connection, job_id, spec, under_test, task, wanted))
            for task, under_test in zip(tasks, spec.tasks, strict=True)
        )
    outdated = any(task.scored.outdated for task in tasks)
    left_out = read_lacking(home.run_dir(job_id))
    return StoredBakeoff(spec, tasks, replace(described(rescoring, newest), outdated=outdated), job_id, left_out)


def measured_of(home: Home, connection: sqlite3.Connection, job_id: int) -> list[MeasuredCandidate]:
    """What a bake-off measured of its candidates beside their answers: of its file while that is there, else as stored."""
    return read_measured(home.run_dir(job_id).candidates) or parse_measured(bakeoff_measured(connection, job_id))


def stored_task(
    home: Home,
    connection: sqlite3.Connection,
    job_id: int,
    spec: BakeoffSpec,
    under_test: TaskUnderTest,
    rescoring: Rescoring | None,
    measured: Sequence[MeasuredCandidate] = (),
) -> StoredTask:
    """One task of a bake-off under its original scores, or those of a rescoring."""
    number = ORIGINAL if rescoring is None else rescoring.number
    checks = None if rescoring is None else rescoring.checks_of(under_test.name)
    task = under_test.task if checks is None else with_checks(under_test.task, checks)
    inputs = golden_inputs(under_test)
    scored = read_stored_answers(connection, job_id, number, task, inputs, spec.forms)

    def read() -> tuple[list[Answer], list[Score]]:
        # By a connection of its own: this may be asked for when the other is closed.
        with contextlib.closing(open_database(home)) as own:
            answers = [Answer.from_json(document) for document in bakeoff_answers(own, job_id, under_test.name)]
            scores = [Score.from_json(one) for one in bakeoff_scores(own, job_id, number, under_test.name)]
        return answers, scores

    return StoredTask(task, inputs, under_test.repeats, scored, read, spec.forms, spec.incumbent, measured)


def _curtailed(
    connection: sqlite3.Connection,
    job_id: int,
    spec: BakeoffSpec,
    under_test: TaskUnderTest,
    stored: StoredTask,
    number: int,
) -> frozenset[str]:
    task, inputs, scored = under_test.task, stored.inputs, stored.scored
    if number != ORIGINAL:
        scored = read_stored_answers(connection, job_id, ORIGINAL, task, inputs, spec.forms)
    return stopped_candidates(inputs, under_test.repeats, spec.against, task.margin, scored.by_candidate)


def described(rescoring: Rescoring | None, newest: int) -> Scoring:
    if rescoring is None:
        return Scoring(newest=newest)
    return Scoring(rescoring.number, newest, rescoring.time, rescoring.author, rescoring.changes)


def with_checks(task: Task, checks: Mapping[str, Any]) -> Task:
    """The task with the checks and the margin of a rescoring; what the answers were asked with stays."""
    return Task.model_validate({**task.model_dump(mode="json"), **checks})


def as_planned(
    task: Task, inputs: Iterable[GoldenInput], answers: Iterable[Answer], scores: Iterable[Score]
) -> list[Score]:
    """The scores under the hashes that their checks have in this version of Bakehouse.

    Scores are stored with the result that they belong to, so a check is the one of that name in it: a result stays what it was
    when the code of a check has changed since.
    """
    plans: dict[str, dict[tuple[str, str], PlannedCheck]] = {
        name: {(check.id, check.part): check for check in plan} for name, plan in plan_all(task, inputs).items()
    }
    input_of = {answer.key: answer.input_id for answer in answers}
    found: dict[tuple[str, str, str, str], Score] = {}
    for score in scores:
        check = plans.get(input_of.get(score.answer_key, ""), {}).get((score.check_id, score.part))
        key = (score.answer_key, score.candidate, score.part, score.check_id)
        # Homes of an older version can hold several definitions of one check: the one that was planned goes first.
        if check is not None and (score.check_hash == check.hash or key not in found):
            found[key] = replace(score, check_hash=check.hash)
    return list(found.values())


def stored_leaderboards(
    home: Home, connection: sqlite3.Connection, job_id: int, number: int | None = None
) -> dict[str, Leaderboard]:
    """The leaderboards of a bake-off by task, finished or not; see `load_bakeoff`."""
    return load_bakeoff(home, connection, job_id, number).leaderboards()
