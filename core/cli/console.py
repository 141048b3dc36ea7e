"""`bakehouse` without a command: the console."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from core.home import Home


def open_console(project: Path | None, *, low_bandwidth: bool = False, select: int | None = None) -> NoReturn:
    """Open the console on this terminal, and end the process when a person leaves it.

    Textual is imported here and nowhere else in the library.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the console needs a terminal; every act has a command, see `bakehouse --help`")
    # Read by Textual when it is imported.
    if low_bandwidth:
        os.environ.setdefault("TEXTUAL_FPS", "5")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

    from tui.app import run_console

    run_console(Home.find().create(), project, low_bandwidth=low_bandwidth, select=select)
    # Not by the interpreter's own end, which unwinds threads that still read something: a console was seen to abort there, most
    # likely in the Rust of pydantic, which must not be unwound.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
