"""An alias that is a served model: it becomes a candidate, or what it was, or stays as it is, whoever is killed on the way."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from core.aliases.places import NotNowError
from core.aliases.served_record import state_of_change
from core.errors import BakehouseError, InputError
from core.jobfile.gpu_use import GpuUse
from core.process.ports import free_port
from core.served.away import call_back, send_away
from core.served.control import stop
from core.served.record import ServedModelRecord, read_record
from core.served.revival import take_back
from core.served.state import is_running, read_state
from core.store.fleet import get_version
from core.store.fleet_changes import ChangeState, FleetChange
from tests.support.served_alias import ALIAS, CANDIDATE, FORMER, Counter, counter, serving, target_of
from tests.support.served_models import kill, reached
from tests.support.stored import job_in, step
from tests.support.waiting import wait_until

__all__ = ["counter", "serving"]

OWN = "judge-four-9"
"""The candidate's own served model."""


def promotion(serving: Counter, *words: str) -> tuple[ServedModelRecord, FleetChange]:
    """A candidate serves, and is asked to become the alias; its server does what `words` say from its next start on."""
    candidate = serving.serve(OWN, CANDIDATE)
    serving.model(CANDIDATE, *words)
    return candidate, serving.asked("promote", target_of(serving.home, candidate))


def revived(counter: Counter) -> list[str]:
    """What a runner does now and then."""

    def state(number: int) -> ChangeState | None:
        with counter.connection as connection:
            return state_of_change(connection, number)

    return take_back(counter.home, state)


def test_a_candidate_comes_to_serve_under_the_alias_and_the_former_version_comes_back_from_its_record(
    serving: Counter,
) -> None:
    candidate, change = promotion(serving)
    assert serving.carried(change) in ([], ["loading"])
    serving.is_settled(CANDIDATE)
    record = read_record(serving.home, ALIAS)
    assert record.command == tuple(
        {candidate.name: ALIAS, str(candidate.port): str(serving.port)}.get(word, word) for word in candidate.command
    )
    assert serving.home.served_dir(OWN).stopped.exists() and not is_running(serving.home.served_dir(OWN)), "held twice"
    placed = serving.place.look(serving.alias())
    assert placed is not None and (placed.digest, placed.server_version) == (candidate.weights, "b1-standin")
    first = serving.alias().version_id
    assert first is not None
    serving.ended(change, "done")

    with serving.connection as connection:
        back = serving.asked("rollback", get_version(connection, first).as_target())
    serving.carried(back)
    serving.is_settled(FORMER)
    assert not is_running(serving.home.served_dir(OWN))


@pytest.mark.parametrize(
    ("words", "code"), [(("refuse",), "not_serving"), (("mute",), "no_answer"), (("falls",), "not_serving")]
)
def test_one_that_does_not_come_or_does_not_answer_leaves_what_was_before(
    serving: Counter, words: tuple[str, ...], code: str
) -> None:
    _, change = promotion(serving, *words)
    with pytest.raises(BakehouseError) as refused:
        serving.carried(change)
    assert refused.value.code == code
    serving.is_settled(FORMER)
    assert read_state(serving.home, OWN).phase == "serving"


def test_what_is_gone_or_another_file_by_now_is_refused_before_anything_is_touched(serving: Counter) -> None:
    candidate = serving.serve(OWN, CANDIDATE)
    target, before = target_of(serving.home, candidate), read_state(serving.home, ALIAS)
    change = serving.asked("promote", target)
    candidate.file.write_text("other weights")
    with pytest.raises(InputError, match="no longer what was deployed"):
        serving.carried(change)
    candidate.file.unlink()
    assert serving.place.look_at_source(serving.alias(), target) is None
    with pytest.raises(InputError, match="is gone"):
        serving.carried(change)
    assert read_state(serving.home, ALIAS) == before
    serving.is_settled(FORMER)


