"""Checks for drift by the clock: a timer of the user's systemd, and the service that it starts.

Both are written by `bakehouse runner install --drift WHEN` and taken away by `bakehouse runner uninstall`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from core.errors import InputError
from core.files import write_atomic
from core.home import Home
from core.process.logind import has_user_manager
from core.served.unit import FOLDER_MARK, environment_lines, folder_of_unit, python_command, systemctl, unit_folder
from core.text import one_line

SERVICE, TIMER = "bakehouse-drift.service", "bakehouse-drift.timer"
ANALYZE_SECONDS = 20.0
WORDS = ("minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually")
"""What OnCalendar takes as a word (systemd.time(7)); any other expression is asked about."""

_SERVICE_TEXT = """\
# Written by Bakehouse; `bakehouse runner uninstall` takes it away.
{mark}{folder}
[Unit]
Description=Bakehouse: what serves is checked for drift

[Service]
Type=oneshot
ExecStart={command}
{environment}
# The runner that it starts, and the jobs of that, outlive it.
KillMode=process
TimeoutStartSec=600
"""
_TIMER_TEXT = """\
# Written by Bakehouse; `bakehouse runner uninstall` takes it away.
{mark}{folder}
[Unit]
Description=Bakehouse: checks for drift, {when}

[Timer]
OnCalendar={when}
# What was missed while the machine was off is made up for.
Persistent=true

[Install]
WantedBy=timers.target
"""


def require_calendar(when: str) -> str:
    """When, as OnCalendar takes it. Raises `InputError` for what systemd does not read as a time."""
    said: str | None = None
    if when.isascii() and when.isprintable() and "%" not in when and not when.startswith("-"):
        if when in WORDS:
            return when
        try:
            done = subprocess.run(
                ["systemd-analyze", "calendar", when],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=ANALYZE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            said = "systemd-analyze, which reads other times, does not run here"
        else:
            if done.returncode == 0 and when.strip():
                return when.strip()
    raise InputError(
        f"`{one_line(when)}` is no time that systemd knows" + ("" if said is None else f": {said}"),
        code="bad_calendar",
        key="--drift",
        remedy="give daily, weekly or monthly, or an OnCalendar expression such as `Sun 03:00` (man systemd.time)",
    )


def install_timer(home: Home, when: str) -> None:
    """Have systemd start the checks of this home at `when`, from now on and after each restart of the machine.

    A former time is replaced. Raises `InputError` for what is no time and where no systemd of this user answers,
    `BakehouseError` where systemd refuses, and then everything is as it was.
    """
    when = require_calendar(when)
    if not has_user_manager():
        raise InputError(
            "nothing would start the checks: no systemd of this user answers (a container, another init system, or a shell "
            "without the user's bus)",
            code="no_user_manager",
            key="--drift",
            remedy="have another scheduler run `bakehouse fleet drift --all`",
        )
    folder = unit_folder()
    _require_ours(home, folder)
    texts = unit_texts(home, when, os.environ)
    former = {name: _read(folder / name) for name in texts}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, text in texts.items():
            write_atomic(folder / name, text, mode=0o600)
        systemctl("daemon-reload")
        systemctl("enable", TIMER)
        # A timer that runs goes on with its former time until it is started anew.
        systemctl("restart", TIMER)
    except BaseException:
        _put_back(folder, former)
        raise


def remove_timer(home: Home) -> bool:
    """Take both units of this home away; whether there were any. A manager that does not answer learns of it when it starts."""
    folder = unit_folder()
    if installed_timer(home) is None and not _is_of(home, folder / SERVICE):
        return False
    for verb in ("stop", "disable"):
        systemctl(verb, TIMER, check=False)
    _put_back(folder, dict.fromkeys((TIMER, SERVICE)))
    return True


def installed_timer(home: Home) -> str | None:
    """When the timer of this home starts the checks, as it was written; None without one."""
    try:
        file = unit_folder() / TIMER
    except InputError:
        return None
    if not _is_of(home, file):
        return None
    lines = (_read(file) or "").splitlines()
    return next((line.removeprefix("OnCalendar=") for line in lines if line.startswith("OnCalendar=")), None)


def unit_texts(home: Home, when: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The text of each unit by its name."""
    marked = {"mark": FOLDER_MARK, "folder": json.dumps(str(home.root))}
    command = python_command("core.cli", "fleet", "drift", "--all", "--by", "timer")
    # By the address of the model server an alias is known.
    environment = environment_lines(home, environ, also=["OLLAMA_HOST"])
    service = _SERVICE_TEXT.format(**marked, command=command, environment=environment)
    return {SERVICE: service, TIMER: _TIMER_TEXT.format(**marked, when=when)}


def _require_ours(home: Home, folder: Path) -> None:
    for name in (TIMER, SERVICE):
        file = folder / name
        if not file.exists() or _is_of(home, file):
            continue
        other = folder_of_unit(file)
        if other is None or other.exists():
            whose = "is not Bakehouse's" if other is None else f"checks the home {other}"
            raise InputError(
                f"a unit has this name already, and {whose}",
                code="name_taken",
                file=file,
                remedy="remove that unit"
                if other is None
                else f"BAKEHOUSE_HOME={other} bakehouse runner uninstall takes it away",
            )


def _is_of(home: Home, file: Path) -> bool:
    return folder_of_unit(file) == home.root


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _put_back(folder: Path, former: Mapping[str, str | None]) -> None:
    """Have the units be what they were; None: not there."""
    for name, text in former.items():
        if text is not None:
            write_atomic(folder / name, text, mode=0o600)
            continue
        (folder / name).unlink(missing_ok=True)
        (folder / "timers.target.wants" / name).unlink(missing_ok=True)
    for words in (["daemon-reload"], ["restart" if former.get(TIMER) is not None else "stop", TIMER]):
        systemctl(*words, check=False)
