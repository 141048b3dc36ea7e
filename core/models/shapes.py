"""The shape of a model that models.yaml says none of: read from its config.json, where its files are on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from core.config.model import ModelEntry, ModelShape
from core.errors import InputError
from core.files import read_json
from core.home import Home
from core.models.files import model_folder
from core.models.headers import read_header

# Decoders whose layers are what the estimate models: attention, a gated MLP of three linear layers, two norms.
MODELLED = ("llama", "mistral", "qwen2", "qwen3")


def with_shape(home: Home, entry: ModelEntry) -> ModelEntry:
    """The entry, its shape taken from its config.json when it has none; as it is when there is no such file."""
    if entry.shape is not None:
        return entry
    folder = model_folder(home, entry)
    shape = None if folder is None else read_shape(folder)
    return entry if shape is None else entry.model_copy(update={"shape": shape})


def read_shape(folder: Path) -> ModelShape | None:
    """The shape that a config.json tells; None for an architecture that is not modelled, or a file that says too little."""
    try:
        config = read_json(folder / "config.json")
    except ValueError:
        return None
    if not isinstance(config, dict) or config.get("model_type") not in MODELLED:
        return None
    heads = config.get("num_attention_heads")
    hidden, positions = config.get("hidden_size"), config.get("max_position_embeddings")
    if not isinstance(heads, int) or not isinstance(hidden, int) or heads < 1:
        return None
    try:
        return ModelShape(
            hidden=hidden,
            ffn=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            vocabulary=config["vocab_size"],
            tied=is_tied(folder, config),
            attention=attention(config),
            context=positions if isinstance(positions, int) and positions > 0 else None,
            source=str(folder / "config.json"),
        )
    except (KeyError, ValidationError):
        return None


def attention(config: dict[str, Any]) -> Literal["full", "sliding"]:
    """`full`, or `sliding` where a layer sees only a window; only Qwen says by a key of its own whether it is used."""
    kinds = set(config.get("layer_types") or ())
    if kinds:
        return "full" if kinds == {"full_attention"} else "sliding"
    return "sliding" if config.get("sliding_window") and config.get("use_sliding_window", True) else "full"


def is_tied(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the head shares the embedding's weights: as the config says, else whether the files hold a head."""
    said = config.get("tie_word_embeddings")
    if isinstance(said, bool):
        return said
    return not any("lm_head.weight" in tensor_names(file) for file in folder.glob("*.safetensors"))


def tensor_names(file: Path) -> set[str]:
    """The names in a safetensors header; none where it cannot be read (submission refuses such a file)."""
    try:
        return set(read_header(file))
    except (OSError, InputError):
        return set()