def test_it_waits_while_served_models_are_away_and_goes_on_when_they_come_back(serving: Counter) -> None:
    _, change = promotion(serving)
    home, record = serving.home, read_record(serving.home, ALIAS)
    for name in (ALIAS, OWN):
        send_away(home, name, 7)
    with pytest.raises(NotNowError, match="away for job 7") as waits:
        serving.place.place(serving.alias(), change.target)
    assert waits.value.code == "waiting_for_lease" and read_record(home, ALIAS) == record

    for name in (ALIAS, OWN):
        call_back(home, name, 7)
        reached(home, name, "serving")
    serving.model(CANDIDATE, "hold")
    with pytest.raises(NotNowError, match="loads"):
        serving.place.place(serving.alias(), change.target)
    send_away(home, ALIAS, 8)  # a job gets the GPU while the candidate loads
    reached(home, ALIAS, "away")
    with pytest.raises(NotNowError, match="away for job 8"):
        serving.place.place(serving.alias(), change.target)
    assert revived(serving) == [], "the change is open"
    serving.model(CANDIDATE)
    call_back(home, ALIAS, 8)
    serving.carried(change)
    serving.is_settled(CANDIDATE)


PLACE = """
import os, sys
from pathlib import Path
import core.aliases.served_place as place, core.served.install as install
from core.home import Home
from core.store.fleet import get_alias
from core.store.fleet_changes import get_change
from core.store.database import open_database
from tests.support.served_alias import Counter
name, before, home = sys.argv[1:4]
for module in (place, install):
    if hasattr(module, name):
        setattr(module, name, lambda *words, **more: os._exit(9))
counter = Counter(Home(Path(home)), Path(home), 0)
with counter.connection as connection:
    change = get_change(connection, int(before))
counter.carried(change)
"""
POINTS = ("note_what_is", "put_in_place", "write_record", "_smoke", "confirm")
"""What a runner is about to do when it is killed."""


def killed_before(counter: Counter, what: str, change: int) -> None:
    words = [sys.executable, "-P", "-c", PLACE, what, str(change), str(counter.home.root)]
    assert subprocess.run(words, check=False).returncode == 9


@pytest.mark.parametrize("point", POINTS)
def test_the_next_runner_goes_on_where_the_former_was_killed(serving: Counter, point: str) -> None:
    candidate, change = promotion(serving)
    killed_before(serving, point, change.id)
    placed = serving.place.look(serving.alias())
    assert placed is not None and placed.digest != candidate.weights, "nothing is proved yet"
    assert revived(serving) == []
    serving.carried(change)
    serving.is_settled(CANDIDATE)
    assert not is_running(serving.home.served_dir(OWN))


@pytest.mark.parametrize("point", ["write_record", "_smoke"])
def test_a_change_that_ended_without_being_done_leaves_nothing_on_its_way(serving: Counter, point: str) -> None:
    _, change = promotion(serving)
    killed_before(serving, point, change.id)
    serving.ended(change, "taken_back")
    assert revived(serving) == [ALIAS] and revived(serving) == []
    serving.is_settled(FORMER)
    assert serving.answers(OWN) == CANDIDATE


def test_an_alias_that_was_not_there_is_made_at_a_port_of_its_own_or_not_at_all(counter: Counter) -> None:
    candidate = counter.serve(OWN, CANDIDATE)
    first = counter.asked("promote", target_of(counter.home, candidate))
    killed_before(counter, "_smoke", first.id)
    assert counter.place.look(counter.alias()) is None
    counter.ended(first, "taken_back")
    assert revived(counter) == [ALIAS] and not counter.home.served_dir(ALIAS).path.exists()

    second = counter.asked("promote", target_of(counter.home, candidate))
    killed_before(counter, "_smoke", second.id)
    counter.carried(second)
    counter.port = read_record(counter.home, ALIAS).port
    assert counter.port != candidate.port
    counter.is_settled(CANDIDATE)


def test_a_server_a_shim_or_a_machine_that_ends_on_the_way_costs_time_alone(
    serving: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, change = promotion(serving, "hold")
    with pytest.raises(NotNowError):
        serving.place.place(serving.alias(), change.target)
    for whose in ("server", "shim", "machine"):
        wait_until(lambda: read_state(serving.home, ALIAS).server is not None, what="it loads")
        state = read_state(serving.home, ALIAS)
        ended = state.server if whose == "server" else state.shim
        assert ended is not None
        kill(ended.pid)
        if whose == "machine":
            monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "the next one")
        wait_until(lambda one=ended: not one.alive(), what="it is gone")  # type: ignore[misc]
        with pytest.raises(NotNowError):
            serving.place.place(serving.alias(), change.target)
    serving.model(CANDIDATE)
    serving.carried(change)
    serving.is_settled(CANDIDATE)


