"""Moves of aliases on an Ollama: done whole or taken back, whatever befalls the server and however often the runner dies.

Every test drives the commands, the keeper, the place and the client that a runner has; the server is played.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from core.aliases.keeper import OBSERVE_EVERY_SECONDS, AliasKeeper
from core.aliases.ollama_place import OllamaPlace
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


def test_a_runner_killed_while_a_move_is_taken_back_leaves_what_served_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has no room for the copy, however often it is asked: nothing of the move is left, whoever finds it."""
    for kill in count(1):
        fleet = PlayedFleet(tmp_path / str(kill), monkeypatch)
        promotion(fleet)
        killed_at = once(fleet.point + 1 + kill // 2, ("killed_before", "killed_after")[kill % 2])

        def befall(point: int, what: str, killed_at: Callable[[int, str], Fate] = killed_at) -> Fate:
            fate = killed_at(point, what)
            if what != "copy judge":
                return fate
            return "disk_full" if fate == "done" else "killed_before"

        fleet.befall = befall
        fleet.settle()
        fleet.check()
        change = fleet.last("judge")
        assert change.state == "taken_back" and change.reason is not None and change.reason.code == "move_refused"
        assert fleet.server.model("judge") == "qwen" and fleet.server.model("judge:bakehouse-2") is None, kill
        assert fleet.current("judge") == fleet.versions("judge")[0] and len(fleet.versions("judge")) == 1
        if not fleet.kills:
            break
    assert kill > 20, "it was killed at many points"


class Looking:
    """What looks at aliases: `failing` looks come to nothing."""

    def __init__(self, failing: int = 0) -> None:
        self.failing, self.asked = failing, 0
        self.stored: list[bool] = []

    def prepare(self, connection: sqlite3.Connection) -> Callable[[], int]:
        assert not connection.in_transaction
        return self._ask

    def _ask(self) -> int:
        self.asked += 1
        if self.asked <= self.failing:
            raise OSError("no route to the server")
        return self.asked

    def store(self, connection: sqlite3.Connection, observed: int) -> None:
        self.stored.append(connection.in_transaction)


def test_aliases_are_looked_at_beside_and_what_was_seen_is_stored_by_the_runner(fleet: PlayedFleet) -> None:
    """A look that takes long keeps no round waiting, one that fails is made again at the next time."""
    looking, waiting = Looking(failing=1), []
    keeper = AliasKeeper(
        fleet.connection,
        lambda alias, roots, in_use: OllamaPlace(fleet.server.client(), in_use),
        observing=looking,
        clock=fleet.clock,
        begin=waiting.append,
    )
    for _ in range(3):
        keeper.tick()
    assert len(waiting) == 1 and keeper.busy, "one look at a time, and it is under way"
    for _ in range(2):
        waiting.pop()()
        keeper.tick()
        assert not waiting and not keeper.busy
        fleet.clock.pass_time(OBSERVE_EVERY_SECONDS)
        keeper.tick()
    assert looking.asked == 2 and looking.stored == [True], "in a transaction"


def test_changes_of_two_aliases_on_one_server_are_made_one_after_the_other(fleet: PlayedFleet) -> None:
    serving(fleet)
    fleet.server.put("title", "qwen-1b")
    fleet.adopt("title", "title")
    fleet.settle()
    fleet.promote("judge", "judge-4b")
    fleet.promote("title", "judge-8b", "title")
    begun = len(fleet.server.requests)
    fleet.settle()
    fleet.check()
    placed = [one for one in fleet.server.requests[begun:] if one in ("copy judge", "copy title")]
    assert placed == ["copy judge", "copy title"]
    assert (fleet.server.model("judge"), fleet.server.model("title")) == ("qwen-4b", "qwen-8b")
