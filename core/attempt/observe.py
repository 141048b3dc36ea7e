"""What has become of an attempt, told from its files, locks and processes: never from a pid alone."""

from __future__ import annotations

import signal
from dataclasses import replace

from core.attempt.launch import JOB_MARK, job_mark, withdraw
from core.attempt.launcher import STOPPED_AT_A_STEP, Observation
from core.files import read_json, tail
from core.home import AttemptDir
from core.process.identity import ProcessIdentity, find_by_environment
from core.process.locks import held
from core.reasons import Reason
from core.store.job_reasons import job_reason


def locked(attempt: AttemptDir) -> bool:
    """True while the attempt's shim lives."""
    return held(attempt.shim_lock)


def written_process(attempt: AttemptDir) -> tuple[bool, ProcessIdentity | None]:
    """Whether the shim wrote down the attempt's job process, and the process.

    None in the copy of a run folder: the process is that of the folder which was copied, and no signal is for it.
    """
    run = read_json(attempt.run_json)
    if run is None:
        return False, None
    if run.get("place") not in (None, attempt.place):
        return True, None
    return True, ProcessIdentity.from_json(run["job"])


def job_process(attempt: AttemptDir) -> ProcessIdentity | None:
    """The identity of the attempt's job process as far as it was written down, or is found alive."""
    written, process = written_process(attempt)
    return process if written else find_by_environment(JOB_MARK, job_mark(attempt))


def observe(attempt: AttemptDir, boot_id: str, current_boot: str) -> Observation:
    """What an attempt that began under `boot_id` does now.

    `never_started` is a promise for the future as well: the attempt is withdrawn.
    """
    if (exit_file := read_json(attempt.exit_json)) is not None:
        ended = Observation("ended", exit_file["exit_code"], exit_file["signal"])
        # A shutdown asks every process to end, and the shim had the time to write down how its job obeyed.
        return replace(ended, condition="restarted") if boot_id != current_boot and told_to_end(ended) else ended
    if boot_id != current_boot:
        return Observation("restarted")
    if locked(attempt):
        return Observation("alive")
    # The shim may have written exit.json and gone between the two looks.
    if (exit_file := read_json(attempt.exit_json)) is not None:
        return Observation("ended", exit_file["exit_code"], exit_file["signal"])
    process = job_process(attempt)
    if process is not None and process.alive():
        return Observation("orphaned")
    if process is None and not attempt.run_json.exists() and not attempt.log.exists():
        return Observation("never_started") if withdraw(attempt) else Observation("alive")
    return Observation("gone")


def told_to_end(seen: Observation) -> bool:
    """True for an end that a signal to end, or a stop request, brings about."""
    return seen.exit_code in {STOPPED_AT_A_STEP, 128 + signal.SIGINT, 128 + signal.SIGTERM} or seen.signal in {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    }


def last_words(attempt: AttemptDir) -> str | None:
    """The last line a job wrote to its log: for a Python error, the error."""
    lines = tail(attempt.log, 4096).decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else None


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def why_failed(attempt: AttemptDir, seen: Observation) -> Reason:
    """Why an attempt failed: its signal, else the error that the job left, else its exit code and the last line of its log."""
    if seen.signal is not None:
        return job_reason("killed", signal=signal_name(seen.signal))
    error = read_json(attempt.error_json)
    if error is not None:
        return job_reason(
            "job_error",
            error=error.get("code"),
            message=error["message"],
            file=error.get("file"),
            line=error.get("line"),
            remedy=error.get("remedy"),
            gate=error.get("exit_code") == 3,
        )
    return job_reason("exit_code", exit_code=seen.exit_code, last_line=last_words(attempt))
