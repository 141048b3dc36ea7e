"""The bake-offs of an experiment: the untrained models and everything that was tuned by the end of a block of seeds."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Sequence

from core.config.project import Project
from core.experiment_submission.plan import ExperimentPlan
from core.experiments.arms import CONVERTED, Arm
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, Variant
from core.jobfile.references import parse_reference
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.models.files import is_usable
from core.own_paths import read_result
from core.store.database import open_database
from core.store.experiments import RunRole, StoredRun
from core.store.jobs import ENDED, get_job
from core.submission.asked_servers import served_facts
from core.submission.bakeoff import check_bakeoff
from core.submission.candidates import named
from core.submission.enqueue import ChainWriter, ChainWriting
from core.submission.few_shot import asked_as_trained
from core.submission.gguf import write_gguf
from core.submission.served_as import served_as
from core.submission.variants import read_variant, split_reference
from core.submission.wanted_bakeoff import WantedBakeoff
from core.submission.wanted_export import WantedGguf


def measured_as(measure: str) -> RunRole:
    """The role of the run whose artefact is asked."""
    if measure == "adapter":
        return "final"
    return "convert" if measure in CONVERTED else "quantize"


def training_of(plan: ExperimentPlan, task: str, arm: Arm) -> TrainSpec:
    """What a training of an arm is told, as far as that decides how what it makes is asked and served."""
    prepared = plan.tasks[task]
    return TrainSpec(task=prepared.task, model=plan.models[arm.model], recipe=arm.recipe, train=prepared.train)


def covers(home: Home, connection: sqlite3.Connection, bakeoff: int, jobs: Collection[int]) -> bool:
    """Whether a bake-off has, or will have, the answers of all that these jobs have made or are to make.

    One that has ended without being done will, once it is retried.
    """
    spec = JobFile.load(home.run_dir(bakeoff)).spec
    if not isinstance(spec, BakeoffSpec):
        return False
    asked = {found.job_id for one in spec.candidates if (found := parse_reference(one.made_ref)) is not None}
    if not asked.issuperset(jobs):
        return False
    if get_job(connection, bakeoff).state != "done":
        return True
    summary = (read_result(home.run_dir(bakeoff)) or {}).get("summary", {})
    left_out: dict[str, int | None] = {one["candidate"]: one["job"] for one in summary.get("left_out", ())}
    makers = set(left_out.values())
    models = [one.model for one in spec.candidates if one.model is not None and left_out.get(one.name, 0) is None]
    return not any(job in makers and _has_something(connection, job) for job in jobs) and not any(
        is_usable(home, model) for model in models
    )


def _has_something(connection: sqlite3.Connection, job_id: int) -> bool:
    """Whether a job that was left out has made something since, or is about to."""
    job = get_job(connection, job_id)
    if job.state not in ENDED:
        return True
    return job.state == "done" and not job.is_censored


class AskedArms:
    """How the bake-offs of one submission are asked. `remarks` are what a person should know of them, each once."""

    def __init__(self, home: Home, project: Project, plan: ExperimentPlan) -> None:
        self.home, self.project, self.plan = home, project, plan
        self.experiment = plan.experiment
        self.remarks: list[str] = []
        self._shots: dict[str, str] = {}
        self._variants: dict[str, Variant] = {}
        self._base_files: dict[str, str] = {}
        self._base_served: dict[str, ServedAs] = {}

    def look_ahead(self) -> None:
        """Find out before the database is locked what servers have to say, and what cannot be asked at all. Raises as
        `check_bakeoff`."""
        if not self.plan.missing:
            return
        with contextlib.closing(open_database(self.home)) as connection:
            for task in dict.fromkeys(run.task for run in self.plan.missing):
                arms = {run.arm.key: run.arm for run in self.plan.missing if run.task == task}
                # Files that are measured are still to be made: who answers at first is all the same to servers and judges.
                candidates = [self._base(arm.model, how) for arm, how in self._asked_bases(task, list(arms.values()))]
                check_bakeoff(
                    self.home,
                    connection,
                    self.project,
                    self._wanted(task, candidates),
                    self.remarks,
                    served_facts,
                    answering=candidates,
                )
        if self.experiment.measure != "adapter" and self.experiment.untrained:
            for name in dict.fromkeys(arm.model for arm in self.plan.expansion.arms):
                self._base_served[name] = served_as(self.project, None, self.plan.models[name])
        self.remarks = list(dict.fromkeys(self.remarks))

    def spec(
        self, writing: ChainWriting, task: str, measured: Sequence[tuple[Arm, StoredRun]], former: Sequence[int]
    ) -> BakeoffSpec:
        """What the bake-off over these runs is told; `former` are bake-offs whose answers it takes over."""
        candidates = self._untrained(writing, task, [arm for arm, _ in measured])
        candidates += [self._tuned(task, arm, run) for arm, run in measured]
        checked = check_bakeoff(
            self.home,
            writing.place.connection,
            self.project,
            self._wanted(task, candidates),
            [],
            None,  # the database is locked: no server is asked meanwhile
            answering=candidates,
        )
        spec = checked.keep(self.home, self.project)
        return spec.model_copy(update={"takes_over": list(former), "lacking_left_out": True})

    def _wanted(self, task: str, candidates: Sequence[CandidateSpec]) -> WantedBakeoff:
        names = tuple(one.name for one in candidates)
        return WantedBakeoff(
            tasks=(task,), candidates=names, incumbent=names[0], repeats=self.experiment.repeats, curtail=False
        )

    def _tuned(self, task: str, arm: Arm, run: StoredRun) -> CandidateSpec:
        written = self._variant(task, arm)
        name, variant = named(f"{arm.name} s{run.seed}", written), self._read(written)
        if self.experiment.measure == "adapter":
            model = self.plan.models[arm.model]
            return CandidateSpec(
                name=name, form="adapter", model=model, ref=f"job:{run.job_id}/adapter", variant=variant
            )
        return CandidateSpec(name=name, form="gguf", ref=f"job:{run.job_id}/gguf", variant=variant)

    def _untrained(self, writing: ChainWriting, task: str, arms: Sequence[Arm]) -> list[CandidateSpec]:
        if not self.experiment.untrained:
            return []
        if self.experiment.measure == "adapter":
            return [self._base(arm.model, written) for arm, written in self._asked_bases(task, arms)]
        return [
            CandidateSpec(
                name=named(f"{arm.model} base {self.experiment.measure}", written),
                form="gguf",
                ref=self._base_file(writing, arm.model),
                variant=self._read(written),
            )
            for arm, written in self._asked_bases(task, arms)
        ]

    def _asked_bases(self, task: str, arms: Sequence[Arm]) -> list[tuple[Arm, str]]:
        """An arm of each model, and how its untrained model is asked: as its arms are."""
        found = {(arm.model, self._variant(task, arm)): arm for arm in reversed(arms)}
        return [(arm, written) for (_, written), arm in reversed(found.items())]

    def _base(self, name: str, written: str) -> CandidateSpec:
        return CandidateSpec(
            name=named(f"{name} base", written),
            form="base",
            model=self.plan.models[name],
            variant=self._read(written),
        )

    def _read(self, written: str) -> Variant:
        """A way to be asked, read once for all who are."""
        if written not in self._variants:
            self._variants[written] = read_variant(written, self.project)
        return self._variants[written]

    def _base_file(self, writing: ChainWriting, name: str) -> str:
        """The untrained model in the format that is measured, as a job's: it is made where no job has made it."""
        if name not in self._base_files:
            wanted = _wanted_file(name, self.experiment.measure)
            writer = ChainWriter(writing.place, writing.vendor)
            write_gguf(writer, wanted, self._base_served.get(name, ServedAs()))
            writing.queued += [job_id for job_id, taken in writer.links if not taken]
            self._base_files[name] = f"job:{writer.links[-1][0]}/gguf"
        return self._base_files[name]

    def _variant(self, task: str, arm: Arm) -> str:
        """How an arm is asked where its training had examples in front: `few_shot=2`; empty for plainly."""
        if arm.recipe.few_shot is None:
            return ""
        key = f"{task} {arm.recipe.few_shot.model_dump_json()} {arm.recipe.seed}"
        if key not in self._shots:
            training = training_of(self.plan, task, arm)
            (reference,) = asked_as_trained(self.project, [arm.model], training, task, self.remarks)
            self._shots[key] = split_reference(reference)[1]
        return self._shots[key]


def _wanted_file(source: str, measure: str) -> WantedGguf:
    formats = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}
    if measure in formats:
        return WantedGguf(source, dtype=formats[measure])  # type: ignore[arg-type]
    return WantedGguf(source, quantization=measure)  # type: ignore[arg-type]
