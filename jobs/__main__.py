"""A job's process: `PYTHON -P -m jobs RUN_DIR`. Loads the job, runs it, leaves success or error as a file.

Exit codes: 0 done, 75 stopped on request, 1 failed, 2 bad input, 3 refused by a gate, 4 not found.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from core.errors import BakehouseError
from core.home import RunDir
from jobs.context import STOPPED_EXIT_CODE, JobContext, StopRequested, current_attempt, explain, leave_error


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m jobs RUN_DIR", file=sys.stderr)
        return 2
    run = RunDir(Path(arguments[0]).absolute())
    attempt = current_attempt(run)
    try:
        context = JobContext.open(run, attempt)
        context.install_signals()
        # The job's own module is imported here, so that a light job never waits for torch.
        importlib.import_module(f"jobs.{context.job.kind}").run(context, context.job.spec)
    except StopRequested as stop:
        print(f"stopped: {stop.why}", flush=True)
        return STOPPED_EXIT_CODE
    except BakehouseError as error:
        leave_error(attempt, error)
        return error.exit_code
    except Exception as error:
        # None of ours: the traceback goes to the log, the file says in one line what it was.
        leave_error(attempt, explain(error))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
