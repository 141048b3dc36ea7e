"""What terminals answer, late or torn, and bytes that are no text: material for tests of the console's input.

The replies have the forms that xterm's control sequences, VT420's manual and kitty's protocols give; the values are made up.
"""

from __future__ import annotations

import random

ST, BEL = b"\x1b\\", b"\x07"

REPLIES = (
    b"\x1bP>|XTerm(379)" + ST,  # XTVERSION
    b"\x1bP>|tmux 3.4" + ST,
    b"\x1bP>|Pqdq WezTerm" + ST,
    b"\x90>|PuTTY\x9c",  # with controls of eight bits
    b"\x1bP!|7E565445" + ST,  # tertiary device attributes
    b"\x1bP1$r0;1;31m" + ST,  # DECRQSS
    b"\x1bP0$r" + ST,
    b"\x1bP1+r544e=787465726d" + ST,  # XTGETTCAP
    b"\x1bP1$u1;1;1;@;@;@;0;4;@BBBB" + ST,  # DECCIR
    b"\x1b]11;rgb:1e1e/1e1e/2e2e" + BEL,  # the colour of the background
    b"\x1b]10;rgb:cdcd/d6d6/f4f4" + ST,
    b"\x1b]4;1;rgb:ffff/0000/0000" + ST,
    b"\x1b]52;c;UVFRUQ==" + ST,  # the clipboard
    b"\x9d11;rgb:0000/0000/0000\x9c",
    "\x1b]lPq – title ✓".encode() + ST,  # the window's title
    b"\x1b_Gi=31;OK" + ST,  # kitty's graphics
    b"\x1b^private" + ST,
    b"\x1bXstart of string" + ST,
    b"\x1b[?62;1;4;6;9;15;22;28c",  # device attributes
    b"\x1b[>41;379;0c",
    b"\x1b[=0c",
    b"\x1b[?1;2c",
    b"\x1b[24;80R",  # where the cursor is
    b"\x1b[?24;80;1R",
    b"\x1b[0n",
    b"\x1b[?13n",
    b"\x1b[?2048;2$y",
    b"\x1b[?1016;0$y",
    b"\x1b[4;1$y",
    b"\x1b[?31u",  # kitty's keyboard protocol
    b"\x1b[8;24;80t",  # sizes
    b"\x1b[4;480;800t",
    b"\x1b[48;24;80;480;800t",
    b"\x1b[?997;1n",  # dark or light
    b"\x1b[2;1;1x",  # DECREQTPARM
    b"\x1b[1;2;3;4;5*y",
    b"\xc2\x9b?62c",
)


def late_reply(chance: random.Random) -> bytes:
    return b"".join(chance.choice(REPLIES) for _ in range(chance.randint(1, 4)))


def torn(chance: random.Random) -> bytes:
    """The beginning of a reply, and sometimes a whole one behind it. An ESC is the least that is left."""
    reply = chance.choice([reply for reply in REPLIES if reply[:1] == b"\x1b"])
    head = reply[: chance.randint(2, len(reply))]
    return head + (chance.choice(REPLIES[:3]) if chance.random() < 0.5 else b"")


def broken_text(chance: random.Random) -> bytes:
    """Bytes of no UTF-8 text: letters of Latin-1, beginnings of characters, what never occurs."""
    pieces = (
        b"\xe9",
        b"\xfc",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xff",
        b"\xfe",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
    )
    # A beginning at the very end would make a letter of the next byte, and rightly so.
    return b"\xff".join((b"", b"".join(chance.choice(pieces) for _ in range(chance.randint(1, 200))), b""))
