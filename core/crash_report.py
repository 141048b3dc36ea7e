"""A fault of Bakehouse itself: one line for the person, and a file with what whoever mends the fault needs."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from core import __version__
from core.home import Home
from core.redaction import redact
from core.text import printable

KEPT_REPORTS = 20
# What is said of the error itself in the line; the file has all of it.
MOST_CHARACTERS = 200


def crash_line(error: BaseException, doing: str) -> str:
    """Write a report of an error that nobody expected, and say in one line what happened and where the report lies.

    `doing` names what ended: "The console", "`bakehouse plan`".
    """
    report = write_crash_report(error, doing)
    where = f"Details: {report}" if report else "No report of it could be written"
    what = printable(redact(f"{type(error).__name__}: {error}".removesuffix(": ")), limit=MOST_CHARACTERS)
    return f"{doing} ended with a fault of its own ({what}). {where}"


def write_crash_report(error: BaseException, doing: str) -> Path | None:
    """The report's path, in the home or, where that takes no file, in the folder for temporary ones; None if neither does."""
    now = datetime.now(UTC)
    encoding = getattr(sys.stdout, "encoding", None)  # the console puts something else in its place
    text = "".join(
        [
            f"{doing}, {now:%Y-%m-%d %H:%M:%S} UTC\n",
            f"bakehouse {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
            f"TERM={os.environ.get('TERM', '')} LANG={os.environ.get('LANG', '')} encoding={encoding}\n\n",
            *traceback.format_exception(error),
        ]
    )
    name = f"crash-{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    for folder in _folders():
        with contextlib.suppress(OSError, ValueError):
            folder.mkdir(mode=0o700, exist_ok=True)
            # Not through a link that somebody else has laid into a folder for all.
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as out:
                out.write(redact(text))
            _forget_old(folder)
            return folder / name
    return None


def _folders() -> list[Path]:
    with contextlib.suppress(Exception):  # a home that cannot be named may be the very fault
        home = Home.find()
        if home.root.is_dir():
            return [home.crashes, Path(tempfile.gettempdir())]
    return [Path(tempfile.gettempdir())]


def _forget_old(folder: Path) -> None:
    """Only of the home's own folder: in the one for temporary files others clean up."""
    if folder.name != "crashes":
        return
    for old in sorted(folder.glob("crash-*.txt"))[:-KEPT_REPORTS]:
        with contextlib.suppress(OSError):
            old.unlink()
