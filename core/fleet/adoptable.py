"""What serves already and can be taken into the fleet, with all that can be known of it. Nothing is changed on any server."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.aliases.digests import is_same
from core.aliases.kept_names import is_kept_name
from core.aliases.observing import SERVER_SECONDS, brief_ollama, served_identity
from core.config.settings import Settings
from core.errors import BakehouseError
from core.fleet.lineage import UNKNOWN, Deployment, VersionLineage, deployments, lineages, made_by
from core.fleet.names import name_key_of, reference_to
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.deploy import STAGING
from core.jobfile.servers import known_servers
from core.reasons import Reason
from core.served.record import ServedModelRecord, read_records, to_json
from core.served.state import read_state
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.replies import Tag, template_hash
from core.serving.side_by_side import ask_side_by_side
from core.store.fleet import LLAMA_SERVER, Alias, AliasVersion, Target, aliases, fleet_tasks, versions_by_id

LOOK_SECONDS = 3 * SERVER_SECONDS
"""How long a server may take to tell of all of its models."""
OWN_TAGS = re.compile(rf"-before-\d+(:|-|$)|{re.escape(STAGING)}")
"""Tags of deployments: those that keep a former model, and those under which one is proved."""


@dataclass(frozen=True)
class Adoptable:
    """A model that serves. `server` and `url` are as an `Alias` has them; `target` is what becomes the alias' version.

    `family`, `parameter_size` and `quantization` are what Ollama says, `modified_at` in Unix seconds; None where it does not.
    `alias` is the alias that it is already, `is_current` whether it is what that alias is known to be. `proposed_task` is a
    guess that nothing follows from; `proposed_by` says whence it is (`deployment`, `name`). `fault`: why some is unknown.
    """

    server: str
    url: str
    name: str
    target: Target
    lineage: VersionLineage = UNKNOWN
    family: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    modified_at: float | None = None
    context_length: int | None = None
    capabilities: tuple[str, ...] = ()
    alias: Alias | None = None
    is_current: bool = False
    tasks: tuple[str, ...] = ()
    proposed_task: str | None = None
    proposed_by: str | None = None
    fault: Reason | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """By this two are one: (server, its address, the name as the server compares names)."""
        return self.server, self.url, name_key_of(self.server, self.name)

    @property
    def reference(self) -> str:
        """How a command and a bake-off name it."""
        return reference_to(self.server, self.name)

    def to_json(self) -> dict[str, Any]:
        target = self.target
        return {
            "server": self.server,
            "url": self.url,
            "name": self.name,
            "digest": target.digest,
            "weights": target.weights,
            "template": target.template,
            "server_version": target.server_version,
            "size_bytes": target.size_bytes,
            "model": target.model,
            "family": self.family,
            "parameter_size": self.parameter_size,
            "quantization": self.quantization,
            "context_length": self.context_length,
            "capabilities": list(self.capabilities),
            "modified_at": self.modified_at,
            "deploy_job": target.deploy_job_id,
            "recipe": self.lineage.recipe,
            "data": self.lineage.data,
            "train_job": self.lineage.train_job,
            "adopted": self.is_current,
            "is_alias": self.alias is not None,
            "tasks": list(self.tasks),
            "proposed_task": self.proposed_task,
            "proposed_by": self.proposed_by,
            "fault": None if self.fault is None else self.fault.to_json(),
        }


@dataclass(frozen=True)
class WhatServes:
    """All that can be adopted, server by server; `silent` are servers that did not say what they have, and why."""

    found: tuple[Adoptable, ...]
    silent: Mapping[str, Reason]


def what_serves(
    home: Home,
    connection: sqlite3.Connection,
    settings: Settings,
    project_id: str,
    task_names: Collection[str],
    seconds: float = LOOK_SECONDS,
) -> WhatServes:
    """What every Ollama of the settings and this home serve, with what is known of it. `task_names` are those of the project:
    by them a task is proposed. Raises `InputError` for an address that is none."""
    servers = {name: one for name, one in known_servers(settings).items() if one.api == "ollama"}
    answers = ask_side_by_side(
        servers,
        lambda server: _of_ollama(server, time.monotonic() + seconds),
        seconds=seconds + 1.0,
        server_of=lambda name: name,
        is_away=lambda _: False,
    )
    found: list[Adoptable] = []
    silent: dict[str, Reason] = {}
    for name in servers:
        answer = answers.get(name, Reason("server_slow", {"url": servers[name].url, "seconds": seconds}))
        if isinstance(answer, Reason):
            silent[name] = answer
        else:
            found += answer
    records, unreadable = read_records(home)
    told = ask_side_by_side(
        {record.name: record for record in records},
        lambda record: _of_home(home, record),
        seconds=seconds,
        server_of=lambda name: name,
        is_away=lambda _: False,
    )
    found += [told[record.name] for record in records if record.name in told]
    slow = Reason("server_slow", {"seconds": seconds})
    silent |= {f"served:{record.name}": slow for record in records if record.name not in told}
    silent |= {f"served:{one.name}": Reason("bad_served_model", {"said": one.error}) for one in unreadable}
    return WhatServes(tuple(_with_what_is_known(connection, found, project_id, task_names)), silent)


def _of_ollama(server: ServerUnderTest, until: float) -> list[Adoptable] | Reason:
    try:
        with brief_ollama(server) as ollama:
            version = ollama.version()
            tags = sorted(ollama.tags(), key=lambda tag: tag.name.lower())
            return [_of_tag(server, ollama, version, tag, until) for tag in tags if not _is_own(tag.name)]
    except ServerError as error:
        return error.reason
    except BakehouseError as error:
        return Reason(error.code, {"said": error.message})


def _is_own(name: str) -> bool:
    """Whether a tag is one that Bakehouse made beside a model, to keep one or to prove one."""
    return is_kept_name(name) or OWN_TAGS.search(name) is not None


def _of_tag(server: ServerUnderTest, ollama: Ollama, version: str, tag: Tag, until: float) -> Adoptable:
    # Ollama lists `judge` as `judge:latest`, and both are the same name to whoever asks.
    name = tag.name.removesuffix(":latest")
    target = Target(name, tag.digest, server_version=version, size_bytes=tag.size_bytes)
    told = Adoptable(
        server.name,
        server.url,
        name,
        target,
        family=tag.family,
        parameter_size=tag.parameter_size,
        quantization=tag.quantization,
        modified_at=tag.modified_at,
    )
    if time.monotonic() > until:
        return replace(told, fault=Reason("server_slow", {"url": server.url, "seconds": LOOK_SECONDS}))
    try:
        shown = ollama.show(tag.name)
    except ServerError as error:
        return replace(told, fault=error.reason)
    return replace(
        told,
        target=replace(target, weights=shown.blob, template=template_hash(shown.template)),
        quantization=shown.quantization or tag.quantization,
        context_length=shown.context_length,
        capabilities=shown.capabilities,
    )


def _of_home(home: Home, record: ServedModelRecord) -> Adoptable:
    size, fault = None, None
    try:
        size = record.file.stat().st_size
    except OSError:
        fault = Reason("served_file_gone", {"file": record.file.name})
    identity = served_identity(home, record) if read_state(home, record.name).phase == "serving" else None
    target = Target(
        record.name,
        record.weights,
        weights=record.weights,
        # Not the record's: its version is what `llama-server --version` prints, and clients are told another word for the same.
        template=None if identity is None else identity.template,
        server_version=None if identity is None else identity.version,
        size_bytes=size,
        model=record.model,
        record=to_json(home, record),
    )
    made_at = record.created_at or None
    return Adoptable(
        LLAMA_SERVER,
        "",
        record.name,
        target,
        modified_at=made_at,
        context_length=record.context_length,
        fault=fault,
    )


def _with_what_is_known(
    connection: sqlite3.Connection, found: Sequence[Adoptable], project_id: str, task_names: Collection[str]
) -> Iterator[Adoptable]:
    """The same with their lineage, whether they are in the fleet, and the task that is proposed."""
    done = deployments(connection)
    by_key = {(one.server, one.url, one.name_key): one for one in aliases(connection)}
    versions = versions_by_id(connection, [one.version_id for one in by_key.values() if one.version_id is not None])
    tasks: dict[int, list[str]] = {}
    for given in fleet_tasks(connection, project_id):
        tasks.setdefault(given.alias_id, []).append(given.task)
    made = {one.key: made_by(done, one.target.digest, one.target.weights) for one in found}
    told = lineages(connection, [one.job_id for one in made.values() if one is not None])
    taken = {task for named in tasks.values() for task in named}
    for one in found:
        deployment, alias = made[one.key], by_key.get(one.key)
        if deployment is not None:
            lineage = told.get(deployment.job_id, UNKNOWN)
            model = one.target.model or lineage.model or deployment.model
            one = replace(
                one, lineage=lineage, target=replace(one.target, model=model, deploy_job_id=deployment.job_id)
            )
        version = None if alias is None or alias.version_id is None else versions.get(alias.version_id)
        of_alias = () if alias is None else tuple(tasks.get(alias.id, ()))
        one = replace(one, alias=alias, is_current=_is_current(version, one.target), tasks=of_alias)
        yield one if of_alias else _with_proposal(one, deployment, task_names, taken)


def _is_current(version: AliasVersion | None, target: Target) -> bool:
    return version is not None and is_same(version.digest, target.digest)


def _with_proposal(
    one: Adoptable, deployment: Deployment | None, task_names: Collection[str], taken: Collection[str]
) -> Adoptable:
    """The task that it was deployed for, else the only one whose name is a part of its own; none that has an alias already."""
    if deployment is not None and deployment.task in task_names and deployment.task not in taken:
        return replace(one, proposed_task=deployment.task, proposed_by="deployment")
    fitting = [task for task in task_names if task not in taken and is_named_for(one.name, task)]
    return replace(one, proposed_task=fitting[0], proposed_by="name") if len(fitting) == 1 else one


def is_named_for(name: str, task: str) -> bool:
    """Whether a model's name has that of a task as a part of its own: `vault-judge`, `judge:v1`, not `prejudged`."""
    words, wanted = (re.split(r"[^a-z0-9]+", text.lower()) for text in (name, task))
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


def named(found: Collection[Adoptable], name: str) -> list[Adoptable]:
    """Those that a person can mean: by reference (`ollama:vault-judge`, `served:note`), or by the name alone."""
    by_reference = [one for one in found if one.reference == name]
    if by_reference:
        return by_reference
    with contextlib.suppress(ValueError):
        server, model = name.split(":", 1)
        of_server = [one for one in found if one.server == server and name_key_of(server, model) == one.key[2]]
        if of_server:
            return of_server
    return [one for one in found if name_key_of(one.server, name) == one.key[2]]
