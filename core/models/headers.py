"""Headers of safetensors files, read without the library: which tensors a file holds, and whether it is whole.

The format: eight bytes with the length of a JSON header, the header, then the values
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError

MAX_HEADER_BYTES = 100_000_000
Shape = tuple[int, ...]
# Bits of one value, by the format's name of its type. One of a type that is not here is not held to its size.
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
# How files begin that stand in a model's place although they are something else.
LFS_POINTER = b"version https://git-lfs"
PAGES = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True)
class TensorHeader:
    """One tensor as a header describes it: `dtype` in the format's words (`BF16`), `begin` and `end` in bytes of the file."""

    dtype: str
    shape: Shape
    begin: int
    end: int


def read_header(path: Path) -> dict[str, TensorHeader]:
    """The tensors of a safetensors file by name. InputError when the file is torn or something else; OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(8)
        refuse_stand_in(path, raw + file.read(64))
        length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
        if not size:
            raise InputError("it is empty: torn", code="bad_model", file=path, remedy=AGAIN)
        if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
            raise InputError(
                "it has no safetensors header: torn or not this format", code="bad_model", file=path, remedy=AGAIN
            )
        file.seek(8)
        text = file.read(length)
    try:
        document = json.loads(text)
        found = {name: _tensor(item, 8 + length) for name, item in document.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError("its safetensors header is unreadable", code="bad_model", file=path, remedy=AGAIN) from error
    _refuse_torn(path, found, 8 + length, size)
    return found


AGAIN = "download it again"


def refuse_stand_in(path: Path, head: bytes) -> None:
    """Refuse a file whose first bytes show that its content was never fetched. Raises `InputError`."""
    if head.startswith(LFS_POINTER):
        raise InputError(
            "it is a Git LFS pointer, its content was not fetched",
            code="bad_model",
            file=path,
            remedy="run `git lfs pull` in its folder, or download it again",
        )
    if head.lstrip().lower().startswith(PAGES):
        raise InputError(
            "it is a web page, no file of a model: the download was refused",
            code="bad_model",
            file=path,
            remedy="log in to the hub where the model is gated, and download it again",
        )


def _tensor(item: Any, start: int) -> TensorHeader:
    begin, end = item["data_offsets"]
    shape = tuple(item["shape"])
    if not all(isinstance(number, int) and number >= 0 for number in (begin, end, *shape)):
        raise ValueError("no tensor has such a size")
    return TensorHeader(str(item["dtype"]), shape, start + begin, start + end)


def _refuse_torn(path: Path, tensors: dict[str, TensorHeader], start: int, size: int) -> None:
    """The tensors fill the file behind its header without gap or overlap, each as long as its shape says."""
    behind = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        bits = BITS.get(tensor.dtype)
        wrong = bits is not None and bits * math.prod(tensor.shape) != 8 * (tensor.end - tensor.begin)
        if tensor.begin != behind or tensor.end < tensor.begin or wrong:
            raise InputError(
                f"its header gives {name} another place or size than its shape: torn",
                code="bad_model",
                file=path,
                remedy=AGAIN,
            )
        behind = tensor.end
    if size != behind:
        raise InputError(
            f"{size} bytes long, its header says {behind}: torn", code="bad_model", file=path, remedy=AGAIN
        )
