"""The runner's log: lines with their time in `runner.log`, which is renamed to `runner.log.1` and so on when it grows.

What no logger writes (a fault in C code, a warning of a library, a process that ends before it has set this up) goes to stdout
and stderr, which are the same file: they follow it when it is renamed. Only the runner that holds the home's lock renames, so
that no two processes do.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import logging.handlers
import os
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from core.files import private
from core.home import Home
from core.redaction import redact
from core.text import printable

MOST_BYTES = 1_000_000
KEPT_FILES = 3

logger = logging.getLogger(__name__)


class RunnerLog(logging.handlers.RotatingFileHandler):
    """A log that is renamed while `holds_lock`, and that stdout and stderr follow to its new file."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(path, maxBytes=most_bytes, backupCount=KEPT_FILES, encoding="utf-8", errors="replace")
        self.holds_lock = True
        self.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=private)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        return self.holds_lock and bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802
        super().doRollover()
        if self.stream is not None:
            for descriptor in (1, 2):
                os.dup2(self.stream.fileno(), descriptor)


class LineFormatter(logging.Formatter):
    """One line a message, and text of others in it as text; a traceback stands below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(redact(super().formatMessage(record)))

    def formatException(self, ei: object) -> str:  # noqa: N802
        return printable(redact(super().formatException(ei)), keep="\n\t")  # type: ignore[arg-type]


def begin(home: Home, most_bytes: int = MOST_BYTES) -> RunnerLog | None:
    """Log this process into `runner.log`: messages, warnings, and what nobody has caught in any thread.

    None where the file cannot be opened: messages go to stderr then, and a runner without a log is better than none.
    """
    handler: logging.Handler
    log: RunnerLog | None = None
    try:
        handler = log = RunnerLog(home.runner_log, most_bytes)
    except OSError:
        handler = logging.StreamHandler()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("core").setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda caught: _uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # stderr is no file
        faulthandler.enable()
    return log


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    thread = threading.current_thread().name
    logger.critical("not caught in thread %s", thread, exc_info=(kind, error or kind(), trace))
