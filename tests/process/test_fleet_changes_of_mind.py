"""Ten changes of mind about what serves, with a real runner: what a person, a server, a disk and a clock can do in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import exit_code
from core.files import write_atomic
from core.runner import client as requests
from core.runner.commands import RefusedError
from core.store.fleet import Target
from core.store.fleet_changes import FleetChange
from tests.support.ollama_requests import Asked
from tests.support.queueing import AUTHOR, CHECKOUT, Queue
from tests.support.real_fleet import RealFleet, real_fleet
from tests.support.waiting import wait_until

COPY = "/api/copy"
DAY = 86400.0


@pytest.fixture
def fleet(queue: Queue, machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealFleet]:
    """`judge` serves its task, and the tag that keeps it is there; `judge-4b` and `judge-8b` are candidates."""
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    with real_fleet(queue, machine) as made:
        made.adopt("judge", "judge")
        wait_until(lambda: (one := made.current("judge")) is not None and one.kept_as is not None, what="the kept tag")
        yield made


def ask(fleet: RealFleet, kind: str, arguments: dict[str, Any], by: str = AUTHOR) -> None:
    requests.request(fleet.home, kind, None, arguments, by=by)


def promoted(fleet: RealFleet, source: str) -> FleetChange:
    """The change by which `judge` was asked to become a candidate, once it has ended."""
    ask(fleet, "fleet-promote", fleet.promotion("judge", source, "judge"))
    return settled(fleet)


def rolled_back(fleet: RealFleet, **more: Any) -> FleetChange:
    given = fleet.rollback("judge", fleet.versions("judge")[0])
    ask(fleet, "fleet-rollback", {**given, **more})
    return settled(fleet)


def settled(fleet: RealFleet) -> FleetChange:
    wait_until(fleet.at_rest, what=lambda: str(fleet.changes()[:1]))
    return fleet.changes()[0]


def ended(change: FleetChange) -> tuple[str, str, str | None]:
    return change.kind, change.state, None if change.reason is None else change.reason.code


def at_copy(fleet: RealFleet, to: str) -> tuple[threading.Event, threading.Event]:
    """(set once the alias is about to be copied to, what lets the server go on)."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(asked: Asked) -> None:
        if asked.path == COPY and (asked.body or {}).get("destination") == to:
            reached.set()
            go_on.wait(120)

    fleet.at_request = hold
    return reached, go_on


