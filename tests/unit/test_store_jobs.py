"""Jobs as they are listed, claimed and counted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import NotFoundError
from core.progress import Progress, next_attempt
from core.reasons import Reason
from core.store.attempts import end_attempt, list_attempts, living_attempts, note_progress
from core.store.database import transaction
from core.store.jobs import (
    claim_next,
    count_states,
    get_job,
    history,
    list_jobs,
    open_jobs,
    queue_state,
    set_held,
    set_reason,
)
from tests.support.stored import add_job, fresh, job_in, step


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    _, opened = fresh(tmp_path)
    yield opened
    opened.close()


def test_the_active_come_first_then_the_queued_by_place_then_the_ended_newest_first(
    connection: sqlite3.Connection,
) -> None:
    failed = job_in(connection, "failed").id
    last, first = job_in(connection, "waiting").id, job_in(connection, "waiting").id
    running, done = job_in(connection, "running").id, job_in(connection, "done").id
    connection.execute("UPDATE jobs SET position = 0.5 WHERE id = ?", [first])

    assert [job.id for job in list_jobs(connection)] == [running, first, last, done, failed]
    assert [job.id for job in list_jobs(connection, limit=2)] == [running, first]
    assert [job.id for job in open_jobs(connection)] == [running, first, last]
    assert count_states(connection) == {"failed": 1, "waiting": 2, "running": 1, "done": 1}


def test_a_claim_takes_the_first_ready_job_of_its_lane(connection: sqlite3.Connection) -> None:
    waiting, second, first = (add_job(connection) for _ in range(3))
    light = add_job(connection, lane="cpu")
    for job in (second, first, light):
        step(connection, job, "ready")
    connection.execute("UPDATE jobs SET position = 0.5 WHERE id = ?", [first])

    claimed = [claim_next(connection, "gpu", "boot", "runner") for _ in range(3)]

    assert [job and job.id for job in claimed] == [first, second, None]
    assert get_job(connection, waiting).state == "waiting"
    assert get_job(connection, light).state == "ready"
    assert [(attempt.job_id, attempt.number, attempt.boot_id) for attempt in living_attempts(connection)] == [
        (first, 1, "boot"),
        (second, 1, "boot"),
    ]


def test_a_new_attempt_forgets_the_figures_of_the_former_one_but_not_its_checkpoint_and_peak(
    connection: sqlite3.Connection,
) -> None:
    job = add_job(connection)
    step(connection, job, "ready")
    claim_next(connection, "gpu", "boot", "runner")
    stored = Progress(done=7, total=9, loss=0.5, checkpoint_step=5, peak_memory_bytes=7)
    note_progress(connection, job, 1, stored, 120)
    end_attempt(connection, job, 1, "failed", exit_code=1)
    for state in ("failed", "waiting", "ready"):
        step(connection, job, state)  # type: ignore[arg-type]

    again = claim_next(connection, "gpu", "boot", "runner")

    assert again is not None
    assert again.progress == next_attempt(stored) == Progress(checkpoint_step=5, peak_memory_bytes=7)
    assert [attempt.events_offset for attempt in list_attempts(connection, job)] == [120, 0]


def test_the_end_of_an_attempt_is_written_once(connection: sqlite3.Connection) -> None:
    job = add_job(connection)
    step(connection, job, "ready")
    claim_next(connection, "gpu", "boot", "runner")
    end_attempt(connection, job, 1, "failed", signal=9)
    (first,) = list_attempts(connection, job)
    end_attempt(connection, job, 1, "done", exit_code=0)
    assert list_attempts(connection, job) == [first]


def test_progress_reads_what_another_version_wrote() -> None:
    assert Progress.from_json(json.dumps({"done": 3, "total": 4, "flavour": "vanilla"})) == Progress(done=3, total=4)
    assert Progress.from_json(None) is None
    assert Progress.from_json(Progress(loss=0.1).to_json()) == Progress(loss=0.1)


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [
        (Progress(), None),
        (Progress(done=3), None),
        (Progress(done=0, total=0), None),
        (Progress(done=0, total=4), 0.0),
        (Progress(done=1, total=4), 0.25),
        (Progress(done=9, total=4), 1.0),
    ],
)
def test_a_share_that_is_not_known_is_none_and_never_above_one(progress: Progress, fraction: float | None) -> None:
    assert progress.fraction == fraction


def test_a_reason_that_is_said_anew_is_no_event(connection: sqlite3.Connection) -> None:
    job = add_job(connection)
    version = connection.execute("PRAGMA data_version").fetchone()[0]
    set_reason(connection, job, Reason("after", {"jobs": [3]}))
    changes = connection.total_changes
    set_reason(connection, job, Reason("after", {"jobs": [3]}))
    assert connection.total_changes == changes, "nothing is written when nothing is new: readers would wake up for it"
    assert len(history(connection, job)) == 1
    assert connection.execute("PRAGMA data_version").fetchone()[0] == version


def test_holding_and_releasing_stand_in_the_history(connection: sqlite3.Connection) -> None:
    job = add_job(connection)
    with transaction(connection):
        set_held(connection, job, True, Reason("held"), "anna")
    with transaction(connection):
        set_held(connection, job, False, Reason("released"), "ben")
    assert [(each.to_state, each.reason.code, each.author) for each in history(connection, job)] == [
        ("waiting", "submitted", "tester"),
        ("waiting", "held", "anna"),
        ("waiting", "released", "ben"),
    ]


def test_needs_are_listed_in_order_and_once(connection: sqlite3.Connection) -> None:
    one, two = add_job(connection), add_job(connection)
    assert get_job(connection, add_job(connection, needs=(two, one, two))).needs == (one, two)


def test_a_job_that_is_not_there_is_said_to_be_so(connection: sqlite3.Connection) -> None:
    with pytest.raises(NotFoundError, match="no job 3") as missing:
        get_job(connection, 3)
    assert missing.value.exit_code == 4


def test_a_fresh_queue_is_not_paused(connection: sqlite3.Connection) -> None:
    assert not queue_state(connection).paused
