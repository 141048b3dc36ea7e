"""One small process for each attempt: it starts the job, waits for it, and writes down how it ended.

It outlives the console, the connection and the runner. It holds `shim.lock` for life, which is the proof that somebody will
see the job's end. Only the standard library is imported, so that it starts at once and costs little.

    python -P -m core.attempt.shim ATTEMPT_DIR     (reads start.json there)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from core.files import read_json, write_json
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity
from core.process.locks import held
from core.process.shims import RunnerWatch, see_to_a_runner, silence_standard_streams, take_lock

POLL_SECONDS = 0.1


def main(arguments: list[str]) -> int:
    attempt = AttemptDir(Path(arguments[0]))
    if take_lock(attempt.shim_lock) is None:
        print(f"{attempt.path}: another shim has this attempt", file=sys.stderr)
        return 1
    start = read_json(attempt.path / "start.json")
    if start is None:
        print(f"{attempt.path}: withdrawn, because the process took too long to start", file=sys.stderr)
        return 1
    if os.fork():
        # The parent must not run exit handlers or flush what the child owns now.
        os._exit(0)
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    silence_standard_streams()
    run_attempt(attempt, start)
    return 0


def run_attempt(attempt: AttemptDir, start: dict[str, Any]) -> None:
    """Start the job in a process group of its own, wait for it, write exit.json, and see that a runner takes note."""
    home = Home(Path(start["home"]))
    log = os.open(attempt.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    lease: int | None = start.get("lease_descriptor")
    started_at = time.time()
    try:
        job = subprocess.Popen(
            start["command"],
            cwd=start["directory"],
            env=environment_of(start),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=() if lease is None else (lease,),
            process_group=0,
            restore_signals=True,
            preexec_fn=restore_default_signals,
        )
    except OSError as error:
        os.write(log, f"the job's process could not be started: {error}\n".encode())
        write_json(attempt.exit_json, {"exit_code": 127, "signal": None, "ended_at": time.time()})
        see_to_a_runner(home)
        return
    identity = ProcessIdentity.of(job.pid)
    own = ProcessIdentity.of(os.getpid())
    write_json(
        attempt.run_json,
        {
            "job": identity.to_json() if identity else None,
            "shim": own.to_json() if own else None,
            "started_at": started_at,
            "place": attempt.place,
        },
    )
    usage = wait(job, home)
    # A worker that the job left behind would keep the GPU: ask it to go, too.
    try:
        os.killpg(job.pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        usage["left_behind"] = False
    else:
        usage["left_behind"] = True
    write_json(attempt.exit_json, {**ended(job.returncode), "ended_at": time.time(), **usage})
    if not held(home.runner_lock):
        see_to_a_runner(home)


def environment_of(start: dict[str, Any]) -> dict[str, str]:
    """This process's environment, without what the GPU's profile takes out, and with what the job is given."""
    unset, given = start.get("unset", ()), start["environment"]
    return {**{name: value for name, value in os.environ.items() if name not in unset}, **given}


def restore_default_signals() -> None:
    """The job starts with the usual handlers, not with the ones that this process ignores."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def ended(returncode: int) -> dict[str, int | None]:
    if returncode < 0:
        return {"exit_code": None, "signal": -returncode}
    return {"exit_code": returncode, "signal": None}


def wait(job: subprocess.Popen[bytes], home: Home) -> dict[str, Any]:
    """Wait for the job; meanwhile see that the home is never without a runner for long. Returns its use of the machine."""
    runner = RunnerWatch(home)
    while True:
        pid, status, usage = os.wait4(job.pid, os.WNOHANG)
        if pid:
            job.returncode = os.waitstatus_to_exitcode(status)
            return {
                "peak_host_bytes": usage.ru_maxrss * 1024,
                "user_seconds": usage.ru_utime,
                "system_seconds": usage.ru_stime,
            }
        runner.look()
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
