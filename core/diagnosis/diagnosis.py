"""What went wrong with a model, from what is on record: symptoms joined to causes, what was ruled out, what to try next."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from core.diagnosis.asked import asked_causes, count_causes, job_of, limit_causes
from core.diagnosis.causes import CERTAINTIES, CONSEQUENCES, Cause
from core.diagnosis.deployments import resolved, served_causes
from core.diagnosis.lineage import Lineage, Link, read_lineage
from core.diagnosis.next_test import NextTest, next_tests
from core.diagnosis.prompt_causes import file_causes, parity_causes, proved_jobs
from core.diagnosis.stages import StageScore, across_bakeoffs, stage_causes, stage_scores, stage_tables
from core.diagnosis.symptoms import Symptom, find_symptoms
from core.diagnosis.training_causes import training_causes
from core.errors import BakehouseError
from core.failure_modes import SeenAnswer
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.parity.blocking import ROOTS
from core.parity.comparison import CAUSES
from core.results.load import StoredBakeoff, StoredTask, load_bakeoff
from core.scoring.answers import Answer
from core.scoring.scorer import fault_of, visible
from core.scoring.seen_answers import asked_candidates

INSTEAD: Mapping[str, tuple[str, ...]] = {
    "template_differs": (
        *("file_without_template", "training_marks", "no_template", "other_template", "thinking_differs"),
        *("doubled_bos", "added_bos", "lost_bos"),
        *(
            "system_dropped",
            "system_twice",
            "default_system_differs",
            "system_moved",
            "render_refused",
            "whitespace_differs",
            "trailing_whitespace",
            "text_differs",
        ),
    ),
    "no_template": ("file_without_template",),
    "default_system_differs": ("file_without_template",),
    "system_dropped": ("no_template",),
    "prompt_count": ("doubled_bos", "added_bos", "lost_bos", "added_eos", "tokens_differ", "system_dropped"),
}
"""A cause says nothing more where one of these is known of the same file: they are what it is about."""


@dataclass(frozen=True)
class SymptomsOf:
    """What is wrong with the answers of a candidate to a task in one bake-off. `job` made the candidate, None of a base."""

    bakeoff: int
    task: str
    candidate: str
    job: int | None
    symptoms: tuple[Symptom, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "bakeoff": self.bakeoff,
            "task": self.task,
            "candidate": self.candidate,
            "job": self.job,
            "symptoms": [one.to_json() for one in self.symptoms],
        }


@dataclass(frozen=True)
class Diagnosis:
    """Causes are the surest first, then in the order of the lineage. `passed` are the jobs whose GGUF file gets the trained
    prompts, as a check has shown; `failed` those that ended without what they were to make."""

    lineage: Lineage
    symptoms: tuple[SymptomsOf, ...]
    causes: tuple[Cause, ...]
    scores: tuple[StageScore, ...]
    passed: tuple[int, ...]
    tests: tuple[NextTest, ...]

    @property
    def failed(self) -> tuple[Link, ...]:
        return tuple(link for link in self.lineage.links if link.job.state == "failed")

    @property
    def unexplained(self) -> tuple[str, ...]:
        """The codes of symptoms that no cause on record can have; those of base models are their own."""
        explained = {code for cause in self.causes for code in cause.explains}
        seen = (one.code for of in self.symptoms if of.job is not None for one in of.symptoms)
        return tuple(dict.fromkeys(code for code in seen if code not in explained))

    def to_json(self) -> dict[str, Any]:
        return {
            "job": self.lineage.asked.id,
            "lineage": [
                {"job": one.id, "kind": one.job.kind, "title": one.job.title, "state": one.job.state}
                for one in self.lineage.links
            ],
            "symptoms": [one.to_json() for one in self.symptoms],
            "causes": [one.to_json() for one in self.causes],
            "unexplained": list(self.unexplained),
            "prompts_proved": list(self.passed),
            "scores": [one.to_json() for one in self.scores],
            "tests": [one.to_json() for one in self.tests],
        }


def diagnose(home: Home, connection: sqlite3.Connection, job_id: int) -> Diagnosis:
    """What the records of a job's lineage say.

    Raises `NotFoundError` for an unknown job, `InputError` for one whose job file is gone.
    """
    lineage = read_lineage(home, connection, job_id)
    passed = proved_jobs(lineage)
    causes = [*training_causes(lineage), *file_causes(lineage, passed), *parity_causes(lineage)]
    symptoms: list[SymptomsOf] = []
    scores: list[StageScore] = []
    for link, asked in lineage.bakeoffs:
        stored = _loaded(home, connection, link.id)
        measured = next((one.measured for one in stored.tasks), ()) if stored is not None else ()
        spec = resolved(lineage, link, asked, measured)
        causes += asked_causes(lineage, link, spec)
        causes += served_causes(lineage, link, spec, measured)
        if stored is None:
            continue
        tasks = {one.name: one for one in stored.tasks}
        boards = stored.leaderboards()
        symptoms += _symptoms(lineage, link, spec, stored)
        causes += limit_causes(lineage, link, spec, tasks)
        causes += count_causes(lineage, link, spec, tasks, passed)
        tables = stage_tables(lineage, spec, boards, tasks)
        causes += stage_causes(lineage, link, spec, boards, tables)
        scores += stage_scores(lineage, link, spec, boards, tables)
    causes += across_bakeoffs(lineage, scores)
    kept = chosen(lineage, causes, symptoms)
    ill = {one.job for one in symptoms if one.job is not None and one.symptoms}
    ill |= {cause.job for cause in kept if cause.code in ("loss_at_stage", "no_gain", "behind_base")}
    return Diagnosis(
        lineage,
        tuple(symptoms),
        kept,
        tuple(scores),
        tuple(sorted(passed)),
        next_tests(lineage, kept, scores, ill, passed),
    )


def chosen(lineage: Lineage, causes: Iterable[Cause], symptoms: Sequence[SymptomsOf]) -> tuple[Cause, ...]:
    """Each cause of a job once, as sure as any record makes it, with all figures; without those that say less than another, and
    without what came in at a job before: a quantised file has the header of the one that it was made from.

    The surest stand first, of these what explains a symptom before what does not, and last what only follows from something.
    One that is only possible is left out unless there is something that it explains: a symptom, a loss between two stages, or
    prompts of another length than the trained ones.
    """
    merged: dict[tuple[str, int], Cause] = {}
    for cause in causes:
        key = (cause.code, cause.job)
        former = merged.get(key)
        if former is None:
            merged[key] = cause
            continue
        surer, other = sorted((former, cause), key=lambda one: CERTAINTIES.index(one.certainty))
        figures = tuple(dict.fromkeys((*surer.evidence, *other.evidence)))
        merged[key] = replace(surer, evidence=figures)
    shown = {code for of in symptoms if of.job is not None for code in (one.code for one in of.symptoms)}
    lost = any(code == "loss_at_stage" for code, _ in merged)
    known = {job for (code, job), cause in merged.items() if code in (*CAUSES, *ROOTS) and cause.certainty == "shown"}
    found = []
    for (code, job), cause in merged.items():
        if any(_as_sure(merged.get((other, job)), cause) for other in INSTEAD.get(code, ())):
            continue
        before = [link.id for link in lineage.above(job) if link.id != job]
        if cause.certainty != "shown" and code in CAUSES and known & {job, *before}:
            continue  # what a difference of lengths may come of is known
        if code not in CONSEQUENCES and any(_as_sure(merged.get((code, one)), cause) for one in before):
            continue
        counted = ("prompt_tokens_differ", job) in merged
        wanted = not cause.explains or lost or counted or bool(shown & set(cause.explains))
        if cause.certainty != "possible" or wanted:
            found.append(cause)

    def rank(cause: Cause) -> tuple[int, bool, bool, int]:
        explains = bool(shown & set(cause.explains))
        return CERTAINTIES.index(cause.certainty), cause.code in CONSEQUENCES, not explains, cause.job

    return tuple(sorted(found, key=rank))


def _as_sure(former: Cause | None, cause: Cause) -> bool:
    return former is not None and CERTAINTIES.index(former.certainty) <= CERTAINTIES.index(cause.certainty)


def _loaded(home: Home, connection: sqlite3.Connection, job_id: int) -> StoredBakeoff | None:
    try:
        return load_bakeoff(home, connection, job_id)
    except (BakehouseError, OSError):
        return None


def _symptoms(lineage: Lineage, link: Link, spec: BakeoffSpec, stored: StoredBakeoff) -> Iterator[SymptomsOf]:
    """Of every candidate of the lineage; of all of them where the bake-off itself was asked about."""
    for task in stored.tasks:
        given: dict[str, list[Answer]] = {}
        for answer in task.answers:
            if answer.fault != "server":
                given.setdefault(answer.candidate, []).append(answer)
        for candidate in spec.candidates:
            job, answers = job_of(candidate), given.get(candidate.name)
            if not answers or not (job in lineage.by_id or link is lineage.asked):
                continue
            seen = _seen(spec, task, candidate, answers)
            found = find_symptoms(seen, _usual_length(lineage, spec, candidate, given)) if seen else ()
            if found:
                yield SymptomsOf(link.id, task.name, candidate.name, job, found)


def _seen(spec: BakeoffSpec, task: StoredTask, candidate: CandidateSpec, answers: Iterable[Answer]) -> list[SeenAnswer]:
    """Answers as the detectors see them, without those to inputs that are not there any more."""
    under_test = next(one for one in spec.tasks if one.name == task.name)
    asked = asked_candidates(under_test, task.inputs, [candidate])[candidate.name]
    return [
        asked.seen(answer, visible(task.task, answer), fault_of(task.task, answer))
        for answer in answers
        if answer.input_id in asked.inputs
    ]


def _usual_length(
    lineage: Lineage, spec: BakeoffSpec, candidate: CandidateSpec, given: Mapping[str, Sequence[Answer]]
) -> float | None:
    """The median length in tokens of what the other stages of the same training answer, asked in the same way.

    A base model says nothing of that: a tuned one that answers in the task's form is short beside one that rambles.
    """
    trained = lineage.training_of(job_of(candidate) or 0)
    if trained is None:
        return None
    lengths = []
    for other in spec.candidates:
        same = lineage.training_of(job_of(other) or 0)
        if (
            other.name != candidate.name
            and other.variant == candidate.variant
            and same is not None
            and same[0] is trained[0]
        ):
            lengths += [one.completion_tokens for one in given.get(other.name, ()) if one.text.strip()]
    return median(lengths) if lengths else None
