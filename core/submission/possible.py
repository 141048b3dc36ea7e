"""What a candidate cannot be asked, told before its bake-off is queued as far as it is known then."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import IN_PROCESS, CandidateSpec
from core.jobfile.references import parse_reference
from core.serving.answering import Capabilities
from core.store.jobs import get_job
from core.submission.asked_servers import Ask, Asked, ask_servers, served_facts, served_place


def still_to_serve(
    connection: sqlite3.Connection, candidates: Sequence[CandidateSpec], remarks: list[str], own: Collection[int] = ()
) -> frozenset[str]:
    """The names of served candidates that a job is still to deploy: nobody can say yet what they are able to do.

    `own` are jobs of the bake-off's chain: that it waits for those is no news.
    """
    found = set()
    for candidate in candidates:
        made_by = parse_reference(candidate.ref) if candidate.form == "served" else None
        if made_by is not None and get_job(connection, made_by.job_id).state != "done":
            found.add(candidate.name)
            if made_by.job_id not in own:
                said = f"{candidate.name} is served once job {made_by.job_id} is done"
                remarks.append(f"{said}: the bake-off waits for that")
    return frozenset(found)


def refuse_impossible(
    candidates: Sequence[CandidateSpec],
    remarks: list[str],
    ask: Ask | None = served_facts,
    to_come: Collection[str] = (),
) -> Asked:
    """Raise `InputError` or `NotFoundError` for what can't be: a model that its server has not, a grammar at Ollama, a thinking
    model that is none. Servers are asked, and what they said is returned; one that does not answer is a remark, and the job
    asks it again. Nobody is asked without `ask`, nor of candidates that are still `to_come`.
    """
    for candidate in candidates:
        refuse_format(candidate)
    there = [one for one in candidates if one.name not in to_come]
    asked = {} if ask is None else ask_servers(there, ask)
    silent: dict[str, str] = {}
    for candidate in there:
        place = served_place(candidate)
        answer = None if place is None else asked.get(place)
        if isinstance(answer, NotFoundError):
            raise answer
        if isinstance(answer, BakehouseError):
            assert candidate.server is not None  # it has a place
            if candidate.server.served_dir is None:
                silent.setdefault(candidate.server.name, answer.message)
            else:
                remedy = f" ({answer.remedy})" if answer.remedy else ""
                silent.setdefault(str(candidate.served_model), f"{answer.message}{remedy}")
        elif answer is not None:
            refuse_unable(candidate, answer.capabilities)
    remarks += [
        f"{server} was not asked what it can do: {message}; the job asks it" for server, message in silent.items()
    ]
    return asked


def refuse_format(candidate: CandidateSpec) -> None:
    """What is known of a form without asking anybody. Raises `InputError`."""
    output = candidate.variant.output
    if output is None:
        return
    if candidate.form in IN_PROCESS:
        raise InputError(
            "a model that the job loads itself is not held to a format",
            code="no_format",
            key=candidate.name,
            remedy="serve it (Ollama, llama-server, vLLM), and name it as served:NAME or SERVER:MODEL",
        )
    if output.kind == "grammar" and candidate.server is not None and candidate.server.api == "ollama":
        raise InputError(
            "Ollama takes no grammar",
            code="no_format",
            key=candidate.name,
            remedy="write a JSON schema (@format=FILE.json), or serve the model with llama-server",
        )


def refuse_unable(candidate: CandidateSpec, able: Capabilities) -> None:
    """What the server says it does not do. Raises `InputError`."""
    variant, name = candidate.variant, candidate.name
    if variant.think == "on" and able.thinking is False:
        raise InputError(
            "the model cannot think, says its server", code="no_thinking", key=name, remedy="leave think out"
        )
    if variant.output is not None and variant.output.kind not in able.formats:
        raise InputError(
            f"its server cannot hold an answer to a {variant.output.kind}",
            code="no_format",
            key=name,
            remedy=f"it takes {', '.join(sorted(able.formats))}" if able.formats else "leave format out",
        )