def row(fleet: RealFleet, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `bakehouse fleet list` tells of the task."""
    capsys.readouterr()
    assert exit_code(["fleet", "list", "--json"]) == 0
    (found,) = (one for one in json.loads(capsys.readouterr().out)["fleet"] if one["task"] == "judge")
    return dict(found)


def test_what_was_made_is_deleted_by_hand(fleet: RealFleet) -> None:
    """A version is known by its digest, whatever tag has it; where none has it the way back is told to be gone."""
    assert ended(promoted(fleet, "judge-4b")) == ("promote", "done", None)
    fleet.server.remove_model("judge-4b")
    fleet.server.copy_model("judge:bakehouse-1", "backup")
    fleet.server.remove_model("judge:bakehouse-1")
    assert ended(rolled_back(fleet)) == ("rollback", "done", None)
    fleet.check("judge")
    assert ended(promoted(fleet, "judge-8b")) == ("promote", "done", None)
    for name in ("backup", "judge:bakehouse-1"):
        fleet.server.remove_model(name)
    assert ended(rolled_back(fleet)) == ("rollback", "failed", "source_gone")
    current = fleet.current("judge")
    assert current is not None and current.number == 3 and fleet.violations == [], "production is untouched"


def test_the_server_goes_away_in_the_middle(fleet: RealFleet) -> None:
    reached, go_on = at_copy(fleet, "judge")
    fleet.write("fleet-promote", fleet.promotion("judge", "judge-4b", "judge"))
    assert reached.wait(120)
    fleet.watched.clear()  # nobody serves while no server runs
    fleet.at_request = lambda asked: None
    go_on.set()
    fleet.server.down()
    wait_until(lambda: fleet.at_rest() or fleet.changes()[0].phase == "waiting_server", what="the runner waits for it")
    fleet.server.up()
    assert ended(settled(fleet))[:2] == ("promote", "done")
    fleet.check("judge")


def test_the_server_is_upgraded_in_the_middle(fleet: RealFleet, capsys: pytest.CaptureFixture[str]) -> None:
    reached, go_on = at_copy(fleet, "judge")
    fleet.write("fleet-promote", fleet.promotion("judge", "judge-4b", "judge"))
    assert reached.wait(120)
    fleet.server.version = "0.34.0"  # type: ignore[assignment]
    go_on.set()
    assert ended(settled(fleet)) == ("promote", "done", None)
    current = fleet.current("judge")
    assert current is not None and current.server_version == "0.34.0", "as the server was when it was verified"
    assert row(fleet, capsys)["observed"]["server_version"] == "0.34.0"


def test_the_disk_is_full(fleet: RealFleet) -> None:
    """For the tag that is to keep the candidate; then for the alias itself, of which the server leaves an empty file."""
    full: list[str] = []

    def refuse(asked: Asked) -> None:
        to = str((asked.body or {}).get("destination")) if asked.path == COPY else ""
        if to and to not in full:
            full.append(to)
            fleet.server.tear(to)
            fleet.server.answer_next(b'{"error": "write manifest: no space left on device"}', COPY, status=500)

    fleet.at_request = refuse
    change = promoted(fleet, "judge-4b")
    assert ended(change) == ("promote", "failed", "move_refused") and full == ["judge:bakehouse-2"]
    assert change.reason is not None and "no space left on device" in str(change.reason.values["message"])
    fleet.check("judge")
    assert "judge:bakehouse-2" not in fleet.server.models and len(fleet.versions("judge")) == 1

    full.append("judge:bakehouse-3")
    fleet.watched.clear()  # what an Ollama without room does to a tag is beyond whoever asks
    assert ended(promoted(fleet, "judge-4b")) == ("promote", "taken_back", "move_refused") and full[-1] == "judge"
    fleet.check("judge")
    fleet.at_request = lambda asked: None
    assert ended(promoted(fleet, "judge-4b")) == ("promote", "done", None)
    fleet.server.tear("judge")
    assert ended(promoted(fleet, "judge-8b")) == ("promote", "done", None)
    fleet.check("judge")


def test_the_name_is_taken(fleet: RealFleet) -> None:
    theirs = fleet.server.add_model("vault-judge", blob="sha256:" + "7" * 64)
    given = {**fleet.promotion("vault-judge", "judge-4b", "other")}
    ask(fleet, "fleet-promote", given)
    assert ended(settled(fleet)) == ("promote", "failed", "name_taken")
    assert fleet.server.models["vault-judge:latest"] == theirs and fleet.current("vault-judge") is None


def test_two_ships_of_one_task(fleet: RealFleet) -> None:
    """Each was held against the same incumbent: the second is told who was first, and with what."""
    first, second = (fleet.promotion("judge", one, "judge") for one in ("judge-4b", "judge-8b"))
    ask(fleet, "fleet-promote", first, by="anna")
    settled(fleet)
    with pytest.raises(RefusedError) as refused:
        ask(fleet, "fleet-promote", second, by="ben")
    assert refused.value.code == "not_current"
    values = refused.value.reason.values
    assert (values["version"], values["author"]) == (2, "anna")
    fleet.check("judge")


def test_a_promotion_during_a_training(fleet: RealFleet) -> None:
    """The GPU is the training's: the alias moves all the same, and nothing is loaded for it."""
    training = fleet.queue.submit("steps=4 waits=2")
    fleet.queue.wait_for_step(training, 1)
    before = len(fleet.server.requests)
    assert ended(promoted(fleet, "judge-4b")) == ("promote", "done", None)
    assert fleet.queue.job(training).state == "running"
    assert {one.path for one in fleet.server.requests[before:]}.isdisjoint({"/api/generate", "/api/chat"})
    fleet.queue.go_on(training)
    assert fleet.queue.wait_for(training).state == "done"
    fleet.check("judge")


def test_a_rollback_while_the_model_is_loaded(fleet: RealFleet) -> None:
    """Whoever asked before has an answer of what was there then; whoever asks afterwards has one of the former."""
    loaded = threading.Event()
    fleet.server.add_model("judge-4b", answer="four", loads_until=loaded)
    assert ended(promoted(fleet, "judge-4b")) == ("promote", "done", None)
    answered: list[str] = []
    client = threading.Thread(target=lambda: answered.append(fleet.client.generate("judge", "hello").text))
    client.start()
    wait_until(lambda: fleet.server.residents(), what="the load begins")
    assert ended(rolled_back(fleet)) == ("rollback", "done", None)
    assert answered == []
    loaded.set()
    client.join(120)
    assert answered == ["four"] and "four" not in fleet.client.generate("judge", "hello", num_predict=2).text
    fleet.check("judge")


def test_somebody_else_moves_the_alias(fleet: RealFleet, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told and left alone; what was recorded comes back on a rollback, and theirs is kept."""
    theirs = fleet.server.add_model("judge", blob="sha256:" + "7" * 64)
    assert ended(promoted(fleet, "judge-4b")) == ("promote", "failed", "alias_changed")
    assert fleet.server.models["judge:latest"] == theirs and row(fleet, capsys)["foreign"]
    found = Target("judge", theirs.digest).to_json()
    assert ended(rolled_back(fleet, to_version=None, found=found)) == ("rollback", "done", None)
    fleet.check("judge")
    assert not row(fleet, capsys)["foreign"]
    (kept,) = (one for one in fleet.versions("judge") if one.origin == "found")
    wait_until(lambda: kept.kept_as is not None or fleet.versions("judge")[1].kept_as is not None, what="theirs kept")
    assert fleet.server.models[str(fleet.versions("judge")[1].kept_as)].digest == theirs.digest

    fleet.watched.clear()
    fleet.server.remove_model("judge")
    assert row(fleet, capsys)["foreign"]
    with pytest.raises(SystemExit, match="0"):
        exit_code(["fleet", "rollback", "judge", "--json"])
    fleet.check("judge")
    current = fleet.current("judge")
    assert current is not None and current.number == 1, "what was recorded, though it was nothing else before"
    capsys.readouterr()
    assert exit_code(["fleet", "history", "judge"]) == 0
    assert "which somebody had removed, is version 1 (judge) again" in " ".join(capsys.readouterr().out.split())


CLOCK = """
import time
real = time.time
def shown():
    with open({file!r}) as ahead:
        return real() + float(ahead.read() or 0)
time.time = shown
"""


def test_the_clock_is_set_back(
    fleet: RealFleet, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a day, while the runner lives: order is by number, and nothing waits for the former time to come."""
    ahead = machine / "ahead"
    write_atomic(ahead, str(DAY), durable=False)
    (machine / "clock").mkdir()
    (machine / "clock/sitecustomize.py").write_text(CLOCK.format(file=str(ahead)))
    monkeypatch.setenv("PYTHONPATH", f"{machine / 'clock'}:{CHECKOUT}")
    fleet.queue.kill_runner()
    first = promoted(fleet, "judge-4b")
    assert ended(first) == ("promote", "done", None) and (first.ended_at or 0.0) > time.time() + DAY / 2
    write_atomic(ahead, "0", durable=False)
    back = rolled_back(fleet)
    assert ended(back) == ("rollback", "done", None) and back.asked_at < first.asked_at - DAY / 2
    assert ended(promoted(fleet, "judge-8b")) == ("promote", "done", None)
    assert [one.kind for one in fleet.changes()] == ["promote", "rollback", "promote", "adopt"]
    assert row(fleet, capsys)["before"]["version"] == 1, "what it was before, not what has the latest time"
    fleet.check("judge")
