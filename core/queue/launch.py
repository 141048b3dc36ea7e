"""Starting an attempt: its folder, its environment, its shim."""

from __future__ import annotations

import os
import subprocess
import sys

from core.errors import BakehouseError
from core.files import write_json
from core.home import AttemptDir, Home
from core.queue.identity import current_boot_id
from core.queue.lease import Lease
from core.queue.protection import Protection

JOB_MARK = "BAKEHOUSE_JOB"
LAUNCH_SECONDS = 20.0


def job_mark(attempt: AttemptDir) -> str:
    """What an attempt's process carries in its environment, so that it can be found when all else is lost."""
    return f"{attempt.path}"


def start_attempt(home: Home, attempt: AttemptDir, python: str, protection: Protection, lease: Lease | None) -> None:
    """Start the shim of an attempt and return once it holds its lock.

    The shim inherits the lease and hands it on to the job. Raises `BakehouseError` when no shim could be started.
    """
    attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    run = attempt.path.parent
    write_json(
        attempt.path / "start.json",
        {
            "home": str(home.root),
            "boot_id": current_boot_id(),
            "command": [python, "-P", "-m", "jobs", str(run)],
            "directory": str(run),
            "environment": {
                "BAKEHOUSE_HOME": str(home.root),
                "BAKEHOUSE_ATTEMPT": str(attempt.number),
                JOB_MARK: job_mark(attempt),
                "PYTHONUNBUFFERED": "1",
                "TOKENIZERS_PARALLELISM": "false",
            },
            "lease_descriptor": None if lease is None else lease.descriptor,
        },
    )
    try:
        done = subprocess.run(
            [*protection.prefix, sys.executable, "-P", "-m", "core.queue.shim", str(attempt.path)],
            cwd="/",
            env=os.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            pass_fds=() if lease is None else (lease.descriptor,),
            start_new_session=True,
            timeout=LAUNCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BakehouseError(f"its process could not be started: {error}", code="launch_failed") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BakehouseError(f"its process could not be started: {lines[-1]}", code="launch_failed")
