"""A program that goes with whoever started it, however that ends; how a program is ended, and what its exit code says.

Standard library only, for the shims' sake.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

GRACE_SECONDS = 10.0

# Becomes the program after it has asked the kernel (PR_SET_PDEATHSIG) to be killed with the thread that started it; a parent
# that had died before that has left it to another one. An interpreter of its own does this: between fork and exec in a process
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


def guarded(command: Sequence[str]) -> list[str]:
    """The command that starts a program, given by its absolute path, as a child that is gone with this process, by SIGKILL too.

    What the kernel looks at is the thread that starts it: it must live as long as the process does.
    """
    return [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command]


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
        # A second signal to the process that waits here: nobody waits any longer.
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
