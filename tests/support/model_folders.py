"""Model folders without torch: a configuration, a vocabulary, and safetensors of just the tensors that are asked for."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.models.headers import BITS, Shape
from core.models.layout import expected, full_name

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 40,
    "tie_word_embeddings": False,
}
INDEX = "model.safetensors.index.json"


def config_of(family: str, **changes: Any) -> dict[str, Any]:
    return {"model_type": family, "architectures": ["AnyForCausalLM"], **SIZES, **changes}


def tensors_of(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The names and shapes of a whole model of a known family."""
    found = expected(config)
    assert found is not None
    return {full_name(name): shape for name, shape in found.items()}


def write_safetensors(path: Path, tensors: Mapping[str, Shape], dtype: str = "BF16") -> Path:
    """A file of zeros with these tensors."""
    document, behind = {}, 0
    for name, shape in tensors.items():
        size = BITS[dtype] * math.prod(shape) // 8
        document[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [behind, behind + size]}
        behind += size
    return write_header(path, document, behind)


def write_header(path: Path, document: Mapping[str, Any], size: int) -> Path:
    """A safetensors file with this header and so many bytes behind it."""
    header = json.dumps(document).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    return path


def write_folder(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Shape] | None = None, *, shards: int = 1
) -> Path:
    """A folder with the model that `config` describes, or with other tensors; in shards with an index when there are more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    chosen = dict(tensors_of(config) if tensors is None else tensors)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", chosen)
        return folder
    places = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {key: chosen[key] for key in sorted(chosen)[number::shards]}
        write_safetensors(folder / name, part)
        places |= dict.fromkeys(part, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def adapter_tensors(layers: Mapping[str, Shape], rank: int = 2) -> dict[str, Shape]:
    """The factors of a LoRA on these layers, by the (out, in) of each."""
    found: dict[str, Shape] = {}
    for layer, (outside, inside) in layers.items():
        found[f"base_model.model.{layer}.lora_A.weight"] = (rank, inside)
        found[f"base_model.model.{layer}.lora_B.weight"] = (outside, rank)
    return found


def write_adapter(folder: Path, base: str | None, **changes: Any) -> Path:
    """A LoRA of one layer as PEFT leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 2, "lora_alpha": 4, **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layers: dict[str, Shape] = {"model.layers.0.self_attn.q_proj": (16, 16)}
    write_safetensors(folder / "adapter_model.safetensors", adapter_tensors(layers))
    return folder
