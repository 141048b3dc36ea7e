"""One guard around what a terminal sends: bytes in, and only what a person did comes out.

A terminal answers what it was asked (its name, its colours, its modes), and over a slow line such an answer can come late, in
pieces, or not whole. Nothing of an answer is a key: a reply that Textual does not know would be handed on letter by letter,
and the P in it would pause the queue. So sequences are recognised here as ECMA-48 (sections 5.4 and 5.6) and the parser of
the VT500 do, whether anybody knows them or not, and Textual's parser is handed keys, mouse reports, pastes and the few
reports that the console asked for. Bytes that are no UTF-8 are dropped: an é of a Latin-1 terminal is no key either.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import _re_extended_key
from textual.constants import ESCAPE_DELAY

ESC = 0x1B
# A sequence that stays open so long without another byte is not finished any more; what came of it is dropped.
TORN_SECONDS = 1.0
# One that is open for longer than this ends at the next short gap: somebody who types must be heard again.
LONG_SECONDS, SHORT_GAP_SECONDS = 3.0, 0.25
PASTE_GAP_SECONDS = 5.0  # then a paste whose end is missing is what came of it
MOST_PASTED_BYTES = 1 << 20
MOST_SEQUENCE_BYTES = 32  # Textual's parser takes a longer one for single keys
MOST_CELLS = 10_000  # of a mouse report's column and row

_PASTE_BEGIN, _PASTE_END = b"\x1b[200~", b"\x1b[201~"
_INTRODUCERS = {
    0x9B: "csi",
    0x8F: "ss3",
    0x90: "string",
    0x98: "string",
    0x9D: "string",
    0x9E: "string",
    0x9F: "string",
}
_AFTER_ESC = {0x5B: "csi", 0x4F: "ss3", 0x50: "string", 0x58: "string", 0x5D: "string", 0x5E: "string", 0x5F: "string"}
# How a sequence goes on whose ESC came so early that it counted as the Escape key. A letter alone is not enough: it is a key.
_HEADS = (b"[", b"]", b"^", b"P>|", b"P!|", b"P0$", b"P1$", b"P0+", b"P1+", b"_G")

_MOUSE = re.compile(r"\x1b\[<(\d{1,3});(\d{1,5});(\d{1,5})[mM]")
# What the console asks for: synchronised output. Sizes are asked of the kernel, not of the terminal.
_REPORT = re.compile(r"\x1b\[\?2026;\d\$y|\x1b\[[IO]")
# The keyboard protocol of kitty: key, modifiers, text. Alternate keys and kinds of events were not asked for.
_EXTENDED = re.compile(r"\x1b\[(\d{0,7})(?:;(\d{0,3})(?:;(\d{1,7}(?::\d{1,7}){0,3})?)?)?[u~A-HPQS]")


@dataclass(frozen=True)
class Input:
    """A piece of input: text as typed, one whole sequence, the Escape key by itself, or a paste."""

    kind: Literal["text", "sequence", "escape", "paste"]
    text: str


class TerminalInput:
    """The guard. `feed` takes bytes as they come, `quiet` is to be called when none do; times in monotonic seconds."""

    def __init__(self) -> None:
        self._state = "ground"
        self._sequence = bytearray()
        self._left = 0  # bytes of a report of fixed length that are still to come
        self._began = self._last = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    @property
    def is_open(self) -> bool:
        """Something has begun whose end may be the next silence."""
        return self._state != "ground"

    def feed(self, data: bytes, now: float) -> list[Input]:
        found = self.quiet(now)
        self._last = now
        typed: list[str] = []
        for piece in self._pieces(data, now):
            if isinstance(piece, str):
                typed.append(piece)
                continue
            if typed:
                found.append(Input("text", "".join(typed)))
                typed.clear()
            found.append(piece)
        if typed:
            found.append(Input("text", "".join(typed)))
        return found

    def quiet(self, now: float) -> list[Input]:
        """What can be said once no byte came until `now`: an ESC was the Escape key, a torn sequence is nothing."""
        gap = now - self._last
        if self._state == "ground":
            if gap >= TORN_SECONDS:
                self._decoder.reset()
        elif self._state == "esc":
            if gap >= ESCAPE_DELAY:
                self._enter("after_escape", now)
                return [Input("escape", "\x1b")]
        elif self._state == "after_escape":
            if gap >= (ESCAPE_DELAY if self._sequence else TORN_SECONDS):
                return self._released()
        elif self._state == "paste":
            if gap >= PASTE_GAP_SECONDS:
                return self._pasted()
        elif gap >= TORN_SECONDS or (now - self._began >= LONG_SECONDS and gap >= SHORT_GAP_SECONDS):
            self._enter("ground", now)
        return []

    def _enter(self, state: str, now: float) -> None:
        self._state = state
        self._sequence.clear()
        self._began = now
        self._decoder.reset()

    def _released(self) -> list[Input]:
        """Keys that could have been the rest of a torn sequence, and were none."""
        typed = self._sequence.decode("ascii")
        self._enter("ground", self._last)
        return [Input("text", typed)] if typed else []

    def _pieces(self, data: bytes, now: float) -> Iterator[str | Input]:
        for byte in data:
            if self._state == "paste":
                yield from self._in_paste(byte)
            elif self._state in ("ground", "string"):
                yield from self._decoded(byte, now)
            elif byte == ESC and not self._left:
                if self._state == "esc":
                    yield Input("escape", "\x1b")
                elif self._state == "after_escape":
                    yield from self._released()
                self._enter("esc", now)
                self._sequence.append(byte)
            elif self._state == "after_escape":
                yield from self._after_escape(byte, now)
            elif self._state == "esc":
                yield from self._in_escape(byte, now)
            else:
                yield from self._in_sequence(byte, now)

    def _decoded(self, byte: int, now: float) -> Iterator[str | Input]:
        """A byte of text, or of a string that the terminal sends (OSC, DCS, SOS, PM, APC), which is dropped."""
        if byte == ESC:
            self._enter("esc", now)
            self._sequence.append(byte)
            return
        alone = (
            0x80 <= byte < 0xA0 and not self._decoder.getstate()[0]
        )  # a control of eight bits, not part of a character
        for character in chr(byte) if alone else self._decoder.decode(bytes([byte])):
            code = ord(character)
            if self._state == "string":
                if code in (0x07, 0x18, 0x1A, 0x9C):  # BEL, CAN, SUB and ST end one
                    self._enter("ground", now)
            elif code in _INTRODUCERS:
                self._enter(_INTRODUCERS[code], now)
                self._sequence += b"\x1b[" if code == 0x9B else b"\x1bO"
            elif not 0x80 <= code < 0xA0:
                yield character

    def _after_escape(self, byte: int, now: float) -> Iterator[str | Input]:
        """The first bytes behind an Escape key: the rest of a torn sequence, or keys."""
        self._sequence.append(byte)
        begun = bytes(self._sequence)
        if begun in _HEADS:
            self._enter("csi" if begun == b"[" else "string", now)
            self._sequence += b"\x1b["
        elif not any(head.startswith(begun) for head in _HEADS):
            self._enter("ground", now)
            for one in begun:
                yield from self._decoded(one, now)

    def _in_escape(self, byte: int, now: float) -> Iterator[str | Input]:
        self._sequence.append(byte)
        if byte in _AFTER_ESC:
            self._state = _AFTER_ESC[byte]
        elif byte >= 0x80:
            self._enter("ground", now)
            yield from self._decoded(byte, now)
        elif 0x20 <= byte <= 0x2F and not self._is_key():
            self._state = "escape_rest"
        else:
            yield from self._finished(now)  # a key with Alt

    def _in_sequence(self, byte: int, now: float) -> Iterator[str | Input]:
        self._sequence.append(byte)
        if self._left:
            self._left -= 1
            if not self._left:
                yield from self._finished(now)
        elif byte < 0x20 or byte >= 0x7F:  # nothing that stands within a sequence: it was torn
            self._enter("ground", now)
            if byte >= 0x80:
                yield from self._decoded(byte, now)
        elif self._sequence == b"\x1b[[":  # a function key of Linux' own console
            self._left = 1
        elif self._sequence == b"\x1b[M":  # a mouse report of old
            self._left = 3
        elif self._sequence == _PASTE_BEGIN:
            self._enter("paste", now)
        elif byte >= (0x40 if self._state == "csi" else 0x30) or (byte == ord("$") and self._is_key()):
            yield from self._finished(now)  # rxvt ends some of its keys with $

    def _in_paste(self, byte: int) -> Iterator[Input]:
        self._sequence.append(byte)
        if byte == _PASTE_END[-1] and self._sequence.endswith(_PASTE_END):
            yield from self._pasted()
        elif len(self._sequence) > MOST_PASTED_BYTES + len(_PASTE_END):
            del self._sequence[MOST_PASTED_BYTES : -len(_PASTE_END)]

    def _is_key(self) -> bool:
        return self._sequence.decode("latin-1") in ANSI_SEQUENCES_KEYS

    def _finished(self, now: float) -> Iterator[Input]:
        """The sequence is whole: handed on when it is a key, a mouse report or an answer to a question of the console."""
        sequence = self._sequence.decode("latin-1")
        self._enter("ground", now)
        if len(sequence) <= MOST_SEQUENCE_BYTES and (sequence in ANSI_SEQUENCES_KEYS or _is_input(sequence)):
            yield Input("sequence", sequence)

    def _pasted(self) -> list[Input]:
        raw = bytes(self._sequence).removesuffix(_PASTE_END)[:MOST_PASTED_BYTES]
        self._enter("ground", self._last)
        text = raw.decode("utf-8", "ignore").replace("\r\n", "\n").replace("\r", "\n")
        return [Input("paste", "".join(sign for sign in text if sign in "\n\t" or not _is_control(sign)))]


def _is_input(sequence: str) -> bool:
    if mouse := _MOUSE.fullmatch(sequence):
        return int(mouse[1]) < 256 and all(0 < int(cells) <= MOST_CELLS for cells in (mouse[2], mouse[3]))
    if _REPORT.fullmatch(sequence):
        return True
    # Not every version of Textual knows every form; one that it does not know would be taken for letters.
    if (key := _EXTENDED.fullmatch(sequence)) and _re_extended_key.fullmatch(sequence):
        modifiers = int(key[2] or 1)
        return (
            _is_character(key[1] or "1")
            and 1 <= modifiers <= 256
            and all(
                _is_character(code) and not _is_control(chr(int(code))) for code in (key[3] or "").split(":") if code
            )
        )
    return False


def _is_character(code: str) -> bool:
    return 0 < int(code) <= 0x10FFFF and not 0xD800 <= int(code) <= 0xDFFF


def _is_control(sign: str) -> bool:
    return sign < " " or "\x7f" <= sign < "\xa0"
