"""Moves of aliases on an Ollama: done whole or taken back, whatever befalls the server and however often the runner dies.

Every test drives the commands, the keeper, the place and the client that a runner has; the server is played.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.support.played_fleet import PlayedFleet
from tests.support.played_ollama import Fate, digest_of

Scenario = Callable[[PlayedFleet], None]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedFleet:
    return PlayedFleet(tmp_path, monkeypatch)


def serving(fleet: PlayedFleet) -> None:
    """`judge` serves 7b as version 1, and two candidates are there."""
    for name in ("judge", "judge-8b", "judge-4b"):
        fleet.server.put(name, name.replace("judge", "qwen"))
    fleet.adopt("judge", "judge")
    fleet.settle()


def promoted(fleet: PlayedFleet) -> None:
    serving(fleet)
    fleet.promote("judge", "judge-4b")
    fleet.settle()


def first_promotion(fleet: PlayedFleet) -> None:
    fleet.server.put("judge-4b", "qwen-4b")
    fleet.promote("vault-judge", "judge-4b")


def promotion(fleet: PlayedFleet) -> None:
    serving(fleet)
    fleet.promote("judge", "judge-4b")


def going_back(fleet: PlayedFleet) -> None:
    promoted(fleet)
    fleet.rollback("judge")


def going_back_over_another(fleet: PlayedFleet) -> None:
    promoted(fleet)
    fleet.server.put("judge", "somebody's")
    found = {"source": "judge", "digest": digest_of("somebody's")}
    fleet.rollback("judge", found=found)


SCENARIOS: dict[str, tuple[Scenario, str, str]] = {
    "first promotion": (first_promotion, "vault-judge", "qwen-4b"),
    "promotion": (promotion, "judge", "qwen-4b"),
    "rollback": (going_back, "judge", "qwen"),
    "rollback over another": (going_back_over_another, "judge", "qwen-4b"),
}


def once(number: int, fate: Fate) -> Callable[[int, str], Fate]:
    return lambda point, what: fate if point == number else "done"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_runner_killed_at_any_point_leaves_a_change_that_the_next_one_ends(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, alias, becomes = SCENARIOS[name]
    for kill in count(1):
        fleet = PlayedFleet(tmp_path / str(kill), monkeypatch)
        begin(fleet)
        asked, fates = fleet.point, ("killed_before", "killed_after")
        fleet.befall = once(asked + 1 + kill // 2, fates[kill % 2])
        fleet.settle()
        fleet.check()
        change = fleet.last(alias)
        assert change.state == "done" and fleet.server.model(alias) == becomes, (kill, change)
        assert len([one for one in fleet.versions(alias) if one.digest == digest_of(becomes)]) == 1, "made once"
        if not fleet.kills:
            break
        if change.reason is not None:
            assert change.reason.code == "finished_after_restart"
    assert kill > 20, "it was killed at many points"
