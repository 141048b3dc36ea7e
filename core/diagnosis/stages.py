"""At which stage of a lineage scores are lost: adapter, merged model, GGUF file, quantised file, one against the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from core.bakeoff.leaderboard import Leaderboard, scores_of_board
from core.diagnosis.asked import job_of
from core.diagnosis.causes import Cause, Certainty, Evidence
from core.diagnosis.lineage import Lineage, Link
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.quantize import QuantizeSpec
from core.reasons import Reason, Value
from core.statistics.paired import ALPHA, Paired, differences, t_interval

LEAST_LOSS = 0.03
"""Of a score in [0, 1]: less is nothing that a person would look for a cause of."""
LARGE_LOSS = 0.1
LEAST_INPUTS = 4


@dataclass(frozen=True)
class StageScore:
    """What a candidate of a lineage scored in one bake-off. `job` made it, None of the base; `stage` is its form."""

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

    def to_json(self) -> dict[str, Any]:
        return {
            "bakeoff": self.bakeoff,
            "task": self.task,
            "candidate": self.candidate,
            "stage": self.stage,
            "job": self.job,
            "score": self.score,
            "interval": [self.low, self.high],
        }


def stage_scores(
    lineage: Lineage, link: Link, spec: BakeoffSpec, boards: Mapping[str, Leaderboard]
) -> Iterator[StageScore]:
    """Of every candidate that is asked as its task says and belongs to the lineage, and of the bases of these."""
    goldens = {one.name: one.golden.sha256 for one in spec.tasks}
    for task, board in boards.items():
        rows = {row.name: row for row in board.rows}
        for candidate in spec.candidates:
            row = rows.get(candidate.name)
            if row is not None and candidate.variant.is_plain and _belongs(lineage, candidate):
                job = job_of(candidate)
                trained = None if job is None else lineage.training_of(job)
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
                )


def stage_causes(lineage: Lineage, link: Link, spec: BakeoffSpec, boards: Mapping[str, Leaderboard]) -> Iterator[Cause]:
    """Where a candidate of one bake-off scores below the stage before it, on the same inputs."""
    for board in boards.values():
        pairs = list(_pairs(lineage, spec, board))
        for before, candidate in pairs:
            yield from _compared(lineage, link, board, before, candidate, len(pairs))


def _pairs(lineage: Lineage, spec: BakeoffSpec, board: Leaderboard) -> Iterator[tuple[CandidateSpec, CandidateSpec]]:
    """(stage before, stage) of the candidates that a task's training led to; before the first stage comes the base."""
    there = {row.name for row in board.rows if not row.curtailed}
    plain = [one for one in spec.candidates if one.variant.is_plain and one.name in there]
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


def _compared(
    lineage: Lineage, link: Link, board: Leaderboard, before: CandidateSpec, candidate: CandidateSpec, pairs: int
) -> Iterator[Cause]:
    scores = scores_of_board(board)
    part, job = board.parts[0], job_of(candidate)
    paired = differences(scores[candidate.name].means(part), scores[before.name].means(part), board.cluster_of)
    if paired is None or paired.inputs < LEAST_INPUTS or job is None:
        return
    means = {one: scores[one].mean(part) for one in (before.name, candidate.name)}
    figures = tuple(
        Evidence(link.id, "scores", name, None if mean is None else round(mean, 4)) for name, mean in means.items()
    )
    if before.form == "base":
        if paired.mean <= 0:
            # Of a later stage alone nobody knows whether the training or what came behind it is at fault.
            code, told = ("no_gain", "likely") if candidate.form == "adapter" else ("behind_base", "possible")
            values: dict[str, Value] = {"difference": paired.mean, "stage": _stage(lineage, candidate)}
            yield Cause(Reason(code, values), cast(Certainty, told), job, figures)
        return
    sure = how_sure(paired, pairs)
    if sure is not None:
        values = {
            "before": _stage(lineage, before),
            "after": _stage(lineage, candidate),
            "difference": paired.mean,
        }
        yield Cause(Reason("loss_at_stage", values), sure, job, figures)


def how_sure(paired: Paired, pairs: int = 1) -> Certainty | None:
    """Whether a difference is a loss: its interval lies below 0, or every input says the same; else a large one may be.

    `pairs` is how many stages the bake-off compares: by Bonferroni's correction at most one bake-off in twenty shows a loss
    where there is none.
    """
    interval = t_interval(paired, 1 - ALPHA / pairs)
    below = interval.high is not None and interval.high < 0
    if paired.mean <= -LEAST_LOSS and (below or (paired.all_equal and paired.n >= LEAST_INPUTS)):
        return "shown"
    return "possible" if paired.mean <= -LARGE_LOSS else None


def _belongs(lineage: Lineage, candidate: CandidateSpec) -> bool:
    if candidate.form == "base" and candidate.model is not None:
        return candidate.model.name in {spec.model.name for _, spec in lineage.trainings}
    return job_of(candidate) in lineage.by_id


def _stage(lineage: Lineage, candidate: CandidateSpec) -> str:
    """`base`, `adapter`, `merged`, `LoRA` on a GGUF base, or what is in a GGUF file (`F16`, `Q8_0`)."""
    if candidate.lora is not None:
        return "LoRA"
    made_by = lineage.by_id.get(job_of(candidate) or 0)
    if made_by is not None and isinstance(made_by.spec, QuantizeSpec):
        return made_by.spec.quantization
    if made_by is not None and isinstance(made_by.spec, ConvertSpec):
        return made_by.spec.format.upper()
    return "lora" if candidate.lora is not None else candidate.form
