"""A tokenizer as it is saved beside a model that is to serve: its template without marks of training, which no server knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.data.training_marks import has_training_marks, without_training_marks
from core.files import sha256_json


def save_for_serving(tokenizer: Any, folder: Path) -> None:
    """Save a transformers tokenizer. The one in hand keeps its template, or its templates by name."""
    template = tokenizer.chat_template
    if isinstance(template, str):
        tokenizer.chat_template = without_training_marks(template)
    elif isinstance(template, dict):
        tokenizer.chat_template = {name: without_training_marks(text) for name, text in template.items()}
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = template


def beside_weights(tokenizer: Any, weights: Path, folder: Path) -> None:
    """Make a model folder of the weights in another one, with this tokenizer saved beside them; nothing large is copied."""
    folder.mkdir()
    for file in sorted(weights.iterdir()):
        if file.name == "config.json" or file.name == "generation_config.json" or file.name.startswith("model"):
            (folder / file.name).symlink_to(file.resolve())
    save_for_serving(tokenizer, folder)


def template_hashes(tokenizer: Any) -> dict[str, str]:
    """What a lineage keeps of the template that trained: its hash, and that of what is saved of it where marks leave it."""
    template = tokenizer.chat_template
    hashes = {"chat_template_sha256": sha256_json(template)}
    if isinstance(template, str) and has_training_marks(template):
        hashes["saved_template_sha256"] = sha256_json(without_training_marks(template))
    return hashes
