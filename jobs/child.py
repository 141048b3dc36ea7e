"""A program that a job starts: it goes with the job however that ends, by SIGKILL too, and is ended in order otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO, Any

GRACE_SECONDS = 10.0

# Becomes the program after it has asked the kernel (PR_SET_PDEATHSIG) to be killed with the thread that started it; a job that
# had died before that has left it to another parent. An interpreter of its own does this: between fork and exec in a process
# with threads, Python may wait for ever for a lock that one of them held.
_GUARD = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]} does not start: {error.strerror}")
"""


def start_child(
    command: Sequence[str], *, stdout: int | IO[Any], stderr: int | IO[Any], environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program, given by its absolute path, in the job's process group. Whoever calls ends it with `end_child`.

    What the kernel looks at is the thread that started a process, not the whole of it: all children are started by one thread
    that lives as long as the job does.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=None if environ is None else dict(environ),
        )

    return _starter().submit(start).result()


def end_child(process: subprocess.Popen[bytes], grace_seconds: float = GRACE_SECONDS) -> None:
    """Have a program end: SIGTERM, and SIGKILL when it has not obeyed within the grace. It is gone when this returns."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except BaseException:
        # A second signal to the job: nobody waits any longer.
        process.kill()
        process.wait()
        raise


def how_it_ended(code: int) -> str:
    """The exit code of a process in words: `ended with 1`, `was ended by SIGKILL`."""
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


@cache
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="children")
