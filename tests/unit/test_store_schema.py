"""The schema itself refuses what cannot happen and writes down what did."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from core.errors import BakehouseError, NotFoundError
from core.reasons import Reason
from core.store.attempts import Outcome
from core.store.database import transaction
from core.store.job_reasons import JobReasonCode
from core.store.jobs import ACTIVE, ENDED, QUEUED, State, change_state, get_job, history
from core.store.stop_reasons import StopReason, stop_rules
from tests.support.stored import add_job, allowed, fresh, job_in, step

STATES: tuple[State, ...] = get_args(State)

# As the design has it: waiting → ready → starting → running → (stopping) → an end; retry leads from every end but done.
WAYS: dict[str, str] = {
    "waiting": "ready cancelled",
    "ready": "waiting starting cancelled",
    "starting": "running stopping done failed cancelled interrupted lost",
    "running": "stopping done failed interrupted lost",
    "stopping": "waiting done failed cancelled interrupted lost",
    "done": "",
    "failed": "waiting",
    "cancelled": "waiting",
    "interrupted": "waiting",
    "lost": "waiting",
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    _, opened = fresh(tmp_path)
    yield opened
    opened.close()


def test_the_states_of_the_code_and_of_the_schema_are_the_same(connection: sqlite3.Connection) -> None:
    stages = {row["state"]: row["stage"] for row in connection.execute("SELECT * FROM job_states")}
    assert set(stages) == set(STATES)
    for stage, states in {"queued": QUEUED, "active": ACTIVE, "ended": ENDED}.items():
        assert {state for state in stages if stages[state] == stage} == states


def test_the_ways_between_states_are_those_of_the_design(connection: sqlite3.Connection) -> None:
    assert allowed(connection) == {(one, other) for one, others in WAYS.items() for other in others.split()}


def test_the_stop_reasons_of_the_code_and_of_the_schema_are_the_same(connection: sqlite3.Connection) -> None:
    rules = stop_rules(connection)
    assert set(rules) == set(get_args(StopReason))
    outcomes, codes = set(get_args(Outcome)), set(get_args(JobReasonCode))
    ways = allowed(connection)
    for rule in rules.values():
        assert ("stopping", rule.then_state) in ways
        assert {rule.stopped_outcome, rule.unseen_outcome} <= outcomes | {None}
        assert rule.then_reason_code in codes


def test_a_job_cannot_be_stopped_for_a_reason_that_is_not_in_the_table(connection: sqlite3.Connection) -> None:
    job = job_in(connection, "running")
    with pytest.raises(BakehouseError, match="FOREIGN KEY"), transaction(connection):
        change_state(connection, job.id, "stopping", Reason("a_test"), "tester", stop_reason="bored")


@pytest.mark.parametrize(("one", "other"), [(one, other) for one, other in product(STATES, STATES) if one != other])
def test_a_transition_is_noted_when_it_may_be_and_refused_when_not(
    connection: sqlite3.Connection, one: State, other: State
) -> None:
    job = job_in(connection, one)
    before = history(connection, job.id)
    if other in WAYS[one].split():
        step(connection, job.id, other)
        noted = history(connection, job.id)[-1]
        assert (noted.from_state, noted.to_state, noted.author) == (one, other, "tester")
        assert noted.reason == Reason("a_test", {"state": other})
        assert noted.attempt == get_job(connection, job.id).attempt
    else:
        with pytest.raises(BakehouseError, match=f"job {job.id} cannot become {other}"):
            step(connection, job.id, other)
        assert get_job(connection, job.id) == job
        assert history(connection, job.id) == before


def test_a_submission_is_the_first_line_of_the_history(connection: sqlite3.Connection) -> None:
    (first,) = history(connection, add_job(connection))
    assert (first.from_state, first.to_state, first.author) == (None, "waiting", "tester")
    assert first.reason == Reason("submitted")


def test_a_change_that_is_rolled_back_leaves_no_trace_in_the_history(connection: sqlite3.Connection) -> None:
    job = add_job(connection)
    with pytest.raises(RuntimeError), transaction(connection):
        change_state(connection, job, "ready", Reason("ready"), "tester")
        raise RuntimeError("the runner dies here")
    assert get_job(connection, job).state == "waiting"
    assert len(history(connection, job)) == 1


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE jobs SET state = 'sleeping'", "cannot go"),
        ("UPDATE jobs SET ended_at = 1", "CHECK"),
        ("UPDATE jobs SET stop_reason = 'cancel'", "CHECK"),
        ("UPDATE jobs SET reason_values = '{'", "CHECK"),
        ("INSERT INTO stop_reasons VALUES ('bored', 'done', 1, 'done', NULL, 0, 'done', '')", "CHECK"),
        ("UPDATE jobs SET lane = 'fast'", "CHECK"),
        ("UPDATE jobs SET host_memory_bytes = -1", "CHECK"),
        ("UPDATE jobs SET state = 'cancelled'", "CHECK"),
        ("INSERT INTO dependencies (job_id, needs_id) VALUES (1, 1)", "CHECK"),
        ("INSERT INTO dependencies (job_id, needs_id) VALUES (1, 2)", "CHECK"),
        ("INSERT INTO dependencies (job_id, needs_id) VALUES (2, 99)", "CHECK|FOREIGN"),
        ("INSERT INTO queue (one) VALUES (2)", "CHECK"),
        (
            "INSERT INTO jobs (kind, title, project_id, lane, state, reason_code, position, submitted_at, changed_at,"
            " changed_by) VALUES ('train', 't', 'p', 'gpu', 'ready', 'submitted', 9, 1, 1, 'x')",
            "begins as waiting",
        ),
        ("INSERT INTO attempts (job_id, number, boot_id, created_at, outcome) VALUES (1, 1, 'b', 1, 'done')", "CHECK"),
        ("INSERT INTO attempts (job_id, number, boot_id, created_at) VALUES (1, 0, 'b', 1)", "CHECK"),
        ("INSERT INTO attempts (job_id, number, boot_id, created_at) VALUES (99, 1, 'b', 1)", "FOREIGN"),
        (
            "INSERT INTO attempts (job_id, number, boot_id, created_at) VALUES (1, 1, 'b', 1), (1, 2, 'b', 1)",
            "UNIQUE",
        ),
    ],
)
def test_impossible_rows_are_refused(connection: sqlite3.Connection, statement: str, why: str) -> None:
    add_job(connection)
    add_job(connection)
    with pytest.raises(sqlite3.IntegrityError, match=why):
        connection.execute(statement)


def test_a_job_cannot_need_one_that_is_not_there(connection: sqlite3.Connection) -> None:
    with pytest.raises(NotFoundError, match="no job 7"):
        add_job(connection, needs=(7,))
    assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == 0
