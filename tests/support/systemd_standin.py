"""Stand-ins of systemctl and loginctl in front of the PATH: units are started as systemd reads them, and every call is noted.

    python -P -m tests.support.systemd_standin FOLDER --user start UNIT

is what the stand-in of systemctl runs. `FOLDER/no-bus` has it fail as without a user's manager, `FOLDER/refuses` names a verb
that fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass(frozen=True)
class Systemd:
    """The stand-ins of one test, in `folder`."""

    folder: Path

    @property
    def calls(self) -> list[str]:
        """What systemctl was asked for, without the questions whether it is there."""
        log = self.folder / "calls"
        return [line for line in log.read_text().splitlines() if not line.startswith("show")] if log.exists() else []

    def has_no_bus(self) -> None:
        (self.folder / "no-bus").touch()

    def says_of_units(self, state: str) -> None:
        """What `is-active` prints; without this `activating`, as of one that is about to be started again."""
        (self.folder / "unit-state").write_text(state)

    def refuses(self, verb: str) -> None:
        (self.folder / "refuses").write_text(verb)


def install(folder: Path, checkout: Path, *, linger: str, kills: str) -> Systemd:
    """The programs, in `folder/bin`: whoever calls puts that into the PATH."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    answers = f'case "$*" in *Linger*) echo {linger};; *KillUserProcesses*) echo {kills};; *) exit 1;; esac'
    (programs / "loginctl").write_text(f"#!/bin/sh\n{answers}\n")
    here = f'PYTHONPATH="{checkout}" exec "{sys.executable}" -P -m {__name__} "{folder}" "$@"'
    (programs / "systemctl").write_text(f"#!/bin/sh\n{here}\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    return Systemd(folder)


def main(arguments: list[str]) -> int:
    folder, user, verb, *rest = arguments
    place = Path(folder)
    assert user == "--user"
    with (place / "calls").open("a") as calls:
        calls.write(" ".join([verb, *rest]) + "\n")
    refused = place / "refuses"
    if (place / "no-bus").exists():
        print("Failed to connect to bus: No medium found", file=sys.stderr)
        return 1
    if refused.exists() and refused.read_text() == verb:
        print(f"Job for {' '.join(rest)} failed because of unavailable resources.", file=sys.stderr)
        return 1
    units = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user"
    if verb == "show":
        print("252")
    elif verb in ("enable", "disable"):
        link = units / f"{wanted_by(units / rest[0])}.wants" / rest[0]
        link.unlink(missing_ok=True)
        if verb == "enable":
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(units / rest[0])
    elif verb == "is-active":
        state = place / "unit-state"
        print(state.read_text() if state.exists() else "activating")
    elif verb == "start" and not rest[0].endswith(".timer"):
        start((units / rest[0]).read_text(encoding="utf-8"))
    return 0


def wanted_by(unit: Path) -> str:
    """The target that a unit is enabled for."""
    text = unit.read_text(encoding="utf-8") if unit.exists() else ""
    found = re.search(r"(?m)^WantedBy=(\S+)$", text)
    return found[1] if found else "default.target"


def start(unit: str) -> None:
    """Start what a unit says, without waiting for it."""
    command, environ = run_by(unit)
    null = subprocess.DEVNULL
    subprocess.Popen(command, cwd="/", env=environ, stdin=null, stdout=null, stderr=null, start_new_session=True)


def run_by(unit: str) -> tuple[list[str], dict[str, str]]:
    """The command that a unit says, and an environment with nothing in it but what a manager has and the unit gives."""
    environ = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    command: list[str] = []
    for line in unit.splitlines():
        key, _, value = line.partition("=")
        if key == "Environment":
            for word in words(value):
                name, _, text = word.partition("=")
                environ[name] = text
        elif key == "ExecStart":
            program, *more = words(value)
            command = [program, *(word.replace("$$", "$") for word in more)]
    return command, environ


def words(text: str) -> list[str]:
    """The words of a setting, by systemd.syntax(7) and its specifiers."""
    found = []
    for quoted, plain in WORD.findall(text):
        word = re.sub(r"\\x([0-9a-f]{2})|\\(.)", _unescaped, quoted or plain)
        found.append(os.fsdecode(word.encode("latin-1")).replace("%%", "%"))
    return found


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else str(match[2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
