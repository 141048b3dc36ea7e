"""Which texts of an answer a check reads: the whole, what was captured under a name, or what stands below a heading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from core.checks.base import Captures
from core.checks.forgiveness import (
    AS_WRITTEN_SIGNS,
    HEADING_FORGIVES,
    Forgive,
    Forgiven,
    ForgivingDefinition,
    forms,
    prepared,
    same_name,
)
from core.errors import KeyedError

_INVISIBLE_START = re.compile("^[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+", re.MULTILINE)


class PiecesDefinition(ForgivingDefinition):
    """`of` is a name that the format checks capture, `section` the text of a heading; without both the whole answer counts.

    `forgive` is about that heading, and about one code block around the whole answer (`core.checks.forgiveness`).
    """

    READ_KEY: ClassVar[str] = "of"
    FORGIVES: ClassVar[tuple[Forgiven, ...]] = tuple(part for part in HEADING_FORGIVES if part != "escaped_pipes")

    forgive: Forgive = ("setext",)
    of: str | None = Field(default=None, min_length=1)
    section: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> PiecesDefinition:
        if self.of is not None and self.section is not None:
            raise KeyedError("`of` and `section` exclude each other", key="section", remedy="write two checks")
        return self

    def read_names(self) -> tuple[str, ...]:
        return () if self.of is None else (self.of,)

    @property
    def where(self) -> str:
        """The name of what is read, for people; empty of the whole answer."""
        return f"section “{self.section}”" if self.section is not None else (self.of or "").lstrip("_")


def pieces(definition: PiecesDefinition, text: str, captures: Captures) -> Sequence[str]:
    """The texts that are read; none where nothing was captured under the name, or no heading has it."""
    if definition.of is not None:
        return captures.get(definition.of, ())
    # A backslash counts as it is written, and joiners make one sign of several: they stay until that is counted.
    parts, forgiven = definition.parts - {"invisible"}, definition.forgiven | AS_WRITTEN_SIGNS
    if "invisible" in definition.parts:
        text = _INVISIBLE_START.sub("", text)
    if definition.section is None:
        return [prepared(text, parts, forgiven)]
    from core.checks.markdown import document, sections

    name = same_name(definition.section, definition.parts)
    found = sections(document(text, parts, forgiven), forgiven)
    return [
        one.text
        for one in found
        if any(same_name(form, definition.parts) == name for form in forms(one.heading.text, forgiven))
    ]
