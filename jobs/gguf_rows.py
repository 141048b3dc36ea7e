"""Tensors in the types of GGUF files, row by row: read from a file, made from values, told apart whatever their order.

A row is what stands along the last dimension of a checkpoint's tensor, and along the first of the file's: llama.cpp's types
divide a row into blocks, and a block holds values of one row alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, get_tensor_name_map, quant_shape_to_byte_shape, quants

from core.models.gguf import GgufHeader, GgufTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE_VALUES = 1 << 18
"""What is held at once, at the least a row: little enough for a processor's cache."""
KEY_BITS = 128
Q8_0_VALUES = 32
"""Of one block: they share a scale of two bytes."""
SHORT = {GGMLQuantizationType.F16: torch.float16, GGMLQuantizationType.BF16: torch.bfloat16}
# What a checkpoint with an image tower beside its text model calls that; llama.cpp's map knows the names without it.
TOWER_PREFIXES = ("model.language_model.", "language_model.model.", "language_model.")
SUFFIXES = (".weight", ".bias")
Rows = Callable[[int, int], "NDArray[np.uint8]"]
"""The rows from one up to another, each as the bytes of its type."""


def gguf_names(header: GgufHeader) -> Callable[[str], str | None]:
    """From a checkpoint's name of a tensor to the file's, by llama.cpp's own map; None for one that the map does not have.

    Of an architecture that the installed package does not know, or a file that does not say how many blocks there are, each
    name is None.
    """
    numbers = {name: number for number, name in MODEL_ARCH_NAMES.items()}
    number, blocks = numbers.get(header.architecture), header.keys.get(f"{header.architecture}.block_count")
    if number is None or not isinstance(blocks, int):
        return lambda key: None
    names = get_tensor_name_map(number, blocks)

    def name_of(key: str) -> str | None:
        bare = [f"model.{key.removeprefix(prefix)}" for prefix in TOWER_PREFIXES if key.startswith(prefix)]
        short = [key.removeprefix(prefix) for prefix in TOWER_PREFIXES if key.startswith(prefix)]
        found = (names.get_name(one, try_suffixes=SUFFIXES) for one in (key, *bare, *short))
        return next((name for name in found if name is not None), None)

    return name_of


def type_of(tensor: GgufTensor) -> GGMLQuantizationType | None:
    """The type of a file's tensor; None for one that the installed package does not know."""
    try:
        return GGMLQuantizationType(tensor.kind)
    except ValueError:
        return None


@cache
def can_make(kind: GGMLQuantizationType) -> bool:
    """Whether values can be brought into a type here, bit for bit as llama.cpp does."""
    return _works(lambda: made(np.zeros((1, 256), np.float32), kind))


@cache
def can_read(kind: GGMLQuantizationType) -> bool:
    """Whether a type can be made values again."""
    size = quant_shape_to_byte_shape((1, 256), kind)
    return _works(lambda: values_of(np.zeros(size, np.uint8), kind))


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except NotImplementedError:
        return False
    return True


def made(values: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """Values (rows × length) as rows of bytes of a type. A value beyond the type's range becomes infinite.

    NotImplementedError for a type that the installed package does not write.
    """
    if kind in SHORT:  # torch takes a tenth of the time
        written: NDArray[np.uint8] = torch.from_numpy(values).to(SHORT[kind]).view(torch.uint8).numpy()
        return written
    if kind == GGMLQuantizationType.Q8_0 and (blocks := _as_q8_0(values)) is not None:
        return blocks
    rows = np.ascontiguousarray(quants.quantize(values, kind))
    return rows.view(np.uint8).reshape(len(values), -1)


def values_of(rows: NDArray[np.uint8], kind: GGMLQuantizationType) -> NDArray[np.float32]:
    """Rows of bytes of a type as values in fp32, rows × length. NotImplementedError for one that the package does not read."""
    if kind in SHORT:
        read: NDArray[np.float32] = torch.from_numpy(rows).view(SHORT[kind]).float().numpy()
        return read
    if kind == GGMLQuantizationType.Q8_0:
        blocks = torch.from_numpy(rows).view(-1, 2 + Q8_0_VALUES)
        scale = blocks[:, :2].contiguous().view(torch.float16).float()
        whole: NDArray[np.float32] = (blocks[:, 2:].view(torch.int8).float() * scale).view(len(rows), -1).numpy()
        return whole
    return np.asarray(quants.dequantize(rows, kind), np.float32)


def _as_q8_0(values: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Values (rows × length) in Q8_0, bit for bit what the package makes of them (`quants.Q8_0`), in a quarter of its time.

    A block of 32 values x is d = max|x| / 127 in fp16 and round(x / d), halves away from zero. None for values that are not
    finite, of which the package says what becomes.
    """
    if not values.size or values.shape[-1] % Q8_0_VALUES:
        return None
    blocks = torch.from_numpy(np.ascontiguousarray(values)).view(-1, Q8_0_VALUES)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    inverse = torch.where(scale == 0, scale, 1 / scale)
    if not bool(torch.isfinite(scale).all() and torch.isfinite(inverse).all()):
        return None
    rest = (blocks * inverse).numpy()
    whole = np.trunc(rest)
    rest -= whole
    rest *= 2
    whole += np.trunc(rest, out=rest)
    rows = torch.empty(len(blocks), 2 + Q8_0_VALUES, dtype=torch.uint8)
    rows[:, :2] = scale.half().view(torch.uint8)
    rows[:, 2:] = torch.from_numpy(whole).to(torch.int8).view(torch.uint8)
    return rows.numpy().reshape(len(values), -1)


def through(values: NDArray[np.float32], kinds: Sequence[GGMLQuantizationType]) -> NDArray[np.float32]:
    """What becomes of values (rows × length) that are written in one type after the other."""
    for kind in kinds:
        if kind != GGMLQuantizationType.F32:
            values = values_of(made(values, kind), kind)
    return values


def row_count(tensor: GgufTensor) -> int:
    return math.prod(tensor.shape[1:])


def rows_in(file: Path, header: GgufHeader, tensor: GgufTensor) -> Rows:
    """The rows of a file's tensor; read, not mapped, so that they are gone from memory afterwards."""
    size = tensor.size_bytes // row_count(tensor)
    start = header.tensors_at + tensor.offset

    def rows(begin: int, end: int) -> NDArray[np.uint8]:
        read = np.fromfile(file, np.uint8, count=(end - begin) * size, offset=start + begin * size)
        return read.reshape(end - begin, size)

    return rows


def pieces(count: int, length: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that are small enough to be held at once."""
    step = max(1, PIECE_VALUES // max(1, length))
    return ((begin, min(begin + step, count)) for begin in range(0, count, step))


def same_rows(one: Rows, other: Rows, count: int, length: int) -> bool:
    """Whether two tensors have the same rows, each as often as the other, in whatever order."""
    if all(np.array_equal(one(begin, end), other(begin, end)) for begin, end in pieces(count, length)):
        return True
    return rows_key(one, count, length) == rows_key(other, count, length)


def rows_key(rows: Rows, count: int, length: int) -> int:
    """A number that tells a tensor's rows and not their order: the sum of the hashes of the rows, modulo 2^128."""
    total = 0
    for begin, end in pieces(count, length):
        for row in rows(begin, end):
            total += int.from_bytes(blake2b(row.data, digest_size=KEY_BITS // 8).digest(), "little")
    return total % (1 << KEY_BITS)
