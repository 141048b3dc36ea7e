"""A promotion and a rollback as commands and console ask for them: the evidence first, then the move, then how it ended."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.aliases.choice import server_of_alias
from core.aliases.digests import is_same
from core.aliases.observing import brief_ollama
from core.aliases.ollama_place import OllamaPlace
from core.aliases.places import Placed
from core.aliases.served_place import ServedPlace
from core.bakeoff.gates import use_of
from core.config.project import Project
from core.errors import BakehouseError, InputError, NotFoundError
from core.fleet.asked_change import Heard, asked_change
from core.fleet.at_rest import told_or_at_rest
from core.fleet.evidence import (
    Model,
    chosen_among,
    complete,
    fresh,
    incumbent_measured,
    measured,
    no_leak,
    not_worse,
    other_task,
    parity,
)
from core.fleet.gate import Condition, Gate, joined
from core.fleet.lineage import UNKNOWN, deployments, lineages, made_by
from core.fleet.meant import Meant, meant
from core.fleet.measured import MeasuredPair, measured_pair, sent_examples
from core.fleet.names import reference_of
from core.home import Home
from core.serving.answering import ServedIdentity
from core.staleness.present_servers import ServedModelKey, Told, ask_servers
from core.store.fleet import Alias, AliasVersion, Target, alias_of, current_version, tasks_of
from core.store.fleet_changes import FleetChange

Look = Callable[[Home, Meant], Placed | None]


@dataclass(frozen=True)
class Promotion:
    """What would be done, and why: `gate` is the evidence, `target` what the alias is to become, as its server has it now.

    `expected_version` is the version (id) that the alias was when the evidence was looked at, and `expected_alias` the task's
    alias: a promotion is refused where somebody else moved either meanwhile. `incumbent` is that version.
    """

    gate: Gate
    target: Target
    alias: Alias
    task: str
    project_id: str
    project_root: str
    expected_alias: int | None
    incumbent: AliasVersion | None

    def arguments(self, override: str | None) -> dict[str, Any]:
        """Those of the command `fleet-promote`."""
        alias = self.alias
        place = {"alias_id": alias.id} if alias.id else {}
        return {
            **place,
            "server": alias.server,
            "url": alias.url,
            "name": alias.name,
            "name_key": alias.name_key,
            "project_id": self.project_id,
            "project_root": self.project_root,
            "task": self.task,
            "expected_version": alias.version_id,
            "expected_alias": self.expected_alias,
            "target": self.target.to_json(),
            "gate": self.gate.to_json(),
            "override_reason": override,
        }


@dataclass(frozen=True)
class Foreign:
    """What somebody else did to an alias: `model` is what they put under the name, `is_missing` that nothing is there."""

    model: Target | None = None
    is_missing: bool = False


NOT_FOREIGN = Foreign()


def look_at(home: Home, asked: Meant) -> Placed | None:
    """What the candidate's server has under its name, with the digest that a move is held to. Raises ServerError."""
    source = Target(asked.candidate.served_model or "", None)
    if asked.alias.is_served_here:
        return ServedPlace(home).look_at_source(asked.alias, source)
    assert asked.candidate.server is not None  # the spec was validated
    with closing(OllamaPlace(brief_ollama(asked.candidate.server))) as place:
        return place.look_at_source(asked.alias, source)


