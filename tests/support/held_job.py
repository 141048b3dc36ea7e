"""A job that waits behind an event for the test: `python -P -m tests.support.held_job RUN_DIR KIND FIELD AT_LEAST`.

However slow or fast a machine is, a test that kills or stops a job at some point finds it there. Held is the job itself: its
process stands still behind each event of this kind whose field is at least so large, until it is killed, stopped or let go on.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from core.events import EventWriter
from core.files import write_atomic
from core.home import AttemptDir

GO_ON = "go-on"


@dataclass(frozen=True)
class Hold:
    """Behind which events: `Hold("step", "step", 2)` is the second step's, and each later one's; `Hold("phase", "name",
    "checking")` is that phase's."""

    kind: str
    field: str
    at_least: float | str

    def holds(self, value: Any) -> bool:
        if isinstance(self.at_least, str):
            return bool(value == self.at_least)
        return bool(value >= self.at_least)

    @property
    def words(self) -> list[str]:
        return [self.kind, self.field, str(self.at_least)]

    def install(self) -> None:
        """Let every event of this process that is meant hold the process."""
        written, parent = EventWriter.write, os.getppid()

        def write(writer: EventWriter, kind: str, **fields: Any) -> None:
            written(writer, kind, **fields)
            if kind == self.kind and self.holds(fields[self.field]):
                folder = AttemptDir(writer.path.parent)
                while not folder.stop_request.exists() and not _released(folder, writer.seq):
                    if os.getppid() != parent:
                        os._exit(1)  # the tests are gone
                    time.sleep(0.005)

        EventWriter.write = write  # type: ignore[method-assign]


def release(attempt: AttemptDir) -> None:
    """Let a held job go on, to the next event that holds it."""
    write_atomic(attempt.path / GO_ON, str(EventWriter(attempt.events).seq), durable=False)


def let_go(attempt: AttemptDir) -> None:
    """Let a held job go on to its end."""
    write_atomic(attempt.path / GO_ON, str(sys.maxsize), durable=False)


def _released(attempt: AttemptDir, seq: int) -> bool:
    file = attempt.path / GO_ON
    return file.exists() and int(file.read_text()) >= seq


def _number(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def main(arguments: list[str]) -> int:
    from jobs.__main__ import main as run_job

    run, kind, field, at_least = arguments
    Hold(kind, field, _number(at_least)).install()
    return run_job([run])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
