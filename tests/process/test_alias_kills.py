"""Promotions and rollbacks with a real runner at a stand-in of Ollama: SIGKILL at random moments, and who may wait for whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.runner import client as requests
from core.runner.commands import RefusedError
from tests.support.ollama_requests import Asked
from tests.support.queueing import Queue
from tests.support.real_fleet import RealFleet, one_seed, real_fleet
from tests.support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture
def fleet(queue: Queue, machine: Path) -> Iterator[RealFleet]:
    with real_fleet(queue, machine) as made:
        yield made


@pytest.mark.parametrize("seeds", [pytest.param(20, id="20"), pytest.param(200, id="200", marks=pytest.mark.soak)])
def test_a_runner_killed_at_random_moments_never_leaves_two_truths(seeds: int, fleet: RealFleet) -> None:
    """The server sees at each request that the alias is there; after each seed store and server agree, by digests."""
    fleet.adopt("judge", "judge")
    deaths = sum(one_seed(fleet, seed, "judge", "judge") for seed in range(seeds))
    ended = [change for change in fleet.changes() if change.kind in ("promote", "rollback")]
    assert len(ended) == seeds and {change.state for change in ended} == {"done"}, (
        "nothing but the kills was in the way"
    )
    found = [change for change in ended if change.reason is not None and change.reason.code == "finished_after_restart"]
    assert deaths >= seeds // 2 and len(found) >= seeds // 4, "many were killed in the middle, and were finished"
    assert {change.kind for change in found} == {"promote", "rollback"}


def test_of_two_consoles_one_wins_and_a_server_that_does_not_answer_keeps_nobody_waiting(fleet: RealFleet) -> None:
    """While the server holds its answer, the runner carries out other commands, and tells the second console who was first."""
    fleet.adopt("judge", "judge")
    wait_until(lambda: (one := fleet.current("judge")) is not None and one.kept_as is not None, what="the kept tag")
    first, second = (fleet.promotion("judge", source, "judge") for source in ("judge-4b", "judge-8b"))
    reached, released = threading.Event(), threading.Event()

    def hold(asked: Asked) -> None:
        if asked.path == "/api/copy":
            reached.set()
            released.wait(PATIENCE_SECONDS)

    fleet.at_request = hold
    told: list[object] = []

    def ask(arguments: dict[str, object], by: str) -> None:
        try:
            requests.request(fleet.home, "fleet-promote", None, arguments, by=by)
            told.append(None)
        except RefusedError as refused:
            told.append((refused.code, refused.reason.values["author"], by))

    consoles = [threading.Thread(target=ask, args=one) for one in ((first, "anna"), (second, "ben"))]
    for console in consoles:
        console.start()
    for console in consoles:
        console.join(PATIENCE_SECONDS)
    assert reached.wait(PATIENCE_SECONDS)
    fleet.queue.ask("pause")
    fleet.queue.ask("resume")
    assert told.count(None) == 1
    (refusal,) = (one for one in told if one is not None)
    assert refusal in {("change_open", "anna", "ben"), ("change_open", "ben", "anna")}
    released.set()
    fleet.settle()
    fleet.check("judge")
    assert [change.state for change in fleet.changes() if change.kind == "promote"] == ["done"]