def test_there_is_room_for_one_server_alone(serving: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate's own makes way first, and comes back where the alias does not come."""
    candidate = serving.serve(OWN, CANDIDATE)
    monkeypatch.setattr("core.aliases.served_place.host_bytes", lambda record: 1000)
    monkeypatch.setattr("core.aliases.served_place.available_bytes", lambda: 500)
    monkeypatch.setattr("core.aliases.served_place.own_bytes", lambda folder: 0)
    change = serving.asked("promote", target_of(serving.home, candidate))
    with pytest.raises(BakehouseError) as refused:
        serving.carried(change)
    assert refused.value.code == "no_memory" and read_state(serving.home, OWN).phase == "serving"

    monkeypatch.setattr("core.aliases.served_place.own_bytes", lambda folder: 600 if folder.path.name == OWN else 0)
    serving.model(CANDIDATE, "hold")
    with pytest.raises(NotNowError):
        serving.place.place(serving.alias(), change.target)
    assert not is_running(serving.home.served_dir(OWN))
    serving.model(CANDIDATE, "mute")
    with pytest.raises(BakehouseError):
        serving.carried(change)
    serving.model(CANDIDATE)
    serving.is_settled(FORMER)
    assert serving.answers(OWN) == CANDIDATE


def test_an_alias_whose_port_was_taken_meanwhile_keeps_it(serving: Counter) -> None:
    stop(serving.home, ALIAS)
    port = free_port()
    assert port != serving.port
    _, change = promotion(serving)
    serving.carried(change)
    assert read_record(serving.home, ALIAS).port == serving.port


def test_it_waits_for_a_job_that_asks_a_server_of_this_machine(
    serving: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = serving.serve(OWN, CANDIDATE)
    with serving.connection as connection:
        job = job_in(connection, "running").id
    asks = GpuUse("serving", beside_programs=True)
    monkeypatch.setattr("core.aliases.served_place.read_gpu_use", lambda run: asks)
    change, before = serving.asked("promote", target_of(serving.home, candidate)), read_state(serving.home, ALIAS)
    with pytest.raises(NotNowError) as waits:
        serving.place.place(serving.alias(), change.target)
    assert waits.value.code == "waiting_for_job" and f"job {job}" in waits.value.message
    assert read_state(serving.home, ALIAS) == before
    with serving.connection as connection:
        job_in(connection, "ready")
        step(connection, job, "done")
    assert "waiting_for_job" not in serving.carried(change), "it waits for none that is queued, which waits for it"


def test_a_disk_that_fills_up_on_the_way_leaves_what_was_before(
    serving: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, change = promotion(serving)

    def is_full(*words: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.served.install.write_record", is_full)
    with pytest.raises(OSError, match="No space left"):
        serving.carried(change)
    serving.is_settled(FORMER)


def test_one_that_loads_for_ever_is_taken_back(serving: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    _, change = promotion(serving, "hold")
    monkeypatch.setattr("core.aliases.served_place.LOAD_SECONDS", 0.1)
    with pytest.raises(BakehouseError, match="has not loaded"):
        serving.carried(change)
    serving.is_settled(FORMER)


def test_a_later_change_goes_on_from_what_a_former_could_not_take_back(serving: Counter) -> None:
    """The former change's candidate serves by now, and was never proved: what it replaced is what may come back."""
    candidate, other = serving.serve(OWN, CANDIDATE), serving.serve("judge-five", "five")
    first = serving.asked("promote", target_of(serving.home, candidate))
    killed_before(serving, "confirm", first.id)
    reached(serving.home, ALIAS, "serving")
    serving.ended(first, "taken_back")
    second = serving.asked("promote", target_of(serving.home, other))
    assert revived(serving) == [], "the later change goes on from there"
    serving.model("five", "mute")
    with pytest.raises(BakehouseError):
        serving.carried(second)
    serving.is_settled(FORMER)


def test_what_could_not_be_put_back_at_once_is_put_back_later_without_another_try(
    serving: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, change = promotion(serving, "mute")

    def refuses(*words: object) -> None:
        raise BakehouseError("systemd does not answer", code="launch_failed")

    with monkeypatch.context() as patched:
        patched.setattr("core.aliases.served_place.go_back", refuses)
        while True:
            with pytest.raises(NotNowError) as waits:
                serving.place.place(serving.alias(), change.target)
            if waits.value.code == "putting_back":
                break
    serving.model(CANDIDATE)  # it would serve by now
    with pytest.raises(BakehouseError, match="did not come to serve"):
        serving.place.place(serving.alias(), change.target)
    serving.is_settled(FORMER)
