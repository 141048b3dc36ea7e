"""Texts that try to speak to a terminal, and a terminal that tells whether one did."""

from __future__ import annotations

import unicodedata

import pyte
from hypothesis import strategies as st
from wcwidth import wcwidth

# Each kind of thing a terminal obeys or that misleads a reader, with what makes it complete and without.
FRAGMENTS = (
    "\x1b[2J", "\x1b[1;1H", "\x1b[31m", "\x1b[6n", "\x1b[c", "\x1b[?1049h", "\x1b[3", "\x1b[", "\x9b2J", "\x9b6n",
    "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x1b\\", "\x1b]8;;http://x\x1b\\", "\x1b]0;never ended", "\x9d0;title\x9c",
    "\x1bPq#0\x1b\\", "\x90+q\x9c", "\x1b_Gf=24\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\",
    "\x1bc", "\x1b7", "\x1b8", "\x1bD", "\x1bM", "\x1b(0", "\x1b#8", "\x1b=", "\x1b\x1b[A", "\x1b",
    "\x00", "\x05", "\x07", "\x08", "\x0b", "\x0c", "\x0e", "\x0f", "\x18", "\x1a", "\x7f", "\x84", "\x85", "\x8d", "\x9a",
    "\r", "\n", "\r\n", "\t", "\u2028", "\u2029",
    "\u202e", "\u202d", "\u2066", "\u2069", "\u200e", "\u061c", "\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u3164",
    "\ufe0f", "\U000e0041", "\U000e0101", "\ud800", "\udcff", "\ue000", "\u0301", "\u0301" * 40, "\u20dd", "\u00a0", "\u3000",
    "日本", "é", "👩‍💻", "🇩🇪", "নি", "שלום",
)  # fmt: skip

NAME = "judge\x1b[2J\x1b]0;owned\x07\u202egnp.exe\x9b6n\x08\x08\x00\u200b\ud800 🙂"
"""One name with the worst of them, for whatever takes a name."""

texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8)), max_size=12).map("".join)
"""Any text, the hostile made likely. Lone surrogates are among them."""


class Watched(pyte.Screen):
    """A terminal of three rows whose state tells what was done to it: dots everywhere, the cursor in the middle row."""

    ROW, COLUMN = 1, 10

    def __init__(self, columns: int) -> None:
        super().__init__(columns, 3)
        self.answers: list[str] = []
        for row in range(self.lines):
            self.cursor_position(row + 1, 1)
            self.draw("." * columns)
        self.cursor_position(self.ROW + 1, self.COLUMN + 1)

    def write_process_input(self, data: str) -> None:
        self.answers.append(data)

    def row(self, number: int) -> str:
        """What stands in a row; the second cell of a wide letter is empty."""
        return "".join(self.buffer[number][column].data for column in range(self.columns))


def assert_only_printed(text: str) -> None:
    """Assert that a terminal which is sent this line shows it where the cursor stood, and is otherwise as before."""
    width = sum(max(0, wcwidth(character)) for character in text)
    screen = Watched(Watched.COLUMN + width + 10)
    rows, modes, sets = [screen.row(number) for number in range(3)], set(screen.mode), screen.g0_charset
    look = screen.cursor.attrs
    stream = pyte.Stream(screen)
    for character in text:  # one by one: pyte gives up the rest of what it is fed with at a mark it does not know
        stream.feed(character)
    assert not screen.answers, "the terminal was made to answer"
    assert (screen.title, screen.icon_name, screen.mode, screen.margins) == ("", "", modes, None)
    assert (screen.charset, screen.g0_charset, screen.savepoints) == (0, sets, [])
    assert (screen.cursor.attrs, screen.cursor.hidden) == (look, False), "what is printed next would look different"
    assert (screen.cursor.y, screen.cursor.x) == (Watched.ROW, Watched.COLUMN + width), "the cursor was moved"
    assert (screen.row(0), screen.row(2)) == (rows[0], rows[2]), "other rows were written to"
    letters = "".join(letter for letter in text if wcwidth(letter) > 0 or unicodedata.combining(letter))
    row = rows[Watched.ROW]
    expected = row[: Watched.COLUMN] + letters + row[Watched.COLUMN + width :]
    assert unicodedata.normalize("NFC", screen.row(Watched.ROW)) == unicodedata.normalize("NFC", expected)
