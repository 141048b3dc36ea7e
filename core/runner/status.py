"""Whether a home has a runner, and which: told from the lock that it holds for life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.files import read_json
from core.home import Home
from core.process.identity import ProcessIdentity
from core.store.database import runner_lives


@dataclass(frozen=True)
class RunnerStatus:
    """Whether a runner lives, and which. `stopped` means that a person stopped it, so that nobody starts it anew."""

    alive: bool
    stopped: bool
    pid: int | None = None
    version: str | None = None
    since: float | None = None


def runner_status(home: Home) -> RunnerStatus:
    stopped = home.runner_stopped.exists()
    if not runner_lives(home):
        return RunnerStatus(False, stopped)
    try:
        written: dict[str, Any] = read_json(home.runner_lock) or {}
        if not ProcessIdentity(written["boot_id"], written["pid"], written["start_ticks"]).alive():
            written = {}
    except (ValueError, KeyError):  # it has the lock and is about to write
        written = {}
    return RunnerStatus(True, stopped, written.get("pid"), written.get("version"), written.get("since"))
