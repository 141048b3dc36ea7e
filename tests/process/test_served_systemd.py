"""What keeps a served model: a unit of the user's systemd where that outlives more, else a process of its own.

Stand-ins of systemctl and loginctl are asked; `systemd-analyze` reads the unit where it is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.cli.main import exit_code
from core.errors import InputError
from core.home import Home
from core.process.ports import free_port
from core.reasons import Reason
from core.served.control import choose_keeper, remove, start, stop
from core.served.record import ServedModelRecord, read_record, write_record
from core.served.revival import revive
from core.served.state import is_running
from core.served.unit import has_unit, unit_file, unit_name
from tests.support.forked import CHECKOUT
from tests.support.served_models import all_ended, kill, reached
from tests.support.standin_llama_server import command_of
from tests.support.systemd_standin import Systemd, install
from tests.support.waiting import wait_until

NAME = "t-m-1"
UNIT = unit_name(NAME)
Install = Callable[..., Systemd]


@pytest.fixture
def systemd(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def put_in_front(*, linger: str, kills: str = "no") -> Systemd:
        made = install(machine / "systemd", CHECKOUT, linger=linger, kills=kills)
        monkeypatch.setenv("PATH", f"{machine / 'systemd' / 'bin'}:{os.environ['PATH']}")
        return made

    return put_in_front


@pytest.fixture
def home(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home in a folder that a unit has to write with care, with a served model."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    made = Home(machine / 'a "b" %h $HOME \\x é' / "home")
    made.root.parent.mkdir()
    made.create()
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.root))
    made.runner_stopped.touch()
    model, port = made.root / "m.gguf", free_port()
    model.write_text("")
    record = ServedModelRecord(NAME, model, "sha256:ab", "t", "m", 1, command_of(model, port), port, 512)
    write_record(made, record)
    with all_ended(made):
        yield made


def test_with_linger_a_unit_serves_from_whatever_path_and_is_taken_away_with_it(home: Home, systemd: Install) -> None:
    manager = systemd(linger="yes")
    assert (start(home, NAME).keeper, has_unit(home.served_dir(NAME))) == ("unit", True)
    reached(home, NAME, "serving")
    assert manager.calls == ["daemon-reload", f"disable {UNIT}", f"reset-failed {UNIT}", f"start {UNIT}"]
    assert stop(home, NAME)
    assert start(home, NAME).notes == ()
    reached(home, NAME, "serving")
    assert manager.calls.count(f"start {UNIT}") == 2
    remove(home, NAME)
    assert not unit_file(NAME).exists() and list(home.served.iterdir()) == []
    assert manager.calls[-3:] == [f"disable {UNIT}", "daemon-reload", f"reset-failed {UNIT}"]


def test_a_shim_that_was_killed_is_left_to_systemd_unless_that_does_nothing_about_it(
    home: Home, systemd: Install
) -> None:
    manager = systemd(linger="yes")
    start(home, NAME)
    state = reached(home, NAME, "serving")
    assert state.shim is not None
    kill(state.shim.pid)
    wait_until(lambda: not is_running(home.served_dir(NAME)), what="the shim's end")
    assert revive(home) == []
    manager.says_of_units("failed")
    assert revive(home) == [NAME]
    reached(home, NAME, "serving")
    assert manager.calls.count(f"start {UNIT}") == 2 and has_unit(home.served_dir(NAME))


def test_at_boot_is_switched_on_and_off_and_linger_is_asked_for(
    home: Home, systemd: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd(linger="no")
    link = unit_file(NAME).parent / "default.target.wants" / UNIT
    assert exit_code(["served", "start", NAME, "--at-boot"]) == 0
    assert "`loginctl enable-linger`" in capsys.readouterr().out
    reached(home, NAME, "serving")
    assert link.is_symlink() and read_record(home, NAME).at_boot
    assert exit_code(["served", "start", NAME, "--not-at-boot"]) == 0
    state = reached(home, NAME, "serving")
    assert not link.is_symlink() and not has_unit(home.served_dir(NAME)) and not read_record(home, NAME).at_boot
    assert state.shim is not None


def test_without_a_manager_it_is_a_process_and_nothing_starts_at_boot(
    home: Home, systemd: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd(linger="yes").has_no_bus()
    before = read_record(home, NAME)
    assert exit_code(["served", "start", NAME, "--at-boot"]) == 2
    assert "no systemd of this user answers" in capsys.readouterr().err
    assert read_record(home, NAME) == before
    with pytest.raises(InputError):
        choose_keeper(at_boot=True)
    assert start(home, NAME).keeper == "process"
    reached(home, NAME, "serving")


@pytest.mark.parametrize(
    ("kills", "keeper", "notes"),
    [("no", "process", ()), ("yes", "unit", (Reason("no_linger", {"at_boot": False}),))],
)
def test_without_linger_it_is_what_outlives_a_logout_and_the_remedy_is_told_where_nothing_does(
    home: Home, systemd: Install, kills: str, keeper: str, notes: tuple[Reason, ...]
) -> None:
    systemd(linger="no", kills=kills)
    keeping = start(home, NAME)
    assert (keeping.keeper, keeping.notes) == (keeper, notes)
    reached(home, NAME, "serving")


def test_what_systemd_refuses_does_not_cost_the_service_unless_it_is_to_start_at_boot(
    home: Home, systemd: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd(linger="yes").refuses("start")
    assert start(home, NAME).keeper == "process"
    assert not unit_file(NAME).exists()
    reached(home, NAME, "serving")
    assert exit_code(["served", "start", NAME, "--at-boot"]) == 1
    assert "unavailable resources" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_itself_takes_the_unit_and_finds_the_program(
    home: Home, machine: Path, systemd: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for what is run: under a name that it has to read as it was meant."""
    systemd(linger="yes")
    python, real = machine / "py 3 %n $PATH ü", sys.executable
    python.symlink_to(real)
    monkeypatch.setattr("core.served.unit.sys.executable", str(python))
    start(home, NAME)

    def said() -> list[str]:
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", "--man=no", str(unit_file(NAME))],
            capture_output=True,
            text=True,
            env={**os.environ, "XDG_RUNTIME_DIR": "/tmp"},
            check=False,
        )
        return [line for line in done.stderr.splitlines() if UNIT in line]

    assert said() == []
    stop(home, NAME)
    python.unlink()
    assert any("not executable" in line for line in said())

    quoted = machine / 'py "3" \\x'
    quoted.symlink_to(real)
    monkeypatch.setattr("core.served.unit.sys.executable", str(quoted))
    assert start(home, NAME).keeper == "unit"
    reached(home, NAME, "serving")
    assert said() == []
