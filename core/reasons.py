"""Why something is as it is, as a code with values: what parts exchange and store. `core.wording` makes the words of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.redaction import redact_all

Value = str | int | float | bool | None | list[str] | list[int]
"""What JSON can hold: integer bytes, seconds, names. A unit stands in the name of the value (`free_bytes`)."""


@dataclass(frozen=True)
class Reason:
    """A code such as `disk_low` and what its words need, such as `{"free_bytes": 1200000000}`. Equal when both are."""

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A message of a server or a library can quote an address with its password; reasons are stored and shown.
        if any(isinstance(value, str | list) for value in self.values.values()):
            object.__setattr__(self, "values", redact_all(self.values))

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "values": dict(self.values)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Reason:
        """Raises ValueError when the document is no reason."""
        code, values = document.get("code"), document.get("values", {})
        if not isinstance(code, str) or not isinstance(values, Mapping):
            raise ValueError(f"not a reason: {document!r}")
        return cls(code, dict(values))
