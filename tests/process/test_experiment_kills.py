"""A submission of an experiment that is killed: before the end of its transaction nothing is there, after it everything is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.jobfile.spec import JobFile
from core.store.database import open_database
from tests.support.lab import Lab, lab

SAID = {"vary": {"model": ["small", "large"], "rank": [2, 4]}, "learning_rates": [1e-3, 1e-4], "seeds": 2}
JOBS = 4 * 2 + 4 * 2 + 2
"""Trials, trainings, bake-offs."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return lab(tmp_path, monkeypatch)


def killed_at(home: Lab, statement: int) -> bool:
    """Submit in a process of its own, which is killed before its `statement`-th statement of SQL; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def kill(_text: str) -> None:
            nonlocal count
            count += 1
            if count == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            import core.submission.enqueue as enqueue

            def traced(*told: object, **named: object) -> object:
                connection = open_database(*told, **named)  # type: ignore[arg-type]
                connection.set_trace_callback(kill)
                return connection

            enqueue.open_database = traced  # type: ignore[assignment]
            home.run()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def test_a_submission_killed_anywhere_is_finished_by_the_next_one(home: Lab) -> None:
    home.write(**SAID)
    statement = 1
    kills = 0
    while killed_at(home, statement):
        kills += 1
        assert home.kinds() == {} and home.runs() == [], f"a part was there after statement {statement}"
        statement += 7
    assert kills > 12
    assert sum(home.kinds().values()) == JOBS == len(home.runs()) + len(home.bakeoffs())
    for run in home.runs():
        assert JobFile.load(home.home.run_dir(run.job_id)).id == run.job_id
    assert home.run().runs == () and sum(home.kinds().values()) == JOBS


def test_an_extension_killed_on_its_way_leaves_what_was_there(home: Lab) -> None:
    home.run(**SAID)
    before = {run.key: run.job_id for run in home.runs()}
    home.write(**{**SAID, "seeds": 3})
    assert killed_at(home, 60)
    assert {run.key: run.job_id for run in home.runs()} == before
    more = home.run()
    assert [run.seed for run in more.runs] == [2] * 4 and len(home.runs()) == len(before) + 4
