"""A copy of a GGUF file with another text under one of its keys, or without the key. Weights are copied as they are."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import BinaryIO

from core.models.gguf import ALIGNMENT, LIST, SCALARS, TEXT, TornError

_COPIED_BYTES = 1 << 22


def with_text(source: Path, target: Path, key: str, text: str | None) -> None:
    """Write `target`, a copy of `source` in which `key` has the value `text`; None takes the key out. Other keys keep their
    order, and the places of tensors, which count from the first one's, stay.

    For a file that `check_gguf` has passed, of version 2 or 3. Raises `TornError` where it has become another, `OSError`.
    """
    with source.open("rb") as file, target.open("wb") as out:
        head = file.read(24)
        if len(head) < 24:
            raise TornError
        tensors, count = struct.unpack("<QQ", head[8:])
        kept, alignment, found = [], ALIGNMENT, False
        for _ in range(count):
            start = file.tell()
            name, kind = _bytes(file), _number(file, "I")
            if name == b"general.alignment" and kind in SCALARS:
                alignment = int(_number(file, SCALARS[kind]))
            else:
                _pass_over(file, kind)
            if name != key.encode():
                kept.append(_between(file, start))
            elif text is not None and not found:
                kept.append(_entry(key, text))
                found = True
        if text is not None and not found:
            kept.append(_entry(key, text))
        start = file.tell()
        for _ in range(tensors):
            _bytes(file)
            file.seek(8 * _number(file, "I") + 12, 1)
        descriptions = _between(file, start)
        out.write(head[:8] + struct.pack("<QQ", tensors, len(kept)) + b"".join(kept) + descriptions)
        out.write(bytes(-out.tell() % alignment))
        file.seek(-file.tell() % alignment, 1)
        shutil.copyfileobj(file, out, _COPIED_BYTES)


def _entry(key: str, text: str) -> bytes:
    name, value = key.encode(), text.encode()
    return struct.pack("<Q", len(name)) + name + struct.pack("<IQ", TEXT, len(value)) + value


def _between(file: BinaryIO, start: int) -> bytes:
    """What stands from `start` to where the file is; the file is there again afterwards."""
    length = file.tell() - start
    file.seek(start)
    return _exactly(file, length)


def _pass_over(file: BinaryIO, kind: int) -> None:
    if kind == TEXT:
        _bytes(file)
    elif kind in SCALARS:
        _number(file, SCALARS[kind])
    elif kind == LIST:
        inner, count = _number(file, "I"), _number(file, "Q")
        if inner in SCALARS:
            file.seek(count * struct.calcsize(f"<{SCALARS[inner]}"), 1)
        else:
            for _ in range(count):
                _pass_over(file, inner)
    else:
        raise TornError


def _number(file: BinaryIO, letter: str) -> int:
    value: int = struct.unpack(f"<{letter}", _exactly(file, struct.calcsize(f"<{letter}")))[0]
    return value


def _bytes(file: BinaryIO) -> bytes:
    return _exactly(file, _number(file, "Q"))


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise TornError
    return data
