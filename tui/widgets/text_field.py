"""A field of a form in which a person types: what is typed replaces what stood there, and nothing typed harms the screen."""

from __future__ import annotations

from textual.widgets import Input

from core.text import printable

LONGEST = 200
"""Characters that a field keeps: more is a paste that was meant for something else."""


class TextField(Input):
    """One line of text. The focus selects all of it, so that typing replaces it."""

    def __init__(self, *, id: str, placeholder: str = "", classes: str | None = None, longest: int = LONGEST) -> None:
        self.longest = longest
        super().__init__(id=id, placeholder=placeholder, classes=classes, compact=True, select_on_focus=True)

    def validate_value(self, value: str) -> str:
        """What a terminal can show of it."""
        return printable(value, limit=self.longest)
