"""Servers asked about the models of a bake-off before it is queued: each beside the others, and for a bounded time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.config.validation import nearest
from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest
from core.jobfile.servers import login_of, opened
from core.serving.answering import Capabilities, ServedIdentity
from core.serving.errors import ServerError
from core.serving.servers import model_names

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
    models: dict[str, dict[ServedPlace, CandidateSpec]] = {}
    for candidate in candidates:
        if (place := served_place(candidate)) is not None:
            models.setdefault(place[0], {}).setdefault(place, candidate)
    servers = [_AskedServer(of_one, ask) for of_one in models.values()]
    for server in servers:
        server.start()
    until = time.monotonic() + SECONDS_FOR_A_SERVER
    told: dict[ServedPlace, ServedFacts | BakehouseError] = {}
    for server in servers:
        told |= server.answers(until)
    return told


class _AskedServer:
    """One server while it is asked, in threads that neither the caller nor the end of the process waits for."""

    def __init__(self, models: Mapping[ServedPlace, CandidateSpec], ask: Ask) -> None:
        self._models = models
        self._ask = ask
        self._lock = threading.Lock()
        self._waiting = list(models)
        self._told: dict[ServedPlace, ServedFacts | BakehouseError] = {}
        self._fault: Exception | None = None
        self._over = threading.Event()

    def start(self) -> None:
        for _ in range(min(MOST_AT_ONCE, len(self._models))):
            threading.Thread(target=self._work, name="asked-server", daemon=True).start()

    def answers(self, until: float) -> Mapping[ServedPlace, ServedFacts | BakehouseError]:
        """What it said until then. Raises what no server should cause."""
        self._over.wait(max(until - time.monotonic(), 0.0))
        with self._lock:
            self._waiting.clear()
            if self._fault is not None:
                raise self._fault
            told = dict(self._told)
        for place in self._models.keys() - told.keys():
            message = f"the model server at {place[0]} did not answer within {SECONDS_FOR_A_SERVER:g} s"
            told[place] = ServerError(message, code="server_slow")
        return told

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                place = self._waiting.pop(0)
            try:
                answer = self._ask(self._models[place])
            except Exception as error:  # noqa: BLE001 - it is raised where the answers are taken
                with self._lock:
                    self._fault = error
                self._over.set()
                return
            with self._lock:
                self._told[place] = answer
                if isinstance(answer, ServerError) and answer.code in ("server_down", "server_slow"):
                    self._told |= dict.fromkeys(self._waiting, answer)
                    self._waiting.clear()
                if len(self._told) == len(self._models):
                    self._over.set()


def _nearest_model(server: ServerUnderTest, wanted: str) -> str | None:
    try:
        return nearest(wanted, model_names(server, login=login_of(server)))
    except BakehouseError:
        return None
