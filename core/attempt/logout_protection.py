"""What keeps a job alive when its owner logs out.

systemd can end everything a user started at the last logout. With linger a scope of the user's own manager outlives it;
without linger such a scope would die with that manager, so the job stays in the session where logind leaves processes alone;
where neither helps, the person is told and so is the remedy.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Literal

from core.process.logind import kills_processes, lingers


@dataclass(frozen=True)
class Protection:
    """How an attempt is kept from a logout. `prefix` goes in front of the command that starts its shim."""

    kind: Literal["scope", "session", "none"]
    prefix: tuple[str, ...] = ()
    warning: str | None = None


def choose_protection() -> Protection:
    """What protects a process started now from the logout of this user."""
    systemd_run = shutil.which("systemd-run")
    if lingers() and systemd_run:
        return Protection("scope", (systemd_run, "--user", "--scope", "--quiet", "--collect", "--"))
    return protection_of_session()


def protection_of_session() -> Protection:
    """What protects a process that has no scope of its own."""
    if not kills_processes():
        # No logind answers (a container, another init), or it leaves what a session started alone.
        return Protection("session")
    return Protection(
        "none",
        warning="logind ends this job when you log out (KillUserProcesses=yes, no linger); "
        "`loginctl enable-linger` keeps it alive",
    )
