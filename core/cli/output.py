"""How every command prints: nothing that comes from others reaches the terminal but as text, and no secret does.

Commands use these instead of `print`; a test holds them to it. What the terminal's encoding lacks is written with signs that
every encoding has, and a reader that went away or a disk without room is no crash (`ready`, `finished`).
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import sys
import unicodedata
from typing import Any, TextIO

from core.redaction import redact, redact_all
from core.text import printable

_HIDDEN = re.compile(r"[^\n\x20-\x7e]")

# Readable stand-ins for signs that an encoding may lack; of one character where columns are lined up with it.
PLAIN = {
    **dict.fromkeys("·•∙", "-"),
    **dict.fromkeys("–—−‐‑", "-"),
    "→": "->",
    "←": "<-",
    "↑": "^",
    "↓": "v",
    "×": "x",
    "±": "+/-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "≠": "!=",
    "μ": "mu",
    "τ": "tau",
    "…": "...",
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„″«»", '"'),
    "✓": "+",
    "✗": "x",
    "▲": "!",
    "■": "#",
    "▶": ">",
    "▷": ">",
    "◁": "<",
    "∝": "~",
    "◷": "o",
    "‖": "=",
    "●": "*",
    "○": "o",
    "◆": "*",
    "⚠": "!",
    **dict.fromkeys("│┃║▏▎▍▌", "|"),
    **dict.fromkeys("─━═", "-"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬", "+"),
    **dict.fromkeys("█▉▊▋▓▇▆", "#"),
    **dict.fromkeys("▒▅▄", "="),
    **dict.fromkeys("░▃▂▁", "."),
    "Δ": "delta ",
    "σ": "sigma",
    "µ": "u",
    "°": " deg",
    "€": "EUR",
    "␛": "<ESC>",
    "⟦": "[[",
    "⟧": "]]",
    "√": "sqrt",
    "Σ": "sum",
    "δ": "delta",
    "\u0304": "",
}
STAND_INS = "bakehouse.stand_ins"


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(sign: str) -> str:
    """A sign of its own for what we print ourselves, a letter without its marks, else `?`."""
    if sign in PLAIN:
        return PLAIN[sign]
    if 0x2800 <= ord(sign) < 0x2900:  # Braille, of which curves are drawn
        return " " if sign == "\u2800" else "."
    folded = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return folded if folded.strip() else "?"


codecs.register_error(STAND_INS, _stand_in)


def ready() -> None:
    """Make stdout and stderr take every text, whatever their encoding, and be there, whatever is closed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Else the next file that is opened, the database perhaps, would be what libraries print into.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - open until the end
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=STAND_INS)


def finished(code: int) -> int:
    """Bring out what was printed; the exit code, 1 where that failed. A reader that left (`| head`) is no failure."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except BrokenPipeError:
            _drop(descriptor)
        except (OSError, ValueError) as error:
            _drop(descriptor)
            if descriptor == 1:
                code = code or 1
                lost(OutputLostError(error))
    return code


def lost(error: OutputLostError) -> int:
    """Say that output was lost, if anybody can still be told; the exit code of a command that else went well."""
    if error.left:
        return 0
    with contextlib.suppress(OutputLostError):
        say(f"bakehouse: The output could not be written: {error}.", error=True)
    return 1


class OutputLostError(Exception):
    """What a command printed did not get out. `left`: because its reader went away, which is no failure."""

    def __init__(self, error: OSError | ValueError) -> None:
        super().__init__(getattr(error, "strerror", None) or str(error))
        self.left = isinstance(error, BrokenPipeError)


def _write(out: TextIO, text: str, *, flush: bool = False) -> None:
    """Raises `OutputLostError`: no error of a stream is taken for one of a file."""
    try:
        out.write(text)
        if flush:
            out.flush()
    except (OSError, ValueError) as error:
        raise OutputLostError(error) from error


def _drop(descriptor: int) -> None:
    """Let what is still buffered for a descriptor go nowhere: the interpreter would try again at its end, and complain."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def say(
    line: str = "", *, error: bool = False, file: TextIO | None = None, tabs: bool = False, data: bool = False
) -> None:
    """Print one line on stdout, with `error` on stderr, or into `file`; line breaks in it become blanks, tabs if not `tabs`.

    `data`: the line is an example or an answer, and shown as it is; any other has no secret in it.
    """
    out = file or (sys.stderr if error else sys.stdout)
    _write(out, printable(line if data else redact(line), keep="\t" if tabs else "") + "\n", flush=file is not None)


def say_block(text: str) -> None:
    """Print lines whose maker has cleaned each of them already: those with colours of ours, or in a format of machines."""
    _write(sys.stdout, text.removesuffix("\n") + "\n", flush=True)


def print_json(document: dict[str, Any], *, data: bool = False) -> None:
    """The one document of `--json` on stdout; `data` as in `say`. Parsers read the same in every encoding."""
    text = json_text({"schema": 1, **(document if data else redact_all(document))}, indent=1)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=1)
    _write(sys.stdout, text + "\n")


def json_text(document: Any, indent: int | None = None) -> str:
    """JSON in which letters are readable and everything that a terminal could obey is an escape; parsers read the same."""
    return _HIDDEN.sub(_escaped, json.dumps(document, ensure_ascii=False, indent=indent))


def _escaped(match: re.Match[str]) -> str:
    letter = match[0]
    if printable(letter) == letter:
        return letter
    return json.dumps(letter)[1:-1] if letter != "\x7f" else "\\u007f"
