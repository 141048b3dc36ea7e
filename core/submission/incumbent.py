"""What a new model is trained and made like, to be held against what serves: the recipe and the file of the incumbent."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal, TypeAlias

from core.config.model import BaseWeights, WeightFormat
from core.config.project import Project
from core.config.recipe import Recipe
from core.config.servers import BUILT_IN
from core.config.shipped import PLAIN_RECIPE
from core.errors import BakehouseError, InputError
from core.home import Home
from core.jobfile.as_done import spec_as_done
from core.jobfile.deploy import Target
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import Quantization, QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.servers import SERVED, known_servers
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec
from core.store.fleet import Alias
from core.submission.server_candidates import LLAMA_SERVER as SERVED_HERE
from core.submission.server_candidates import require_server_of

RecipeSource: TypeAlias = Literal["asked", "lineage", "task", "fallback"]


@dataclass(frozen=True)
class MadeLike:
    """How a new model is trained and made. `source` is where the recipe comes from: it was asked for, it is that of the
    incumbent's training, that of the task's newest training, or the one that was named for tasks without any.

    `training` is what the incumbent came of, where it is known.
    """

    recipe: Recipe
    source: RecipeSource
    quantization: Quantization = "Q8_0"
    dtype: WeightFormat = "bf16"
    base_weights: BaseWeights = "original"
    training: TrainSpec | None = None


def made_like(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: str,
    deploy_job: int | None,
    *,
    asked: str | None = None,
    fallback: str | None = None,
) -> MadeLike:
    """How a model for a task is trained, where what serves came of the deployment `deploy_job` (None: not known).

    By the recipe that is `asked` for, else as the incumbent was, else as the task's newest training, else by the recipe
    `fallback`, else by the plain one. Merge and quantisation are the incumbent's where they are known. Raises `NotFoundError`
    and `InputError` for a recipe of the project that is none.
    """
    lineage = _lineage(home, deploy_job)
    training = next((one for one in lineage if isinstance(one, TrainSpec)), None)
    recipe, source = _recipe(home, connection, project, task, training, asked, fallback)
    quantized = next((one for one in lineage if isinstance(one, QuantizeSpec)), None)
    merged = next((one for one in lineage if isinstance(one, MergeSpec)), None)
    return MadeLike(
        recipe,
        source,
        "Q8_0" if quantized is None else quantized.quantization,
        "bf16" if merged is None else merged.dtype,
        # Only what was trained on quantised weights can be merged into them.
        "original" if merged is None or recipe.hqq is None else merged.base_weights,
        training,
    )


def recipe_as_asked(training: TrainSpec) -> Recipe:
    """The recipe of a training without what was changed in it so that it fit: another model may need none of that."""
    return training.recipe.model_copy(update={one.key: one.before for one in training.fitted})


def alias_reference(project: Project, alias: Alias) -> str:
    """The candidate that an alias is, in a form that means one model, for which no server is asked. Raises `InputError` as
    `require_server_of`."""
    if alias.is_served_here:
        return f"{SERVED if SERVED_HERE in known_servers(project.settings) else SERVED_HERE}:{alias.name}"
    require_server_of(project, alias)
    return f"{alias.server}:{alias.name}"


def alias_target(alias: Alias) -> Target:
    """Where a candidate for an alias is deployed to: there alone it can be promoted. Raises `InputError` where no deployment
    goes."""
    if alias.is_served_here:
        return "llama-server"
    if alias.server == BUILT_IN:
        return "ollama"
    raise InputError(
        f"{alias.name} is on the server {alias.server}: models are deployed to the Ollama of `ollama.url` and to llama-server",
        code="other_server",
        key=alias.server,
        remedy="give the task an alias on one of these: `bakehouse fleet assign`",
    )


def _recipe(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: str,
    training: TrainSpec | None,
    asked: str | None,
    fallback: str | None,
) -> tuple[Recipe, RecipeSource]:
    if asked is not None:
        return project.recipe(asked), "asked"
    if training is not None and training.task.name == task:
        return recipe_as_asked(training), "lineage"
    newest = _newest_training(home, connection, project.id, task)
    if newest is not None:
        return recipe_as_asked(newest), "task"
    return project.recipe(fallback or PLAIN_RECIPE), "fallback"


def _newest_training(home: Home, connection: sqlite3.Connection, project_id: str, task: str) -> TrainSpec | None:
    """The newest training for a task that came to its end, and whose job file is there. What an experiment tries out is not
    how the task is trained."""
    rows = connection.execute(
        """
        SELECT id FROM jobs WHERE kind = 'train' AND state = 'done' AND project_id = ? AND task = ?
          AND id NOT IN (SELECT job_id FROM experiment_runs) ORDER BY id DESC
        """,
        [project_id, task],
    ).fetchall()
    for row in rows:
        spec = _spec(home, row["id"])
        if isinstance(spec, TrainSpec):
            return spec
    return None


def _lineage(home: Home, job_id: int | None) -> list[Spec]:
    """What a job was told, and what those were told that it was made from, as far as their job files are there."""
    found: list[Spec] = []
    while job_id is not None and (spec := _spec(home, job_id)) is not None:
        found.append(spec)
        before = parse_reference(spec.columns.source)
        job_id = before.job_id if before is not None and before.job_id < job_id else None
    return found


def _spec(home: Home, job_id: int) -> Spec | None:
    try:
        return spec_as_done(home.run_dir(job_id))
    except (BakehouseError, OSError):
        return None
