"""Queueing a chain: from a training, new or there already, to a model that serves, baked off against its base and its adapter.

A failed link stops its chain alone: the links behind it wait for it, and go on once it was retried.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from core.config.overrides import override
from core.config.project import Project
from core.config.recipe import Recipe
from core.errors import InputError
from core.home import Home
from core.jobfile.deploy import Target
from core.jobfile.kinds import kind_of
from core.jobfile.merge import not_quantized
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import JobFile, Spec
from core.jobfile.train import TrainSpec
from core.models.llama_cpp import LlamaCpp
from core.store.chains import Chain, get_chain
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job, open_jobs
from core.submission.bakeoff import check_bakeoff, golden_task
from core.submission.candidates import of_job
from core.submission.deploy import deploy_spec, target
from core.submission.enqueue import ChainWriter, require_all_runnable, writing_chains
from core.submission.few_shot import asked_as_trained
from core.submission.gguf import gguf_ahead, write_gguf
from core.submission.parity import parity_spec
from core.submission.served_as import served_as
from core.submission.submit import training_spec
from core.submission.wanted_bakeoff import WantedBakeoff
from core.submission.wanted_export import WantedGguf
from core.submission.wanted_ship import WantedShip


@dataclass(frozen=True)
class Shipped:
    """The chain, and which of its jobs were put into the queue: none where all of it is there already."""

    chain: Chain
    queued: tuple[JobRow, ...]


@dataclass(frozen=True)
class Against:
    """Who is held against what a chain makes, in place of the adapter: the candidate `reference`, as the incumbent.

    `training` is what that one came of: it is asked as it was trained, and as the task says where that is not known (None).
    `tasks` are further tasks that are baked off, because what serves them changes as well.
    """

    reference: str
    training: TrainSpec | None = None
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedShip:
    """A chain that can be queued: what takes long is known of it, and nothing is stored.

    `training` is what a new training will be told, or was told that is there already; `remarks` is filled further while the
    chain is written.
    """

    title: str
    training: TrainSpec
    remarks: list[str]
    write: Callable[[ChainWriter], None]


@dataclass(frozen=True)
class _Shipping:
    """What the steps of a chain share. `training` is what a new training is told, or was told that is there already; `served`
    is what the Modelfile and Ollama's model are made from; `to` is who serves, None where nobody is to."""

    home: Home
    project: Project
    wanted: WantedShip
    training: TrainSpec
    served: ServedAs
    to: Target | None
    against: Against | None = None
    remarks: list[str] = field(default_factory=list)

    def add_or_take(self, chain: ChainWriter, spec: Spec) -> None:
        """Queue a job, unless one that was told just the same is done or in the queue."""
        earlier = _same_job(self.home, chain.connection, spec)
        if earlier is None:
            chain.add(spec)
        else:
            chain.take(earlier)


def submit_ship(
    home: Home,
    project: Project,
    wanted: WantedShip,
    *,
    author: str,
    later: list[str] | None = None,
    remarks: list[str] | None = None,
) -> Shipped:
    """Queue what is missing between a task and a model that serves, each link behind the one before; all or nothing.

    `later` and `remarks` are filled as by `submit_train` and `submit_bakeoff`. Raises what those raise, and `InputError` for a
    job that is no training, where a tool of llama.cpp is missing, and for a task without golden inputs or checks.
    """
    prepared = prepare_ship(home, project, wanted, later=later, remarks=remarks)
    with writing_chains(home, project, author=author) as writing:
        stored = writing.write(prepared.write, prepared.title)
    assert stored.chain is not None  # it has a title
    with contextlib.closing(open_database(home)) as connection:
        return Shipped(get_chain(connection, stored.chain), stored.queued)


def prepare_ship(
    home: Home,
    project: Project,
    wanted: WantedShip,
    *,
    recipe: Recipe | None = None,
    against: Against | None = None,
    later: list[str] | None = None,
    remarks: list[str] | None = None,
) -> PreparedShip:
    """Look up all that a chain needs before the database is locked. `recipe` stands in the place of the one that is named.

    Raises as `submit_ship`, but for what the queue as it is then refuses.
    """
    tools = LlamaCpp.find(project.settings.llama_cpp.folder)
    tools.require("converter")
    tools.require("llama-quantize")
    tools.require("llama-server")
    _require_trained_weights(project, wanted)
    training = _training(home, project, wanted, recipe, later)
    golden_task(project, training.task.name)
    served = served_as(project, training.task.name, training.model, training)
    to = target(project, wanted.to, at_boot=wanted.at_boot) if wanted.deploy else None
    shipping = _Shipping(home, project, wanted, training, served, to, against, [] if remarks is None else remarks)

    def write(chain: ChainWriter) -> None:
        for step in STEPS:
            step(shipping, chain)

    seen = " · dequantized base" if wanted.base_weights == "dequantized" else ""
    title = f"ship {training.task.name} · {training.model.name} · {wanted.quantization}{seen}"
    ahead = [training] if wanted.training is None else _gguf_ahead(home, project, wanted)
    require_all_runnable(home, project, ahead)
    return PreparedShip(title, training, shipping.remarks, write)


def _require_trained_weights(project: Project, wanted: WantedShip) -> None:
    """Refuse what a new training could not be merged into, before its data is looked at. Of one that is there the merge's own
    submission does. Raises `InputError`."""
    if wanted.base_weights == "original" or wanted.training is not None or not wanted.recipe:
        return
    if override(project.recipe(wanted.recipe), dict(wanted.overrides)).hqq is None:
        raise not_quantized("--base-weights")


