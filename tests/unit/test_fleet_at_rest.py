"""Who a stopped served model is: what was measured of it, as long as nothing that it is made of has changed."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.bakeoff.measured import MeasuredCandidate
from core.fleet.at_rest import identity_at_rest
from core.home import Home
from core.served.record import ServedModelRecord, read_record, write_record
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.store.database import transaction
from tests.support.stored import add_job, fresh, step_to

NAME = "judge-new-2b-31"


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Home, sqlite3.Connection, ServedIdentity]:
    """A served model that was deployed, then measured, and is stopped."""
    home, connection = fresh(tmp_path)
    now, program, file = time.time(), tmp_path / "llama-server", tmp_path / "m.gguf"
    program.touch()
    os.utime(program, (now - 500, now - 500))
    file.write_bytes(b"weights")
    weights = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    record = ServedModelRecord(
        NAME, file, weights, "judge", "new-2b", 31, (str(program),), 18080, 512, created_at=now - 100
    )
    write_record(home, record)
    home.served_dir(NAME).stopped.touch()
    identity = ServedIdentity("llama-server", NAME, "served", "b9999", weights, "template", {"n_ctx": 512})
    job_id = add_job(connection, kind="bakeoff")
    step_to(connection, job_id, "done")
    measured = MeasuredCandidate(NAME, 1, now - 50, identity, LoadedModel(1.0, False, None), Capabilities())
    with transaction(connection):
        connection.execute(
            "INSERT INTO measured_candidates (job_id, number, candidate, time, document) VALUES (?, 1, ?, ?, ?)",
            [job_id, NAME, measured.time, json.dumps(measured.to_json())],
        )
    return home, connection, identity


def test_a_stopped_model_is_what_was_measured_of_it(stopped: tuple[Home, sqlite3.Connection, ServedIdentity]) -> None:
    home, connection, identity = stopped
    assert identity_at_rest(home, connection, NAME) == identity
    assert identity_at_rest(home, connection, "nobody") is None


def program_written(home: Home, record: ServedModelRecord) -> None:
    os.utime(record.command[0])


def file_written(home: Home, record: ServedModelRecord) -> None:
    record.file.write_bytes(b"others")


def file_gone(home: Home, record: ServedModelRecord) -> None:
    record.file.unlink()


def deployed_again(home: Home, record: ServedModelRecord) -> None:
    write_record(home, replace(record, created_at=time.time()))


def other_weights(home: Home, record: ServedModelRecord) -> None:
    write_record(home, replace(record, weights="sha256:" + "0" * 64))


@pytest.mark.parametrize("change", [program_written, file_written, file_gone, deployed_again, other_weights])
def test_what_it_is_made_of_has_changed_so_nobody_knows(
    stopped: tuple[Home, sqlite3.Connection, ServedIdentity], change: Callable[[Home, ServedModelRecord], None]
) -> None:
    home, connection, _ = stopped
    change(home, read_record(home, NAME))
    assert identity_at_rest(home, connection, NAME) is None
