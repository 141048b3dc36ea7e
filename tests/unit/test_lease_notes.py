"""What happened to the GPU, and what the file for consoles says: codes and values, and an old or broken file is no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.gpu_lease.notes import KEPT_NOTES, SAME_NOTE_SECONDS, Note, Notes
from core.gpu_lease.state import Intruder, LeaseState, ResidentModel, read_lease_state, write_lease_state
from core.home import Home
from core.reasons import Reason
from tests.support.clock import FakeClock

FAILED = Reason("model_not_loaded", {"model": "judge:v1", "problem": "server_down", "url": "http://box"})


def test_trouble_that_goes_on_is_noted_once_in_a_while_and_known_by_code_and_values() -> None:
    clock = FakeClock()
    notes = Notes(clock)
    for _ in range(5):
        notes.add(FAILED, "bad")
        notes.add(Reason(FAILED.code, dict(reversed(FAILED.values.items()))), "bad")
        clock.pass_time(1)
    assert len(notes.kept) == 1
    notes.add(Reason(FAILED.code, {**FAILED.values, "model": "planner:v1"}), "bad")
    assert len(notes.kept) == 2
    clock.pass_time(SAME_NOTE_SECONDS)
    notes.add(FAILED, "bad")
    assert len(notes.kept) == 3


def test_what_went_well_is_noted_each_time_and_the_newest_are_kept() -> None:
    notes = Notes(FakeClock())
    for count in range(KEPT_NOTES + 5):
        notes.add(Reason("models_returned", {"count": count}))
    assert [note.reason.values["count"] for note in notes.kept] == list(range(5, KEPT_NOTES + 5))


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_is_set_neither_repeats_nor_hides_trouble(jump: float) -> None:
    clock = FakeClock()
    notes = Notes(clock)
    notes.add(FAILED, "bad")
    clock.set_time_of_day(clock.time() + jump)
    notes.add(FAILED, "bad")
    assert len(notes.kept) == 1
    clock.pass_time(SAME_NOTE_SECONDS)
    notes.add(FAILED, "bad")
    assert len(notes.kept) == 2


def test_the_next_runner_does_not_repeat_what_the_former_has_just_noted() -> None:
    clock = FakeClock()
    now = clock.time()
    recent = Notes(clock, (Note(now - 60, FAILED, "bad"),))
    recent.add(FAILED, "bad")
    assert len(recent.kept) == 1
    clock.pass_time(SAME_NOTE_SECONDS - 61)
    recent.add(FAILED, "bad")
    assert len(recent.kept) == 1
    clock.pass_time(2)
    recent.add(FAILED, "bad")
    assert len(recent.kept) == 2
    ahead = Notes(clock, (Note(clock.time() + 3600, FAILED, "bad"),))
    ahead.add(FAILED, "bad")
    assert len(ahead.kept) == 2, "an hour that has not come yet is of no use"


def whole_state() -> LeaseState:
    return LeaseState(
        time=1_700_000_000.0,
        pci="0000:2b:00.0",
        phase="blocked",
        job_id=7,
        since=1_699_999_000.0,
        cause="job_hindered",
        status=Reason("held_by_program", {"name": "blender", "pid": 1, "user": None, "held_bytes": 5}),
        server="Ollama 0.24.0",
        server_fault=Reason("server_down", {"url": "http://box"}),
        residents=(ResidentModel("judge\udcff:v1", 5, 8192, 1.0),),
        evicted=("planner:v1",),
        intruders=(Intruder("chat:v2", 2.0, 3),),
        baseline_bytes=1,
        unowned_bytes=2,
        unowned_since=3.0,
        remedy=Reason("find_hidden_holder"),
        notes=(Note(4.0, Reason("unloading_models", {"models": ["a", "b"]}), "warn"),),
    )


def test_the_state_is_read_as_it_was_written_also_with_keys_of_a_newer_version(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    state = whole_state()
    write_lease_state(home, state)
    assert read_lease_state(home) == state
    document = json.loads(home.lease_state.read_text())
    document["colour"] = "red"
    for key in ("residents", "intruders", "notes"):
        document[key][0]["colour"] = "red"
    home.lease_state.write_text(json.dumps(document))
    assert read_lease_state(home) == state


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "a sentence of an older version"),
        ("status", {"code": 3}),
        ("notes", [{"message": "a sentence", "time": 1.0}]),
        ("notes", ["a sentence"]),
        ("residents", "none"),
        ("intruders", [3]),
        ("evicted", 3),
    ],
)
def test_a_state_that_is_none_of_this_version_says_nothing(tmp_path: Path, key: str, value: Any) -> None:
    home = Home(tmp_path).create()
    home.lease_state.write_text(json.dumps({**whole_state().to_json(), key: value}))
    assert read_lease_state(home) is None