def _training(
    home: Home, project: Project, wanted: WantedShip, recipe: Recipe | None, later: list[str] | None
) -> TrainSpec:
    if wanted.training is None:
        named = recipe or wanted.recipe
        for value, name in ((wanted.task, "TASK"), (wanted.model, "--model"), (named, "--recipe")):
            if not value:
                raise InputError(
                    "a chain begins with a training: name its task, model and recipe",
                    code="no_training",
                    key=name,
                    remedy="or name one that is there with `--from JOB`",
                )
        assert wanted.task and wanted.model and named
        return training_spec(home, project, wanted.task, wanted.model, named, dict(wanted.overrides), later=later)
    reference = f"job:{wanted.training}"
    with contextlib.closing(open_database(home)) as connection:
        job = get_job(connection, wanted.training)
        if job.kind != "train":
            raise InputError(
                f"job {job.id} is {kind_of(job.kind).noun}: a chain begins with a training run",
                code="no_training",
                key=reference,
                remedy="name the training whose adapter is to be shipped",
            )
        of_job(home, connection, job.id, "adapter", reference)
    spec = JobFile.load(home.run_dir(job.id)).spec
    assert isinstance(spec, TrainSpec)  # its kind says so
    return spec


def _train(shipping: _Shipping, chain: ChainWriter) -> None:
    if shipping.wanted.training is None:
        chain.add(shipping.training)
    else:
        chain.take(shipping.wanted.training)


def _gguf(shipping: _Shipping, chain: ChainWriter) -> None:
    """Merge, conversion and quantisation."""
    write_gguf(chain, _wanted_gguf(shipping.wanted, chain.by_kind["train"]), shipping.served)


def _gguf_ahead(home: Home, project: Project, wanted: WantedShip) -> list[Spec]:
    assert wanted.training is not None  # who calls has looked
    with contextlib.closing(open_database(home)) as connection:
        return gguf_ahead(home, connection, project, _wanted_gguf(wanted, wanted.training))


def _wanted_gguf(wanted: WantedShip, training: int) -> WantedGguf:
    return WantedGguf(f"job:{training}", wanted.dtype, wanted.quantization, base_weights=wanted.base_weights)


def _proved(shipping: _Shipping, chain: ChainWriter) -> None:
    """A deployment proves the file before it serves; where it is not to serve, a parity check does."""
    home, connection, project, to = shipping.home, chain.connection, shipping.project, shipping.to
    file = f"job:{chain.by_kind['quantize']}"
    if to is None:
        shipping.add_or_take(chain, parity_spec(home, connection, project, file))
        return
    name, at_boot = shipping.wanted.name, shipping.wanted.at_boot
    spec = deploy_spec(home, connection, project, file, to=to, name=name, at_boot=at_boot, served=shipping.served)
    place = ("deploy", spec.to, spec.name)
    others = [job for job in open_jobs(connection) if (job.kind, *map(job.settings.get, ("to", "name"))) == place]
    shipping.remarks.extend(
        f"job {job.id} is to serve as {spec.name} as well: the later of the two stays"
        for job in others
        if job.source != spec.source
    )
    shipping.add_or_take(chain, spec)


def _bakeoff(shipping: _Shipping, chain: ChainWriter) -> None:
    """The base, its adapter or whoever it is held against, and what serves: the file itself where nobody is to serve it."""
    if not shipping.wanted.bakeoff:
        return
    base = shipping.training.model.name
    last = chain.by_kind["quantize" if shipping.to is None else "deploy"]
    task = shipping.training.task.name

    def as_trained(training: TrainSpec, *references: str) -> tuple[str, ...]:
        return asked_as_trained(shipping.project, references, training, task, shipping.remarks)

    against, training = shipping.against, shipping.training
    if against is None:
        candidates = as_trained(training, base, f"job:{chain.by_kind['train']}", f"job:{last}")
        wanted = WantedBakeoff(tasks=(task,), candidates=candidates, incumbent=candidates[0])
    else:
        new = as_trained(training, base, f"job:{last}")
        # Where it is not known how one was trained, its clients ask as the task says.
        (incumbent,) = as_trained(against.training, against.reference) if against.training else (against.reference,)
        wanted = WantedBakeoff(tasks=(task, *against.tasks), candidates=(*new, incumbent), incumbent=incumbent)
    # The database is locked: no server is asked meanwhile what a deployment is to prove, or has.
    links = chain.by_kind.values()
    checked = check_bakeoff(shipping.home, chain.connection, shipping.project, wanted, shipping.remarks, None, links)
    spec = checked.keep(shipping.home, shipping.project)
    if against is not None and shipping.to == "llama-server":
        # Each challenger is a served model of its own: those of all tasks would have to find room together.
        own = [one.served_model for one in spec.candidates if one.ref == f"job:{last}/served" and one.served_model]
        spec = spec.model_copy(update={"stops": tuple(own)})
    shipping.add_or_take(chain, spec)


STEPS: tuple[Callable[[_Shipping, ChainWriter], None], ...] = (_train, _gguf, _proved, _bakeoff)
"""In their order: each adds its links behind those of the step before."""


def _same_job(home: Home, connection: sqlite3.Connection, spec: Spec) -> int | None:
    """The newest job that was told just this, and is done or still to end."""
    columns = spec.columns
    rows = connection.execute(
        "SELECT id, state FROM jobs WHERE kind = ? AND task IS ? AND model IS ? AND source IS ? ORDER BY id DESC",
        [spec.kind, columns.task, columns.model, columns.source],
    ).fetchall()
    for row in rows:
        if row["state"] in RETRYABLE:
            continue
        with contextlib.suppress(InputError):
            if JobFile.load(home.run_dir(row["id"])).spec == spec:
                return int(row["id"])
    return None
