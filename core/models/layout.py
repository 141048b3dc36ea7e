"""The tensors that a config.json describes, told without torch: of decoders whose layers are known here, name by name.

Names and shapes are those of transformers' modelling files of these families. For any other model only what all decoders
share is compared: the embedding's shape, and that no layer is absent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.models.headers import Shape
from core.models.report import LoadReport

# Where the text model stands in a checkpoint that holds more, or that names it otherwise.
PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "model.")
LAYER = re.compile(r"layers\.(\d+)\.")
HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"
# Whether head_dim may be left out of a config.json: it is hidden size through heads then.
COMPUTED_HEAD_DIM = ("llama", "mistral", "qwen2", "phi3")
FAMILIES = (*COMPUTED_HEAD_DIM, "qwen3", "gemma3_text")
TIED_UNLESS_SAID = ("gemma3_text",)

# What stands in front of tensors that were saved with a wrapper around the model.
WRAPPERS = {
    "module.": "torch's DataParallel",
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "torch's FSDP",
    "base_model.model.": "PEFT",
}


def compare(config: Mapping[str, Any], found: Mapping[str, Shape]) -> LoadReport:
    """What `found`, the shapes of a model's tensors by name, lacks or has otherwise than its configuration says.

    Tensors that are found and not expected are left to the job: only the library knows which of them a model passes over.
    """
    text = text_config(config)
    own = {plain_name(name): (name, shape) for name, shape in found.items()}
    wanted = expected(text)
    if wanted is None:
        return _in_general(text, own)
    missing, mismatched = [], []
    for name, shape in wanted.items():
        if name not in own:
            missing.append(full_name(name))
        elif own[name][1] != shape:
            mismatched.append((own[name][0], own[name][1], shape))
    return LoadReport(tuple(missing), tuple(mismatched), expected=len(wanted))


def refuse_wrapped(path: Path, tensors: Collection[str], name: str) -> None:
    """Refuse weights that were saved out of what a training wraps a model in: no name of theirs is one of the model."""
    for prefix, wrapper in WRAPPERS.items():
        if all(key.startswith(prefix) for key in tensors):
            raise InputError(
                f"its tensors are named {prefix}…: it was saved as {wrapper} holds it",
                code="bad_model",
                file=path,
                key=name,
                remedy="save the model within it with save_pretrained",
            )


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the text model."""
    inner = config.get("text_config")
    if not isinstance(inner, dict):
        return config
    tied = config.get("tie_word_embeddings")
    return inner if tied is None else {"tie_word_embeddings": tied, **inner}


def plain_name(name: str) -> str:
    """A tensor's name without the place of the text model in front."""
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def full_name(name: str) -> str:
    return name if name == HEAD else f"model.{name}"


def expected(config: Mapping[str, Any]) -> dict[str, Shape] | None:
    """The tensors of a decoder of a known family, by name without prefix; None where its configuration says too little."""
    family = config.get("model_type")
    if family not in FAMILIES:
        return None
    hidden, ffn, layers, heads, vocabulary = (
        _count(config, key)
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    )
    kv_heads, size = _count(config, "num_key_value_heads"), _count(config, "head_dim")
    if "num_key_value_heads" not in config and family in ("llama", "phi3"):
        kv_heads = heads
    if size is None and family in COMPUTED_HEAD_DIM and hidden and heads:
        size = hidden // heads
    if not (hidden and ffn and layers and heads and vocabulary and kv_heads and size):
        return None
    parts = _block(str(family), config, (hidden, ffn, heads * size, kv_heads * size, size))
    tensors: dict[str, Shape] = {EMBEDDING: (vocabulary, hidden), "norm.weight": (hidden,)}
    for layer in range(layers):
        tensors |= {f"layers.{layer}.{name}": shape for name, shape in parts.items()}
    tied = config.get("tie_word_embeddings")
    if not (family in TIED_UNLESS_SAID if tied is None else tied):
        tensors[HEAD] = (vocabulary, hidden)
    return tensors


def _block(family: str, config: Mapping[str, Any], widths: tuple[int, int, int, int, int]) -> dict[str, Shape]:
    """The tensors of one layer; `widths` are hidden, FFN, all heads, all key-value heads, one head."""
    hidden, ffn, queries, keys, size = widths
    norms = ["input_layernorm", "post_attention_layernorm"]
    linears: dict[str, Shape] = {"self_attn.o_proj": (hidden, queries), "mlp.down_proj": (hidden, ffn)}
    if family == "phi3":
        linears |= {"self_attn.qkv_proj": (queries + 2 * keys, hidden), "mlp.gate_up_proj": (2 * ffn, hidden)}
    else:
        linears |= {
            f"self_attn.{name}_proj": (width, hidden) for name, width in zip("qkv", (queries, keys, keys), strict=True)
        }
        linears |= {f"mlp.{name}_proj": (ffn, hidden) for name in ("gate", "up")}
    tensors: dict[str, Shape] = {f"{name}.weight": shape for name, shape in linears.items()}
    if family == "gemma3_text":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    tensors |= {f"{name}.weight": (hidden,) for name in norms}
    if family in ("qwen3", "gemma3_text"):
        tensors |= {f"self_attn.{name}_norm.weight": (size,) for name in "qk"}
    biased: tuple[str, ...] = ()
    if family == "qwen2":
        biased = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    elif config.get("attention_bias") and family != "phi3":
        biased = tuple(name for name in linears if name.startswith("self_attn."))
    if config.get("mlp_bias") and family == "llama":
        biased += tuple(name for name in linears if name.startswith("mlp."))
    return tensors | {f"{name}.bias": linears[name][:1] for name in biased}


def _in_general(config: Mapping[str, Any], own: Mapping[str, tuple[str, Shape]]) -> LoadReport:
    """What every decoder has: layers from 0 to the last, where any are found under that name, and an embedding."""
    there = {int(match[1]) for name in own if (match := LAYER.match(name))}
    layers = _count(config, "num_hidden_layers")
    absent = sorted(set(range(layers)) - there) if layers and there else []
    mismatched: tuple[tuple[str, Shape, Shape], ...] = ()
    vocabulary, hidden = _count(config, "vocab_size"), _count(config, "hidden_size")
    if EMBEDDING in own and vocabulary and hidden and own[EMBEDDING][1] != (vocabulary, hidden):
        mismatched = ((*own[EMBEDDING], (vocabulary, hidden)),)
    return LoadReport(tuple(f"model.layers.{layer}.*" for layer in absent), mismatched)


def _count(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
