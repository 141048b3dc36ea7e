"""`bakehouse served`: what the commands print of served models whose shim the test plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.clock import SystemClock
from core.home import Home
from core.reasons import Reason
from core.served.away import send_away
from tests.support.commands import called
from tests.support.played_shim import PlayedShim


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedShim:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = PlayedShim(Home(tmp_path / "home").create(), SystemClock())
    made.loads_seconds = 0.0
    made.round()
    return made


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, out, err = called(capsys, ["served", *words, "--json"])
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_home_without_any_says_how_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    assert "`bakehouse deploy JOB --to llama-server`" in called(capsys, ["served", "list"])[1]
    assert document(capsys, "list") == {"schema": 1, "served": [], "unreadable": []}


def test_each_is_a_line_with_what_it_does_now(shim: PlayedShim, capsys: pytest.CaptureFixture[str]) -> None:
    broken = shim.home.served_dir("broken")
    broken.path.mkdir()
    broken.record.write_text("{\x1b[2J")
    code, out, _ = called(capsys, ["served", "list"])
    first, second = out.splitlines()
    assert code == 0 and first.startswith("▶ note  serving since ") and ", 127.0.0.1:18080, " in first
    assert first.endswith("note · tiny")
    assert second.startswith("▲ broken  ") and "bakehouse served remove broken" in second and "\x1b" not in second

    found = document(capsys, "list")
    (note,) = found["served"]
    assert (note["name"], note["url"], note["state"]["phase"]) == ("note", "http://127.0.0.1:18080/v1", "serving")
    assert note["state"]["memory_bytes"] > 1_000_000 and note["unit"] is None
    assert [one["name"] for one in found["unreadable"]] == ["broken"]

    send_away(shim.home, "note", 7)
    shim.ends_seconds = 0.0
    shim.round()
    shim.round()
    assert document(capsys, "show", "note")["served"]["state"]["phase"] == "away"
    shim.folder.away.unlink()
    shim.fails = Reason("port_taken", {"port": 18080, "retry_seconds": 5.0})
    shim.round()
    assert called(capsys, ["served", "list"])[1].splitlines()[0] == (
        "✗ note  failed: port 18080 is taken by another program; next try after 5 s  note · tiny"
    )
    shim.die()
    assert called(capsys, ["served", "list"])[1].startswith("■ note  stopped: its process is gone")


def test_one_is_shown_with_its_file_its_address_and_what_keeps_it(
    shim: PlayedShim, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = called(capsys, ["served", "show", "note"])
    assert code == 0
    for text in (
        "m.gguf, which is gone",
        "http://127.0.0.1:18080/v1, as model note",
        "a process of its own",
        "on the GPU",
    ):
        assert text in out


def test_what_its_server_printed_reaches_no_terminal_but_as_text(
    shim: PlayedShim, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(capsys, ["served", "logs", "note"])[:2] == (0, "")
    shim.folder.log.write_bytes(b"one\ntwo \x1b]0;title\x07\nthree\n")
    assert called(capsys, ["served", "logs", "note", "-n", "2"])[1].splitlines()[-1] == "three"
    lines = document(capsys, "logs", "note", "-n", "2")["lines"]
    assert len(lines) == 2 and all("\x1b" not in line and "\x07" not in line for line in lines)


@pytest.mark.parametrize("verb", ["show", "start", "stop", "remove", "logs"])
@pytest.mark.parametrize(("name", "code"), [("nobody", 4), ("../note", 2), ("", 2)])
def test_what_is_none_of_them_is_told(
    shim: PlayedShim, capsys: pytest.CaptureFixture[str], verb: str, name: str, code: int
) -> None:
    found, out, err = called(capsys, ["served", verb, name])
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert shim.folder.record.exists() and not shim.folder.stopped.exists()


def test_one_whose_record_cannot_be_read_can_be_removed_and_its_file_is_not_touched(
    shim: PlayedShim, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shim.home.root / "m.gguf"
    file.write_bytes(b"GGUF")
    shim.die()
    code, out, _ = called(capsys, ["served", "remove", "note"])
    assert (code, out) == (0, f"✓ removed note; its file stays: {file}\n") and file.exists()
    broken = shim.home.served_dir("broken")
    broken.path.mkdir()
    broken.record.write_text("{")
    assert called(capsys, ["served", "remove", "broken"])[:2] == (0, "✓ removed broken\n")
    assert list(shim.home.served.iterdir()) == []
