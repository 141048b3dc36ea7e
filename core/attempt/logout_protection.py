"""What keeps a job alive when its owner logs out.

systemd can end everything a user started at the last logout. With linger a scope of the user's own manager outlives it;
without linger such a scope would die with that manager, so the job stays in the session where logind leaves processes alone;
where neither helps, the person is told and so is the remedy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal

ASK_SECONDS = 3.0


@dataclass(frozen=True)
class Protection:
    """How an attempt is kept from a logout. `prefix` goes in front of the command that starts its shim."""

    kind: Literal["scope", "session", "none"]
    prefix: tuple[str, ...] = ()
    warning: str | None = None


def ask_loginctl(*arguments: str) -> str | None:
    """What loginctl answers; None where there is no logind to ask."""
    program = shutil.which("loginctl")
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


def choose_protection() -> Protection:
    """What protects a process started now from the logout of this user."""
    linger = ask_loginctl("show-user", str(os.getuid()), "--property=Linger", "--value")
    systemd_run = shutil.which("systemd-run")
    if linger == "yes" and systemd_run:
        return Protection("scope", (systemd_run, "--user", "--scope", "--quiet", "--collect", "--"))
    return protection_of_session()


def protection_of_session() -> Protection:
    """What protects a process that has no scope of its own."""
    kills = ask_loginctl("show-session", "--property=KillUserProcesses", "--value")
    if kills is None or kills == "no":
        # No logind answers (a container, another init), or it leaves what a session started alone.
        return Protection("session")
    return Protection(
        "none",
        warning="logind ends this job when you log out (KillUserProcesses=yes, no linger); "
        "`loginctl enable-linger` keeps it alive",
    )
