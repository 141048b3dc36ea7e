"""A job's process: `PYTHON -P -m jobs RUN_DIR`. Loads the job, runs it, leaves success or error as a file.

Exit codes: 0 done, 75 stopped on request, 1 failed, 2 bad input, 3 refused by a gate, 4 not found.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from core.errors import BakehouseError
from core.home import RunDir
from core.jobfile.kinds import kind_of
from core.redaction import RedactedStream
from jobs.context import (
    STOP_SIGNALS,
    STOPPED_EXIT_CODE,
    JobContext,
    StartAgain,
    StopRequested,
    current_attempt,
    explain,
    leave_error,
)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m jobs RUN_DIR", file=sys.stderr)
        return 2
    hide_secrets()
    run = RunDir(Path(arguments[0]).absolute())
    attempt = current_attempt(run)
    inherited = _open_descriptors()
    try:
        context = JobContext.open(run, attempt)
        context.install_signals()
        # The job's own module is imported here, so that a light job never waits for torch.
        importlib.import_module(kind_of(context.job.kind).module).run(context, context.job.spec)
    except StopRequested as stop:
        print(f"stopped: {stop.why}", flush=True)
        return STOPPED_EXIT_CODE
    except StartAgain:
        _start_again(inherited)
    except BakehouseError as error:
        if error.code == "request_stopped" and (why := context.stop_reason()) is not None:
            print(f"stopped: {why}", flush=True)  # a request to a server was given up for it
            return STOPPED_EXIT_CODE
        leave_error(attempt, error)
        return error.exit_code
    except Exception as error:
        # None of ours: the traceback goes to the log, the file says in one line what it was.
        leave_error(attempt, explain(error))
        raise
    return 0


def hide_secrets() -> None:
    """Have whatever this process prints, tracebacks of libraries too, reach the log without passwords and tokens."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
            setattr(sys, name, RedactedStream(stream))


def _start_again(inherited: set[int]) -> NoReturn:
    """Become a fresh process in place: the same pid and start time, so the shim, the runner and the lease notice nothing.

    Only descriptors that were open at the start go on (the log, the lease): one of a GPU's driver would keep its memory.
    A signal to stop that arrives meanwhile waits until the new process listens.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for descriptor in _open_descriptors() - inherited:
        os.set_inheritable(descriptor, False)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)


def _open_descriptors() -> set[int]:
    listed = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return {
        descriptor for descriptor in listed if Path(f"/proc/self/fd/{descriptor}").is_symlink()
    }  # not the listing's


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
