"""What a model calls the tensors of its checkpoint."""

from __future__ import annotations

from typing import Any

# What a checkpoint that holds an image tower besides calls the text model's tensors, and what the model calls them.
PREFIXES = (
    ("language_model.model.", "model.language_model."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.", ""),
)


def own_name(key: str, wanted: dict[str, Any]) -> str | None:
    """The model's name of a tensor of a checkpoint; None when it has none."""
    candidates = [key, *(new + key.removeprefix(old) for old, new in PREFIXES if key.startswith(old))]
    return next((name for name in candidates if name in wanted), None)
