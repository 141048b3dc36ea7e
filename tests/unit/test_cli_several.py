"""The same asked of several jobs at once: each is tried and gets its line, and the exit code tells of what was refused."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli import common
from core.cli.common import told_if_slow
from core.home import Home
from core.runner.commands import carry_out
from core.store.commands import get_command, insert_command
from core.store.database import open_database
from core.store.jobs import get_job, list_jobs
from tests.support.commands import called
from tests.support.stored import add_job, fresh, job_in
from tests.support.waiting import PATIENCE_SECONDS

Store = tuple[Home, sqlite3.Connection]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    home, connection = fresh(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))

    def request(home: Home, kind: str, job_id: int | None, arguments: dict[str, Any], *, by: str) -> None:
        """What the runner does with the row, done here: these tests start no process."""
        with contextlib.closing(open_database(home)) as own:
            if job_id is not None:
                get_job(own, job_id)
            carry_out(home, own, get_command(own, insert_command(own, kind, job_id, arguments, by)))

    monkeypatch.setattr("core.cli.queue.request", request)
    with contextlib.closing(connection):
        yield home, connection


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        return called(capsys, words)

    return command


@pytest.mark.parametrize(
    ("command", "applies_to", "refused_in", "then"),
    [
        ("cancel", "waiting", "failed", lambda job: job.state == "cancelled"),
        ("cancel", "ready", "done", lambda job: job.state == "cancelled"),
        ("retry", "interrupted", "done", lambda job: job.state == "waiting"),
        ("retry", "lost", "waiting", lambda job: job.state == "waiting"),
        ("hold", "ready", "cancelled", lambda job: job.held),
    ],
)
def test_a_refusal_keeps_no_other_job_from_its_turn(
    store: Store, run: Run, command: str, applies_to: Any, refused_in: Any, then: Callable[[Any], bool]
) -> None:
    _, connection = store
    refused, first, second = (job_in(connection, state).id for state in (refused_in, applies_to, applies_to))
    code, out, err = run("queue", command, str(first), str(refused), "77", str(second))
    assert code == 1
    assert all(then(get_job(connection, job_id)) for job_id in (first, second))
    assert get_job(connection, refused).state == refused_in
    assert [int(line.split()[1]) for line in out.splitlines()] == [first, second]
    assert [int(line.split()[1]) for line in err.splitlines()] == [refused, 77]


def test_release_tries_each_of_them(store: Store, run: Run) -> None:
    _, connection = store
    held, free = job_in(connection, "waiting").id, job_in(connection, "waiting").id
    assert run("queue", "hold", str(held))[0] == 0
    code, out, err = run("queue", "release", str(free), str(held))
    assert (code, len(out.splitlines()), len(err.splitlines())) == (1, 1, 1)
    assert not get_job(connection, held).held


def test_kill_takes_several_and_asks_once(store: Store, run: Run) -> None:
    _, connection = store
    jobs = [str(job_in(connection, "running").id) for _ in range(2)]
    code, _, err = run("queue", "kill", *jobs, "--yes")
    assert code == 1
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ("first", [3, 5, 1, 2, 4]),
        ("last", [1, 2, 4, 3, 5]),
        ("up", [1, 3, 2, 5, 4]),
        ("down", [1, 2, 4, 3, 5]),
    ],
)
def test_jobs_that_are_moved_stand_as_they_were_named(store: Store, run: Run, place: str, order: list[int]) -> None:
    _, connection = store
    for _ in range(5):
        add_job(connection)
    assert run("queue", "move", "3", "5", place)[0] == 0
    assert [job.id for job in list_jobs(connection)] == order


def test_json_has_what_was_done_and_what_was_refused_in_one_document(store: Store, run: Run) -> None:
    _, connection = store
    failed, waiting = job_in(connection, "failed").id, job_in(connection, "waiting").id
    code, out, _ = run("queue", "cancel", str(failed), str(waiting), str(waiting), "--json")
    document = json.loads(out)
    assert code == 1
    assert [job["id"] for job in document["jobs"]] == [waiting]
    assert [(one["job"], one["error"]["code"]) for one in document["refused"]] == [(failed, "wrong_state")]


def test_one_job_is_answered_with_its_error_and_all_alike_with_their_code(store: Store, run: Run) -> None:
    _, connection = store
    failed = job_in(connection, "failed").id
    code, out, _ = run("queue", "cancel", str(failed), "--json")
    assert (code, json.loads(out)["error"]["code"]) == (1, "wrong_state")
    assert run("queue", "cancel", "77")[0] == 4
    assert run("queue", "cancel", "77", "78")[0] == 4
    assert run("queue", "cancel", "77", str(failed))[0] == 1


def test_checkpoints_are_removed_of_each_job_that_has_ended(store: Store, run: Run) -> None:
    home, connection = store
    active, ended = job_in(connection, "running").id, job_in(connection, "done").id
    for job_id in (active, ended):
        folder = home.run_dir(job_id).checkpoints
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * 2000)
    code, out, err = run("runs", "clean", str(active), "77", str(ended))
    assert (code, len(err.splitlines()), "2 kB" in out) == (1, 2, True)
    assert home.run_dir(active).checkpoints.is_dir() and not home.run_dir(ended).checkpoints.exists()


def test_a_job_that_ran_before_is_not_said_to_have_never_begun(store: Store, run: Run) -> None:
    _, connection = store
    job = job_in(connection, "failed").id
    assert run("queue", "retry", str(job))[0] == 0
    assert run("queue", "cancel", str(job))[0] == 0
    reason = get_job(connection, job).reason
    assert (reason.code, reason.values["attempts"]) == ("cancelled_in_queue", 1)
    fresh_job = add_job(connection)
    assert run("queue", "cancel", str(fresh_job))[0] == 0
    assert get_job(connection, fresh_job).reason.code == "cancelled_before_start"


def test_what_takes_long_is_told_and_what_does_not_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    heard = threading.Event()

    def say(text: str, *, error: bool) -> None:
        said.append(text)
        heard.set()

    monkeypatch.setattr(common, "say", say)
    with told_if_slow("in a moment", seconds=3600):
        pass
    with told_if_slow("counting …", seconds=0):
        assert heard.wait(PATIENCE_SECONDS)
    assert said == ["counting …"]
