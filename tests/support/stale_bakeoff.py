"""What has changed since a measured bake-off, by its files and by what a server is said to have."""

from __future__ import annotations

import contextlib

from core.results.load import bakeoff_file
from core.staleness.present_servers import Ask, Told, ask_servers
from core.staleness.staleness import Staleness, staleness
from core.store.database import open_database
from tests.support.measured_bakeoff import MeasuredBakeoff


def found_in(made: MeasuredBakeoff, ask: Ask | None = None, number: int | None = None) -> Staleness:
    told = {} if ask is None else ask_servers(bakeoff_file(made.home, made.job_id)[1].candidates, ask)
    with contextlib.closing(open_database(made.home)) as connection:
        return staleness(made.home, connection, made.job_id, number, told=told)


def short(found: Staleness) -> list[tuple[str | None, str | None, str, bool]]:
    return [(one.candidate, one.task, one.what, one.now is None) for one in found.causes]


def of_server(now: Told) -> Ask:
    return lambda candidate: now
