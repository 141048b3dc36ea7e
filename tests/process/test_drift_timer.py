"""The timer that has what serves checked by the clock: written, replaced and taken away, and read by systemd itself.

Stand-ins of systemctl and loginctl are asked; `systemd-analyze` reads times and units where it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.cli.main import exit_code
from core.home import Home
from core.runner.timer import SERVICE, TIMER, installed_timer, require_calendar
from core.served.unit import unit_folder
from tests.support.forked import CHECKOUT
from tests.support.systemd_standin import Systemd, install, run_by

Install = Callable[..., Systemd]
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def systemd(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def put_in_front(*, linger: str = "yes") -> Systemd:
        made = install(machine / "systemd", CHECKOUT, linger=linger, kills="no")
        monkeypatch.setenv("PATH", f"{machine / 'systemd' / 'bin'}:{os.environ['PATH']}")
        return made

    return put_in_front


@pytest.fixture
def home(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home in a folder that a unit has to write with care."""
    made = Home(machine / 'a "b" %h $HOME \\x é' / "home")
    made.root.parent.mkdir()
    made.create()
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.root))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    yield made


def test_a_timer_is_written_replaced_shown_and_taken_away(
    home: Home, systemd: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    manager, link = systemd(linger="no"), unit_folder() / "timers.target.wants" / TIMER
    assert exit_code(["runner", "install", "--drift", "weekly"]) == 0
    assert "`loginctl enable-linger`" in capsys.readouterr().out
    assert manager.calls == ["daemon-reload", f"enable {TIMER}", f"restart {TIMER}"] and link.is_symlink()
    assert exit_code(["runner", "install", "--drift", "daily"]) == 0
    assert installed_timer(home) == "daily"
    capsys.readouterr()
    assert exit_code(["runner", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["drift_timer"] == "daily"
    assert exit_code(["runner", "uninstall"]) == 0 and not link.is_symlink()
    assert not (unit_folder() / TIMER).exists() and not (unit_folder() / SERVICE).exists()
    assert f"stop {TIMER}" in manager.calls and manager.calls[-2:] == ["daemon-reload", f"stop {TIMER}"]
    capsys.readouterr()
    assert exit_code(["runner", "uninstall"]) == 0 and "No timer is installed" in capsys.readouterr().out


@needs_analyze
def test_systemd_itself_takes_both_units_and_the_service_runs_the_command(home: Home, systemd: Install) -> None:
    systemd()
    home.runner_stopped.touch()  # so the command does nothing, and says so
    assert exit_code(["runner", "install", "--drift", "Sun *-*-* 03:00:00"]) == 0
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", *(str(unit_folder() / one) for one in (TIMER, SERVICE))],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": "/tmp"},
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "bakehouse-drift" in line] == []
    assert 'Environment="OLLAMA_HOST=http://127.0.0.1:9"' in (unit_folder() / SERVICE).read_text()
    command, environ = run_by((unit_folder() / SERVICE).read_text(encoding="utf-8"))
    ran = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=True)
    assert "Nothing is checked: the runner was stopped on request." in ran.stderr


@needs_analyze
@pytest.mark.parametrize("when", ["Mon,Fri 02:30", "*-*-1 04:00", "weekly"])
def test_what_systemd_reads_as_a_time_is_one(when: str) -> None:
    assert require_calendar(when) == when


@pytest.mark.parametrize("when", ["fortnightly", "", "--help", "weekly\nOnBootSec=1", "%h", "wöchentlich"])
def test_what_is_no_time_is_refused_and_nothing_is_written(
    home: Home, systemd: Install, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    manager = systemd()
    assert exit_code(["runner", "install", f"--drift={when}"]) == 2
    assert "is no time that systemd knows" in capsys.readouterr().err
    assert manager.calls == [] and not unit_folder().exists()


@pytest.mark.parametrize("former", [None, "daily"])
def test_what_systemd_refuses_leaves_all_as_it_was(
    home: Home, systemd: Install, capsys: pytest.CaptureFixture[str], former: str | None
) -> None:
    manager = systemd()
    if former is not None:
        assert exit_code(["runner", "install", "--drift", former]) == 0
    manager.refuses("enable")
    assert exit_code(["runner", "install", "--drift", "weekly"]) == 1
    assert "systemctl --user enable" in capsys.readouterr().err and installed_timer(home) == former


def test_without_a_manager_and_beside_another_home_it_is_refused(
    home: Home, machine: Path, systemd: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = systemd()
    assert exit_code(["runner", "install", "--drift", "weekly"]) == 0
    other = Home(machine / "other").create()
    monkeypatch.setenv("BAKEHOUSE_HOME", str(other.root))
    assert exit_code(["runner", "install", "--drift", "daily"]) == 2
    assert str(home.root) in capsys.readouterr().err
    assert exit_code(["runner", "uninstall"]) == 0 and installed_timer(home) == "weekly"
    manager.has_no_bus()
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    assert exit_code(["runner", "install", "--drift", "daily"]) == 2
    assert "no systemd of this user answers" in capsys.readouterr().err and installed_timer(home) == "weekly"
