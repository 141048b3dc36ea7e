"""An adapter as a GGUF file: what llama.cpp's `--lora` takes, told by the file's header."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError
from core.models.gguf import GgufHeader, whole_header

FACTORS = (".lora_a", ".lora_b")
ALPHA = "adapter.lora.alpha"


def check_lora(path: Path, name: str) -> GgufHeader:
    """The header of an adapter's file: a LoRA with both factors of each layer. Raises `InputError`, `OSError`."""
    header = whole_header(path, name)
    kind = header.keys.get("general.type"), header.keys.get("adapter.type")
    if kind != ("adapter", "lora"):
        raise InputError("it is no LoRA adapter", code="other_purpose", file=path, key=name)
    names = {tensor.name for tensor in header.tensors}
    layers = {one.removesuffix(factor) for one in names for factor in FACTORS if one.endswith(factor)}
    lone = sorted(f"{layer}{factor}" for layer in layers for factor in FACTORS if f"{layer}{factor}" not in names)
    if lone or not layers or not isinstance(header.keys.get(ALPHA), float):
        wrong = f"{lone[0]} is missing" if lone else "it has no factors" if not layers else f"it has no {ALPHA}"
        raise InputError(f"the adapter is not whole: {wrong}", code="bad_adapter", file=path, key=name)
    return header


def layers_of(header: GgufHeader) -> int:
    """How many weights the adapter changes."""
    return sum(tensor.name.endswith(FACTORS[0]) for tensor in header.tensors)
