"""What every job is given: its file, its events, its stop request, its artefacts."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import BakehouseError
from core.events import EventReader, EventWriter
from core.failures import NO_SPACE, OF_THE_DISK, refusal_of
from core.files import read_json, write_json
from core.home import AttemptDir, Home, RunDir
from core.jobfile.spec import JobFile
from core.own_paths import stored_result
from jobs.artefacts import Artefact, ArtefactStore
from jobs.memory import is_out_of_memory

STOPPED_EXIT_CODE = 75
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
RESULT_SCHEMA = 1


class StopRequested(BaseException):
    """Raised at a boundary once the job is to stop: nothing is lost, the job ends with exit code 75.

    A BaseException, as KeyboardInterrupt is, so that no handler of a library takes it for a failure.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class StartAgain(BaseException):
    """Raised when the job is to begin anew in a fresh process: nothing else gives back all memory of a device for certain."""


@dataclass
class JobContext:
    """One attempt at a job, seen from inside its process."""

    run: RunDir
    attempt: AttemptDir
    job: JobFile
    events: EventWriter
    artefacts: ArtefactStore
    started: float = field(default_factory=time.monotonic)
    signalled: str | None = None
    warned: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def open(cls, run: RunDir, attempt: AttemptDir) -> JobContext:
        """The context of an attempt. InputError when the run directory holds no job file."""
        job = JobFile.load(run)
        store = ArtefactStore(Path(job.artefacts), Home(Path(job.home)))
        # A job that started itself again has given the warnings about its inputs already.
        told = (event for event in EventReader(attempt.events) if event["kind"] == "warning")
        warned = {(str(event.get("code")), str(event.get("message"))) for event in told}
        return cls(run, attempt, job, EventWriter(attempt.events), store, warned=warned)

    @property
    def home(self) -> Home:
        return Home(Path(self.job.home))

    def say(self, text: str) -> None:
        """A line of the log."""
        print(text, flush=True)

    def phase(self, name: str, detail: str | None = None) -> None:
        """Announce what comes next, after a look at the stop request."""
        self.check_stop()
        self.events.write("phase", name=name, detail=detail)
        self.say(f"{name}: {detail}" if detail else name)

    def progress(self, done: int, total: int | None, unit: str, **fields: Any) -> None:
        self.events.write("progress", done=done, total=total, unit=unit, **fields)

    def warn(self, code: str, message: str) -> None:
        """Something the person should know, though the job goes on."""
        if (code, message) not in self.warned:
            self.events.write("warning", code=code, message=message)
        self.say(f"warning: {message}")

    def install_signals(self) -> None:
        """SIGINT and SIGTERM ask for the same stop as the stop request; a second one ends the job at once."""

        def note(number: int, frame: object) -> None:
            if self.signalled is not None:
                sys.exit(STOPPED_EXIT_CODE)
            self.signalled = signal.Signals(number).name

        signal.signal(signal.SIGINT, note)
        signal.signal(signal.SIGTERM, note)
        # What arrived while this process started itself again is still to come.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def stop_reason(self) -> str | None:
        """Why the job is to stop: `cancel`, `pause`, `shutdown`, the name of a signal; None while it is not."""
        if self.signalled is not None:
            return self.signalled
        if not self.attempt.stop_request.exists():
            return None
        request = read_json(self.attempt.stop_request)
        return str(request.get("why", "stop")) if isinstance(request, dict) else "stop"

    def check_stop(self) -> None:
        """Raise StopRequested when the job is to stop."""
        if (why := self.stop_reason()) is not None:
            raise StopRequested(why)

    def finish(self, message: str, *, artefacts: list[Artefact] | None = None, summary: dict[str, Any]) -> None:
        """Leave the proof of success. It is written last: whoever sees it finds everything it names."""
        self.events.write("result", message=message)
        write_json(
            self.run.result,
            stored_result(
                self.home,
                {
                    "schema": RESULT_SCHEMA,
                    "kind": self.job.kind,
                    "attempt": self.attempt.number,
                    "message": message,
                    "artefacts": [artefact.to_json() for artefact in artefacts or []],
                    "summary": summary,
                },
            ),
        )
        self.say(message)


def current_attempt(run: RunDir) -> AttemptDir:
    """The attempt that `BAKEHOUSE_ATTEMPT` names (default: the first one); its folder exists afterwards."""
    attempt = run.attempt(int(os.environ.get("BAKEHOUSE_ATTEMPT", "1")))
    attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return attempt


def explain(error: Exception) -> BakehouseError:
    """An error that is none of ours in one line, with what can be done about it where that is known."""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return refusal_of(error)
    if NO_SPACE.search(str(error)):
        return BakehouseError(text, code="disk_full", remedy="free some space and retry: it goes on where it was")
    if is_out_of_memory(error):
        return BakehouseError(
            text, code="out_of_memory", remedy="take smaller batches, shorter lengths or a smaller model"
        )
    return BakehouseError(text, code="crashed", remedy="the log has the traceback")


def leave_error(attempt: AttemptDir, error: BakehouseError) -> None:
    """Leave the reason of a failure as a file and as a line of the log."""
    write_json(attempt.error_json, {**error.to_json(), "exit_code": error.exit_code})
    print(f"error: {error}", flush=True)
