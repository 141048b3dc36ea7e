"""What is measured of an experiment at one task, out of the store: the evidence that an answer is made of.

Scores are those of the newest bake-off of the task that is done, and of its newest scoring. What a training took is in its
result and in what its attempts did to the GPU.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.config.experiment import Experiment
from core.experiments.evidence import ArmEnd, ArmEvidence, TaskEvidence
from core.experiments.named import as_asked
from core.experiments.run_figures import base_parameters, run_cost
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.references import parse_reference
from core.results.load import StoredBakeoff, load_bakeoff
from core.scoring.scorer import Part
from core.statistics.seed_scores import SeedScores, seed_scores
from core.store.experiments import (
    BakeoffBlock,
    StoredArm,
    StoredExperiment,
    StoredRun,
    TrialRace,
    bakeoffs_of,
    races_of,
    runs_of,
)
from core.store.jobs import ENDED, JobRow, jobs_by_id

PARTS: tuple[Part, ...] = ("format", "content")
"""In the order in which they decide who wins."""
Seed = int


@dataclass(frozen=True)
class ExperimentRuns:
    """The runs of an experiment with their jobs, its bake-offs and its races, oldest first."""

    stored: StoredExperiment
    experiment: Experiment
    runs: tuple[StoredRun, ...]
    bakeoffs: tuple[BakeoffBlock, ...]
    jobs: Mapping[int, JobRow]
    races: tuple[TrialRace, ...] = ()

    def job(self, run: StoredRun | BakeoffBlock | TrialRace) -> JobRow:
        return self.jobs[run.job_id]

    def of(self, task: str, arm: str) -> Sequence[StoredRun]:
        """The runs of an arm at a task."""
        return self._by_arm.get((task, arm), ())

    @cached_property
    def _by_arm(self) -> dict[tuple[str, str], list[StoredRun]]:
        found: dict[tuple[str, str], list[StoredRun]] = {}
        for run in self.runs:
            found.setdefault((run.task, run.arm_key), []).append(run)
        return found

    def counting(self, task: str) -> BakeoffBlock | None:
        """The bake-off whose scores count: the newest that is done, None before there is one."""
        done = [one for one in self.bakeoffs if one.task == task and self.jobs[one.job_id].state == "done"]
        return done[-1] if done else None

    def arms(self, task: str) -> list[StoredArm]:
        """The arms that have runs at a task, in their order."""
        have = {run.arm_key for run in self.runs if run.task == task}
        return sorted((arm for arm in self.stored.arms if arm.key in have), key=lambda arm: arm.place)


def read_runs(connection: sqlite3.Connection, stored: StoredExperiment) -> ExperimentRuns:
    """All that is queued of an experiment."""
    runs, bakeoffs = runs_of(connection, stored.id), bakeoffs_of(connection, stored.id)
    races = races_of(connection, stored.id)
    listed: list[StoredRun | BakeoffBlock | TrialRace] = [*runs, *bakeoffs, *races]
    jobs = jobs_by_id(connection, [one.job_id for one in listed])
    # What was removed between these two looks is gone from both.
    return ExperimentRuns(
        stored,
        as_asked(stored),
        tuple(run for run in runs if run.job_id in jobs),
        tuple(one for one in bakeoffs if one.job_id in jobs),
        jobs,
        tuple(one for one in races if one.job_id in jobs),
    )


def read_evidence(home: Home, connection: sqlite3.Connection, found: ExperimentRuns, task: str) -> TaskEvidence:
    """What is known at one task of the experiment. Raises `InputError` where files of its bake-off are gone."""
    counting = found.counting(task)
    bakeoff = None if counting is None else load_bakeoff(home, connection, counting.job_id)
    blocks, sizes = len(found.experiment.seed_list), _sizes(home, found, task)
    if bakeoff is None:
        arms = tuple(_arm(connection, found, task, arm, {}, {}, sizes) for arm in found.arms(task))
        return TaskEvidence(task, PARTS, 0.0, {}, arms, {}, 0, blocks)
    board = bakeoff.task(task)
    parts = tuple(part for part in PARTS if getattr(board.task, part))
    cluster_of = {item.id: item.cluster for item in board.inputs}
    rows = _rows(bakeoff, task, parts)
    of_run, of_model = _who(found, bakeoff.spec.candidates)
    tuned = {key: rows[name] for key, name in of_run.items() if name in rows}
    arms = tuple(_arm(connection, found, task, arm, tuned, cluster_of, sizes) for arm in found.arms(task))
    untrained = {
        model: {part: seed_scores(name, [by_input], cluster_of, seeded=False) for part, by_input in rows[name].items()}
        for model, name in of_model.items()
        if name in rows
    }
    assert counting is not None  # it was loaded
    return TaskEvidence(task, parts, board.task.margin, cluster_of, arms, untrained, counting.block, blocks)


Rows = Mapping[Part, Mapping[str, float]]
"""The mean score of each input by part."""


def _rows(bakeoff: StoredBakeoff, task: str, parts: Sequence[Part]) -> dict[str, Rows]:
    """By candidate."""
    board = bakeoff.task(task)
    return {
        name: {part: scored.means(part) for part in parts}
        for name, scored in board.scored.by_candidate.items()
        if name not in board.curtailed
    }


def _who(
    found: ExperimentRuns, candidates: Iterable[CandidateSpec]
) -> tuple[dict[tuple[str, Seed], str], dict[str, str]]:
    """Which candidate is which arm and seed, and which is which untrained model."""
    runs = {run.job_id: run for run in found.runs}
    of_run: dict[tuple[str, Seed], str] = {}
    of_model: dict[str, str] = {}
    models = sorted({str(arm.definition["model"]) for arm in found.stored.arms}, key=len, reverse=True)
    for one in candidates:
        made = parse_reference(one.made_ref)
        run = None if made is None else runs.get(made.job_id)
        if run is not None:
            of_run[run.arm_key, run.seed] = one.name
        elif one.form == "base" and one.model is not None:
            of_model.setdefault(one.model.name, one.name)
        else:
            # An untrained model as a GGUF file is named by its model.
            model = next((name for name in models if one.name.startswith(f"{name} base")), None)
            if model is not None:
                of_model.setdefault(model, one.name)
    return of_run, of_model


def _sizes(home: Home, found: ExperimentRuns, task: str) -> dict[str, int | None]:
    """Parameters by model. A job file takes long to read: one of each model is, and none more."""
    sizes: dict[str, int | None] = {}
    for arm in found.arms(task):
        model = str(arm.definition["model"])
        job = next((found.job(run) for run in found.of(task, arm.key) if run.role == "final"), None)
        if job is not None and sizes.get(model) is None:
            sizes[model] = base_parameters(home, job)
    return sizes


def _arm(
    connection: sqlite3.Connection,
    found: ExperimentRuns,
    task: str,
    arm: StoredArm,
    tuned: Mapping[tuple[str, Seed], Rows],
    cluster_of: Mapping[str, str],
    sizes: Mapping[str, int | None],
) -> ArmEvidence:
    runs = found.of(task, arm.key)
    finals = [run for run in runs if run.role == "final"]
    seeds = tuple(run.seed for run in finals if (arm.key, run.seed) in tuned)
    trained = [run for run in finals if found.job(run).state == "done" and not found.job(run).is_censored]
    summaries = [(found.job(run).result or {}).get("summary") or {} for run in trained]
    trainable = next((one["trainable_parameters"] for one in summaries if one.get("trainable_parameters")), None)
    used: Mapping[str, Any] = next((one["recipe_used"] for one in summaries if one.get("recipe_used")), {})
    weights = str(arm.definition["weights"])
    return ArmEvidence(
        key=arm.key,
        name=arm.name,
        model=str(arm.definition["model"]),
        weights=used.get("dtype", weights) if weights == "auto" else weights,
        place=arm.place,
        values=arm.definition["values"],
        end=arm_end([found.job(run) for run in finals], [found.job(run) for run in runs], len(seeds)),
        scores=_seed_scores(arm, seeds, tuned, cluster_of),
        seeds=seeds,
        costs=tuple(run_cost(connection, run.seed, found.job(run)) for run in trained),
        learning_rate=used.get("lr"),
        held_out=_held_out([found.job(run) for run in finals]),
        parameters=sizes.get(str(arm.definition["model"])),
        trainable=trainable,
    )


def arm_end(finals: Sequence[JobRow], jobs: Sequence[JobRow], scored: int) -> ArmEnd:
    """What became of an arm with these trainings, of which so many have scores; `jobs` are all jobs of its runs."""
    if scored:
        return "measured" if scored == len(finals) else "partly"
    if any(job.is_censored for job in finals):
        return "censored"
    if any(job.state not in ENDED for job in jobs) or all(job.state == "done" for job in jobs):
        return "waiting"  # of what is done the bake-off is to come
    return "failed"


def _seed_scores(
    arm: StoredArm, seeds: Sequence[Seed], tuned: Mapping[tuple[str, Seed], Rows], cluster_of: Mapping[str, str]
) -> dict[Part, SeedScores]:
    if not seeds:
        return {}
    rows = [tuned[arm.key, seed] for seed in seeds]
    return {part: seed_scores(arm.name, [row[part] for row in rows], cluster_of) for part in rows[0]}


def _held_out(finals: Sequence[JobRow]) -> float | None:
    """Bits a byte of the arm's best trial, as its trainings noted them when they chose or were left out."""
    for job in finals:
        summary = (job.result or {}).get("summary") or {}
        noted = summary.get("choice") or summary.get("censored") or {}
        bits = [trial["bits_per_byte"] for trial in noted.get("trials", ()) if trial["bits_per_byte"] is not None]
        if bits:
            return float(min(bits))
    return None