def promotion_gate(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: str,
    candidate: str,
    *,
    alias: str | None = None,
    told: Mapping[ServedModelKey, Told] | None = None,
    look: Look = look_at,
) -> Promotion:
    """The evidence for a candidate of a task, as everything is now. `alias`: the name for a task that has none yet.

    `told` is what servers have said of candidate and alias; without it they are asked, for a few seconds. Raises
    `NotFoundError` for a task or a model that is not there, `InputError` for a candidate that cannot be promoted (see `meant`),
    or that the alias is already, and ServerError where the candidate's server does not answer.
    """
    asked = meant(home, connection, project, task, candidate, alias)
    answers = ask_servers([asked.candidate, asked.serving]) if told is None else told
    placed = look(home, asked)
    ours, theirs = (told_or_at_rest(home, connection, one, answers) for one in (asked.candidate, asked.serving))
    if placed is None or ours == "gone":
        raise NotFoundError(
            f"there is no model `{asked.candidate.served_model}` on its server",
            code="model_not_found",
            key=candidate,
            remedy="deploy it again, or name the model as its server has it",
        )
    version = current_version(connection, asked.alias)
    if version is not None and is_same(version.digest, placed.digest):
        raise InputError(
            f"`{asked.alias.name}` is that model already, as version {version.number}",
            code="already_current",
            key=candidate,
            remedy="name another candidate",
        )
    if version is None and isinstance(theirs, ServedIdentity):
        raise InputError(
            f"`{asked.alias.name}` is a model on that server already, which the fleet does not know",
            code="not_adopted",
            key=asked.alias.name,
            remedy=f"`bakehouse fleet adopt {reference_of(asked.alias)} --task {task}` first, so that there is a way back",
        )
    if version is not None and isinstance(theirs, ServedIdentity) and _is_foreign(asked.alias, version, theirs):
        raise InputError(
            f"somebody else put another model under `{asked.alias.name}` than its version {version.number}",
            code="alias_changed",
            key=asked.alias.name,
            remedy=f"`bakehouse fleet rollback {task}` brings back what was recorded, "
            f"`bakehouse fleet adopt {reference_of(asked.alias)}` takes what is there; then promote",
        )
    target = _target(connection, asked, placed)
    gate = _gate(home, connection, project, task, asked, target, version, ours, theirs)
    present = alias_of(connection, project.id, task)
    return Promotion(
        gate=gate,
        target=_with_bakeoff(target, gate),
        alias=asked.alias,
        task=task,
        project_id=project.id,
        project_root=str(project.root),
        expected_alias=None if present is None else present.id,
        incumbent=version,
    )


def judge_of(home: Home, connection: sqlite3.Connection, project: Project) -> Callable[[str, str], Gate]:
    """What the gate says now of a candidate of a task (`core.fleet.challenge.Judge`); it asks servers."""
    return lambda task, candidate: promotion_gate(home, connection, project, task, candidate).gate


def _is_foreign(alias: Alias, version: AliasVersion, now: ServedIdentity) -> bool:
    """Whether what an alias is now is certainly not its version. A served model tells its template in other words."""
    if version.weights is not None and now.weights is not None and not is_same(version.weights, now.weights):
        return True
    known = None not in (version.template, now.template) and not alias.is_served_here
    return known and version.template != now.template


def _target(connection: sqlite3.Connection, asked: Meant, placed: Placed) -> Target:
    deployment = made_by(deployments(connection), placed.digest, placed.weights)
    lineage = UNKNOWN
    if deployment is not None:
        lineage = lineages(connection, [deployment.job_id]).get(deployment.job_id, UNKNOWN)
    return Target(
        source=asked.candidate.served_model or "",
        digest=placed.digest,
        weights=placed.weights,
        template=placed.template,
        server_version=placed.server_version,
        size_bytes=placed.size_bytes,
        model=lineage.model or (deployment.model if deployment is not None else (placed.record or {}).get("model")),
        deploy_job_id=None if deployment is None else deployment.job_id,
        record=placed.record,
    )


def _with_bakeoff(target: Target, gate: Gate) -> Target:
    return Target.from_json({**target.to_json(), "bakeoff_job_id": gate.bakeoff_job})


def _gate(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: str,
    asked: Meant,
    target: Target,
    version: AliasVersion | None,
    ours: Told | None,
    theirs: Told | None,
) -> Gate:
    server = asked.candidate.server
    assert server is not None  # the spec was validated
    name = None if version is None else asked.alias.name
    held = theirs if isinstance(theirs, ServedIdentity) else None
    conditions: list[Condition] = []
    pair: MeasuredPair | None = None
    among = 0
    if not isinstance(ours, ServedIdentity):
        conditions.append(Condition("measured", "cannot_tell", {"why": "no_answer", "name": asked.candidate.name}))
    else:
        pair = measured_pair(home, connection, project.id, task, ours, held)
        conditions.append(measured(pair, len(sent_examples(home, connection, task, ours))))
    if name is not None and held is None:
        why = "gone" if theirs == "gone" else "no_answer"
        conditions.append(Condition("incumbent_measured", "cannot_tell", {"why": why, "alias": name}))
    else:
        conditions.append(incumbent_measured(pair, name, len(sent_examples(home, connection, task, held))))
    conditions += not_worse(pair, name is not None)
    if isinstance(ours, ServedIdentity):
        model = Model(target.source, server.url, asked.alias.is_served_here, target.digest, ours)
        conditions += [
            parity(home, connection, task, model),
            no_leak(home, connection, project, task, model),
            *_other_tasks(home, connection, project, task, asked, ours, held),
        ]
        among = chosen_among(home, connection, pair, model)
    else:
        conditions += [Condition(code, "cannot_tell", {"why": "no_answer"}) for code in ("parity", "no_leak")]
    conditions += [fresh(project, pair), complete(pair)]
    return Gate(
        outcome=joined(conditions),
        conditions=tuple(conditions),
        task=task,
        alias=asked.alias.name,
        candidate=asked.reference,
        incumbent=None if version is None else _incumbent(asked.alias, version),
        bakeoff_job=None if pair is None else pair.job_id,
        best_of=among,
        same_inputs=pair is not None and use_of(pair.board) == "all",
    )


