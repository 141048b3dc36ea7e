"""Which model a person means for promotion, and which alias it is to become."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass

from core.aliases.choice import server_of_alias
from core.config.project import Project
from core.config.servers import BUILT_IN
from core.errors import InputError, NotFoundError
from core.fleet.names import name_key_of
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest
from core.jobfile.deploy import DeploySpec
from core.jobfile.references import parse_reference
from core.jobfile.servers import SERVED, home_server, known_servers, served_model_of
from core.jobfile.spec import JobFile
from core.served.record import read_record, require_name
from core.serving.replies import name_key
from core.store.fleet import LLAMA_SERVER, Alias, alias_of, find_alias
from core.store.jobs import get_job


@dataclass(frozen=True)
class Meant:
    """`candidate` and `serving` are what is asked of a server: the model that is meant, and what the alias is now.

    `alias` is a transient one (id 0) where the store has none of that name on that server yet.
    """

    reference: str
    candidate: CandidateSpec
    serving: CandidateSpec
    alias: Alias


def meant(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: str,
    reference: str,
    alias_name: str | None = None,
) -> Meant:
    """The candidate by `job:12` (a deployment), `SERVER:MODEL`, `served:NAME`, or its name on the server of the task's alias.

    `alias_name` is the alias that a task without one is to have, on the candidate's server. No server is asked. Raises
    `NotFoundError` for an unknown task or job, `InputError` for a reference that is none, and where alias and candidate are on
    different servers.
    """
    project.task(task)
    present = alias_of(connection, project.id, task)
    candidate = _candidate(home, connection, project, present, reference.strip())
    assert candidate.server is not None and candidate.served_model is not None  # the spec was validated
    here = candidate.server.served_dir is not None
    server, url = (LLAMA_SERVER, "") if here else (candidate.server.name, candidate.server.url)
    wanted = (alias_name or "").strip()
    if present is None and not wanted:
        raise InputError(
            f"the task `{task}` has no alias: no name is known under which clients ask for it",
            code="no_alias",
            key=task,
            remedy="give the name with --as NAME; it becomes the candidate, and from then on moves by promotions alone",
        )
    if present is not None and wanted and name_key(wanted) != name_key(present.name):
        raise InputError(
            f"the task `{task}` has the alias `{present.name}`, not `{wanted}`",
            code="other_alias",
            key=task,
            remedy=f"leave out --as, or release the task first: `bakehouse fleet assign {task} --none`",
        )
    if present is not None and ((present.server, present.url) != (server, url)):
        where = "the served models of this home" if present.is_served_here else f"the server `{present.server}`"
        raise InputError(
            f"`{reference}` is not where the alias is: `{present.name}` is of {where}",
            code="other_server",
            key=reference,
            remedy=f"deploy the model to {where}, or give the task an alias on the candidate's server",
        )
    alias = present or _new_alias(connection, server, url, require_name(wanted) if here else wanted)
    serving = CandidateSpec(
        name=alias.name, form="served", server=_server(home, project, alias, candidate.server), served_model=alias.name
    )
    return Meant(reference, candidate, serving, alias)


def _candidate(
    home: Home, connection: sqlite3.Connection, project: Project, alias: Alias | None, reference: str
) -> CandidateSpec:
    job = parse_reference(reference)
    if job is not None:
        return _deployed(home, connection, job.job_id, reference)
    servers = {name: one for name, one in known_servers(project.settings).items() if one.api == "ollama"}
    kind, colon, name = reference.partition(":")
    if colon and kind in (SERVED, LLAMA_SERVER, *servers) and not name.strip():
        raise InputError("no model is named behind the colon", code="bad_candidate", key=reference)
    if colon and kind in servers:
        return _of_ollama(servers[kind], name)
    if colon and kind in (SERVED, LLAMA_SERVER):
        found = _of_home(home, name)
        if found is None and kind == SERVED and BUILT_IN in servers:
            return _of_ollama(servers[BUILT_IN], name)
        return found or CandidateSpec(name=name, form="served", server=served_model_of(home, name), served_model=name)
    if not reference:
        raise InputError("no candidate is named", code="bad_candidate")
    if alias is not None and alias.is_served_here:
        found = _of_home(home, reference)
        if found is None:
            raise NotFoundError(
                f"no served model of this home is called `{reference}`",
                code="no_served_model",
                key=reference,
                remedy="`bakehouse served list` shows them",
            )
        return found
    if alias is not None:
        return _of_ollama(server_of_alias(alias, [str(project.root)]), reference)
    return _of_home(home, reference) or _of_ollama(servers[BUILT_IN], reference)


def _deployed(home: Home, connection: sqlite3.Connection, job_id: int, reference: str) -> CandidateSpec:
    row = get_job(connection, job_id)
    spec = JobFile.load(home.run_dir(job_id)).spec
    if not isinstance(spec, DeploySpec):
        made = {"train": f"`bakehouse ship --from {job_id}` has it serve; then "}
        made |= dict.fromkeys(("convert", "quantize"), f"`bakehouse deploy {job_id}` has it serve; then ")
        raise InputError(
            f"job {job_id} is no deployment: nothing serves that it made",
            code="no_deployment",
            key=reference,
            remedy=f"{made.get(row.kind, '')}name a deployment, or the model as its server has it",
        )
    if row.state != "done":
        raise InputError(
            f"the deployment {job_id} is {row.state}: nothing serves that it made",
            code="not_deployed",
            key=reference,
            remedy="wait for its end, or retry it",
        )
    server = served_model_of(home, spec.name) if spec.server is None else spec.server
    return CandidateSpec(name=spec.name, form="served", server=server, served_model=spec.name)


def _of_ollama(server: ServerUnderTest, name: str) -> CandidateSpec:
    tag = name.strip().removesuffix(":latest")
    return CandidateSpec(name=tag, form="served", server=server, served_model=tag)


def _of_home(home: Home, name: str) -> CandidateSpec | None:
    with contextlib.suppress(InputError, NotFoundError):
        record = read_record(home, require_name(name.strip()))
        return CandidateSpec(
            name=record.name, form="served", server=home_server(home, record), served_model=record.name
        )
    return None


def _new_alias(connection: sqlite3.Connection, server: str, url: str, name: str) -> Alias:
    key = name_key_of(server, name)
    found = find_alias(connection, server, url, key)
    return found or Alias(0, server, url, name, key, None, None, None, None, None, None)


def _server(home: Home, project: Project, alias: Alias, candidate: ServerUnderTest) -> ServerUnderTest:
    if alias.is_served_here:
        return served_model_of(home, alias.name)
    return candidate if candidate.name == alias.server else server_of_alias(alias, [str(project.root)])
