"""How long what is queued of an experiment still takes, by what its own jobs have taken so far.

One after the other, as on one GPU; what others have in the queue is not counted.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.experiments.measured import ExperimentRuns
from core.store.experiments import BakeoffBlock, StoredRun
from core.store.jobs import ACTIVE, ENDED, JobRow


@dataclass(frozen=True)
class ExperimentTimeLeft:
    """`seconds` of the jobs of which it is known; `unknown` counts the others, so that it takes longer than that."""

    seconds: float
    unknown: int


def time_left(found: ExperimentRuns) -> ExperimentTimeLeft:
    """Of all jobs that have not ended.

    A run takes what those of its arm took in the same role, at the same task before others. A bake-off behind the first block
    takes what those of its task took without the untrained models, whose answers are given once. Of jobs that were started
    more than once only the first attempts of others count: a pause between two attempts is no work.
    """
    took: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for run in found.runs:
        if (seconds := _seconds(found.job(run))) is not None and not found.job(run).is_censored:
            for key in _keys(run):
                took[key].append(seconds)
    for bakeoff in found.bakeoffs:
        if (seconds := _seconds(found.job(bakeoff))) is not None:
            for key in _bakeoff_keys(bakeoff):
                took[key].append(_of_tuned(seconds, found.job(bakeoff)) if bakeoff.block == 1 else seconds)
    left = [_left(found.job(run), _known(took, _keys(run))) for run in found.runs]
    left += [_left(found.job(one), _known(took, _bakeoff_keys(one))) for one in found.bakeoffs]
    return ExperimentTimeLeft(sum(one for one in left if one is not None), left.count(None))


def _keys(run: StoredRun) -> Sequence[tuple[Any, ...]]:
    """The runs that take as long, the most alike first."""
    return (run.role, run.arm_key, run.task), (run.role, run.arm_key)


def _bakeoff_keys(one: BakeoffBlock) -> Sequence[tuple[Any, ...]]:
    return (("bakeoff", one.task),)


def _known(took: Mapping[tuple[Any, ...], Sequence[float]], keys: Sequence[tuple[Any, ...]]) -> float | None:
    return next((statistics.median(took[key]) for key in keys if took.get(key)), None)


def _seconds(job: JobRow) -> float | None:
    """Of a job that was done at its first attempt."""
    if job.state != "done" or job.attempt != 1 or job.started_at is None or job.ended_at is None:
        return None
    return job.ended_at - job.started_at


def _of_tuned(seconds: float, job: JobRow) -> float:
    """The part of a bake-off that was spent on what is tuned, by the answers of each candidate."""
    every = tuned = 0.0
    for one in ((job.result or {}).get("summary") or {}).get("candidates", ()):
        spent = (one.get("seconds_per_answer") or 0.0) * (one.get("answers") or 0)
        every += spent
        tuned += spent if one.get("ref") is not None else 0.0
    return seconds * tuned / every if every else seconds


def _left(job: JobRow, expected: float | None) -> float | None:
    """Of one job; None where it is not known."""
    if job.state in ENDED:
        return 0.0
    if expected is None:
        return None
    share = (job.progress.fraction if job.progress is not None and job.state in ACTIVE else None) or 0.0
    return expected * (1 - share)
