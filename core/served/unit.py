"""A unit of the user's systemd for each served model that has one: its text, and where it stands.

The words of a command and of a variable are quoted as systemd.syntax(7) has it; a `%` would be a specifier, a `$` in a command
a variable.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from core.errors import BakehouseError, InputError
from core.files import write_atomic
from core.home import Home, ServedDir, of_this_person
from core.served.record import ServedModelRecord
from core.text import one_line

SYSTEMCTL_SECONDS = 40.0
FOLDER_MARK = "# Folder: "
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""Variables of the person that llama-server and a runner need, and that the user's manager may not have."""
OF_A_JOB = ("BAKEHOUSE_JOB", "BAKEHOUSE_ATTEMPT", "BAKEHOUSE_LEASED_GPU")
"""Variables by which the process of a job is known: a served model is none, though a job may have started it."""

NO_PROGRAM = re.compile(r"""["'\\`\x00-\x1f\x7f]""")
"""Signs that systemd refuses in the path of what is run, however they are quoted."""

_TEXT = """\
# Written by Bakehouse; `bakehouse served remove {name}` takes it away.
{mark}{folder}
[Unit]
Description=Bakehouse: {name} serves on port {port}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
{environment}
Restart=on-failure
RestartSec=2
# The record is gone, or another process serves it.
RestartPreventExitStatus=3
# A runner that it has started, and the jobs of that, outlive it.
KillMode=process
OOMPolicy=continue
TimeoutStopSec=30

[Install]
WantedBy=default.target
"""


def unit_name(name: str) -> str:
    """The names of served models have only signs that the name of a unit may have."""
    return f"bakehouse-served-{name}.service"


def unit_file(name: str) -> Path:
    """Where the unit of a served model stands. Raises `InputError` where no home directory is known."""
    return unit_folder() / unit_name(name)


def unit_folder() -> Path:
    """Where a person's own units stand. Raises `InputError` where no home directory is known."""
    config = of_this_person("config")
    if config is None:
        raise InputError(
            "Your home directory is not known: no unit of systemd can be written",
            code="no_home_directory",
            remedy="set XDG_CONFIG_HOME to a folder of your own",
        )
    return config.parent / "systemd" / "user"


def unit_text(folder: ServedDir, record: ServedModelRecord, environ: Mapping[str, str]) -> str:
    """The unit that runs the shim of a served model with this interpreter, and with what it needs of an environment."""
    return _TEXT.format(
        name=record.name,
        mark=FOLDER_MARK,
        folder=json.dumps(str(folder.path)),
        port=record.port,
        command=python_command("core.served.shim", "--foreground", str(folder.path)),
        environment=environment_lines(folder.home, environ),
    )


def python_command(module: str, *words: str) -> str:
    """What a unit runs: a module of Bakehouse by this interpreter."""
    python = [sys.executable, "-P", "-m", module, *words]
    program, *rest = python if not NO_PROGRAM.search(sys.executable) else ["/usr/bin/env", *python]
    # What is run may be no variable: there a dollar stands for itself.
    return " ".join([quoted(program), *(quoted(word).replace("$", "$$") for word in rest)])


def environment_lines(home: Home, environ: Mapping[str, str], also: Collection[str] = ()) -> str:
    """The lines of a unit with what its process needs of an environment; `also` are further variables."""
    kept = {*KEPT, *also}
    given = {name: value for name, value in environ.items() if name in kept or name.startswith("BAKEHOUSE_")}
    given = {name: value for name, value in given.items() if name not in OF_A_JOB}
    given["BAKEHOUSE_HOME"] = str(home.root)
    return "\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in sorted(given.items()))


def quoted(word: str) -> str:
    """A word in double quotes, as a unit holds it. What is no UTF-8 is written by its bytes."""
    signs = []
    for byte in os.fsencode(word):
        sign = chr(byte)
        if sign in '"\\':
            signs.append(f"\\{sign}")
        elif sign == "%":
            signs.append("%%")
        elif 0x20 <= byte < 0x7F:
            signs.append(sign)
        else:
            signs.append(f"\\x{byte:02x}")
    return f'"{"".join(signs)}"'


def folder_of_unit(file: Path) -> Path | None:
    """The served model that a unit of ours runs; None where there is none, or it is not ours."""
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(FOLDER_MARK):
                return Path(json.loads(line.removeprefix(FOLDER_MARK)))
    except (OSError, ValueError, TypeError):
        return None
    return None


def has_unit(folder: ServedDir) -> bool:
    """Whether a unit runs this served model."""
    try:
        return folder_of_unit(unit_file(folder.path.name)) == folder.path
    except InputError:
        return False


def install_unit(folder: ServedDir, record: ServedModelRecord) -> None:
    """Write the unit and have systemd know it, enabled where it starts at boot. Raises `BakehouseError`, OSError."""
    file = unit_file(record.name)
    if file.exists():
        other = folder_of_unit(file)
        if other is None or (other != folder.path and other.exists()):
            raise InputError(
                f"another service has this name{'' if other is None else f': it runs {other}'}",
                code="name_taken",
                file=file,
                key=record.name,
                remedy="deploy under another --name, or remove that one",
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, unit_text(folder, record, os.environ), mode=0o600)
    systemctl("daemon-reload")
    systemctl("enable" if record.at_boot else "disable", file.name)


def start_unit(name: str) -> None:
    """Raises `BakehouseError` where systemd does not start it."""
    systemctl("reset-failed", unit_name(name), check=False)
    systemctl("start", unit_name(name))


def rests(name: str) -> bool:
    """Whether systemd does nothing about a unit: it does not run, and is not about to be started again."""
    try:
        return _asked("is-active", unit_name(name)).stdout.strip() in ("inactive", "failed")
    except (OSError, subprocess.TimeoutExpired):
        return False


def remove_unit(folder: ServedDir) -> None:
    """Take away the unit of a served model that has ended. Raises OSError; a manager that does not answer learns of it when it
    starts."""
    if not has_unit(folder):
        return
    file = unit_file(folder.path.name)
    systemctl("disable", file.name, check=False)
    (file.parent / "default.target.wants" / file.name).unlink(missing_ok=True)
    file.unlink(missing_ok=True)
    systemctl("daemon-reload", check=False)
    systemctl("reset-failed", file.name, check=False)


def systemctl(*words: str, check: bool = True) -> None:
    """Have the user's manager do something. Raises `BakehouseError` with what it said, where `check`."""
    try:
        done = _asked(*words)
        said, refused = one_line(done.stderr) or f"exit code {done.returncode}", done.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        said, refused = str(error), True
    if refused and check:
        raise BakehouseError(
            f"`systemctl --user {' '.join(words)}` failed: {said}",
            code="systemd_refused",
            remedy="`systemctl --user status` tells how the user's systemd is",
        )


def _asked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", "--user", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=SYSTEMCTL_SECONDS,
        check=False,
    )
