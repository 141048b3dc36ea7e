"""What a person asks, done to the stored job: each act alone, without any process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.files import read_json
from core.home import Home
from core.reasons import Reason
from core.runner.commands import COMMANDS, RefusedError, carry_out
from core.store.commands import get_command, insert_command, open_commands
from core.store.jobs import State, get_job, history, list_jobs, queue_state
from tests.support.stored import add_job, fresh, job_in, step

Store = tuple[Home, sqlite3.Connection]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    home, connection = fresh(tmp_path)
    yield home, connection
    connection.close()


def ask(store: Store, kind: str, job_id: int | None = None, **arguments: object) -> None:
    home, connection = store
    number = insert_command(connection, kind, job_id, arguments, "anna")
    carry_out(home, connection, get_command(connection, number))


def test_a_command_and_its_being_done_are_one_transaction(store: Store) -> None:
    """Killed between the two, the next runner would move the job once more."""
    _, connection = store
    first, second, third = (add_job(connection) for _ in range(3))
    ask(store, "move", third, to="up")
    assert open_commands(connection) == []
    assert [job.id for job in list_jobs(connection)] == [first, third, second]


def test_a_held_job_that_is_cancelled_and_retried_is_not_held_any_more(store: Store) -> None:
    _, connection = store
    job = add_job(connection)
    ask(store, "hold", job)
    assert get_job(connection, job).held
    ask(store, "cancel", job)
    assert not get_job(connection, job).held
    ask(store, "retry", job)
    assert (get_job(connection, job).state, get_job(connection, job).held) == ("waiting", False)


def test_a_ready_job_that_is_held_waits_again(store: Store) -> None:
    _, connection = store
    job = job_in(connection, "ready").id
    ask(store, "hold", job, reason="data not ready")
    held = get_job(connection, job)
    assert (held.state, held.held, held.reason) == ("waiting", True, Reason("held", {"note": "data not ready"}))


def test_a_later_wish_replaces_the_former_one_and_keeps_the_time_of_the_first(store: Store) -> None:
    home, connection = store
    job = job_in(connection, "running").id
    ask(store, "hold", job)
    first = get_job(connection, job)
    ask(store, "cancel", job)
    second = get_job(connection, job)
    assert (first.stop_reason, second.stop_reason) == ("hold", "cancel")
    assert second.stop_asked_at == first.stop_asked_at, "its graces do not begin anew"
    assert read_json(home.run_dir(job).attempt(1).stop_request)["why"] == "cancel"


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("cancel", "done failed cancelled interrupted lost"),
        ("retry", "waiting ready starting running stopping done"),
        ("hold", "stopping done failed cancelled interrupted lost"),
        ("release", "waiting ready starting running stopping done failed cancelled interrupted lost"),
        ("move", "starting running stopping done failed cancelled interrupted lost"),
    ],
)
def test_what_does_not_fit_a_state_is_refused_and_changes_nothing(store: Store, kind: str, refused: str) -> None:
    _, connection = store
    for state in ("waiting", "ready", "starting", "running", "stopping", "done", "failed", "cancelled", "lost"):
        job = job_in(connection, state)  # type: ignore[arg-type]
        before = history(connection, job.id)
        if state in refused.split():
            with pytest.raises(RefusedError) as refusing:
                ask(store, kind, job.id, to="first")
            assert refusing.value.reason == COMMANDS[kind].refusal(job), "the rule that the console asks as well"
            assert refusing.value.reason.values["job"] == job.id
            assert (get_job(connection, job.id), history(connection, job.id)) == (job, before)
        else:
            assert COMMANDS[kind].refusal(job) is None
            ask(store, kind, job.id, to="first")


@pytest.mark.parametrize("to", ["sideways", None, 3])
def test_a_place_that_does_not_exist_is_refused(store: Store, to: object) -> None:
    _, connection = store
    job = add_job(connection)
    with pytest.raises(RefusedError) as refusing:
        ask(store, "move", job, to=to)
    places = {"place": str(to), "places": ["first", "last", "up", "down"]}
    assert refusing.value.reason == Reason("unknown_place", places)


def test_moving_changes_no_place_of_a_job_that_is_not_queued(store: Store) -> None:
    _, connection = store
    running = job_in(connection, "running").id
    one, two = add_job(connection), add_job(connection)
    ask(store, "move", two, to="first")
    step(connection, running, "failed")
    step(connection, running, "waiting")
    assert [job.id for job in list_jobs(connection)] == [running, two, one], "a retried job has its old place"


def test_pausing_says_who_and_why_and_resuming_forgets_it(store: Store) -> None:
    _, connection = store
    ask(store, "pause", reason="gaming tonight")
    state = queue_state(connection)
    assert (state.paused, state.reason, state.author) == (True, "gaming tonight", "anna")
    ask(store, "resume")
    assert (queue_state(connection).paused, queue_state(connection).reason) == (False, "")


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted", "lost"])
def test_whatever_did_not_end_well_can_be_retried_under_the_same_id(store: Store, state: State) -> None:
    _, connection = store
    job = job_in(connection, state)
    ask(store, "retry", job.id)
    again = get_job(connection, job.id)
    assert (again.state, again.ended_at, again.attempt) == ("waiting", None, job.attempt)
    assert history(connection, job.id)[-1].author == "anna"


def test_holding_a_held_job_keeps_what_was_written_about_it_unless_something_else_is(store: Store) -> None:
    _, connection = store
    job = add_job(connection)
    ask(store, "hold", job, reason="data not ready")
    ask(store, "hold", job)
    assert get_job(connection, job).reason == Reason("held", {"note": "data not ready"})
    ask(store, "hold", job, reason="next week")
    assert get_job(connection, job).reason == Reason("held", {"note": "next week"})


def test_a_command_that_would_change_nothing_is_not_offered_and_not_refused(store: Store) -> None:
    _, connection = store
    job = job_in(connection, "running").id
    assert COMMANDS["hold"].offered_for(get_job(connection, job))
    ask(store, "hold", job)
    held = get_job(connection, job)
    assert not COMMANDS["hold"].offered_for(held)
    assert COMMANDS["hold"].refusal(held) is None
    assert COMMANDS["kill"].offered_for(held)
    assert COMMANDS["cancel"].offered_for(held)
    ask(store, "cancel", job)
    cancelled = get_job(connection, job)
    assert not COMMANDS["cancel"].offered_for(cancelled)
    assert COMMANDS["hold"].refusal(cancelled) == Reason("being_cancelled", {"job": job})
    assert not any(command.offered_for(None) for command in COMMANDS.values())


def test_each_command_is_about_a_job_or_about_the_queue() -> None:
    for name, command in COMMANDS.items():
        assert name == command.name
        assert (command.on_job is None) != (command.on_queue is None)
        assert command.help and command.example.startswith(f"bakehouse queue {name}")
