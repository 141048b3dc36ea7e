"""Served models as their folders tell of them: records, states, who is away for which job."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home
from core.process.identity import ProcessIdentity, current_boot_id
from core.reasons import Reason
from core.served.away import away_for, call_back, is_gone, is_over, lease_is_held, send_away
from core.served.record import ServedModelRecord, read_record, read_records, require_name, write_record
from core.served.state import ServedState, read_state, write_state


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def record_of(home: Home, name: str = "note-title-tiny-12") -> ServedModelRecord:
    file = home.artefacts / "0123" / "gguf" / "tiny-q8_0.gguf"
    return ServedModelRecord(
        name=name,
        file=file,
        weights=f"sha256:{'ab' * 32}",
        task="note-title",
        model="tiny",
        job_id=12,
        command=("/opt/llama server/llama-server", "--model", str(file), "--port", "18080"),
        port=18080,
        context_length=4096,
        environment={"HSA_OVERRIDE_GFX_VERSION": "11.0.0"},
        created_at=1000.5,
    )


@pytest.fixture
def shim(home: Home) -> Iterator[None]:
    """Hold the lock that a living shim of `note-title-tiny-12` would hold."""
    folder = home.served_dir("note-title-tiny-12")
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.shim_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    os.close(lock)


def own() -> ProcessIdentity:
    found = ProcessIdentity.of(os.getpid())
    assert found is not None
    return found


def ended() -> ProcessIdentity:
    return replace(own(), start_ticks=1)


def test_a_record_is_read_as_it_was_written_also_where_the_home_has_moved(home: Home, tmp_path: Path) -> None:
    written = record_of(home)
    write_record(home, written)
    assert read_record(home, written.name) == written
    assert json.loads(home.served_dir(written.name).record.read_text())["url"] == "http://127.0.0.1:18080/v1"

    moved = Home(home.root.rename(tmp_path / "elsewhere"))
    read = read_record(moved, written.name)
    assert read.file == moved.artefacts / "0123" / "gguf" / "tiny-q8_0.gguf"
    assert read.command[2] == str(read.file)
    assert read.command[0] == written.command[0]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "a\n", "ä", "a%i", "x" * 101])
def test_what_is_no_name_reaches_no_folder(home: Home, name: str) -> None:
    with pytest.raises(InputError) as refused:
        read_record(home, name)
    assert refused.value.code == "bad_name"


def test_a_task_and_a_model_make_a_name() -> None:
    assert require_name("note-title-Qwen3-4B_it.v2-12") == "note-title-Qwen3-4B_it.v2-12"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "{", '"x"', "[" * 100_000, "null"]
    + [
        json.dumps({**base, **wrong})
        for base in [
            {
                "name": "bad", "file": "/m.gguf", "weights": "ab", "task": "t", "model": "m", "job_id": 1, "command": ["/p"],
                "port": 80, "context_length": 64,
            }
        ]
        for wrong in (
            {"name": "other"}, {"command": []}, {"command": "rm"}, {"command": [1]}, {"port": 0}, {"port": 70_000},
            {"port": True}, {"port": "80"}, {"file": None}, {"at_boot": "no"}, {"environment": {"A": 1}},
            {"context_length": -1}, {"created_at": "now"},
        )
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_told_and_hides_no_other(home: Home, text: str) -> None:
    write_record(home, record_of(home))
    folder = home.served_dir("bad")
    folder.path.mkdir()
    folder.record.write_text(text)

    found, unreadable = read_records(home)
    assert [one.name for one in found] == ["note-title-tiny-12"]
    assert [one.name for one in unreadable] == ["bad"]
    assert "served.json" in unreadable[0].error
    with pytest.raises(BakehouseError) as refused:
        read_record(home, "bad")
    assert "deploy the model again" in str(refused.value)


def test_a_key_of_a_later_version_is_no_fault(home: Home) -> None:
    write_record(home, record_of(home))
    file = home.served_dir("note-title-tiny-12").record
    file.write_text(json.dumps({**json.loads(file.read_text()), "draft_model": "x", "schema": 2}))
    assert read_record(home, "note-title-tiny-12") == record_of(home)


def test_what_is_no_served_model_is_not_listed(home: Home) -> None:
    assert read_records(home) == ([], [])
    home.served.mkdir()
    (home.served / "half-made").mkdir()
    (home.served / "note.txt").write_text("mine")
    (home.served / "a folder").mkdir()
    assert read_records(home) == ([], [])
    with pytest.raises(NotFoundError):
        read_record(home, "half-made")


def test_without_a_shim_a_state_tells_what_was_and_why_it_is_no_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "note-title-tiny-12"
    write_record(home, record_of(home))
    assert read_state(home, name).reason == Reason("not_started")

    folder = home.served_dir(name)
    write_state(folder, ServedState("serving", 5.0, own(), own(), boot_id=current_boot_id()))
    assert (read_state(home, name).phase, read_state(home, name).reason) == ("stopped", Reason("shim_gone"))
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "another")
    assert (read_state(home, name).phase, read_state(home, name).reason) == ("stopped", Reason("restarted"))

    stopped = ServedState("stopped", 6.0, reason=Reason("by_person"), boot_id="the boot before")
    write_state(folder, stopped)
    assert read_state(home, name) == stopped


@pytest.mark.usefixtures("shim")
def test_what_a_killed_shim_wrote_is_not_taken_for_what_the_next_one_does(home: Home) -> None:
    """A new shim has the lock a moment before it takes away the state of the one before."""
    folder = home.served_dir("note-title-tiny-12")
    write_state(folder, ServedState("serving", 5.0, own(), ended(), boot_id=current_boot_id()))
    state = read_state(home, "note-title-tiny-12")
    assert (state.phase, state.server) == ("loading", None)


@pytest.mark.usefixtures("shim")
def test_with_a_shim_a_state_is_what_the_shim_says(home: Home) -> None:
    folder, name = home.served_dir("note-title-tiny-12"), "note-title-tiny-12"
    assert read_state(home, name).phase == "loading"
    state = ServedState("failed", 7.0, None, own(), Reason("port_taken", {"port": 18080}), 3, current_boot_id())
    write_state(folder, state)
    assert read_state(home, name) == state
    for text in ("", "{", "[]", '{"phase": "asleep", "since": 1}', '{"phase": "away", "since": null}'):
        folder.state.write_text(text)
        assert read_state(home, name).phase == "loading"


@pytest.mark.usefixtures("shim")
@pytest.mark.parametrize(
    ("phase", "process", "gone"),
    [
        ("serving", "own", False),
        ("loading", None, False),  # the shim is about to start its server
        ("failed", None, False),  # and here it may try again
        ("away", "own", False),
        ("away", None, True),
        ("away", "ended", True),
        ("stopped", None, True),
    ],
)
def test_it_is_gone_once_its_shim_says_so_and_the_process_has_ended(
    home: Home, phase: str, process: str | None, gone: bool
) -> None:
    server = {"own": own, "ended": ended, None: lambda: None}[process]()
    document = ServedState("away", 1.0, server, own(), boot_id=current_boot_id()).to_json()
    write_state(home.served_dir("note-title-tiny-12"), ServedState.from_json({**document, "phase": phase}))
    assert is_gone(home, "note-title-tiny-12") is gone


def test_without_a_shim_it_is_gone_with_its_process(home: Home) -> None:
    name = "note-title-tiny-12"
    write_record(home, record_of(home))
    assert is_gone(home, name)
    write_state(home.served_dir(name), ServedState("serving", 1.0, own(), None, boot_id=current_boot_id()))
    assert not is_gone(home, name), "killed a moment ago, its server has not yet followed"
    write_state(home.served_dir(name), ServedState("serving", 1.0, ended(), None, boot_id=current_boot_id()))
    assert is_gone(home, name)


def test_it_is_away_until_the_last_job_that_it_was_sent_away_for(home: Home) -> None:
    name, folder = "note-title-tiny-12", home.served_dir("note-title-tiny-12")
    write_record(home, record_of(home))
    assert away_for(folder) == []
    call_back(home, name, 3)
    send_away(home, name, 7)
    send_away(home, name, 9)
    send_away(home, name, 7)
    assert away_for(folder) == [7, 9]
    call_back(home, name, 7)
    assert away_for(folder) == [9]
    call_back(home, name, 9)
    assert not folder.away.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobs": 3}', '{"jobs": []}', '{"jobs": ["x", true]}'])
def test_a_file_that_cannot_be_read_keeps_it_away_for_no_job_that_lives(home: Home, text: str) -> None:
    name, folder = "note-title-tiny-12", home.served_dir("note-title-tiny-12")
    write_record(home, record_of(home))
    folder.away.write_text(text)
    assert away_for(folder) == [0]
    assert is_over(home, 0)
    send_away(home, name, 7)
    assert away_for(folder) == [7]


def test_it_is_known_whether_anybody_has_what_it_made_way_from(home: Home, tmp_path: Path) -> None:
    name, folder, lease = (
        "note-title-tiny-12",
        home.served_dir("note-title-tiny-12"),
        tmp_path / "bakehouse-0000:2b:00.0",
    )
    write_record(home, record_of(home))
    assert not lease_is_held(folder)
    send_away(home, name, 7, lease)
    assert not lease_is_held(folder), "no such file"
    lock = os.open(lease, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    send_away(home, name, 9)
    call_back(home, name, 7)
    assert lease_is_held(folder), "by whomever"
    os.close(lock)
    assert not lease_is_held(folder)
    folder.away.write_text("[]")
    assert not lease_is_held(folder)


def test_a_job_is_over_once_no_process_of_its_attempts_lives(home: Home) -> None:
    attempt = home.run_dir(7).attempt(1)
    assert is_over(home, 7)
    attempt.path.mkdir(parents=True)
    attempt.run_json.write_text(json.dumps({"job": own().to_json()}))
    assert not is_over(home, 7), "its shim was killed, the job lives on"
    attempt.exit_json.write_text("{}")
    assert is_over(home, 7)
    lock = os.open(attempt.shim_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert not is_over(home, 7)
    os.close(lock)
    attempt.exit_json.unlink()
    attempt.run_json.write_text(json.dumps({"job": ended().to_json()}))
    assert is_over(home, 7)
