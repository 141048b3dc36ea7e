"""A served model of the home that does not run now: what was measured of it, where all that it is made of is as it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from core.aliases.digests import is_same
from core.bakeoff.measured import MeasuredCandidate, parse_measured
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.models.fingerprints import content_sha256
from core.served.record import ServedModelRecord, read_record
from core.served.state import read_state
from core.serving.answering import ServedIdentity
from core.staleness.present_servers import ServedModelKey, Told, served_model

AT_REST = frozenset({"stopped", "away"})
"""Phases in which a served model would come up again as it was; one that failed may not."""


def identity_at_rest(home: Home, connection: sqlite3.Connection, name: str) -> ServedIdentity | None:
    """Who would answer if it ran: as a bake-off measured it after it was deployed, with the same file and the same program.

    None where it runs or has failed, where nothing measured it since its record was written, and where its file or its
    llama-server has been written since.
    """
    try:
        record = read_record(home, name)
        if read_state(home, name).phase not in AT_REST:
            return None
        found = next(
            (one for one in _measured(connection, name) if is_same(one.identity.weights, record.weights)), None
        )
        if found is None or not _is_as_it_was(home, record, found.time):
            return None
    except (BakehouseError, OSError):
        return None
    return found.identity


def told_or_at_rest(
    home: Home, connection: sqlite3.Connection, one: CandidateSpec, answers: Mapping[ServedModelKey, Told]
) -> Told | None:
    """What a server said of a served candidate; of a served model of the home that does not run, what it would be."""
    told = answers.get(served_model(one))
    if told == "no_answer" and one.server is not None and one.server.served_dir is not None:
        return identity_at_rest(home, connection, str(one.served_model)) or told
    return told


def _is_as_it_was(home: Home, record: ServedModelRecord, measured_at: float) -> bool:
    program = Path(record.command[0])
    written = max(record.created_at, program.stat().st_mtime)
    return written < measured_at and is_same(content_sha256(record.file, home), record.weights)


def _measured(connection: sqlite3.Connection, name: str) -> list[MeasuredCandidate]:
    """Of a model of this name, newest first."""
    rows = connection.execute(
        """
        SELECT document FROM measured_candidates JOIN jobs ON jobs.id = job_id
        WHERE state = 'done' AND json_extract(document, '$.identity.model') = ? ORDER BY job_id DESC, number DESC
        """,
        [name],
    )
    return parse_measured(json.loads(row["document"]) for row in rows)
