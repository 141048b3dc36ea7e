"""GGUF files of a few bytes: a header as the format wants it, and room for the weights that it names."""

from __future__ import annotations

import struct
from typing import Any

KEYS: dict[str, Any] = {"general.architecture": "llama", "general.file_type": 1, "tokenizer.chat_template": "{{ x }}"}
Tensor = tuple[bytes, tuple[int, ...], int, int]
TENSORS: tuple[Tensor, ...] = ((b"a", (32, 2), 1, 0), (b"b", (32,), 0, 128))


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def key(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return text(name.encode()) + struct.pack("<I", 8) + text(value.encode())
    return text(name.encode()) + struct.pack("<Ii", 5, value)


def header(keys: dict[str, Any] = KEYS, tensors: tuple[Tensor, ...] = TENSORS, version: int = 3) -> bytes:
    """A header as the format wants it, whatever is in it."""
    content = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    content += b"".join(key(name, value) for name, value in keys.items())
    for name, shape, kind, offset in tensors:
        content += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return content


def file(content: bytes) -> bytes:
    """With room for the weights of `TENSORS`."""
    return content + bytes(-len(content) % 32) + bytes(256)
