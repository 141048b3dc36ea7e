"""Servers asked about the models of a bake-off: none is waited for without end, and none spoils what another one says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from core.errors import BakehouseError, NotFoundError
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest
from core.serving.answering import Capabilities, ServedIdentity
from core.serving.errors import ServerError
from core.submission import asked_servers
from core.submission.asked_servers import MOST_AT_ONCE, ServedFacts, ask_servers
from tests.support.kitchen import Kitchen, kitchen

__all__ = ["kitchen"]


def served(server: str, model: str, variant: str = "") -> CandidateSpec:
    under_test = ServerUnderTest(name=server, api="openai", url=f"http://{server}.invalid/v1")
    return CandidateSpec(name=f"{server}:{model}{variant}", form="served", server=under_test, served_model=model)


def facts(candidate: CandidateSpec) -> ServedFacts:
    return ServedFacts(ServedIdentity("openai", candidate.served_model or ""), Capabilities())


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_servers, "SECONDS_FOR_A_SERVER", 0.3)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_each_model_is_asked_for_once_however_it_is_asked() -> None:
    asked: list[str] = []

    def ask(candidate: CandidateSpec) -> ServedFacts:
        asked.append(candidate.name)
        return facts(candidate)

    told = ask_servers([served("lab", "a"), served("lab", "a", " @think=on"), served("lab", "b")], ask)
    assert sorted(asked) == ["lab:a", "lab:b"]
    assert {place[1]: answer.identity.model for place, answer in told.items() if isinstance(answer, ServedFacts)} == {
        "a": "a",
        "b": "b",
    }


@pytest.mark.usefixtures("soon")
def test_a_server_that_stalls_keeps_nothing_of_another_one() -> None:
    over = threading.Event()

    def ask(candidate: CandidateSpec) -> ServedFacts:
        if candidate.served_model == "stalls":
            over.wait()
        return facts(candidate)

    told = ask_servers([served("slow", "stalls"), served("slow", "quick"), served("lab", "b")], ask)
    over.set()
    errors = {place[1]: answer for place, answer in told.items() if isinstance(answer, BakehouseError)}
    assert list(errors) == ["stalls"]
    assert errors["stalls"].code == "server_slow"
    assert "http://slow.invalid/v1 did not answer within 0.3 s" in str(errors["stalls"])


@pytest.mark.parametrize("code", ["server_down", "server_slow"])
def test_a_server_that_is_not_there_is_not_asked_about_fifty_models(code: str) -> None:
    asked: list[str] = []
    at_once = threading.Barrier(MOST_AT_ONCE)

    def ask(candidate: CandidateSpec) -> BakehouseError:
        asked.append(candidate.name)
        at_once.wait()
        return ServerError("gone", code=code)  # type: ignore[arg-type]

    told = ask_servers([served("lab", f"m{number}") for number in range(50)], ask)
    assert len(told) == 50
    assert all(isinstance(answer, ServerError) and answer.code == code for answer in told.values())
    assert len(asked) == MOST_AT_ONCE


def test_what_one_model_lacks_says_nothing_of_the_next() -> None:
    def ask(candidate: CandidateSpec) -> ServedFacts | BakehouseError:
        return NotFoundError("no such model", code="x") if candidate.served_model == "a" else facts(candidate)

    told = ask_servers([served("lab", "a"), served("lab", "b")], ask)
    assert [isinstance(told[place], ServedFacts) for place in sorted(told)] == [False, True]


def test_a_fault_of_ours_is_not_hidden_in_a_thread() -> None:
    def ask(candidate: CandidateSpec) -> ServedFacts:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_servers([served("lab", "a")], ask)


@pytest.mark.usefixtures("soon")
def test_a_bake_off_is_queued_though_a_server_stalls(kitchen: Kitchen, silent: str) -> None:
    kitchen.write("bakehouse.yaml", f"id: kitchen\nservers: {{lab: {{api: openai, url: '{silent}'}}}}\n")
    remarks: list[str] = []
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("plain", "lab:a", "lab:b", "lab:b@think=on"), remarks))
    assert [one.name for one in spec.candidates] == ["plain base", "lab:a", "lab:b", "lab:b @think=on"]
    assert remarks == [
        f"lab was not asked what it can do: the model server at {silent} did not answer within 0.3 s; the job asks it"
    ]
