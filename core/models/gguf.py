"""Whether a GGUF file is whole and holds a language model, told from its header: its keys and its tensors' places.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import InputError
from core.models.headers import AGAIN, refuse_stand_in

MAGIC = b"GGUF"
# struct's letter of the types of a value; 8 is text, 9 a list.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9
# (values, bytes) of a block of each type of tensor, by ggml's number of the type (GGML_QUANT_SIZES of gguf-py). Of a newer type
# the size is not known here.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
    42: (64, 18),
}
REMOVED = (4, 5, 31, 32, 33, 36, 37, 38)
"""Types that llama.cpp no longer reads."""
MOST = 10_000_000
"""Keys, tensors and values of a list beyond which a header is taken for torn."""
MOST_KEPT = 1024
"""Values of a list that is kept: one a layer is, one a token of the vocabulary is not."""
MOST_DIMENSIONS = 8
SERVED_DIMENSIONS, SERVED_NAME_BYTES = 4, 63
"""ggml's GGML_MAX_DIMS, and what GGML_MAX_NAME leaves for the name of a tensor."""
ALIGNMENT = 32
"""Of the tensors, in bytes, where a file does not say."""
PART = re.compile(r".*-(\d{5})-of-(\d{5})\.gguf")
FULL_PRECISION = {0: "F32", 1: "F16", 32: "BF16"}
"""llama.cpp's numbers of the file types that still hold what a model was trained to."""
FILE_TYPES = {
    **{name: number for number, name in FULL_PRECISION.items()},
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
}
"""llama.cpp's number of a type (`LLAMA_FTYPE`) by its name."""
NO_LANGUAGE_MODELS = ("clip", "imatrix", "adapter")


class TornError(ValueError):
    """The header ends before it is over, or counts what cannot be."""


