"""A served model is sent away for a job that gets the GPU to itself, and called back after it.

`away.json` names the jobs that it is away for. The runner writes it before it hands the lease over; the shim sees it, ends
llama-server and says so in `state.json`. The shim never starts a server while the file is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.files import read_json, write_json
from core.home import AttemptDir, Home, ServedDir
from core.process.identity import ProcessIdentity
from core.process.locks import held
from core.served.state import is_running, written_state

ENDED = ("away", "stopped")
"""The phases in which a living shim has ended its server and starts none."""


def send_away(home: Home, name: str, job_id: int, lease: Path | None = None) -> None:
    """Have a served model free what it holds for a job; it has done so when `is_gone`. `lease` is the lock of what the job
    gets: while anybody has that, also of another home, no shim comes back by itself. Durable when this returns. Raises
    OSError."""
    folder = home.served_dir(name)
    with _alone(folder):
        _write(folder, [*away_for(folder), job_id], lease or _lease(folder))


def call_back(home: Home, name: str, job_id: int) -> None:
    """It is no longer away for this job; it comes back once it is away for none. No matter where it was not. Raises OSError."""
    folder = home.served_dir(name)
    with contextlib.suppress(FileNotFoundError), _alone(folder):  # it may have been removed meanwhile
        left = [job for job in away_for(folder) if job != job_id]
        if left:
            _write(folder, left, _lease(folder))
        else:
            folder.away.unlink(missing_ok=True)


def is_gone(home: Home, name: str) -> bool:
    """Whether llama-server's process of a served model that was sent away has ended, and none will start meanwhile.

    A shim says `loading` before it looks for `away.json` for the last time and starts a server: who reads `away` or `stopped`
    after that file was written may rely on it.
    """
    folder = home.served_dir(name)
    running = is_running(folder)
    state = written_state(folder)
    if state is not None and state.server is not None and state.server.alive():
        return False
    return not running or (state is not None and state.phase in ENDED)


def away_for(folder: ServedDir) -> list[int]:
    """The jobs that a served model is away for. A file that cannot be read counts as job 0, which is over."""
    try:
        document = read_json(folder.away)
        if document is None:
            return []
        return sorted({job for job in document["jobs"] if type(job) is int}) or [0]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return [0]


def is_over(home: Home, job_id: int) -> bool:
    """Whether no process of a job lives, told from its attempts' files alone. For a shim that finds no runner."""
    return not any(_lives(attempt) for attempt in home.run_dir(job_id).attempts())


def _lives(attempt: AttemptDir) -> bool:
    if held(attempt.shim_lock):
        return True
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        job = ProcessIdentity.from_json((read_json(attempt.run_json) or {}).get("job"))
        return job is not None and not attempt.exit_json.exists() and job.alive()
    return False


def lease_is_held(folder: ServedDir) -> bool:
    """Whether somebody has what a served model made way from. For a shim that finds no runner."""
    lease = _lease(folder)
    if lease is None:
        return False
    try:
        return held(lease)
    except OSError:
        return False  # no file that anybody could hold


def _lease(folder: ServedDir) -> Path | None:
    with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError):
        lease = (read_json(folder.away) or {}).get("lease")
        return Path(lease) if isinstance(lease, str) and lease else None
    return None


@contextlib.contextmanager
def _alone(folder: ServedDir) -> Iterator[None]:
    """One at a time: a runner, and a bake-off that loads models itself, both send away and call back."""
    descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: ServedDir, jobs: Iterable[int], lease: Path | None) -> None:
    known = None if lease is None else str(lease)
    write_json(folder.away, {"schema": 1, "jobs": sorted({job for job in jobs if job}), "lease": known})
