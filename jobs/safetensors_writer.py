"""Writes a safetensors file tensor by tensor: the header first, so that the host never holds more than one tensor.

The library's own `save_file` wants all tensors of a file at once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from core.models.headers import BITS, Shape

# The format's names of torch's types.
NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TYPES = {name: dtype for dtype, name in NAMES.items()}
ALIGNMENT = 8


class SafetensorsWriter:
    """A file with `tensors` (type and shape by name), which are added in just that order; a context manager."""

    def __init__(self, path: Path, tensors: Mapping[str, tuple[torch.dtype, Shape]]) -> None:
        self.path = path
        self.waiting = list(tensors.items())
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        behind = 0
        for name, (dtype, shape) in tensors.items():
            size = torch.Size(shape).numel() * BITS[NAMES[dtype]] // 8
            header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [behind, behind + size]}
            behind += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        self.bytes = behind
        self.file = path.open("xb")
        self.file.write(struct.pack("<Q", len(text)) + text)

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        if kind is None and self.waiting:
            raise ValueError(f"{len(self.waiting)} tensors of {self.path.name} were not written")

    def add(self, name: str, tensor: Tensor) -> None:
        """Write the next tensor. Raises ValueError for another one than the header has there."""
        expected = self.waiting.pop(0)
        if expected != (name, (tensor.dtype, tuple(tensor.shape))):
            raise ValueError(
                f"the header has {expected} where {name} is written as {tensor.dtype} {tuple(tensor.shape)}"
            )
        if tensor.numel():
            flat = tensor.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
            self.file.write(flat.numpy().data)
