"""Whether a GGUF file is whole and holds a language model, told from its header: its keys and its tensors' places.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import InputError
from core.models.headers import AGAIN, refuse_stand_in

MAGIC = b"GGUF"
# struct's letter of the types of a value; 8 is text, 9 a list.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9
# (values, bytes) of a block of each type of tensor that is usual; the size of one of another type is not known here.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    30: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
}
MOST = 10_000_000
"""Keys, tensors and values of a list beyond which a header is taken for torn."""
MOST_DIMENSIONS = 8
PART = re.compile(r".*-(\d{5})-of-(\d{5})\.gguf")
NO_LANGUAGE_MODELS = ("clip", "imatrix", "adapter")


class TornError(ValueError):
    """The header ends before it is over, or counts what cannot be."""


def check_gguf(path: Path, name: str) -> None:
    """Refuse a file that is torn, one part of several, or no language model. Raises `InputError`, `OSError`."""
    with path.open("rb") as file:
        head = file.read(80)
        refuse_stand_in(path, head)
        if head[:4] != MAGIC or len(head) < 8 or not 1 <= struct.unpack("<I", head[4:8])[0] <= 3:
            raise InputError("it is no GGUF file of version 1 to 3", code="bad_model", file=path, key=name)
        if (part := PART.fullmatch(path.name)) is not None and int(part[2]) > 1:
            raise InputError(
                f"it is part {int(part[1])} of {int(part[2])}: a model in several GGUF files is not read",
                code="incomplete_model",
                file=path,
                key=name,
                remedy="join the parts with `llama-gguf-split --merge`",
            )
        if struct.unpack("<I", head[4:8])[0] == 1:
            return  # lengths have other widths there
        file.seek(8)
        try:
            keys, end = _read(file)
        except (TornError, struct.error, UnicodeDecodeError, OverflowError, MemoryError, RecursionError) as error:
            raise InputError(
                "its GGUF header is unreadable: torn", code="bad_model", file=path, key=name, remedy=AGAIN
            ) from error
    size = path.stat().st_size
    if size < end:
        raise InputError(
            f"{size} bytes long, its header says at least {end}: torn",
            code="bad_model",
            file=path,
            key=name,
            remedy=AGAIN,
        )
    kind = str(keys.get("general.type", "model")), str(keys.get("general.architecture", ""))
    if kind[0] not in ("model", "") or kind[1] in NO_LANGUAGE_MODELS:
        raise InputError(
            f"it is no language model, but {' '.join(word for word in kind if word)}",
            code="other_purpose",
            file=path,
            key=name,
            remedy="name the GGUF file of the model itself",
        )


def _read(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The scalar and text keys of a header, and where the last tensor ends at the least, in bytes."""
    tensors, count = _counted(file), _counted(file)
    keys: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        keys[key] = _value(file, _number(file, "I"))
    alignment = keys.get("general.alignment", 32)
    ends = [0]
    for _ in range(tensors):
        _text(file)
        rank = _number(file, "I")
        if rank > MOST_DIMENSIONS:
            raise TornError
        dimensions = [_number(file, "Q") for _ in range(rank)]
        values, size = BLOCKS.get(_number(file, "I"), (1, 0))
        ends.append(_number(file, "Q") + math.prod(dimensions) // values * size)
    start = file.tell()
    aligned = -(-start // alignment) * alignment if isinstance(alignment, int) and alignment > 0 else start
    return keys, aligned + max(ends) if tensors else start


def _number(file: BinaryIO, letter: str) -> Any:
    size = struct.calcsize(f"<{letter}")
    data = file.read(size)
    if len(data) < size:
        raise TornError
    return struct.unpack(f"<{letter}", data)[0]


def _counted(file: BinaryIO) -> int:
    count: int = _number(file, "Q")
    if count > MOST:
        raise TornError
    return count


def _text(file: BinaryIO) -> str:
    length = _counted(file)
    data = file.read(length)
    if len(data) < length:
        raise TornError
    return data.decode()


def _value(file: BinaryIO, kind: int) -> Any:
    """A value; of a list nothing is kept, it is passed over."""
    if kind == TEXT:
        return _text(file)
    if kind in SCALARS:
        return _number(file, SCALARS[kind])
    if kind != LIST:
        raise TornError
    inner, count = _number(file, "I"), _counted(file)
    if inner in SCALARS:
        file.seek(count * struct.calcsize(f"<{SCALARS[inner]}"), 1)
    else:
        for _ in range(count):
            _value(file, inner)
    return None
