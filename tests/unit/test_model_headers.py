"""Headers of safetensors and GGUF files: what is whole passes, and whatever is cut or changed ends in one error of ours."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.models.gguf import check_gguf
from core.models.headers import read_header
from tests.support.model_folders import write_safetensors


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(keys: dict[str, Any], tensors: dict[str, tuple[int, ...]], version: int = 3) -> bytes:
    """A GGUF file of fp32 tensors; a key's value is a text, a number or a list of texts."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for key, value in keys.items():
        out += text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            out += struct.pack("<II", 4, value)
        else:
            out += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    offset = 0
    for name, shape in tensors.items():
        size = 4
        for length in shape:
            size *= length
        out += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", 0, offset)
        offset += -(-size // 32) * 32
    return out + b"\0" * (-len(out) % 32) + b"\1" * offset


KEYS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "tokenizer.ggml.tokens": ["<s>", "bread", "é"],
}
WHOLE = gguf(KEYS, {"token_embd.weight": (8, 3), "output_norm.weight": (8,)})


def told(content: bytes, name: str = "model.gguf") -> InputError | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            check_gguf(path, "mine")
        except InputError as error:
            return error
    return None


def test_a_whole_gguf_passes_and_what_is_no_language_model_is_named() -> None:
    assert told(WHOLE) is None
    assert told(gguf(KEYS, {}, version=2)) is None
    for keys, word in (
        ({**KEYS, "general.architecture": "clip"}, "clip"),
        ({**KEYS, "general.type": "adapter"}, "adapter"),
        ({**KEYS, "general.type": "imatrix"}, "imatrix"),
    ):
        error = told(gguf(keys, {"x": (4,)}))
        assert error is not None and error.code == "other_purpose" and word in str(error)


def test_one_part_of_a_gguf_and_what_was_never_fetched_are_told() -> None:
    part = told(WHOLE, "model-Q8_0-00002-of-00003.gguf")
    assert part is not None and "part 2 of 3" in str(part) and "llama-gguf-split" in (part.remedy or "")
    assert told(WHOLE, "model-00001-of-00001.gguf") is None
    pointer = told(b"version https://git-lfs.github.com/spec/v1\nsize 9\n")
    assert pointer is not None and "git lfs pull" in (pointer.remedy or "")
    page = told(b"<!doctype html><title>Sign in</title>")
    assert page is not None and "web page" in str(page)


@given(st.integers(0, len(WHOLE) - 25))
def test_a_gguf_that_is_cut_anywhere_is_told(length: int) -> None:
    error = told(WHOLE[:length])
    assert error is not None and error.code == "bad_model"


@given(st.lists(st.tuples(st.integers(4, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_gguf_with_other_bytes_passes_or_is_told(changes: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for place, value in changes:
        content[place] = value
    told(bytes(content))  # no other exception


SAFETENSORS_NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")


@given(st.dictionaries(SAFETENSORS_NAMES, st.lists(st.integers(0, 5), max_size=3).map(tuple), max_size=5), st.data())
def test_safetensors_are_read_whole_and_told_when_cut(shapes: dict[str, tuple[int, ...]], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = write_safetensors(Path(folder) / "model.safetensors", shapes)
        assert {name: tensor.shape for name, tensor in read_header(path).items()} == shapes
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(InputError):
            read_header(path)
        path.write_bytes(content + b"\0")
        with pytest.raises(InputError):
            read_header(path)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_safetensors_are_told_or_read(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(struct.pack("<Q", max(0, len(content) - 8)) + content)
        try:
            read_header(path)
        except InputError as error:
            assert len(str(error).splitlines()) == 1
