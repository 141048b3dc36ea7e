"""At which stage of a lineage scores are lost: adapter, merged model, GGUF file, quantised file, one against the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.bakeoff.leaderboard import Leaderboard, scores_of_board
from core.bakeoff.stages import Outcome, StageStep, StageTable, stage_table
from core.diagnosis.asked import job_of
from core.diagnosis.causes import Cause, Certainty, Evidence
from core.diagnosis.deployments import is_by_hand
from core.diagnosis.lineage import Lineage, Link
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, Stage
from core.jobfile.convert import ConvertSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.quantize import QuantizeSpec
from core.reasons import Reason, Value
from core.results.load import StoredTask
from core.statistics.comparison import Comparison

LARGE_LOSS = 0.1
"""Of a score in [0, 1]: so much is worth a look where the inputs do not prove it."""
LEAST_INPUTS = 4


@dataclass(frozen=True)
class StageScore:
    """What a candidate of a lineage scored in one bake-off. `job` made it, None of the base; `stage` is its form.

    `outcome` is what may be said of the step from the stage `before`, as the table of stages has it; None where the bake-off
    has no stage before it.
    """

    bakeoff: int
    task: str
    golden: str
    candidate: str
    stage: str
    job: int | None
    score: float | None
    low: float | None
    high: float | None
    training: int | None = None
    before: str | None = None
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "bakeoff": self.bakeoff,
            "task": self.task,
            "candidate": self.candidate,
            "stage": self.stage,
            "job": self.job,
            "score": self.score,
            "interval": [self.low, self.high],
            "before": self.before,
            "outcome": self.outcome,
        }


def stage_scores(
    lineage: Lineage,
    link: Link,
    spec: BakeoffSpec,
    boards: Mapping[str, Leaderboard],
    tables: Mapping[str, StageTable],
) -> Iterator[StageScore]:
    """Of every candidate that is asked as its task says and belongs to the lineage, and of the bases of these."""
    goldens = {one.name: one.golden.sha256 for one in spec.tasks}
    for task, board in boards.items():
        rows = {row.name: row for row in board.rows}
        table = tables.get(task)
        for candidate in spec.candidates:
            row = rows.get(candidate.name)
            if row is not None and candidate.variant.is_plain and _belongs(lineage, candidate):
                job = job_of(candidate)
                trained = None if job is None else lineage.training_of(job)
                step = None if table is None else table.step(candidate.name, board.parts[0])
                yield StageScore(
                    bakeoff=link.id,
                    task=task,
                    golden=goldens[task],
                    candidate=candidate.name,
                    stage=_stage(lineage, candidate),
                    job=job,
                    score=row.score,
                    low=row.interval.low,
                    high=row.interval.high,
                    training=None if trained is None else trained[0].id,
                    before=None if step is None else step.before,
                    outcome=None if step is None else step.outcome,
                )


def stage_tables(
    lineage: Lineage, spec: BakeoffSpec, boards: Mapping[str, Leaderboard], tasks: Mapping[str, StoredTask]
) -> dict[str, StageTable]:
    """The table of stages of each task of a bake-off, as `results` makes that of a bake-off over stages: whom a candidate is
    compared with is told by what it was made from."""
    found = {}
    for task, board in boards.items():
        before: dict[str, str] = {}
        stages: dict[str, Stage] = {}
        for earlier, candidate in _pairs(lineage, spec, board):
            before[candidate.name] = earlier.name
            stages |= {one.name: _kind(lineage, one) for one in (earlier, candidate)}
        table = stage_table(board, stages, tasks[task].same_answers, before)
        if table is not None:
            found[task] = table
    return found


def _pairs(lineage: Lineage, spec: BakeoffSpec, board: Leaderboard) -> Iterator[tuple[CandidateSpec, CandidateSpec]]:
    """(stage before, stage) of the candidates that a task's training led to; before the first stage comes the base."""
    there = {row.name for row in board.rows if not row.curtailed}
    plain = [
        one for one in spec.candidates if one.variant.is_plain and one.name in there and not is_by_hand(lineage, one)
    ]
    bases = {one.model.name: one for one in plain if one.form == "base" and one.model is not None}
    by_job = {job: one for one in plain if (job := job_of(one)) is not None}
    for job, candidate in by_job.items():
        trained = lineage.training_of(job)
        if trained is None or trained[1].task.name != board.task:
            continue
        earlier = (by_job[link.id] for link in lineage.above(job) if link.id != job and link.id in by_job)
        before = next(earlier, bases.get(trained[1].model.name))
        if before is not None:
            yield before, candidate


