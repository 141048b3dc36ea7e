"""Chains: jobs that are one thing to a person, each waiting for the one before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import NotFoundError
from core.store.jobs import ACTIVE, RETRYABLE, SELECT_JOBS, JobRow, State, known_id, to_row


@dataclass(frozen=True)
class ChainLink:
    """A job of a chain. `taken`: it was there before the chain, which it belongs to as what the next link takes.

    `seconds` is how long its ended attempts ran together, `since` when the one began that still runs (Unix seconds).
    """

    job: JobRow
    taken: bool
    seconds: float
    since: float | None

    def ran(self, now: float) -> float:
        """How long it has run by now, in seconds: its waits are not counted."""
        return self.seconds + (max(0.0, now - self.since) if self.since is not None else 0.0)


@dataclass(frozen=True)
class Chain:
    """The links in their order; there is at least one."""

    id: int
    title: str
    project_id: str
    author: str
    submitted_at: float
    links: tuple[ChainLink, ...]

    @property
    def current(self) -> ChainLink:
        """The link that tells how the chain stands: what runs, else what went wrong, else what is next, else the last."""
        unfinished = [link for link in self.links if link.job.state != "done"]
        for states in (ACTIVE, RETRYABLE):
            for link in unfinished:
                if link.job.state in states:
                    return link
        return unfinished[0] if unfinished else self.links[-1]

    @property
    def state(self) -> State:
        return self.current.job.state

    @property
    def done(self) -> int:
        """How many links are done."""
        return sum(link.job.state == "done" for link in self.links)

    @property
    def row(self) -> JobRow:
        """The job in whose place the chain stands in the queue: the current link's, where it was queued with the chain."""
        own = self.own
        if not own or not self.current.taken:
            return self.current.job
        return own[0].job

    @property
    def own(self) -> tuple[ChainLink, ...]:
        """The links that were queued with the chain: what is asked of the whole chain is asked of these."""
        return tuple(link for link in self.links if not link.taken)


def insert_chain(
    connection: sqlite3.Connection, *, title: str, project_id: str, author: str, links: Sequence[tuple[int, bool]]
) -> int:
    """Keep jobs as one chain; `links` are (job, taken). Call it in a transaction."""
    cursor = connection.execute(
        "INSERT INTO chains (title, project_id, author, submitted_at) VALUES (?, ?, ?, ?)",
        [title, project_id, author, time.time()],
    )
    chain_id = int(cursor.lastrowid or 0)
    connection.executemany(
        "INSERT INTO chain_links (chain_id, number, job_id, taken) VALUES (?, ?, ?, ?)",
        [(chain_id, number, job_id, int(taken)) for number, (job_id, taken) in enumerate(links, 1)],
    )
    return chain_id


def chain_with_jobs(connection: sqlite3.Connection, job_ids: Sequence[int]) -> int | None:
    """The newest chain that all of these jobs are links of."""
    rows = connection.execute("SELECT chain_id, job_id FROM chain_links ORDER BY chain_id DESC")
    found: dict[int, set[int]] = {}
    for row in rows:
        found.setdefault(row["chain_id"], set()).add(row["job_id"])
    return next((chain_id for chain_id, jobs in found.items() if jobs.issuperset(job_ids)), None)


def get_chain(connection: sqlite3.Connection, chain_id: int) -> Chain:
    """One chain. Raises `NotFoundError`."""
    found = _read(connection, "id = ?", [known_id(chain_id)])
    if not found:
        raise NotFoundError(f"no chain {chain_id}", code="chain_not_found", remedy="`bakehouse queue list` shows them")
    return found[0]


def list_chains(connection: sqlite3.Connection, limit: int = 50) -> list[Chain]:
    """Every chain that still has something to do, and the newest others, newest first; a `limit` below 0 is none."""
    still = """
    id IN (SELECT chain_id FROM chain_links JOIN jobs ON jobs.id = job_id WHERE state <> 'done')
    OR id IN (SELECT id FROM chains ORDER BY id DESC LIMIT ?)
    """
    return _read(connection, still, [limit])


def _read(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Chain]:
    chains = connection.execute(f"SELECT * FROM chains WHERE {where} ORDER BY id DESC", values).fetchall()
    if not chains:
        return []
    chosen = f"(SELECT id FROM chains WHERE {where})"
    jobs_chosen = f"(SELECT job_id FROM chain_links WHERE chain_id IN {chosen})"
    jobs = {
        row["id"]: to_row(row) for row in connection.execute(f"{SELECT_JOBS} WHERE jobs.id IN {jobs_chosen}", values)
    }
    times = {
        row["job_id"]: (float(row["seconds"]), row["since"])
        for row in connection.execute(
            f"""
            SELECT job_id, coalesce(sum(ended_at - created_at), 0) AS seconds,
                   max(CASE WHEN ended_at IS NULL THEN created_at END) AS since
            FROM attempts WHERE job_id IN {jobs_chosen} GROUP BY job_id
            """,
            values,
        )
    }
    links: dict[int, list[ChainLink]] = {}
    for row in connection.execute(
        f"SELECT * FROM chain_links WHERE chain_id IN {chosen} ORDER BY chain_id, number", values
    ):
        job = jobs[row["job_id"]]
        links.setdefault(row["chain_id"], []).append(
            ChainLink(job, bool(row["taken"]), *times.get(job.id, (0.0, None)))
        )
    return [
        Chain(row["id"], row["title"], row["project_id"], row["author"], row["submitted_at"], tuple(links[row["id"]]))
        for row in chains
        if row["id"] in links
    ]
