"""Under which tag an Ollama keeps a version of an alias: told from the alias' name and the version's number."""

from __future__ import annotations

import re

from core.serving.replies import full_name

LONGEST_TAG = 80
"""Of a model's tag, in signs; a longer one is refused (`types/model/name.go`)."""
_KEPT = re.compile(r"(?:^|-)bakehouse-\d+(?:-[0-9a-f]{12})?$")


def kept_name(alias: str, number: int, digest: str | None = None) -> str:
    """`judge:bakehouse-3` for version 3 of `judge`, `judge:prod-bakehouse-3` for that of `judge:prod`. With a digest: another
    name, for where the first is taken."""
    model, _, tag = full_name(alias).rpartition(":")
    behind = f"bakehouse-{number}" + ("" if digest is None else f"-{digest.removeprefix('sha256:')[:12]}")
    if tag.lower() == "latest":
        return f"{model}:{behind}"
    return f"{model}:{tag[: LONGEST_TAG - len(behind) - 1]}-{behind}"


def is_kept_name(name: str) -> bool:
    """Whether a tag is one that keeps a version of an alias, by its name."""
    return _KEPT.search(full_name(name).rpartition(":")[2]) is not None
