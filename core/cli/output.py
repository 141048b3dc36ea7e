"""How every command prints: nothing that comes from others reaches the terminal but as text.

Commands use these instead of `print`; a test holds them to it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TextIO

from core.text import printable

_HIDDEN = re.compile(r"[^\n\x20-\x7e]")


def say(line: str = "", *, error: bool = False, file: TextIO | None = None, tabs: bool = False) -> None:
    """Print one line on stdout, with `error` on stderr, or into `file`; line breaks in it become blanks, tabs if not `tabs`."""
    out = file or (sys.stderr if error else sys.stdout)
    print(printable(line, keep="\t" if tabs else ""), file=out, flush=file is not None)


def say_block(text: str) -> None:
    """Print lines whose maker has cleaned each of them already: those with colours of ours, or in a format of machines."""
    sys.stdout.write(text.removesuffix("\n") + "\n")
    sys.stdout.flush()


def print_json(document: dict[str, Any]) -> None:
    """The one document of `--json` on stdout."""
    print(json_text({"schema": 1, **document}, indent=1))


def json_text(document: Any, indent: int | None = None) -> str:
    """JSON in which letters are readable and everything that a terminal could obey is an escape; parsers read the same."""
    return _HIDDEN.sub(_escaped, json.dumps(document, ensure_ascii=False, indent=indent))


def _escaped(match: re.Match[str]) -> str:
    letter = match[0]
    if printable(letter) == letter:
        return letter
    return json.dumps(letter)[1:-1] if letter != "\x7f" else "\\u007f"
