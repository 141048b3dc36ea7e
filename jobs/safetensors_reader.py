"""Reads one tensor of a safetensors file, or some of its rows, into memory of its own.

The library maps the whole file: what was read of it stays resident until the file is closed, and the host's memory grows with
the file instead of with its largest tensor.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from core.models.headers import BITS, TensorHeader
from jobs.safetensors_writer import TYPES


def read_tensor(path: Path, tensor: TensorHeader) -> Tensor:
    """A tensor in its own type and shape. KeyError for a type that torch does not have; OSError."""
    return _read(path, tensor, 0, math.prod(tensor.shape)).reshape(tensor.shape)


def read_rows(path: Path, tensor: TensorHeader, begin: int, end: int) -> Tensor:
    """The rows from `begin` up to `end` of a tensor, (end - begin) × the length of its last dimension."""
    length = row_length(tensor)
    return _read(path, tensor, begin * length, end * length).reshape(end - begin, length)


def row_length(tensor: TensorHeader) -> int:
    """How many values the last dimension has."""
    return tensor.shape[-1] if tensor.shape else 1


def _read(path: Path, tensor: TensorHeader, begin: int, end: int) -> Tensor:
    dtype, size = TYPES[tensor.dtype], BITS[tensor.dtype] // 8
    if begin == end:
        return torch.empty(0, dtype=dtype)
    buffer = bytearray((end - begin) * size)
    with path.open("rb", buffering=0) as file:
        file.seek(tensor.begin + begin * size)
        view = memoryview(buffer)
        while view:
            count = file.readinto(view)
            if not count:
                raise OSError(f"{path} ends within a tensor")
            view = view[count:]
    return torch.frombuffer(buffer, dtype=dtype)
