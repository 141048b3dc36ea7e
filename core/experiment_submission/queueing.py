"""Queueing an experiment: every run that is missing, and a bake-off behind each block of seeds, all in one transaction.

Nothing controls an experiment while it runs: what waits for what stands in the queue, and a job reads for itself what it needs
of others. So an experiment that is asked for again, by whoever, finds what is there and queues the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.config.project import Project
from core.experiment_submission.bakeoffs import AskedArms, covers, measured_as, training_of
from core.experiment_submission.plan import BEHIND, ExperimentPlan, revived
from core.experiment_submission.race import Races
from core.experiments.arms import CONVERTED, Arm, ArmRun
from core.home import Home
from core.jobfile.convert import ConvertSpec, GgufFormat
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import Quantization, QuantizeSpec
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec, TrialChoice, TrialRef
from core.models.llama_cpp import LlamaCpp
from core.store.experiments import (
    BakeoffBlock,
    RunRole,
    StoredArm,
    StoredExperiment,
    StoredRun,
    TrialRace,
    bakeoffs_of,
    forget_run,
    get_experiment,
    lacking_jobs,
    put_arms,
    put_bakeoff,
    put_experiment,
    put_run,
    runs_of,
    stopped_finals,
)
from core.store.jobs import JobRow, get_job
from core.submission.enqueue import ChainWriting, insert_behind_pulls, writing_chains
from core.submission.served_as import served_as, to_serve

MERGED_IN: dict[str, tuple[str, GgufFormat]] = {"F16": ("fp16", "f16"), "F32": ("fp32", "f32")}
"""What an adapter is merged in and its model converted to, by what is measured; bf16 for all else."""


@dataclass(frozen=True)
class QueuedExperiment:
    """`runs`, `races` and `bakeoffs` are what was queued now, with their jobs; `lacking` are jobs of the experiment that have
    ended without being done, and `remarks` what a person should know of bake-offs and races."""

    experiment: StoredExperiment
    runs: tuple[StoredRun, ...]
    bakeoffs: tuple[BakeoffBlock, ...]
    lacking: tuple[JobRow, ...]
    remarks: tuple[str, ...] = ()
    races: tuple[TrialRace, ...] = ()


def submit_experiment(home: Home, project: Project, plan: ExperimentPlan, *, author: str) -> QueuedExperiment:
    """Queue what is missing of an experiment, all of it or nothing.

    What another asker has queued since the plan was made is not queued twice. A runner lives afterwards, also where nothing was
    missing: one that was killed would leave for ever what is queued already. Raises `InputError` where a tool of llama.cpp is
    missing, and what a bake-off's submission raises.
    """
    asking = AskedArms(home, project, plan)
    asking.look_ahead()
    making = _Making(home, project, plan)
    with writing_chains(home, project, author=author) as writing:
        return _Queueing(writing, plan, asking, making).all()


class _Making:
    """What is needed to make GGUF files of adapters, found before the database is locked."""

    def __init__(self, home: Home, project: Project, plan: ExperimentPlan) -> None:
        self.measure = plan.experiment.measure
        self.converter = self.quantizer = ""
        self.served: dict[tuple[str, str], ServedAs] = {}
        if self.measure == "adapter":
            return
        tools = LlamaCpp.find(project.settings.llama_cpp.folder)
        tools.require("llama-server")
        self.converter = str(tools.require("converter"))
        if self.measure not in CONVERTED:
            self.quantizer = str(tools.require("llama-quantize"))
        for run in plan.missing:
            if run.role in BEHIND and (run.task, run.arm.key) not in self.served:
                spec = training_of(plan, run.task, run.arm)
                self.served[run.task, run.arm.key] = served_as(project, run.task, spec.model, spec)

    def spec(self, plan: ExperimentPlan, run: ArmRun, source: int) -> Spec:
        """What makes the next step of `source`, the job of the step before."""
        model = plan.models[run.arm.model]
        dtype, written = MERGED_IN.get(self.measure, ("bf16", "bf16"))
        match run.role:
            case "merge":
                return MergeSpec.model_validate(
                    {"adapter": f"job:{source}", "model": model, "dtype": dtype, "task": run.task}
                )
            case "convert":
                made: Spec = ConvertSpec(
                    model=model,
                    source=f"job:{source}/merged",
                    format=written,
                    converter=self.converter,
                    task=run.task,
                )
            case _:
                quantization: Quantization = self.measure  # type: ignore[assignment]
                made = QuantizeSpec(
                    source=f"job:{source}/gguf",
                    quantization=quantization,
                    program=self.quantizer,
                    model=model,
                    task=run.task,
                    tuned=True,
                )
        return to_serve(made, self.served.get((run.task, run.arm.key), ServedAs()))


class _Queueing:
    """One submission, in the transaction that is open."""

    def __init__(self, writing: ChainWriting, plan: ExperimentPlan, asking: AskedArms, making: _Making) -> None:
        self.writing, self.plan, self.asking, self.making = writing, plan, asking, making
        self.connection = writing.place.connection
        self.experiment_id = self._put()
        self.there = {run.key: run for run in runs_of(self.connection, self.experiment_id)}
        self.trials: dict[tuple[str, str], list[StoredRun]] = {}
        self.finals: dict[tuple[str, str], list[StoredRun]] = {}
        for run in self.there.values():
            self._note(run)
        race = plan.experiment.race
        stopped = stopped_finals(self.connection, self.experiment_id)
        self.revived = revived(stopped, None if race is None else race.keep)
        self.stopped = {run.job_id for run in stopped}
        self.races = Races(writing.place.home, self.connection, plan, self.experiment_id, self._insert)
        self._races: dict[str, int] = {}
        self._refs: dict[tuple[str, str], list[TrialRef]] = {}
        self.queued: list[StoredRun] = []
        self.bakeoffs: list[BakeoffBlock] = []

    def all(self) -> QueuedExperiment:
        """Queue the trials, then block by block the trainings and the bake-off that covers all blocks so far."""
        experiment, missing = self.plan.experiment, self.plan.missing
        for run in missing:
            if run.role == "trial":
                self._run(run)
        for block, seed in enumerate(experiment.seed_list, 1):
            for task in experiment.tasks:
                new = [run for run in missing if run.role != "trial" and (run.task, run.seed) == (task, seed)]
                came = [self._run(run) for run in new]
                if any(came):
                    self._bakeoff(task, block)
        for task in experiment.tasks:
            self._cover(task)
        remarks = self.races.tell_rule()
        stored = get_experiment(self.connection, self.experiment_id)
        lacking = tuple(
            get_job(self.connection, number) for number in lacking_jobs(self.connection, self.experiment_id)
        )
        return QueuedExperiment(
            stored,
            tuple(self.queued),
            tuple(self.bakeoffs),
            lacking,
            (*self.asking.remarks, *remarks),
            tuple(self.races.queued),
        )

    def _put(self) -> int:
        plan, place = self.plan, self.writing.place
        former = {} if plan.known is None else plan.known.definition
        data = {**former.get("data", {}), **{name: one.fingerprint for name, one in plan.tasks.items()}}
        experiment_id = put_experiment(
            self.connection,
            name=plan.experiment.name,
            project_id=place.project.id,
            kind=plan.kind,
            definition={
                "experiment": plan.experiment.model_dump(mode="json"),
                "data": data,
                "about": dict(plan.about or former.get("about", {})),
            },
            author=place.author,
        )
        put_arms(
            self.connection, experiment_id, [_stored(arm, place) for place, arm in enumerate(plan.expansion.arms, 1)]
        )
        return experiment_id

    def _run(self, run: ArmRun) -> bool:
        """Queue a run behind what it needs, unless somebody has meanwhile; whether it was queued.

        One that a race had stopped, and that goes on by the rule of now, gets another job.
        """
        former = self.there.get(run.key)
        if former is not None:
            if run.role == "trial" or run.place not in self.revived:
                return False
            forget_run(self.connection, self.experiment_id, former)
        if run.role in BEHIND:
            before = self.there[run.task, run.arm.key, _step_before(run), run.seed, None]
            spec = self.making.spec(self.plan, run, before.job_id)
        else:
            spec = self.plan.spec_of(run)
            if run.role == "final" and run.arm.learning_rates:
                spec = self._choosing(run, spec)
        job_id = self._insert(spec)
        stored = StoredRun(run.task, run.arm.key, run.role, run.seed, run.lr, job_id)
        put_run(self.connection, self.experiment_id, stored)
        self.there[run.key] = stored
        self._note(stored)
        self.queued.append(stored)
        return True

    def _note(self, run: StoredRun) -> None:
        runs = {"trial": self.trials, "final": self.finals}.get(run.role)
        if runs is not None:
            runs.setdefault((run.task, run.arm_key), []).append(run)

    def _choosing(self, run: ArmRun, spec: TrainSpec) -> TrainSpec:
        """With the trials that it is to choose by, and in a race the job that holds them against those of all arms."""
        race = self.plan.experiment.race
        own = run.task, run.arm.key
        if own not in self._refs:
            self._refs[own] = [
                TrialRef(arm=one.arm_key, job=one.job_id, lr=one.lr)
                for one in self._tried(run.task, run.arm)
                if one.lr is not None
            ]
        finals = self.finals.get(own, ())
        choice = TrialChoice(
            arm=run.arm.key,
            trials=self._refs[own],
            keep=None if race is None else race.keep,
            siblings=sorted(one.job_id for one in finals if one.job_id not in self.stopped),
            race=None if race is None else self._race(run.task),
        )
        return spec.model_copy(update={"choice": choice})

    def _tried(self, task: str, arm: Arm) -> list[StoredRun]:
        """The trials of an arm with the learning rates that the experiment asks about now."""
        found = [one for one in self.trials.get((task, arm.key), ()) if one.lr in arm.learning_rates]
        return sorted(found, key=lambda one: one.job_id)

    def _race(self, task: str) -> int:
        """The job that holds the arms of a task against each other."""
        if task not in self._races:
            tried = {arm.key: self._tried(task, arm) for arm in self.plan.expansion.arms}
            self._races[task] = self.races.job(task, {key: runs for key, runs in tried.items() if runs})
        return self._races[task]

    def _insert(self, spec: Spec) -> int:
        job_id = insert_behind_pulls(self.writing.place, spec)
        self.writing.queued.append(job_id)
        return job_id

    def _bakeoff(self, task: str, block: int) -> None:
        """The bake-off of a task over all that is trained by the end of a block."""
        seeds = self.plan.experiment.seed_list[:block]
        spec = self.asking.spec(self.writing, task, self._measured(task, seeds), self._former(task))
        bakeoff = BakeoffBlock(task, block, self._insert(spec))
        put_bakeoff(self.connection, self.experiment_id, bakeoff)
        self.bakeoffs.append(bakeoff)

    def _cover(self, task: str) -> None:
        """Have a bake-off for what the newest of the last block leaves out: a training that was retried since, say."""
        seeds = self.plan.experiment.seed_list
        measured = self._measured(task, seeds)
        if not measured:
            return
        block = max(seeds.index(run.seed) for _, run in measured) + 1
        if any(one.task == task and one.block >= block for one in self.bakeoffs):
            return
        home, jobs = self.writing.place.home, [run.job_id for _, run in measured]
        if not any(covers(home, self.connection, bakeoff, jobs) for bakeoff in reversed(self._former(task))):
            self._bakeoff(task, block)

    def _measured(self, task: str, seeds: Sequence[int]) -> list[tuple[Arm, StoredRun]]:
        """What is asked of each arm that has a training with one of these seeds."""
        role = measured_as(self.plan.experiment.measure)
        return [
            (arm, run)
            for seed in seeds
            for arm in self.plan.expansion.arms
            if (run := self.there.get((task, arm.key, role, seed, None))) is not None
        ]

    def _former(self, task: str) -> list[int]:
        """The bake-offs of a task so far, whose answers need not be asked for again."""
        return [one.job_id for one in bakeoffs_of(self.connection, self.experiment_id) if one.task == task]


def _stored(arm: Arm, place: int) -> StoredArm:
    return StoredArm(
        arm.key,
        arm.name,
        place,
        {
            "model": arm.model,
            "weights": arm.weights,
            "values": dict(arm.values),
            "recipe": arm.recipe.model_dump(mode="json"),
            "learning_rates": list(arm.learning_rates),
        },
    )


def _step_before(run: ArmRun) -> RunRole:
    steps: dict[RunRole, RunRole] = {"merge": "final", "convert": "merge", "quantize": "convert"}
    return steps[run.role]
