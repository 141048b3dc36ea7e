"""The answers of a job that a person can mark: of a set of drafts, or of a bake-off."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.checks import build
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.errors import InputError, NotFoundError
from core.failure_modes import SeenAnswer, find
from core.home import Home
from core.jobfile.as_done import as_done
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.drafts import DraftsSpec
from core.jobfile.spec import JobFile
from core.marking.expectations import captured, without_expectations
from core.marking.usefulness import AnswerSide, Pair
from core.results.load import golden_inputs
from core.scoring.answers import Answer
from core.scoring.scorer import fault_of, visible
from core.scoring.verdicts import answer_sha256

OBVIOUS = frozenset(
    {
        "echo_instructions",
        "echo_input",
        "echo_example",
        "empty",
        "cut",
        "repetition",
        "thinking_leaked",
        "thinking_aloud",
        "frame_shown",
    }
)
"""Failure modes by which an answer is wrong whatever was asked: nobody has to look at it."""


@dataclass(frozen=True)
class AnsweredJob:
    """One task of a job, its inputs, and the first answer of each candidate to each of them by (candidate, input).

    `task` is the project's present one: by its checks expectations are read. `drafts`: the inputs have no expectations.
    """

    job_id: int
    task: Task
    inputs: tuple[GoldenInput, ...]
    candidates: tuple[str, ...]
    answers: Mapping[tuple[str, str], Answer]
    drafts: bool
    seed: int
    pattern_timeout: float

    def input(self, input_id: str) -> GoldenInput:
        """Raises `NotFoundError`."""
        found = next((one for one in self.inputs if one.id == input_id), None)
        if found is None:
            raise NotFoundError(
                f"job {self.job_id} has no input `{input_id}`",
                code="no_input",
                remedy=f"its inputs: {', '.join(one.id for one in self.inputs[:12])}",
            )
        return found

    def answer(self, candidate: str, input_id: str) -> Answer:
        """Raises `NotFoundError` where a server gave none, or there is no such candidate."""
        found = self.answers.get((candidate, input_id))
        if found is None:
            raise NotFoundError(
                f"{candidate} has no answer to `{input_id}` in job {self.job_id}",
                code="no_answers",
                remedy=f"its candidates: {', '.join(self.candidates)}",
            )
        return found

    def text(self, candidate: str, input_id: str) -> str:
        """An answer as the checks see it. Raises `NotFoundError`."""
        return visible(self.task, self.answer(candidate, input_id)).text

    def pair_of(self, names: Sequence[str] | None) -> tuple[str, str]:
        """The two candidates that are meant: those named, else the first two. InputError where there are not two."""
        chosen = tuple(names or self.candidates[:2])
        for name in chosen:
            if name not in self.candidates:
                raise NotFoundError(
                    f"job {self.job_id} has no candidate `{name}`",
                    code="no_candidate",
                    remedy=f"its candidates: {', '.join(self.candidates)}",
                )
        if len(chosen) != 2 or chosen[0] == chosen[1]:
            raise InputError(
                f"job {self.job_id} has one candidate: marking compares two",
                code="one_candidate",
                remedy="a bake-off of two, or `bakehouse golden draft` with two candidates",
            )
        return chosen[0], chosen[1]


def text_sha256(text: str) -> str:
    """By this marks find an input or an answer, whoever gave it: the verdicts of judges find theirs by the same."""
    return answer_sha256(text)


def answered_job(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    job_id: int,
    task: str | None = None,
    *,
    rather: str | None = None,
    repeat: int | None = None,
) -> AnsweredJob:
    """The answers of a job to one of its tasks, imported so far: the first of each repeat, or that of a certain one. Where no
    `task` is named the one that is `rather` meant, if the job has that, else its first. Raises `NotFoundError`, and
    `InputError` for a job without answers or of another project."""
    file = JobFile.load(home.run_dir(job_id))
    spec = as_done(home.run_dir(job_id), file.spec)
    if not isinstance(spec, BakeoffSpec | DraftsSpec):
        raise InputError(
            f"job {job_id} has no answers to mark",
            code="no_answers",
            remedy="name a set of drafts or a bake-off: `bakehouse golden draft` queues one",
        )
    if file.project_id != project.id:
        raise InputError(
            f"job {job_id} is of another project, `{file.project_id}`",
            code="other_project",
            remedy=f"--project {file.project_root}",
        )
    asked, seed = (spec.asked, spec.seed) if isinstance(spec, DraftsSpec) else (spec, job_id)
    meant_first = sorted(asked.tasks, key=lambda one: one.name != rather)
    under_test = next((one for one in meant_first if task in {None, one.name}), None)
    if under_test is None:
        raise NotFoundError(
            f"job {job_id} has no task `{task}`",
            code="no_task",
            remedy=f"its tasks: {', '.join(one.name for one in asked.tasks)}",
        )
    rows = connection.execute(
        "SELECT document FROM answers WHERE job_id = ? AND task = ? ORDER BY repeat DESC", [job_id, under_test.name]
    )
    answers: dict[tuple[str, str], Answer] = {}
    for (document,) in rows:  # the first repeat is kept: it comes last
        answer = Answer.from_json(json.loads(document))
        if answer.fault != "server" and repeat in {None, answer.repeat}:
            answers[answer.candidate, answer.input_id] = answer
    return AnsweredJob(
        job_id,
        project.task(under_test.name),
        tuple(golden_inputs(under_test)),
        tuple(one.name for one in asked.candidates),
        answers,
        isinstance(spec, DraftsSpec),
        seed,
        asked.pattern_timeout_seconds,
    )


def pairs_of(job: AnsweredJob, names: tuple[str, str], bound: frozenset[str] = frozenset()) -> list[Pair]:
    """The two candidates' answers to each input that both have answered. `bound` are sources that are kept to confirm by."""
    free = [one for check in job.task.format if (one := without_expectations(check)) is not None]
    checks = [build(check, job.pattern_timeout) for check in free]
    found = []
    for item in job.inputs:
        if any((name, item.id) not in job.answers for name in names):
            continue
        sides = []
        for name in names:
            answer = job.answers[name, item.id]
            text = visible(job.task, answer).text
            sides.append(
                AnswerSide(
                    candidate=name,
                    text=text,
                    sha256=text_sha256(text),
                    captures=captured(job.task, text, job.pattern_timeout),
                    checks=tuple(check.score(text, {}, None, item.asked_input()).value for check in checks),
                    modes=modes_of(job.task, item, answer, text),
                )
            )
        found.append(Pair(item.id, item.text(), sides[0], sides[1], item.source in bound))
    return found


def modes_of(task: Task, item: GoldenInput, answer: Answer, text: str) -> tuple[str, ...]:
    """The codes of what is wrong with an answer whatever was asked."""
    seen = SeenAnswer(
        input_id=item.id,
        repeat=answer.repeat,
        text=text,
        system=task.system,
        asked=item.text(),
        thinking=answer.thinking,
        finish=answer.finish,
        fault=fault_of(task, answer),
        thinking_asked=(answer.asked_thinking or task.thinking) == "on",
        completion_tokens=answer.completion_tokens,
    )
    return tuple(mode.code for mode in find(seen) if mode.code in OBVIOUS)
