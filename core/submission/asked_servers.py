"""Servers asked about the models of a bake-off before it is queued: each beside the others, and for a bounded time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.config.validation import nearest
from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest
from core.jobfile.servers import login_of, not_serving, opened
from core.serving.answering import Capabilities, ServedIdentity
from core.serving.errors import ServerError
from core.serving.servers import model_names
from core.serving.side_by_side import ask_side_by_side

SECONDS_FOR_A_SERVER = 15.0
"""How long one server is waited for, whatever it does meanwhile."""
MOST_AT_ONCE = 8
"""Models that one server is asked about at a time."""


@dataclass(frozen=True)
class ServedFacts:
    """What a server says of one of its models: who answers, and what that one can be asked for."""

    identity: ServedIdentity
    capabilities: Capabilities


ServedPlace = tuple[str, str]
"""A server's address, and a model by the name that it has there."""
Ask = Callable[[CandidateSpec], ServedFacts | BakehouseError]
"""`served_facts`, or one that remembers what it was told."""
Asked = Mapping[ServedPlace, ServedFacts | BakehouseError]


def served_place(candidate: CandidateSpec) -> ServedPlace | None:
    """Where a served candidate is asked; None of one that no running server answers for."""
    if candidate.server is None or candidate.served_model is None:
        return None
    return candidate.server.url, candidate.served_model


def served_facts(candidate: CandidateSpec) -> ServedFacts | BakehouseError:
    """What the server says of a candidate's model, or why that is not known; NotFoundError where it has no such model."""
    assert candidate.server is not None and candidate.served_model is not None  # only such are asked
    if (why := not_serving(candidate.server)) is not None:
        return why
    try:
        with contextlib.closing(opened(candidate.server, candidate.served_model)) as model:
            return ServedFacts(model.identity(), model.capabilities())
    except ServerError as error:
        if error.code != "model_not_found":
            return error
        near = _nearest_model(candidate.server, candidate.served_model)
        remedy = f"did you mean `{near}`?" if near else error.remedy
        return NotFoundError(error.message, code=error.code, key=candidate.name, remedy=remedy)
    except InputError as error:  # a key that is not set here may be where the runner was started
        return error


def ask_servers(candidates: Sequence[CandidateSpec], ask: Ask = served_facts) -> Asked:
    """What the servers say of the models of these candidates, each asked once.

    A server that is not there, or too slow, is not asked about its other models. None is waited for longer than
    SECONDS_FOR_A_SERVER: what it did not say by then is a ServerError (`server_slow`).
    """
    models: dict[ServedPlace, CandidateSpec] = {}
    for candidate in candidates:
        if (place := served_place(candidate)) is not None:
            models.setdefault(place, candidate)
    told = ask_side_by_side(
        models,
        ask,
        seconds=SECONDS_FOR_A_SERVER,
        server_of=lambda place: place[0],
        is_away=_is_away,
        most_at_once=MOST_AT_ONCE,
    )
    for place in models.keys() - told.keys():
        message = f"the model server at {place[0]} did not answer within {SECONDS_FOR_A_SERVER:g} s"
        told[place] = ServerError(message, code="server_slow")
    return told


def _is_away(answer: ServedFacts | BakehouseError) -> bool:
    return isinstance(answer, ServerError) and answer.code in ("server_down", "server_slow")


def _nearest_model(server: ServerUnderTest, wanted: str) -> str | None:
    try:
        return nearest(wanted, model_names(server, login=login_of(server)))
    except BakehouseError:
        return None
