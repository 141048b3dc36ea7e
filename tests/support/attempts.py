"""Attempts as the runner has them: a home, the folder of an attempt, and its row in the queue."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from core.home import AttemptDir, Home
from core.store.attempts import AttemptRow


def home_with_kernel_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home, on a machine whose kernel log is the empty file `kmsg` of the folder."""
    (folder / "kmsg").touch()
    monkeypatch.setenv("BAKEHOUSE_KMSG", str(folder / "kmsg"))
    return Home(folder / "home").create()


def begin_attempt(home: Home) -> AttemptDir:
    """The folder of job 7's first attempt."""
    made = home.run_dir(7).attempt(1)
    made.path.mkdir(parents=True)
    return made


def row(**changes: Any) -> AttemptRow:
    values: dict[str, Any] = {
        "job_id": 7, "number": 1, "outcome": None, "orphaned": False, "boot_id": "b", "protection": "none",
        "created_at": time.time(), "ended_at": None, "exit_code": None, "signal": None, "events_offset": 0,
    }  # fmt: skip
    return AttemptRow(**(values | changes))
