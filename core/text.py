"""Text of others as text: what models and logs print never speaks to the terminal."""

from __future__ import annotations


def printable(line: str) -> str:
    """A line as text: what could move the cursor or speak to the terminal is left out."""
    line = line.rpartition("\r")[2] if "\r" in line.rstrip("\r") else line.rstrip("\r")
    return "".join(character for character in line if character == "\t" or character.isprintable())
