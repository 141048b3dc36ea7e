"""The words for what the fleet is and how it moves."""

from __future__ import annotations

from collections.abc import Mapping

ORIGINS: Mapping[str, str] = {"adopted": "adopted", "promoted": "promoted", "found": "found there"}
"""How a version came to be one of an alias."""


def origin_words(origin: str) -> str:
    return ORIGINS.get(origin, origin)