@dataclass(frozen=True)
class GgufTensor:
    """A tensor as its header describes it. `kind` is ggml's number of its type, `offset` counts from the first tensor's place.

    `size_bytes` is 0 for a type whose blocks are not known here.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the weights. `keys` are the scalar and text keys, and short lists of numbers as tuples; of other lists
    the value is None. `end` is where the last tensor ends at the least.

    Of version 1, whose lengths have other widths, nothing is read.
    """

    version: int
    keys: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]
    end: int
    tensors_at: int = 0
    """Where in the file the offsets of the tensors count from."""

    @property
    def architecture(self) -> str:
        return str(self.keys.get("general.architecture", ""))

    @property
    def file_type(self) -> int | None:
        """llama.cpp's number of what most tensors are in (`LLAMA_FTYPE`); None where the file does not say."""
        value = self.keys.get("general.file_type")
        return value if isinstance(value, int) else None

    @property
    def chat_template(self) -> str | None:
        """The template by which a server turns a conversation into a prompt; None where the file has none."""
        value = self.keys.get("tokenizer.chat_template")
        return value if isinstance(value, str) and value.strip() else None

    @property
    def values(self) -> int:
        """How many weights there are."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def check_gguf(path: Path, name: str) -> GgufHeader:
    """The header of a model's file. Refuses one that is torn, one part of several, or no language model.

    Raises `InputError`, `OSError`.
    """
    header = whole_header(path, name)
    kind = str(header.keys.get("general.type", "model")), header.architecture
    if header.version > 1 and (kind[0] not in ("model", "") or kind[1] in NO_LANGUAGE_MODELS):
        raise InputError(
            f"it is no language model, but {' '.join(word for word in kind if word)}",
            code="other_purpose",
            file=path,
            key=name,
            remedy="name the GGUF file of the model itself",
        )
    return header


def whole_header(path: Path, name: str) -> GgufHeader:
    """The header of a GGUF file of any purpose. Refuses one that is torn, or one part of several.

    Raises `InputError`, `OSError`.
    """
    with path.open("rb") as file:
        head = file.read(80)
        refuse_stand_in(path, head)
        version = struct.unpack("<I", head[4:8])[0] if len(head) >= 8 else 0
        if head[:4] != MAGIC or not 1 <= version <= 3:
            raise InputError("it is no GGUF file of version 1 to 3", code="bad_model", file=path, key=name)
        if (part := PART.fullmatch(path.name)) is not None and int(part[2]) > 1:
            raise _one_of_several(path, name, int(part[1]), int(part[2]))
        if version == 1:
            return GgufHeader(1, {}, (), 0)
        file.seek(8)
        try:
            header = _read(file, version)
        except (TornError, struct.error, UnicodeDecodeError, OverflowError, MemoryError, RecursionError) as error:
            told = str(error) if isinstance(error, TornError) else ""
            raise InputError(
                f"its GGUF header is unreadable: {told or 'torn'}", code="bad_model", file=path, key=name, remedy=AGAIN
            ) from error
    count, number = header.keys.get("split.count"), header.keys.get("split.no")
    if isinstance(count, int) and count > 1:  # whatever it is called now
        raise _one_of_several(path, name, number + 1 if isinstance(number, int) else 1, count)
    size = path.stat().st_size
    if size < header.end:
        raise InputError(
            f"{size} bytes long, its header says at least {header.end}: torn",
            code="bad_model",
            file=path,
            key=name,
            remedy=AGAIN,
        )
    return header


def _one_of_several(path: Path, name: str, part: int, parts: int) -> InputError:
    return InputError(
        f"it is part {part} of {parts}: a model in several GGUF files is not read",
        code="incomplete_model",
        file=path,
        key=name,
        remedy="join the parts with `llama-gguf-split --merge`",
    )


def check_servable(path: Path, name: str) -> GgufHeader:
    """The header of a file that llama.cpp is to load: with an architecture, and weights that lie one behind the other, as its
    own reader wants them (ggml's `gguf.cpp`).

    A file that only claims to be a model can take a server down. Raises `InputError`, `OSError`.
    """
    header = check_gguf(path, name)
    wrong = _unservable(header)
    if wrong is not None:
        raise InputError(f"no server can load it: {wrong}", code="bad_model", file=path, key=name, remedy=AGAIN)
    return header


def require_full_precision(header: GgufHeader, file: str | Path) -> str:
    """The type of a file that can be quantised. InputError for one that has been: each time loses more of the original."""
    found = None if header.file_type is None else FULL_PRECISION.get(header.file_type)
    if found is None:
        raise already_quantised(file)
    return found


def already_quantised(file: str | Path) -> InputError:
    """That a file's weights have lost precision once, and what to quantise instead."""
    return InputError(
        "its weights are quantised already: once more would lose more than once from the original",
        code="already_quantised",
        file=file,
        remedy="quantise a file of 16 or 32 bits, which `bakehouse export --to gguf` makes",
    )


def _unservable(header: GgufHeader) -> str | None:
    if header.version == 1:
        return "it is of version 1 of the format, which llama.cpp no longer reads"
    if not header.architecture or not isinstance(header.keys["general.architecture"], str):
        return "it names no architecture"
    if not header.tensors:
        return "it holds no weights"
    names = {tensor.name for tensor in header.tensors}
    if len(names) < len(header.tensors):
        return "two of its tensors have the same name"
    alignment = header.keys.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        return f"its alignment is {alignment!r}"[:100]
    reached = 0
    for tensor in header.tensors:
        wrong = _unservable_tensor(tensor)
        if wrong is None and tensor.offset % alignment:
            wrong = f"does not begin at a multiple of {alignment}"
        if wrong is None and tensor.offset < reached:
            wrong = "lies in another one"
        if wrong is None and tensor.offset > reached >= 0:
            wrong = f"begins at {tensor.offset}, and the one before it ends at {reached}"
        if wrong is not None:
            return f"tensor {tensor.name[:80]!r} {wrong}"
        size = -(-tensor.size_bytes // alignment) * alignment
        # Behind one of a type whose size is not known here the next may begin anywhere.
        reached = tensor.offset + size if tensor.kind in BLOCKS else -1
    return None


def _unservable_tensor(tensor: GgufTensor) -> str | None:
    if len(tensor.name.encode()) > SERVED_NAME_BYTES:
        return f"has a name of more than {SERVED_NAME_BYTES} bytes"
    if not 1 <= len(tensor.shape) <= SERVED_DIMENSIONS or 0 in tensor.shape:
        return f"has the shape {list(tensor.shape)}"
    if tensor.kind in REMOVED:
        return f"is of type {tensor.kind}, which llama.cpp no longer reads"
    if tensor.shape[0] % BLOCKS.get(tensor.kind, (1, 0))[0]:
        return f"has rows of {tensor.shape[0]} values, which do not divide into its blocks"
    return None


def _read(file: BinaryIO, version: int) -> GgufHeader:
    count_of_tensors, count = _counted(file), _counted(file)
    keys: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        if not key or key in keys:
            raise TornError(f"two of its keys are {key[:80]!r}" if key else "one of its keys has no name")
        keys[key] = _value(file, _number(file, "I"))
    alignment = keys.get("general.alignment", ALIGNMENT)
    tensors = []
    for _ in range(count_of_tensors):
        name = _text(file)
        rank = _number(file, "I")
        if rank > MOST_DIMENSIONS:
            raise TornError
        shape = tuple(_number(file, "Q") for _ in range(rank))
        kind = _number(file, "I")
        values, size = BLOCKS.get(kind, (1, 0))
        tensors.append(GgufTensor(name, shape, kind, _number(file, "Q"), math.prod(shape) // values * size))
    start = file.tell()
    aligned = -(-start // alignment) * alignment if isinstance(alignment, int) and alignment > 0 else start
    end = aligned + max(tensor.offset + tensor.size_bytes for tensor in tensors) if tensors else start
    return GgufHeader(version, keys, tuple(tensors), end, aligned)


def token_texts(path: Path, places: Collection[int]) -> dict[int, str]:
    """The texts of some tokens of a file's vocabulary, by their ids; those that it has not are left out.

    For a file whose header has been read: raises `TornError` and `struct.error` where it has become another. `OSError`.
    """
    with path.open("rb") as file:
        version = struct.unpack("<I", file.read(8)[4:])[0]
        if version == 1:
            return {}
        _counted(file)
        for _ in range(_counted(file)):
            key, kind = _text(file), _number(file, "I")
            if key != "tokenizer.ggml.tokens":
                _value(file, kind)
                continue
            inner, count = _number(file, "I"), _counted(file)
            if kind != LIST or inner != TEXT:
                return {}
            texts = {}
            for place in range(min(count, max(places, default=-1) + 1)):
                length = _counted(file)
                if place in places:
                    texts[place] = file.read(length).decode("utf-8", "replace")
                else:
                    file.seek(length, 1)
            return texts
    return {}


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
    """A value; of a list only a short one of numbers is kept, others are passed over."""
    if kind == TEXT:
        return _text(file)
    if kind in SCALARS:
        return _number(file, SCALARS[kind])
    if kind != LIST:
        raise TornError
    inner, count = _number(file, "I"), _counted(file)
    if inner in SCALARS and count <= MOST_KEPT:
        return tuple(_number(file, SCALARS[inner]) for _ in range(count))
    if inner in SCALARS:
        file.seek(count * struct.calcsize(f"<{SCALARS[inner]}"), 1)
    else:
        for _ in range(count):
            _value(file, inner)
    return None
