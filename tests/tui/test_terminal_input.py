"""The guard around what a terminal sends: answers, torn and broken ones, are never keys, and keys are never lost."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser, _re_extended_key

from tests.support.depth import example_count
from tests.support.terminal_replies import REPLIES, broken_text, late_reply, torn
from tui.terminal_input import TORN_SECONDS, Input, TerminalInput

LATER = 10.0


class Played:
    """The guard and Textual's parser behind it, at a clock of the test's."""

    def __init__(self) -> None:
        self.guard, self.parser, self.now = TerminalInput(), XTermParser(), 100.0

    def feed(self, data: bytes, after: float = 0.0) -> list[str]:
        """The keys that came of it; a paste stands as `paste:TEXT`, the mouse as `mouse`."""
        self.now += after
        early = self.guard.quiet(self.now)
        return self.keys([*early, *self.guard.feed(data, self.now)])

    def rest(self, after: float = LATER) -> list[str]:
        self.now += after
        return self.keys([*self.guard.quiet(self.now), *self.guard.quiet(self.now + LATER)])

    def keys(self, pieces: Iterable[Input]) -> list[str]:
        found: list[str] = []
        for piece in pieces:
            if piece.kind == "escape":
                found.append("escape")
            elif piece.kind == "paste":
                found.append(f"paste:{piece.text}")
            else:
                for event in self.parser.feed(piece.text):
                    if isinstance(event, events.Key):
                        found.append(event.key)
                    elif isinstance(event, events.MouseEvent):
                        found.append("mouse")
            # Whatever was handed on was whole: Textual's parser never waits for the rest of a sequence.
            assert self.parser._awaiting.timeout is None, piece
        return found


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: repr(reply)[2:30])
def test_a_reply_is_no_key_at_once_or_byte_by_byte(played: Played, reply: bytes) -> None:
    assert played.feed(reply) == []
    assert [key for byte in reply for key in played.feed(bytes([byte]), after=0.05)] == []
    assert played.feed(b"q", after=0.01) == ["q"]


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: repr(reply)[2:30])
def test_a_reply_that_is_torn_anywhere_is_no_key_and_keys_are_heard_again(played: Played, reply: bytes) -> None:
    for length in range(1, len(reply)):
        assert set(played.feed(reply[:length], after=LATER)) <= {"escape"}
        assert set(played.rest(TORN_SECONDS)) <= {"escape"}
        assert played.feed(b"j", after=LATER) == ["j"], length


@pytest.mark.parametrize(
    # SOS is begun by an X, which a person may press behind Escape; nothing that the console talks to answers so.
    "reply",
    [reply for reply in REPLIES if reply[:1] == b"\x1b" and reply[1:2] != b"X"],
    ids=lambda reply: repr(reply)[2:30],
)
def test_a_reply_whose_escape_came_too_early_is_an_escape_and_no_letter(played: Played, reply: bytes) -> None:
    assert played.feed(reply[:1]) == []
    assert played.feed(reply[1:], after=0.3) == ["escape"]


def test_letters_behind_an_escape_stay_letters(played: Played) -> None:
    played.feed(b"\x1b")
    assert played.feed(b"P", after=0.3) == ["escape"]
    assert played.rest(0.2) == ["P"]
    assert played.feed(b"\x1b", after=LATER) == []
    assert played.feed(b"Pq", after=0.3) == ["escape", "P", "q"]
    assert played.feed(b"\x1b", after=LATER) == []
    assert played.feed(b"[", after=LATER) == ["escape", "left_square_bracket"]


@pytest.mark.parametrize(
    "sequence", [s for s in ANSI_SEQUENCES_KEYS if len(s) > 1 and s.isascii() and s != "\x1b\x1b"], ids=repr
)
def test_every_key_that_textual_knows_is_heard(played: Played, sequence: str) -> None:
    alone = [event.key for event in XTermParser().feed(sequence) if isinstance(event, events.Key)]
    assert played.feed(sequence.encode()) == alone
    assert [key for byte in sequence.encode() for key in played.feed(bytes([byte]))] == alone


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"jk\r\t\x7f\x03", ["j", "k", "enter", "tab", "backspace", "ctrl+c"]),
        ("größe – 数".encode(), ["g", "r", "ö", "ß", "e", "space", "en_dash", "space", "数"]),
        (b"\x1b[27u\x1b[97;5u", ["escape", "ctrl+a"]),
        (b"\x1b\x1b", ["escape"]),
        (b"\x9b" + b"A", ["up"]),
        (b"\x1b[<0;10;5M\x1b[<0;10;5m", ["mouse", "mouse"]),
        (b"\x1b[200~two\r\nlines\x1b[31m\x07\x1b[201~x", ["paste:two\nlines[31m", "x"]),
    ],
)
def test_what_a_person_did_is_heard(played: Played, typed: bytes, keys: list[str]) -> None:
    assert played.feed(typed) == keys
    assert played.rest() in ([], ["escape"])


@pytest.mark.parametrize(("sequence", "key"), [("\x1b[97;;97u", "a"), ("\x1b[57399;;48u", "0")])
def test_a_key_with_its_text_is_heard_where_textual_asks_for_it(played: Played, sequence: str, key: str) -> None:
    asked = _re_extended_key.fullmatch(sequence) is not None
    assert played.feed(sequence.encode()) == ([key] if asked else [])
    assert played.feed(b"q") == ["q"]


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b[1114112u",  # beyond the last character
        b"\x1b[55296u",  # half of a surrogate pair
        b"\x1b[97:65;1:3u",  # a release, which nobody asked for
        b"\x1b[97;999999u",
        b"\x1b[97;;7u",  # a bell as text
        b"\x1b[48;99999999;99999999;0;0t",  # the size of the window
        b"\x1b[<0;99999999999;1M",
        b"\x1b[<0;0;0M",
        b"\x1b[201~",
        b"\x1b[" + b"1;" * 400 + b"A",
        b"\x1b[97;;" + b"97:" * 30 + b"97u",
        b"\x1b[M\xff\xfe\xfd",
    ],
)
def test_what_no_terminal_of_ours_would_send_does_nothing(played: Played, sequence: bytes) -> None:
    assert played.feed(sequence) == []
    assert played.feed(b"q") == ["q"]


def test_a_paste_without_its_end_is_what_came_of_it(played: Played) -> None:
    assert played.feed(b"\x1b[200~half a") == []
    assert played.feed(b" line", after=2.0) == []
    assert played.feed(b"q", after=LATER) == ["paste:half a line", "q"]


def test_a_paste_is_bounded(played: Played) -> None:
    keys = played.feed(b"\x1b[200~" + b"a" * 3_000_000 + b"\x1b[201~q")
    assert keys[1:] == ["q"]
    assert len(keys[0]) == len("paste:") + (1 << 20)


def test_somebody_who_types_on_is_heard_although_a_string_never_ends(played: Played) -> None:
    played.feed(b"\x1bP>|")
    heard = [key for _ in range(20) for key in played.feed(b"j", after=0.4)]
    assert len(heard) >= 10


def test_ten_thousand_strings_of_a_bad_line_are_no_key() -> None:
    chance = random.Random(20261130)
    played = Played()
    for number in range(10_000):
        make = chance.choice((late_reply, torn, broken_text))
        data = make(chance)
        cut = chance.randrange(len(data) + 1)
        keys = played.feed(data[:cut], after=chance.choice((0.0, 0.05, LATER)))
        keys += played.feed(data[cut:], after=chance.choice((0.0, 0.05)))
        assert set(keys) <= {"escape"}, (number, data)
        if number % 10 == 0:
            assert set(played.rest()) <= {"escape"}, (number, data)
            assert played.feed(b"j") == ["j"], (number, data)


@settings(max_examples=example_count(200), deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=12), st.lists(st.floats(0, 6), max_size=12))
def test_whatever_arrives_the_guard_lives_and_hears_the_next_key(chunks: list[bytes], waits: list[float]) -> None:
    played = Played()
    for chunk, wait in zip(chunks, [*waits, *[0.0] * 12], strict=False):
        played.feed(chunk, after=wait)
    played.rest()
    assert played.feed(b"j", after=LATER) == ["j"]


@settings(max_examples=example_count(200), deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40), st.integers(1, 7))
def test_text_in_any_cut_is_the_same_keys(text: str, size: int) -> None:
    raw = text.encode()
    whole = Played().feed(raw)
    played = Played()
    assert [key for at in range(0, len(raw), size) for key in played.feed(raw[at : at + size], after=0.2)] == whole
    assert len(whole) == len(text)
