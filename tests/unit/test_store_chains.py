"""Chains as they are stored: what they say of themselves, and a database that had none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core.errors import NotFoundError
from core.home import Home
from core.runner.commands import COMMANDS, RefusedError, jobs_of_chain
from core.store import database
from core.store.chains import Chain, chain_with_jobs, get_chain, insert_chain, list_chains
from core.store.database import open_database, schema_version, transaction
from core.store.jobs import State
from core.wording.chains import behind_words, chain_words
from core.wording.jobs import reason_words
from tests.support.stored import add_job, database_before, fresh, path_to, step


def chain_of(connection: sqlite3.Connection, *states: State, taken: int = 0) -> Chain:
    """A chain of jobs in these states, of which the first `taken` were there before."""
    jobs: list[int] = []
    for state in states:
        jobs.append(add_job(connection, needs=jobs[-1:]))
        for name in path_to(connection, state):
            step(connection, jobs[-1], name)
    with transaction(connection):
        links = [(job, number < taken) for number, job in enumerate(jobs)]
        made = insert_chain(connection, title="ship judge", project_id="p", author="anna", links=links)
    return get_chain(connection, made)


@pytest.mark.parametrize(
    ("states", "current", "words"),
    [
        (("done", "done"), 1, "all 2 done"),
        (("done", "running", "waiting"), 1, "1 of 3 done, training running, 2 left"),
        (("done", "failed", "waiting"), 1, "1 of 3 done, training failed, 2 left"),
        (("cancelled", "cancelled"), 0, "0 of 2 done, training cancelled, 2 left"),
        (("done", "waiting", "waiting"), 1, "1 of 3 done, training next, 2 left"),
    ],
)
def test_a_chain_stands_as_the_link_that_keeps_it_does(
    tmp_path: Path, states: tuple[State, ...], current: int, words: str
) -> None:
    _, connection = fresh(tmp_path)
    chain = chain_of(connection, *states)
    assert chain.current is chain.links[current] and chain.state == states[current]
    assert [link.job.state for link in chain.links] == list(states) and chain.done == states.count("done")
    assert chain_words(chain, 0.0).startswith(words)
    assert bool(behind_words(chain)) == (chain.state in {"failed", "cancelled"} and current < len(states) - 1)
    assert get_chain(connection, chain.id) == chain and list_chains(connection) == [chain]


def test_only_chains_that_have_something_to_do_are_listed_beyond_the_limit(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    ended, waits, newest = (chain_of(connection, state) for state in ("done", "waiting", "done"))
    assert [chain.id for chain in list_chains(connection, limit=1)] == [newest.id, waits.id]
    assert [chain.id for chain in list_chains(connection, limit=-1)] == [newest.id, waits.id, ended.id]
    with pytest.raises(NotFoundError) as missing:
        get_chain(connection, 99)
    assert missing.value.code == "chain_not_found"


def test_jobs_are_known_by_the_newest_chain_that_has_them_all(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    chain = chain_of(connection, "waiting", "waiting")
    first, second = (link.job.id for link in chain.links)
    other = chain_of(connection, "waiting")
    assert chain_with_jobs(connection, [first, second]) == chain_with_jobs(connection, [first]) == chain.id
    assert chain_with_jobs(connection, [other.links[0].job.id]) == other.id
    assert chain_with_jobs(connection, [first, other.links[0].job.id]) is None


def test_the_time_of_a_link_is_that_of_its_attempts(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    chain = chain_of(connection, "running")
    row = "INSERT INTO attempts (job_id, number, boot_id, outcome, created_at, ended_at) VALUES (?, ?, 'b', ?, ?, ?)"
    with transaction(connection):
        connection.execute(row, [chain.links[0].job.id, 1, "failed", 100.0, 130.0])
        connection.execute(row, [chain.links[0].job.id, 2, None, 500.0, None])
    (link,) = get_chain(connection, chain.id).links
    assert (link.seconds, link.since) == (30.0, 500.0) and link.ran(512.0) == 42.0


def test_what_is_asked_of_a_chain_is_asked_of_its_own_jobs_that_it_applies_to(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    chain = chain_of(connection, "running", "done", "failed", "waiting", "waiting", taken=1)
    _, _, failed, first, second = (link.job.id for link in chain.links)
    assert [job.id for job in jobs_of_chain(COMMANDS["cancel"], chain)] == [second, first], "from the end"
    assert [job.id for job in jobs_of_chain(COMMANDS["hold"], chain)] == [second, first]
    assert [job.id for job in jobs_of_chain(COMMANDS["retry"], chain)] == [failed]
    with pytest.raises(RefusedError) as refused:
        jobs_of_chain(COMMANDS["release"], chain)
    assert refused.value.code == "nothing_in_chain"
    done = chain_of(connection, "done")
    with pytest.raises(RefusedError) as refused:
        jobs_of_chain(COMMANDS["retry"], done)
    assert reason_words(refused.value.reason) == f"No job of chain {done.id} can be retried now."


def test_a_database_of_version_6_keeps_its_jobs_and_gets_chains(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = database_before(home, "chains_of_jobs", 6)
    first = add_job(connection)
    second = add_job(connection)
    connection.execute("INSERT INTO dependencies (job_id, needs_id) VALUES (?, ?)", [second, first])
    connection.close()

    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION and list_chains(again) == []
    with transaction(again):
        made = insert_chain(again, title="t", project_id="p", author="a", links=[(first, True), (second, False)])
    chain = get_chain(again, made)
    assert [(link.job.id, link.taken, link.job.needs) for link in chain.links] == [
        (first, True, ()),
        (second, False, (first,)),
    ]
    with pytest.raises(sqlite3.IntegrityError), transaction(again):
        insert_chain(again, title="t", project_id="p", author="a", links=[(first, False), (first, False)])
    assert len(list_chains(again)) == 1
