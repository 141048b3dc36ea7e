"""Where the shipped `configs` and `golden` lie (inside `core` in a wheel, beside it in a checkout), and the names in them that
are used where no other is given."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from core.errors import BakehouseError

MODELS = Path("configs/models.yaml")
PLAIN_RECIPE, QUANTISED_RECIPE = "lora-bf16", "qlora-hqq4"
"""One recipe for each method of training."""
DEMO_TASK, DEMO_MODEL, DEMO_RECIPE = "judge", "SmolLM2-135M", "demo"
"""What a CPU trains in minutes."""


@cache
def shipped_root() -> Path:
    """The folder that holds them. BakehouseError when it is not there."""
    inside = Path(str(files("core"))) / "shipped"
    for root in (inside, inside.parent.parent):
        if (root / MODELS).is_file():
            return root
    message = f"the shipped models and recipes are missing: neither {inside} nor {inside.parent.parent} has {MODELS}"
    raise BakehouseError(message, code="not_installed", remedy="install Bakehouse again")
