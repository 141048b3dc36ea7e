"""Text of others (logs, answers of models, names, files, replies of servers) made fit for a terminal and for one line of it.

What passes, exactly: every character that Unicode gives a glyph of its own, every blank as the ordinary blank, and at most
four combining marks on one letter. What does not: C0 and C1 controls and the escape sequences they begin, marks of direction
(overrides, embeddings, isolates), characters that nobody can see (joiners, fillers, selectors of variants, tags, the BOM),
lone surrogates, characters for private use, and code points without a character. Line breaks and tabs become a blank unless
the caller keeps them. So no text that passed can move the cursor, change the terminal's state or make the terminal answer,
and it takes the cells it seems to take. Letters of scripts that run from right to left do pass: a terminal may show them and
their neighbours in that order.
"""

from __future__ import annotations

import re
import unicodedata

from core.redaction import redact

# CSI to its last byte, if it has one; OSC, DCS, SOS, PM and APC with all they carry, where BEL or ST ends them; then the
# escapes of two characters. Each has its C1 form. A string that nothing ends loses its head only: it hides no text behind it.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\n\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
_BREAKS = re.compile(r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Unicode's Default_Ignorable_Code_Point, as far as `str.isprintable` lets it pass: no glyph, no cell, or a blank that is none.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Letters that stand alone, of scripts and signs without combining marks: text of nothing else passes without a second look.
_ALONE = re.compile(
    "[ -\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u27bf\u2800-\u28ff\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff]*"
)
WORD = r"(?:[+−-]?\d\S* )?\[[^\s\[\],]+, [^\s\[\],]+\]\S*|\S+"
"""What stays in one row where there is room for it: a word; a figure with its interval, `−0.30 [−0.62, 0.02]`."""
_MOST_MARKS = 4
_CUT = "…"


def printable(text: str, *, keep: str = "", limit: int | None = None, instead: str = "") -> str:
    """The text without anything a terminal obeys, by the rule at the head of this file; applied twice it changes nothing more.

    `keep`, a part of "\\t\\n", are the controls that stay (all line breaks become "\\n"); without it the result is one line.
    `limit` is the most characters of the result, 1 or more: a longer one is cut between two graphemes and ends in "…".
    `instead` stands for each escape sequence and each other character that is taken out.
    """
    if limit is not None:
        text = text[: 16 * limit + 4096]  # a name of megabytes is not read to its end
    if not (text.isprintable() and _ALONE.fullmatch(text)):
        text = _BREAKS.sub("\n" if "\n" in keep else " ", _ESCAPES.sub(instead, text))
        if "\t" not in keep:
            text = text.replace("\t", " ")
        text = "".join(shown if shown is not None else instead for _, shown in _seen(text))
    return text if limit is None or len(text) <= limit else _beginning(text, limit - len(_CUT)) + _CUT


def log_line(line: str, *, tab: int | None = 4) -> str:
    """A line that a program printed, without its secrets: what a carriage return overwrote is dropped, then as `printable`.

    Tabs become blanks up to the next multiple of `tab` columns; with None they stay.
    """
    shown = printable(redact(line.rstrip("\r\n").rpartition("\r")[2]), keep="\t")
    return shown if tab is None else shown.expandtabs(tab)


def one_line(text: str, *, limit: int | None = None) -> str:
    """All of a text in one line as `printable` gives it, without blanks at its ends, each run of them made one."""
    return printable(" ".join(printable(text).split()), limit=limit)


def visible(text: str, *, limit: int | None = None) -> str:
    """The text with what `printable` would take out made to be seen: `␛` for escape, `\\u200b` for a blank of no width.

    For data that a person looks at because of what is in it. Tabs and line feeds stay; the result is fit for a terminal.
    """
    text = "".join(_name(letter) if shown is None else shown for letter, shown in _seen(text[: limit and limit + 1]))
    return text if limit is None or len(text) <= limit else _beginning(text, limit - len(_CUT)) + _CUT


def cell_width(text: str) -> int:
    """How many terminal cells the text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def clip(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis, in at most `width` cells."""
    return text if cell_width(text) <= width else f"{first_cells(text, width - 1)}…"


def first_cells(text: str, width: int) -> str:
    """As many characters from the start as fit into `width` cells."""
    used = 0
    for index, character in enumerate(text):
        used += cell_width(character)
        if used > width:
            return text[:index]
    return text


def _seen(text: str) -> list[tuple[str, str | None]]:
    """Each character with what is shown for it, None for what may not be shown. Line feeds and tabs are shown as they are."""
    found: list[tuple[str, str | None]] = []
    marks = _MOST_MARKS  # before the first letter none may stand: it would change the letter of ours before this text
    for letter in text:
        shown: str | None = letter
        if letter in "\n\t":
            marks = _MOST_MARKS
        elif not letter.isprintable():
            shown = " " if unicodedata.category(letter) == "Zs" else None
        elif not letter.isascii() and _UNSEEN.match(letter):
            shown = None
        elif not letter.isascii() and unicodedata.category(letter)[0] == "M":
            shown = letter if marks < _MOST_MARKS else None
            marks += 1
            found.append((letter, shown))
            continue
        if shown is not None and shown not in "\n\t":
            marks = 0
        found.append((letter, shown))
    return found


def _beginning(text: str, length: int) -> str:
    """At most so many characters from the start, no grapheme of them cut in two unless it is longer than all of them."""
    if text.isascii():
        return text[:length]
    import regex

    end = 0
    for grapheme in regex.finditer(r"\X", text[: length + 64]):
        if grapheme.end() > length:
            break
        end = grapheme.end()
    return text[: end or length]


def _name(letter: str) -> str:
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