def _incumbent(alias: Alias, version: AliasVersion) -> str:
    """What a person knows it by: `now vault-judge` would say nothing of what vault-judge is."""
    known_by = version.model or version.source
    return known_by if known_by and known_by != alias.name else f"version {version.number}"


def _other_tasks(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: str,
    asked: Meant,
    ours: ServedIdentity,
    held: ServedIdentity | None,
) -> list[Condition]:
    found = []
    for given in tasks_of(connection, asked.alias.id) if asked.alias.id else ():
        if (given.project_id, given.task) == (project.id, task):
            continue
        of_task: Project | None = project if given.project_id == project.id else None
        if of_task is None:
            with contextlib.suppress(BakehouseError, OSError):
                of_task = Project.find(explicit=Path(given.project_root))
        pair = None
        if held is not None:
            pair = measured_pair(home, connection, given.project_id, given.task, ours, held)
        found.append(other_task(given.task, pair, of_task))
    return found


def promote(
    home: Home, promotion: Promotion, *, override: str | None, by: str, heard: Heard = lambda change: None
) -> FleetChange:
    """Have the runner promote, and wait until the change has ended. `heard` is called with the change as it goes on.

    Raises `RefusedError`: somebody else moved the alias meanwhile, or a change of it is under way. The change says how it
    ended: what is not `done` left production as it was, as where the gate does not pass and no reason is given
    (`gate_not_passed`). It is still `open` where somebody stopped the runner meanwhile: the next one carries it on.
    """
    return asked_change(home, "fleet-promote", promotion.arguments(override), promotion.alias, by, heard)


def rollback(
    home: Home,
    alias: Alias,
    *,
    by: str,
    to_version: int | None = None,
    foreign: Foreign = NOT_FOREIGN,
    task: str | None = None,
    project_id: str | None = None,
    heard: Heard = lambda change: None,
) -> FleetChange:
    """Have the runner put an alias back to what it was before (`to_version`: an id), and wait until the change has ended.

    `alias` is as it was seen: where somebody moved it since, the rollback is refused. `foreign`: somebody else's model under
    the name may be replaced; where nothing is there, what was recorded comes back. Raises as `promote`.
    """
    arguments = {
        "alias_id": alias.id,
        "expected_version": alias.version_id,
        "to_version": to_version,
        "found": None if foreign.model is None else foreign.model.to_json(),
        "missing": foreign.is_missing,
        "task": task,
        "project_id": project_id,
    }
    return asked_change(home, "fleet-rollback", arguments, alias, by, heard)


def foreign_change(home: Home, connection: sqlite3.Connection, alias: Alias) -> Foreign:
    """What is other than the alias' version, by one look at its server: nothing, where the server does not answer."""
    version = current_version(connection, alias)
    if version is None:
        return NOT_FOREIGN
    try:
        placed = _present(home, connection, alias)
    except BakehouseError:
        return NOT_FOREIGN
    if placed is None:
        return Foreign(is_missing=True)
    if placed.digest is None or is_same(placed.digest, version.digest):
        return NOT_FOREIGN
    model = Target(
        source=alias.name,
        digest=placed.digest,
        weights=placed.weights,
        template=placed.template,
        server_version=placed.server_version,
        size_bytes=placed.size_bytes,
        record=placed.record,
    )
    return Foreign(model)


def _present(home: Home, connection: sqlite3.Connection, alias: Alias) -> Placed | None:
    if alias.is_served_here:
        return ServedPlace(home).look(alias)
    roots = [one.project_root for one in tasks_of(connection, alias.id)]
    with closing(OllamaPlace(brief_ollama(server_of_alias(alias, roots)))) as place:
        return place.look(alias)
