"""A real runner promotes a served model and rolls it back, whoever is killed on the way: one serves, which the store names."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time

import pytest

from core.reasons import Reason
from core.runner.client import ensure_runner, request, stop_runner
from core.runner.status import runner_status
from core.served.record import ServedModelRecord, read_record
from core.served.state import is_running, read_state
from core.store.fleet import Target, current_version
from core.store.fleet_changes import FleetChange, changes, notes, open_changes
from tests.support.commands import called
from tests.support.queueing import Queue
from tests.support.served_alias import ALIAS, CANDIDATE, FORMER, Counter, counter, serving, target_of
from tests.support.waiting import wait_until

__all__ = ["counter", "serving"]

ROUNDS = int(os.environ.get("BAKEHOUSE_TEST_FLEET_ROUNDS", "8"))
SEED = int(os.environ.get("BAKEHOUSE_TEST_SEED", "1"))
LONG = [pytest.param(SEED + more, 5 * ROUNDS, marks=pytest.mark.soak) for more in range(1, 6)]
BY = "anna@gpubox, fleet"
TASK = {"project_id": "p", "project_root": "/nowhere", "task": "judge"}


def promote(counter: Counter, target: Target) -> None:
    alias = counter.alias()
    asked = {"alias_id": alias.id, "expected_version": alias.version_id, "target": target.to_json()}
    request(counter.home, "fleet-promote", arguments={**TASK, **asked, "gate": {"outcome": "pass"}}, by=BY)


def roll_back(counter: Counter) -> None:
    alias = counter.alias()
    request(
        counter.home, "fleet-rollback", arguments={"alias_id": alias.id, "expected_version": alias.version_id}, by=BY
    )


def newest(counter: Counter) -> FleetChange:
    with counter.connection as connection:
        return changes(connection)[0]


def settled(counter: Counter) -> FleetChange:
    """The newest change once it has ended."""

    def ended() -> bool:
        ensure_runner(counter.home)
        with counter.connection as connection:
            return not open_changes(connection)

    wait_until(ended, what=lambda: f"{newest(counter)}, {read_state(counter.home, ALIAS)}")
    return newest(counter)


def noted(counter: Counter) -> list[Reason]:
    with counter.connection as connection:
        return [one.reason for one in notes(connection)]


def recorded(counter: Counter) -> str:
    """The model that the alias is by the store."""
    with counter.connection as connection:
        version = current_version(connection, counter.alias())
    assert version is not None and version.record is not None and version.model is not None
    return version.model


def test_a_runner_promotes_and_rolls_back_and_says_what_it_waits_for(serving: Counter) -> None:
    candidate = serving.serve("judge-four-9", CANDIDATE)
    serving.model(CANDIDATE, "hold")
    promote(serving, target_of(serving.home, candidate))
    wait_until(lambda: newest(serving).phase == "loading", what=lambda: str(newest(serving)))
    assert recorded(serving) == FORMER, "until it has answered"
    serving.model(CANDIDATE)
    change = settled(serving)
    assert (change.state, change.reason, recorded(serving)) == ("done", None, CANDIDATE)
    serving.is_settled(CANDIDATE)
    assert not is_running(serving.home.served_dir(candidate.name))
    wait_until(lambda: noted(serving), what="that is noted")
    assert noted(serving) == [Reason("candidate_stopped", {"served": candidate.name, "alias": ALIAS})]

    roll_back(serving)
    assert (settled(serving).state, recorded(serving)) == ("done", FORMER)
    serving.is_settled(FORMER)

    serving.model(CANDIDATE, "mute")
    promote(serving, target_of(serving.home, candidate))
    change = settled(serving)
    assert change.state == "taken_back" and change.reason is not None
    assert "serves and does not answer" in str(change.reason.values["message"])
    assert recorded(serving) == FORMER
    serving.is_settled(FORMER)

    candidate.file.unlink()
    before = read_state(serving.home, ALIAS)
    promote(serving, target_of(serving.home, candidate))
    change = settled(serving)
    assert change.state == "failed" and change.reason is not None and change.reason.code == "source_gone"
    assert read_state(serving.home, ALIAS) == before, "not even touched"


def test_it_waits_for_a_training_and_makes_way_for_one_that_comes_while_it_loads(
    serving: Counter, queue: Queue
) -> None:
    """Without a GPU the served models are away for a job that has the slot to itself, as they are for one that has the GPU."""
    candidate = serving.serve("judge-four-9", CANDIDATE)
    record = read_record(serving.home, ALIAS)
    training = queue.submit("steps=2 waits=1")
    queue.wait_for(training, "running")
    serving.model(CANDIDATE, "hold")
    promote(serving, target_of(serving.home, candidate))
    wait_until(lambda: newest(serving).phase == "waiting_for_lease", what=lambda: str(newest(serving)))
    queue.kill_runner()
    queue.start_runner()
    queue.go_on(training)
    wait_until(lambda: newest(serving).phase == "loading", what=lambda: str(newest(serving)))
    assert queue.job(training).state == "done", "nothing was touched before"
    assert read_record(serving.home, ALIAS) != record and recorded(serving) == FORMER

    another = queue.submit("steps=2 waits=1")
    queue.wait_for(another, "running")
    assert read_state(serving.home, ALIAS).phase == "away"
    wait_until(lambda: newest(serving).phase == "waiting_for_lease", what=lambda: str(newest(serving)))
    serving.model(CANDIDATE)
    queue.go_on(another)
    assert settled(serving).state == "done" and recorded(serving) == CANDIDATE
    serving.is_settled(CANDIDATE)


def test_a_runner_that_is_stopped_leaves_an_alias_that_serves_or_is_on_its_way(serving: Counter) -> None:
    """Nobody goes on with it until a person asks for something."""
    candidates = [serving.serve(f"judge-{one}", one) for one in (CANDIDATE, "five")]
    folder = serving.home.served_dir(ALIAS)

    def begun() -> bool:
        return folder.record_before.exists() or newest(serving).state != "open"

    for number, wanted in enumerate(candidates * 2):
        promote(serving, target_of(serving.home, wanted))
        if number:  # the first is stopped before it has begun, as a rule
            wait_until(begun, what="it has begun")
        stop_runner(serving.home)
        assert is_running(folder)
        settled(serving)
        serving.is_settled(wanted.model)


@pytest.mark.parametrize(("seed", "rounds"), [(SEED, ROUNDS), *LONG])
def test_random_kills_leave_one_model_that_serves_and_one_truth(serving: Counter, seed: int, rounds: int) -> None:
    chance, serving.has_runner = random.Random(seed), True
    candidates: list[ServedModelRecord] = [serving.serve(f"judge-{one}", one) for one in (CANDIDATE, "five")]
    reasons = []
    for _ in range(rounds):
        present = recorded(serving)
        others = [one for one in candidates if one.model != present]
        if present != FORMER and chance.random() < 0.4:
            roll_back(serving)
        else:
            wanted = chance.choice(others)
            serving.model(wanted.model, *chance.choice([(), (), (), ("mute",)]))
            promote(serving, target_of(serving.home, wanted))
        for _ in range(chance.choice([1, 1, 2, 3])):
            time.sleep(chance.uniform(0, 1.5))  # the next kill comes at any moment
            if chance.random() < 0.15:
                stop_runner(serving.home)  # as a person does
                continue
            state = read_state(serving.home, ALIAS)
            found = [runner_status(serving.home).pid, state.pid, None if state.shim is None else state.shim.pid]
            if victims := [pid for pid in found if pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(victims), signal.SIGKILL)
            chance.choice([lambda: ensure_runner(serving.home), lambda: None])()
        change = settled(serving)
        reasons.append((change.kind, change.state, change.reason))
        for one in candidates:  # what refuses to answer for good is none of this test's
            serving.model(one.model)
        serving.is_settled(recorded(serving))
        assert recorded(serving) == (change.target.model if change.state == "done" else present), reasons
    assert any(state == "done" for _, state, _ in reasons), reasons


def test_the_commands_of_the_fleet_on_served_models(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(counter.home.root))
    own = "judge-four-9"
    counter.serve(ALIAS, FORMER, port=counter.port)
    counter.serve(own, CANDIDATE)

    def run(*words: str) -> tuple[int, str, str]:
        return called(capsys, ["fleet", *words])

    assert run("adopt", ALIAS, "--task", "judge")[0] == 0
    code, out, err = run("promote", "judge", f"served:{own}")
    assert code == 3 and "Not promoted" in out + err
    counter.is_settled(FORMER)
    code, out, err = run("promote", "judge", f"served:{own}", "--override", "read by hand")
    assert code == 0, out + err
    counter.is_settled(CANDIDATE)
    code, out, err = called(capsys, ["served", "remove", ALIAS])
    assert code == 2 and "is the alias of judge" in err

    assert run("rollback", "judge")[0] == 0
    counter.is_settled(FORMER)

    def told() -> str:
        return " ".join(run("history", "judge")[1].split())

    wait_until(lambda: f"{own} is stopped" in told(), what=told)
    assert (
        "read by hand" in told()
        and f"back to version 1 ({FORMER}) for judge, in place of version 2 ({CANDIDATE})" in told()
    ), told()
    (row,) = json.loads(run("list", "--json")[1])["fleet"]
    assert (row["task"], row["alias"], row["foreign"], row["stale"]) == ("judge", ALIAS, False, [])
