"""Stored answers that are scored in several processes get the very scores that one process gives them, in the same order."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import pytest

from core.checks import PythonCheck
from core.results import scoring_pool
from core.results.load import load_bakeoff
from core.results.scoring_pool import score_stored
from core.store.database import open_database
from tests.support.measured_bakeoff import measured_bakeoff

HOSTILE = """
def score(text, expect, captures, asked):
    if "idea" in text:
        import os
        os._exit(3)
    return text.startswith("PRICE"), asked
"""

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


def test_checks_that_end_their_process_end_no_process_of_the_pool_and_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process of the pool has a keeper of its own, which goes with it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(scoring_pool, "CHUNK", 3)
    made = measured_bakeoff(tmp_path)
    before = {one.pid for one in psutil.process_iter(["cmdline"]) if _is_keeper(one)}
    check = PythonCheck(check="python", id="own", file="checks/own.py", code=HOSTILE)
    with contextlib.closing(open_database(made.home)) as connection:
        stored = load_bakeoff(made.home, connection, made.job_id).task("judge")
        task = stored.task.model_copy(update={"content": [check]})
        found = score_stored(connection, made.job_id, task, stored.inputs, 1.0, processes=2)
    texts = {answer.key: answer.text for answer in stored.answers}
    asked = {
        answer.key: next(item.text() for item in stored.inputs if item.id == answer.input_id)
        for answer in stored.answers
    }
    assert len(set(asked.values())) > 1
    assert {text.split()[0] for text in texts.values()} >= {"PRICE:", "no"}
    for one in found:
        place = next(at for at, (name, _, _) in enumerate(one.checks) if name == "own")
        text = texts[one.answer_key]
        assert (place in one.faulty, one.points[place]) == ("idea" in text, float(text.startswith("PRICE")))
        if place not in one.faulty and one.points[place] == 0:
            assert one.details[place] == asked[one.answer_key], "the input of this very answer"
    keepers = [one for one in psutil.process_iter(["cmdline"]) if _is_keeper(one) and one.pid not in before]
    assert not psutil.wait_procs(keepers, timeout=60)[1]


def _is_keeper(process: psutil.Process) -> bool:
    return any("core.isolation.keeper" in word for word in process.info["cmdline"] or ())
