"""`bakehouse` without a command: the console."""

from __future__ import annotations

import codecs
import os
import sys
import termios
from pathlib import Path
from typing import NoReturn

import click

from core.home import Home

IUTF8 = 0o40000  # of Linux' termios; Python's module does not name the flag


def open_console(project: Path | None, *, low_bandwidth: bool = False, select: int | None = None) -> NoReturn:
    """Open the console on this terminal, and end the process when a person leaves it.

    Textual is imported here and nowhere else in the library.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the console needs a terminal; every act has a command, see `bakehouse --help`")
    if os.environ.get("TERM") == "dumb":
        raise click.UsageError(
            "TERM is `dumb`, and the console needs a terminal that can place text; "
            "every act has a command, see `bakehouse --help`"
        )
    _write_utf8()
    # Read by Textual when it is imported.
    if low_bandwidth:
        os.environ.setdefault("TEXTUAL_FPS", "5")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

    from tui.app import run_console

    status = run_console(Home.find().create(), project, low_bandwidth=low_bandwidth, select=select)
    # Not by the interpreter's own end, which unwinds threads that still read something: a console was seen to abort there, most
    # likely in the Rust of pydantic, which must not be unwound.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _write_utf8() -> None:
    """Have Textual write UTF-8, whatever the locale: it draws with signs that no other encoding has.

    Raises UsageError for a terminal that does not take UTF-8. The terminal itself knows best (IUTF8, which ssh and tmux
    pass on), and a locale that came along from another machine is often wrong.
    """
    output = sys.__stderr__
    if output is None or codecs.lookup(output.encoding).name == "utf-8":
        return
    iflag = termios.tcgetattr(sys.stdin.fileno())[0]
    if not iflag & IUTF8:
        raise click.UsageError(
            f"the console draws with UTF-8, and this terminal is set to {output.encoding}; "
            "if the terminal does take UTF-8, start it as `LC_ALL=C.UTF-8 bakehouse`"
        )
    output.reconfigure(encoding="utf-8")
