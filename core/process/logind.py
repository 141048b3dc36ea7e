"""What systemd keeps of a user: whether it has a manager that answers, and what becomes of processes at the last logout."""

from __future__ import annotations

import os
import shutil
import subprocess

ASK_SECONDS = 3.0


def ask_loginctl(*arguments: str) -> str | None:
    """What loginctl answers; None where there is no logind to ask."""
    return _answer("loginctl", *arguments)


def lingers() -> bool | None:
    """Whether the user's manager lives without a login, from the machine's start on; None where no logind answers."""
    said = ask_loginctl("show-user", str(os.getuid()), "--property=Linger", "--value")
    return None if said is None else said == "yes"


def kills_processes() -> bool | None:
    """Whether logind ends what a session started when its user logs out; None where no logind answers."""
    said = ask_loginctl("show-session", "--property=KillUserProcesses", "--value")
    return None if said is None else said != "no"


def has_user_manager() -> bool:
    """Whether systemd runs units of this user: its manager answers on the user's bus."""
    return bool(_answer("systemctl", "--user", "show", "--property=Version", "--value"))


def _answer(name: str, *arguments: str) -> str | None:
    program = shutil.which(name)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
