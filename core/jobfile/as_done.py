"""What a job was told, as it came to be done: some things are left to the job, and stand in files beside its job file."""

from __future__ import annotations

from core.files import read_json
from core.home import RunDir
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.lacking import read_lacking
from core.jobfile.spec import JobFile, Spec
from core.jobfile.train import TrainSpec


def as_done(run: RunDir, spec: Spec) -> Spec:
    """Of a training the recipe with the learning rate that its trials chose, of a bake-off the candidates that were there."""
    if isinstance(spec, TrainSpec) and spec.choice is not None:
        chosen = (read_json(run.choice) or {}).get("lr")
        return spec if chosen is None else spec.with_rate(chosen)
    if isinstance(spec, BakeoffSpec) and spec.lacking_left_out:
        return spec.without({one.candidate for one in read_lacking(run)})
    return spec


def spec_as_done(run: RunDir) -> Spec:
    """The same from its job file. Raises `InputError` as `JobFile.load`."""
    return as_done(run, JobFile.load(run).spec)
