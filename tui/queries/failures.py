"""What a thread that could not answer says in its answer's place: no failure, whatever it is, may leave a screen waiting."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from core.crash_report import write_crash_report
from core.errors import BakehouseError
from core.failures import in_a_line
from core.text import printable

Answer = TypeVar("Answer")
LONGEST = 300
"""Characters of a failure that nobody expected."""


def failure_line(error: BaseException) -> str:
    """One line about what went wrong. What nobody expected is named as a fault of Bakehouse, and a file has the details."""
    if isinstance(error, BakehouseError | OSError | sqlite3.Error):
        return in_a_line(error)
    said = printable(str(error), limit=LONGEST).strip()
    report = write_crash_report(error, "A question of the console")
    details = f"; details: {report}" if report else ""
    return f"internal error, {type(error).__name__}{f': {said}' if said else ''}{details}"


def ask_beside(
    name: str, read: Callable[[], Answer], failed: Callable[[str], Answer | None], tell: Callable[[Answer], object]
) -> None:
    """Read in a thread of its own and tell what was read. A failure is told as `failed(line)`; as nothing where that is None.

    The thread is a daemon: leaving the console never waits for an answer.
    """

    def work() -> None:
        try:
            found: Answer | None = read()
        except Exception as error:  # noqa: BLE001 - each failure becomes the line that stands for the answer
            found = failed(failure_line(error))
        if found is not None:
            tell(found)

    threading.Thread(target=work, name=name, daemon=True).start()