def stage_causes(
    lineage: Lineage, link: Link, spec: BakeoffSpec, boards: Mapping[str, Leaderboard], tables: Mapping[str, StageTable]
) -> Iterator[Cause]:
    """Where a candidate of one bake-off scores below the stage before it, by what the table of stages says of the step."""
    candidates = {one.name: one for one in spec.candidates}
    for task, table in tables.items():
        scores = scores_of_board(boards[task])
        for step in table.steps:
            one, names = step.comparison, (step.before, step.stage)
            found = None if one is None else _of_step(lineage, step, one, *(candidates[name] for name in names))
            job = job_of(candidates[step.stage])
            if found is not None and job is not None:
                means = {name: scores[name].mean(step.part) for name in names}
                figures = tuple(
                    Evidence(link.id, f"{step.part} scores", name, None if mean is None else round(mean, 4))
                    for name, mean in means.items()
                )
                yield Cause(*found, job, figures)


def _of_step(
    lineage: Lineage, step: StageStep, one: Comparison, before: CandidateSpec, candidate: CandidateSpec
) -> tuple[Reason, Certainty] | None:
    """The cause that a step shows, and how sure; None of a step that loses nothing, or of which the inputs do not tell a loss
    that is worth a look."""
    values: dict[str, Value] = {"difference": one.difference}
    if step.is_training:
        if one.difference > 0 or one.inputs < LEAST_INPUTS:
            return None
        values["stage"] = _stage(lineage, candidate)
        if candidate.form == "adapter":
            return Reason("no_gain", values), "shown" if step.outcome in ("loss", "same_answers") else "likely"
        # Of a later stage alone nobody knows whether the training or what came behind it is at fault.
        return Reason("behind_base", values), "shown" if step.outcome == "loss" else "possible"
    values |= {"before": _stage(lineage, before), "after": _stage(lineage, candidate)}
    if step.outcome == "loss":
        return Reason("loss_at_stage", values), "shown"
    large = step.outcome == "cannot_tell" and one.difference <= -LARGE_LOSS and one.inputs >= LEAST_INPUTS
    return (Reason("loss_at_stage", values), "possible") if large else None


def across_bakeoffs(lineage: Lineage, scores: Sequence[StageScore]) -> Iterator[Cause]:
    """The same of stages that were never in one bake-off, where both were asked the same inputs and their intervals part."""
    told = set()
    for now in scores:
        before = _nearest(lineage, scores, now)
        if before is None or now.job is None or (before.job, now.job) in told:
            continue
        told.add((before.job, now.job))
        lost = None if now.score is None or before.score is None else now.score - before.score
        if lost is None or lost > -LARGE_LOSS or now.high is None or before.low is None or now.high >= before.low:
            continue
        figures = tuple(
            Evidence(one.bakeoff, "scores", one.candidate, round(one.score or 0.0, 4)) for one in (before, now)
        )
        values: dict[str, Value] = {"before": before.stage, "after": now.stage, "difference": lost}
        yield Cause(Reason("loss_at_stage", values), "likely", now.job, figures)


def _nearest(lineage: Lineage, scores: Sequence[StageScore], now: StageScore) -> StageScore | None:
    """The newest score of the stage before, of those that were asked the same; None where one bake-off has both."""
    for link in lineage.above(now.job or 0):
        asked = (now.task, now.golden)
        earlier = [one for one in scores if one.job == link.id != now.job and (one.task, one.golden) == asked]
        if earlier:
            own = {one.bakeoff for one in scores if one.job == now.job}
            return None if any(one.bakeoff in own for one in earlier) else max(earlier, key=lambda one: one.bakeoff)
    return None


def _belongs(lineage: Lineage, candidate: CandidateSpec) -> bool:
    if candidate.form == "base" and candidate.model is not None:
        return candidate.model.name in {spec.model.name for _, spec in lineage.trainings}
    return job_of(candidate) in lineage.by_id


def _kind(lineage: Lineage, candidate: CandidateSpec) -> Stage:
    if candidate.form in ("base", "adapter", "merged"):
        return Stage(kind=candidate.form)
    told = _stage(lineage, candidate)
    return Stage(kind="lora") if candidate.lora is not None else Stage(kind="gguf", format=told)


def _stage(lineage: Lineage, candidate: CandidateSpec) -> str:
    """`base`, `adapter`, `merged`, `LoRA` on a GGUF base, or what is in a GGUF file (`F16`, `Q8_0`)."""
    if candidate.lora is not None:
        return "LoRA"
    made_by = lineage.by_id.get(job_of(candidate) or 0)
    if made_by is not None and isinstance(made_by.spec, QuantizeSpec):
        return made_by.spec.quantization
    if made_by is not None and isinstance(made_by.spec, ConvertSpec):
        return made_by.spec.format.upper()
    return "served" if made_by is not None and isinstance(made_by.spec, DeploySpec) else candidate.form
