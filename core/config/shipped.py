"""Where the shipped `configs` and `golden` lie: inside `core` in a wheel, beside it in a checkout."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from core.errors import BakehouseError

MODELS = Path("configs/models.yaml")


@cache
def shipped_root() -> Path:
    """The folder that holds them. BakehouseError when it is not there."""
    inside = Path(str(files("core"))) / "shipped"
    for root in (inside, inside.parent.parent):
        if (root / MODELS).is_file():
            return root
    message = f"the shipped models and recipes are missing: neither {inside} nor {inside.parent.parent} has {MODELS}"
    raise BakehouseError(message, code="not_installed", remedy="install Bakehouse again")
