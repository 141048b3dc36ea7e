"""Starting an attempt: its folder, its environment, its shim."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.attempt.logout_protection import Protection, protection_of_session
from core.errors import BakehouseError, InputError
from core.files import write_json
from core.gpu.devices import Gpu, device_environment
from core.gpu_lease.lock import Lease
from core.home import AttemptDir, Home
from core.jobfile.raw import LEASED_GPU
from core.process.identity import current_boot_id

if TYPE_CHECKING:
    from core.gpu.environment_profile import Environment

JOB_MARK = "BAKEHOUSE_JOB"
START_FILE = "start.json"
LAUNCH_SECONDS = 20.0


def job_mark(attempt: AttemptDir) -> str:
    """What an attempt's process carries in its environment, so that it can be found when all else is lost."""
    return f"{attempt.path}"


def start_attempt(
    home: Home,
    attempt: AttemptDir,
    python: str,
    protection: Protection,
    lease: Lease | None,
    gpu: Gpu | None,
    remedies: Mapping[str, str],
) -> Protection:
    """Start the shim of an attempt and return once it holds its lock, with the protection that it really has.

    The shim inherits the lease and hands it on to the job, which sees no GPU but `gpu`, and has `remedies` in its environment
    unless the person's settings decide about them. Where systemd refuses the scope (no
    bus of the user's, say), the job starts without it. Raises `BakehouseError` when no shim could be started.
    """
    attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        start_shim(home, attempt, python, protection, lease, gpu, remedies)
    except BakehouseError:
        if not protection.prefix:
            raise
        protection = protection_of_session()
        start_shim(home, attempt, python, protection, lease, gpu, remedies)
    return protection


def start_shim(
    home: Home,
    attempt: AttemptDir,
    python: str,
    protection: Protection,
    lease: Lease | None,
    gpu: Gpu | None,
    remedies: Mapping[str, str],
) -> None:
    run = attempt.path.parent
    profile, prepared = gpu_environment(gpu, remedies)
    write_json(
        attempt.path / START_FILE,
        {
            "home": str(home.root),
            "boot_id": current_boot_id(),
            "command": [python, "-P", "-m", "jobs", str(run)],
            "directory": str(run),
            "environment": {
                **prepared.set,
                "BAKEHOUSE_HOME": str(home.root),
                "BAKEHOUSE_ATTEMPT": str(attempt.number),
                JOB_MARK: job_mark(attempt),
                "PYTHONUNBUFFERED": "1",
                "TOKENIZERS_PARALLELISM": "false",
                # Who has no lease is not to take a GPU either.
                **device_environment(None if lease is None else gpu, os.environ),
                **({LEASED_GPU: gpu.pci} if gpu is not None and lease is not None else {}),
            },
            "unset": list(prepared.unset),
            "gpu_profile": {"name": profile, "set": prepared.set, "unset": list(prepared.unset)},
            "lease_descriptor": None if lease is None else lease.descriptor,
        },
    )
    try:
        done = subprocess.run(
            [*protection.prefix, sys.executable, "-P", "-m", "core.attempt.shim", str(attempt.path)],
            cwd="/",
            env=os.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=() if lease is None else (lease.descriptor,),
            start_new_session=True,
            timeout=LAUNCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if not withdraw(attempt):
            return
        raise BakehouseError(f"The job's process could not be started: {error}", code="launch_failed") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BakehouseError(f"The job's process could not be started: {lines[-1]}", code="launch_failed")


def gpu_environment(gpu: Gpu | None, remedies: Mapping[str, str]) -> tuple[str | None, Environment]:
    """The profile of a GPU by name, and what it, the remedies and the person's settings make of the jobs' environment.

    A settings file that cannot be read is told by who starts the runner, and is no reason to fail a job.
    """
    from core.config.settings import Settings, load_settings
    from core.gpu.environment_profile import environment, profile_for

    try:
        settings = load_settings()
    except InputError:
        settings = Settings()
    profile = profile_for(gpu)
    made = environment(profile, os.environ, settings.gpu.environment, remedies)
    return None if profile is None else profile.name, made


def withdraw(attempt: AttemptDir) -> bool:
    """See to it that no shim begins this attempt any more; False when one already has.

    A shim can be slow to come, and the runner that sent it may be gone: it reads its orders only once it holds its lock, and
    finds none then.
    """
    try:
        lock = os.open(attempt.shim_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return True  # not even the attempt's folder was made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if attempt.log.exists():
            return False
        (attempt.path / START_FILE).unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
