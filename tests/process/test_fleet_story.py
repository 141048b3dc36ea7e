"""The fleet from the first adoption to the last check, by its commands: real runner and jobs, a stand-in of Ollama."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet_story import ALL, HALF, SERVED, TASKS, Story, story
from tests.support.ollama_requests import Asked
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import Queue
from tests.support.waiting import wait_until


@pytest.fixture
def fleet(
    queue: Queue, machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Story]:
    with OllamaStandin("0.33.0-rc2", token_seconds=0.0) as server:
        yield story(queue, machine, server, capsys, monkeypatch)


def conditions(gate: dict[str, Any]) -> dict[str, str]:
    return {one["code"]: one["outcome"] for one in gate["conditions"]}


def drift_of(fleet: Story, task: str) -> str:
    (check,) = fleet.done("fleet", "drift", task, "--wait")["checks"]
    return str(check["job"]["result"]["summary"]["outcome"])


def test_from_the_first_adoption_to_the_last_check_the_history_tells_it_all(fleet: Story) -> None:
    server = fleet.server

    # Thirteen serve; three of them are proposed for a task by their name, and are given it.
    found = fleet.done("fleet", "adopt")["adoptable"]
    assert sorted(one["name"] for one in found) == sorted(SERVED) and not any(one["adopted"] for one in found)
    adopted = fleet.done("fleet", "adopt", "--all", "--assign-proposed")
    assert len(adopted["adopted"]) == 13 and adopted["refused"] == []
    listed = fleet.done("fleet", "list")
    assert {one["task"]: one["alias"] for one in listed["fleet"]} == {task: f"vault-{task}" for task in TASKS}
    assert len(listed["unassigned"]) == 10
    assert [command.split()[:3] for command in adopted["next"]] == [["bakehouse", "bakeoff", task] for task in TASKS]

    # A better one for the judge, which a training and a deployment made; one that is worse, one of which nothing is seen.
    fleet.done("deploy", f"job:{fleet.file}", "--name", "judge-4b", "--task", "judge", "--model", "tiny", "--wait")
    server.add_model("planner-4b", answer=HALF, load_seconds=0.02)
    server.add_model("seeder-4b", answer=ALL, load_seconds=0.02)
    for task in TASKS:
        fleet.done("bakeoff", task, f"ollama:vault-{task}", f"ollama:{task}-4b", "--wait")

    # Promoted: every condition holds.
    before = fleet.digest("vault-judge")
    told = fleet.done("fleet", "promote", "judge", "judge-4b")
    assert set(conditions(told["gate"]).values()) == {"pass"} and told["change"]["state"] == "done"
    assert fleet.digest("vault-judge") == fleet.digest("judge-4b") != before
    row = fleet.row("judge")
    assert (row["version"], row["before"]["version"], row["lineage"]["data"]) == (2, 1, "data/judge.jsonl")
    assert row["scores"]["format"] == 1.0 and row["before"]["scores"]["format"] == 0.5

    # Refused: it is worse. Nothing is touched, and the history has that.
    before_all = fleet.tags()
    code, told = fleet.ask("fleet", "promote", "planner", "planner-4b")
    assert (code, told["gate"]["outcome"], told["change"]["state"]) == (3, "fail", "failed")
    assert fleet.tags() == before_all and fleet.history()[-1]["gate"] == told["gate"]
    assert conditions(told["gate"])["not_worse"] == "fail"

    # It cannot be told: no difference was seen in twelve inputs. With a reason it is done all the same.
    code, told = fleet.ask("fleet", "promote", "seeder", "seeder-4b")
    assert (code, told["gate"]["outcome"]) == (3, "cannot_tell") and fleet.tags() == before_all
    code, said = fleet.says("fleet", "promote", "seeder", "seeder-4b", "--dry-run")
    assert code == 3 and "none seen in 12 inputs; up to 22 % could differ" in said
    reason = "half the size, and nobody complained"
    told = fleet.done("fleet", "promote", "seeder", "seeder-4b", "--override", reason)
    assert told["change"]["state"] == "done" and fleet.digest("vault-seeder") == fleet.digest("seeder-4b")
    assert fleet.row("seeder")["overridden"] == reason

    # Rolled back in a moment, and nothing is built for it.
    jobs = fleet.done("queue", "list", "--all")
    assert fleet.done("fleet", "rollback", "seeder")["change"]["state"] == "done"
    assert fleet.digest("vault-seeder") == before_all["vault-seeder:latest"]
    assert fleet.done("queue", "list", "--all") == jobs

    # Drift: a first check; then the server is another, which makes rows stale, and the model answers the same.
    assert drift_of(fleet, "planner") == "baseline_taken"
    server.version = "0.34.0"  # type: ignore[assignment]
    assert [one["code"] for one in fleet.row("judge")["stale"]] == ["server_version_differs"]
    assert drift_of(fleet, "planner") == "same"

    # A promotion rests on what was measured of this server.
    code, told = fleet.ask("fleet", "promote", "planner", "planner-4b")
    assert code == 3 and conditions(told["gate"])["measured"] == "cannot_tell"

    history = fleet.history()
    moves = [(one["alias"], one["kind"], one["state"]) for one in history if "kind" in one]
    assert sorted(moves[:13]) == [(one, "adopt", "done") for one in sorted(SERVED)]
    assert moves[13:] == [
        ("vault-judge", "promote", "done"),
        ("vault-planner", "promote", "failed"),
        ("vault-seeder", "promote", "failed"),
        ("vault-seeder", "promote", "done"),
        ("vault-seeder", "rollback", "done"),
        ("vault-planner", "promote", "failed"),
    ]
    promoted = [one for one in history if one.get("kind") == "promote"]
    assert [one["gate"]["outcome"] for one in promoted] == ["pass", "fail", "cannot_tell", "cannot_tell", "fail"]
    assert [one["override_reason"] for one in promoted] == [None, None, None, reason, None]
    assert [one["reason"]["code"] for one in promoted if one["state"] == "failed"] == ["gate_not_passed"] * 3
    drifted = [one["note"]["code"] for one in history if "note" in one and one["note"]["code"].startswith("drift")]
    assert drifted == ["drift_baseline_taken", "drift_same"]
    code, said = fleet.says("fleet", "history", "seeder")
    assert code == 0 and f"overridden: {reason}" in said and "went back to version 1" in said
    code, said = fleet.says("fleet", "history", "planner")
    assert "was not done" in said and "the gate failed (not worse); nobody gave a reason to override the gate" in said


def test_a_promotion_that_fails_leaves_production_untouched_and_of_two_consoles_one_wins(fleet: Story) -> None:
    server = fleet.server
    fleet.done("fleet", "adopt", "vault-judge", "--task", "judge")
    wait_until(lambda: "vault-judge:bakehouse-1" in server.models, what="the tag that keeps it")
    for name in ("judge-4b", "judge-8b"):
        server.add_model(name, answer=ALL)
    before = fleet.tags()
    words = ("fleet", "promote", "judge", "judge-4b", "--override", "a try")

    def refuse(asked: Asked) -> None:
        if asked.path == "/api/copy":
            server.on_request = None
            server.answer_next(b'{"error": "no space left on device"}', "/api/copy", status=500)

    server.on_request = refuse
    code, told = fleet.ask(*words)
    assert (code, told["change"]["state"]) == (1, "failed") and fleet.tags() == before
    code, said = fleet.says("fleet", "history", "judge")
    assert "was not done" in said and "no space left on device" in said

    # Two at once: each shows its evidence, and asks for what it has shown. The first is under way until the other has ended.
    go_on = threading.Event()
    server.on_request = lambda asked: asked.path != "/api/copy" or go_on.wait(120)
    consoles = [
        fleet.begin("fleet", "promote", "judge", name, "--override", "mine") for name in ("judge-4b", "judge-8b")
    ]
    wait_until(lambda: any(one.poll() is not None for one in consoles), what="the end of one")
    go_on.set()
    said_by = [json.loads(one.communicate(timeout=120)[0]) for one in consoles]
    assert sorted(one.returncode for one in consoles) == [0, 1]
    winner = next(told for one, told in zip(consoles, said_by, strict=True) if one.returncode == 0)
    loser = next(told for one, told in zip(consoles, said_by, strict=True) if one.returncode == 1)
    assert winner["change"]["state"] == "done" and loser["error"]["code"] in ("change_open", "not_current")
    serves = fleet.digest("vault-judge")
    assert serves == fleet.digest(fleet.history()[-1]["source"]) != before["vault-judge:latest"]
