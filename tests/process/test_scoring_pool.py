"""Stored answers that are scored in several processes get the very scores that one process gives them, in the same order."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from core.results import scoring_pool
from core.results.load import load_bakeoff
from core.results.scoring_pool import score_stored
from core.store.database import open_database
from tests.support.measured_bakeoff import measured_bakeoff

pytestmark = pytest.mark.process


def test_several_processes_say_what_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(scoring_pool, "CHUNK", 3)
    made = measured_bakeoff(tmp_path)
    with contextlib.closing(open_database(made.home)) as connection:
        for stored in load_bakeoff(made.home, connection, made.job_id).tasks:
            alone = score_stored(connection, made.job_id, stored.task, stored.inputs, 1.0, processes=1)
            together = score_stored(connection, made.job_id, stored.task, stored.inputs, 1.0, processes=2)
            assert len(alone) == len(stored.answers) and together == alone
