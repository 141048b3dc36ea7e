"""Text in a Go template that comes out as it is, and that a Modelfile can hold."""

from __future__ import annotations

import re

KEPT = frozenset("\t\n\r ")
"""What Ollama's reader of Modelfiles keeps though it does not count as printable."""
# What begins an action, also together with the brace of one that follows; and what ends a text of a Modelfile.
_SPECIAL = re.compile(r'\{+|"{3,}')


def dropped_by_modelfiles(letter: str) -> bool:
    """Whether Ollama's reader of Modelfiles leaves the letter out. It keeps what Go calls printable: letters, marks, numbers,
    punctuation and symbols; beside them blanks, tabs and line feeds."""
    return letter not in KEPT and not letter.isprintable()


def go_text(text: str) -> str:
    """The text as part of a template's source: what is special there stands in a Go string of an action."""
    plain = _SPECIAL.sub(lambda match: _action(match[0]), text)
    return "".join(_action(letter) if dropped_by_modelfiles(letter) else letter for letter in plain)


def _action(text: str) -> str:
    return '{{ "' + "".join(f"\\U{ord(letter):08x}" for letter in text) + '" }}'
