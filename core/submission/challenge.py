"""Queueing a challenge: a new base model is trained for every task of the fleet, deployed and held against what serves.

One chain a task, in the order of what could be gained; a link that fails stops its own task alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.config.project import Project
from core.errors import BakehouseError, InputError, NotFoundError
from core.fleet.challenge import by_gain
from core.fleet.rows import FleetRow, fleet_rows
from core.format import listed
from core.home import Home
from core.jobfile.deploy import Target
from core.jobfile.quantize import Quantization
from core.store.challenges import (
    Challenge,
    add_challenge_task,
    chain_of_task,
    get_challenge,
    insert_challenge,
    newest_challenge,
)
from core.store.database import open_database
from core.store.fleet import Alias, FleetTask, fleet_tasks, tasks_of
from core.store.jobs import ENDED
from core.submission.bakeoff import golden_task
from core.submission.enqueue import ChainWriting, writing_chains
from core.submission.incumbent import RecipeSource, alias_reference, alias_target, made_like
from core.submission.ship import Against, PreparedShip, prepare_ship
from core.submission.wanted_ship import WantedShip


@dataclass(frozen=True)
class WantedChallenge:
    """`model` by name, for `tasks` (none: every task of the project that has an alias).

    `recipes` are recipes by the name of their task, before what is on record; `recipe` is for tasks without one on record.
    `quantization` None: as what serves was made. With `again` tasks whose chains have ended are queued once more.
    """

    model: str
    tasks: tuple[str, ...] = ()
    recipe: str | None = None
    recipes: Mapping[str, str] = field(default_factory=dict)
    quantization: Quantization | None = None
    again: bool = False


@dataclass(frozen=True)
class PlannedTask:
    """A task that can be challenged. `score` is that of what serves in [0, 1], None where it is not known; `remarks` are what a
    person should know of its chain."""

    task: str
    alias: Alias
    incumbent: str | None
    score: float | None
    recipe: str
    recipe_source: RecipeSource
    quantization: Quantization
    to: Target
    prepared: PreparedShip
    remarks: tuple[str, ...] = ()

    @property
    def gain(self) -> float | None:
        """What could be gained at most."""
        return None if self.score is None else max(0.0, 1.0 - self.score)


@dataclass(frozen=True)
class LeftOut:
    """A task that cannot be challenged, and why."""

    task: str
    error: BakehouseError


@dataclass(frozen=True)
class ChallengePlan:
    """What would be queued, in its order, and what cannot be. `known` is the challenge of this model that is there already."""

    wanted: WantedChallenge
    tasks: tuple[PlannedTask, ...]
    left_out: tuple[LeftOut, ...]
    known: Challenge | None


def new_tasks(connection: sqlite3.Connection, project: Project, wanted: WantedChallenge) -> list[FleetTask]:
    """The tasks of the fleet that the model has not been held against yet, of those that are wanted.

    With `again` those whose chains have ended as well. Raises `NotFoundError` for a task without an alias, `InputError` where
    no task has one.
    """
    fleet = {one.task: one for one in fleet_tasks(connection, project.id)}
    for name in wanted.tasks:
        if name not in fleet:
            raise NotFoundError(
                f"no alias does the task {name}: there is nothing to hold {wanted.model} against",
                code="no_alias",
                key=name,
                remedy="`bakehouse fleet adopt` takes in what serves; where nothing does, "
                f"`bakehouse ship {name} --model {wanted.model}` makes a first model",
            )
    if not fleet:
        raise InputError(
            "no task of this project has an alias: there is nothing to challenge",
            code="no_alias",
            remedy="`bakehouse fleet adopt` takes in what serves, `bakehouse fleet assign` says which task it does",
        )
    known = newest_challenge(connection, wanted.model, project.id)
    chosen = dict.fromkeys(wanted.tasks or fleet)
    return [fleet[name] for name in chosen if _is_open(connection, known, name, again=wanted.again)]


def _is_open(connection: sqlite3.Connection, known: Challenge | None, task: str, *, again: bool) -> bool:
    """Whether a task is still to be queued."""
    challenged = None if known is None else known.task(task)
    chain = None if challenged is None else chain_of_task(connection, challenged)
    return chain is None or (again and all(link.job.state in ENDED for link in chain.own))


def require_options_used(wanted: WantedChallenge, chosen: Collection[str]) -> None:
    """InputError (`queued_already`) where how tasks are to be made is said of tasks that are in the challenge already; `chosen`
    are those that would be queued now."""
    left = [name for name in wanted.tasks if name not in chosen]
    general = [f"--recipe {wanted.recipe}"] if wanted.recipe is not None else []
    general += [f"--quantize {wanted.quantization}"] if wanted.quantization is not None else []
    idle = general if left or not chosen else []
    idle += [f"--recipe {task}={recipe}" for task, recipe in wanted.recipes.items() if task not in chosen]
    if not idle:
        return
    tasks = dict.fromkeys([*wanted.tasks, *wanted.recipes]) if wanted.tasks else ()
    command = " ".join(["bakehouse challenge", wanted.model, *(f"--task {name}" for name in tasks), *idle, "--again"])
    raise InputError(
        f"the challenge of {wanted.model} is queued already, and {listed(idle)} would change nothing of it",
        code="queued_already",
        key=idle[0],
        remedy="`--again` queues only tasks whose chains have ended: cancel them, or wait for their ends"
        if wanted.again
        else f"`{command}` queues the tasks whose chains have ended once more",
    )


def plan_challenge(home: Home, project: Project, wanted: WantedChallenge) -> ChallengePlan:
    """Look up what each task's chain needs; nothing is stored.

    A task that cannot be challenged is left out with its reason. Raises `NotFoundError` for the model, a task or a recipe that
    are not there, and what `new_tasks` and `require_options_used` raise; `InputError` where tasks are to be queued and none of
    them can be.
    """
    project.model(wanted.model)
    for name in [wanted.recipe, *wanted.recipes.values()]:
        if name is not None:
            project.recipe(name)
    with contextlib.closing(open_database(home)) as connection:
        chosen = new_tasks(connection, project, wanted)
        strange = sorted(set(wanted.recipes) - {one.task for one in fleet_tasks(connection, project.id)})
        if strange:
            raise NotFoundError(f"no alias does the task {strange[0]}", code="no_alias", key=f"--recipe {strange[0]}=…")
        known = newest_challenge(connection, wanted.model, project.id)
        if known is not None:
            require_options_used(wanted, [one.task for one in chosen])
        rows = {row.task: row for row in fleet_rows(home, connection, project.id) if row.task is not None}
        planned: list[PlannedTask] = []
        left_out: list[LeftOut] = []
        for one in chosen:
            try:
                planned.append(_planned(home, connection, project, wanted, one, rows[one.task]))
            except BakehouseError as error:
                left_out.append(LeftOut(one.task, error))
    if chosen and not planned:
        raise none_left(wanted.model, left_out)
    ordered = by_gain(planned, lambda one: (one.task, one.gain))
    return ChallengePlan(wanted, tuple(ordered), tuple(left_out), known)


def submit_challenge(
    home: Home, project: Project, plan: ChallengePlan, *, author: str
) -> tuple[Challenge, ChallengePlan]:
    """Queue the chains of a plan in one transaction; the challenge as it is then, and the plan without what was left out.

    What another asker has queued meanwhile is not queued twice. A task that the queue refuses is left out with its reason;
    `InputError` where that leaves none, and nothing is stored.
    """
    left_out, queued = list(plan.left_out), list[PlannedTask]()
    with writing_chains(home, project, author=author) as writing:
        connection = writing.place.connection
        known = newest_challenge(connection, plan.wanted.model, project.id)
        challenge_id = (
            known.id
            if known is not None
            else insert_challenge(connection, model=plan.wanted.model, project_id=project.id, author=author)
        )
        for one in plan.tasks:
            if not _is_open(connection, known, one.task, again=plan.wanted.again):
                continue
            try:
                chain_id = _chain(writing, one)
            except BakehouseError as error:
                left_out.append(LeftOut(one.task, error))
                continue
            add_challenge_task(connection, challenge_id, task=one.task, chain_id=chain_id, gain=one.gain)
            queued.append(replace(one, remarks=tuple(one.prepared.remarks)))
        if plan.tasks and len(left_out) > len(plan.left_out) and not queued:
            raise none_left(plan.wanted.model, left_out)
        challenge = get_challenge(connection, challenge_id)
    return challenge, replace(plan, tasks=tuple(queued), left_out=tuple(left_out), known=challenge)


def none_left(model: str, left_out: Sequence[LeftOut]) -> InputError:
    """No task can be challenged: all reasons in one refusal."""
    reasons = "; ".join(f"{one.task}: {one.error.message}" for one in left_out)
    first = left_out[0].error
    return InputError(
        f"{model} can be trained for none of the tasks: {reasons}",
        code="nothing_to_challenge" if len({one.error.code for one in left_out}) > 1 else first.code,
        remedy=first.remedy,
    )


def _chain(writing: ChainWriting, planned: PlannedTask) -> int:
    chain = writing.write(planned.prepared.write, f"challenge {planned.prepared.title.removeprefix('ship ')}").chain
    assert chain is not None  # it has a title
    return chain


def _planned(
    home: Home, connection: sqlite3.Connection, project: Project, wanted: WantedChallenge, one: FleetTask, row: FleetRow
) -> PlannedTask:
    alias = row.alias
    if row.version is None:
        raise InputError(
            f"nothing is known to serve as {alias.name} yet",
            code="no_incumbent",
            key=alias.name,
            remedy=f"`bakehouse fleet adopt {alias.name}` takes in what is there",
        )
    reference, to = alias_reference(project, alias), alias_target(alias)
    asked = wanted.recipes.get(one.task)
    like = made_like(home, connection, project, one.task, row.lineage.deploy_job, asked=asked, fallback=wanted.recipe)
    quantization = wanted.quantization or like.quantization
    remarks: list[str] = []
    others = _other_tasks(connection, project, one, remarks)
    prepared = prepare_ship(
        home,
        project,
        WantedShip(
            task=one.task,
            model=wanted.model,
            quantization=quantization,
            dtype=like.dtype,
            base_weights=like.base_weights if like.recipe.hqq is not None else "original",
            to=to,
        ),
        recipe=like.recipe,
        against=Against(reference, like.training, others),
        later=remarks,
        remarks=remarks,
    )
    remarks += _memory_remarks(prepared)
    return PlannedTask(
        one.task,
        alias,
        row.model,
        None if row.measured is None else row.measured.score,
        prepared.training.recipe.name,
        like.source,
        quantization,
        to,
        prepared,
        tuple(remarks),
    )


def _memory_remarks(prepared: PreparedShip) -> list[str]:
    """What is expected of the training's memory, where that is not simply room enough."""
    training = prepared.training
    found = [] if training.forecast is None or not training.forecast.ladder else [training.forecast.ladder]
    found += (
        [f"how much memory its training takes is unknown: {training.not_predicted}"] if training.not_predicted else []
    )
    changed = [f"{one.key} {one.before} → {one.after}" for one in training.fitted]
    return found + ([f"changed so that its training fits: {', '.join(changed)}"] if changed else [])


def _other_tasks(
    connection: sqlite3.Connection, project: Project, one: FleetTask, remarks: list[str]
) -> tuple[str, ...]:
    """The further tasks that the alias does: a promotion changes what answers for them, too, so they are baked off as well."""
    found, unknown = [], []
    for other in tasks_of(connection, one.alias_id):
        if (other.project_id, other.task) == (one.project_id, one.task):
            continue
        try:
            if other.project_id != project.id:
                raise InputError("it is a task of another project", code="other_project")
            golden_task(project, other.task)
            found.append(other.task)
        except BakehouseError:
            unknown.append(other.task)
    if unknown:
        remarks.append(
            f"its alias does {listed(unknown)} as well, which is not compared: no golden inputs or checks here"
        )
    return tuple(found)
