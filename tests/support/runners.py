"""The runners of a home as processes: told by their command, since one that begins or ends holds no lock."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from core.home import Home
from core.process.start_runner import RUNNER
from tests.support.waiting import wait_until


def runners_of(home: Home) -> list[int]:
    """The processes that are the home's runner, or are about to be or no longer are."""
    named = os.fsencode(RUNNER), os.fsencode(home.root)
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if named == _last_words(entry)]


def end_runners(home: Home) -> None:
    """Nothing of them writes into the home any more when this returns, and none comes by itself: so the home can be removed."""
    if home.root.exists():
        home.runner_stopped.touch()

    def gone() -> bool:
        found = runners_of(home)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    wait_until(gone, what=lambda: f"the end of {runners_of(home)}")


def _last_words(entry: Path) -> tuple[bytes, ...]:
    try:
        return tuple((entry / "cmdline").read_bytes().split(b"\0")[-3:-1])
    except OSError:
        return ()
