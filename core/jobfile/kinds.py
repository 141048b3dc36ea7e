"""The kinds of job, in one table: what the runner, the commands and the console know of a job by its kind alone.

A new kind is an entry here, a `Spec` (what one job of the kind is told, and what follows from that), a module of `jobs` that
runs it, and where a person asks for it by name a command. Spec, module and command are named and not imported, so that this
table costs nothing to load: the runner and `bakehouse --help` do without pydantic and without the jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.jobfile.spec import Spec
    from core.store.jobs import Lane


@dataclass(frozen=True)
class KindCommand:
    """The command that queues a job of a kind: `bakehouse NAME`. `target` is `module:object`, imported when it is called."""

    name: str
    target: str
    help: str


@dataclass(frozen=True)
class JobKind:
    """What holds for every job of a kind.

    `spec` is `module:class`, `module` the one whose `run(context, spec)` does the work in the job's own process.
    """

    name: str
    noun: str
    """With its article, for sentences: `a training run`."""
    spec: str
    module: str
    lane: Lane
    """`gpu`: one at a time, with the GPU, or with the CPU where there is none. `cpu`: beside others."""
    makes: tuple[str, ...] = ()
    """Kinds of the artefacts it leaves."""
    resumes: bool = False
    """A stop leaves a checkpoint, and the next attempt starts there."""
    has_forecast: bool = False
    """Its memory is forecast at submission, and its out-of-memory fallbacks are kept: the console shows both."""
    has_losses: bool = False
    """Its steps have a loss, which the console draws."""
    has_leaderboard: bool = False
    """Its answers and scores make a leaderboard."""
    has_answers: bool = False
    """Its answers are stored, and a person can mark them."""
    can_bake_off: bool = False
    """The console offers a bake-off of what it makes against the base model."""
    can_export: bool = False
    """The console offers to make something else of what it makes: a merged model, a GGUF file."""
    has_parity: bool = False
    """It compares prompts, and leaves what it found in `parity.json`: the console shows that first."""
    retries_itself: bool = True
    """An attempt that a page fault of the GPU or a restart of the machine ended is followed by another, unasked."""
    command: KindCommand | None = None


# In the order of `bakehouse --help`.
_KINDS = (
    JobKind(
        "train",
        noun="a training run",
        spec="core.jobfile.train:TrainSpec",
        module="jobs.train",
        lane="gpu",
        makes=("adapter",),
        resumes=True,
        has_forecast=True,
        has_losses=True,
        can_bake_off=True,
        can_export=True,
        command=KindCommand("train", "core.cli.train:train", "Queue the training of an adapter."),
    ),
    JobKind(
        "bakeoff",
        noun="a bake-off",
        spec="core.jobfile.bakeoff:BakeoffSpec",
        module="jobs.bakeoff",
        lane="gpu",
        resumes=True,
        has_leaderboard=True,
        has_answers=True,
        command=KindCommand(
            "bakeoff", "core.cli.bakeoff:bakeoff", "Queue a comparison of models on a task's golden inputs."
        ),
    ),
    # `bakehouse golden draft` asks for it. No bake-off: it makes no leaderboard, and nothing that asks for bake-offs finds it.
    JobKind(
        "drafts",
        noun="a set of drafts",
        spec="core.jobfile.drafts:DraftsSpec",
        module="jobs.drafts",
        lane="gpu",
        resumes=True,
        has_answers=True,
    ),
    # `bakehouse results JOB --judge` asks for it.
    JobKind(
        "judging",
        noun="a judging",
        spec="core.jobfile.judging:JudgingSpec",
        module="jobs.judging",
        lane="gpu",
        resumes=True,
    ),
    JobKind(
        "merge",
        noun="a merge",
        spec="core.jobfile.merge:MergeSpec",
        module="jobs.merge",
        lane="gpu",
        makes=("merged",),
        can_export=True,
        command=KindCommand(
            "export", "core.cli.export:export", "Queue the merging of an adapter into its base, or a GGUF file."
        ),
    ),
    # `bakehouse export --to gguf` asks for these two.
    JobKind(
        "convert",
        noun="a conversion to GGUF",
        spec="core.jobfile.convert:ConvertSpec",
        module="jobs.convert",
        lane="cpu",
        makes=("gguf",),
        can_export=True,
    ),
    JobKind(
        "quantize",
        noun="a quantisation",
        spec="core.jobfile.quantize:QuantizeSpec",
        module="jobs.quantize",
        lane="cpu",
        makes=("gguf",),
    ),
    # `bakehouse bakeoff --stages` asks for it.
    JobKind(
        "convert_lora",
        noun="a conversion of an adapter to GGUF",
        spec="core.jobfile.convert_lora:ConvertLoraSpec",
        module="jobs.convert_lora",
        lane="cpu",
        makes=("lora",),
    ),
    JobKind(
        "parity",
        noun="a parity check",
        spec="core.jobfile.parity:ParitySpec",
        module="jobs.parity",
        lane="gpu",
        has_parity=True,
        command=KindCommand(
            "parity", "core.cli.parity:parity", "Check that a served model gets the prompts it was trained on."
        ),
    ),
    JobKind(
        "deploy",
        noun="a deployment",
        spec="core.jobfile.deploy:DeploySpec",
        module="jobs.deploy",
        lane="gpu",
        has_parity=True,
        command=KindCommand(
            "deploy", "core.cli.deploy:deploy", "Have a GGUF file serve, once its prompts are those of training."
        ),
    ),
    # `bakehouse fleet drift` asks for it.
    JobKind(
        "drift",
        noun="a check for drift",
        spec="core.jobfile.drift:DriftSpec",
        module="jobs.drift",
        lane="gpu",
        resumes=True,
    ),
    # `bakehouse doctor --stress` asks for it. One that took the machine down is not started again by itself.
    JobKind(
        "stress",
        noun="a stress test",
        spec="core.jobfile.stress:StressSpec",
        module="jobs.stress",
        lane="gpu",
        retries_itself=False,
    ),
    # `bakehouse experiment run` asks for it, where the experiment says `race`.
    JobKind("race", noun="a race", spec="core.jobfile.race:RaceSpec", module="jobs.race", lane="cpu"),
    # Its command is one of the group `models`.
    JobKind("pull", noun="a pull", spec="core.jobfile.pull:PullSpec", module="jobs.pull", lane="cpu"),
)

KINDS: dict[str, JobKind] = {kind.name: kind for kind in _KINDS}


def kind_of(name: str) -> JobKind:
    """The kind of that name; for one that this version does not know a record that promises nothing."""
    return KINDS.get(name) or JobKind(name, noun=f"a job of kind {name}", spec="", module="", lane="gpu")


def spec_class(kind: JobKind) -> type[Spec]:
    """The class that reads what a job of this kind is told."""
    found: type[Spec] = load(kind.spec)
    return found


def load(target: str) -> Any:
    """The object that `module:object` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
