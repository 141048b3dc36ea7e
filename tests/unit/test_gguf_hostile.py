"""GGUF files that only claim to be a model are refused by their headers, before a server is given them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.models.gguf import check_servable
from tests.support.gguf_bytes import KEYS, file, header, key, text


def without(name: str) -> dict[str, Any]:
    return {one: value for one, value in KEYS.items() if one != name}


def test_a_whole_file_tells_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(file(header()))
    found = check_servable(tmp_path / "m.gguf", "m")
    assert (found.architecture, found.file_type, found.values, found.chat_template) == ("llama", 1, 96, "{{ x }}")
    assert [(one.name, one.shape, one.size_bytes) for one in found.tensors] == [("a", (32, 2), 128), ("b", (32,), 128)]


def twice(name: str, value: Any) -> bytes:
    """A header in which a key stands once more."""
    first = header()
    at = 24 + sum(len(key(one, other)) for one, other in KEYS.items())
    return first[:16] + struct.pack("<Q", len(KEYS) + 1) + first[24:at] + key(name, value) + first[at:]


# llama-quantize 11434 refuses each of them, whatever else it would say to so small a file.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "another file": lambda: b"PK\x03\x04" + bytes(100),
    "a version of the future": lambda: file(header(version=9)),
    "version 1": lambda: file(header(version=1)),
    "cut in its header": lambda: header()[:-20],
    "cut in its weights": lambda: file(header())[:-200],
    "no architecture": lambda: file(header(without("general.architecture"))),
    "no weights": lambda: file(header(tensors=())),
    "a vision tower": lambda: file(header({**KEYS, "general.architecture": "clip"})),
    "an adapter": lambda: file(header({**KEYS, "general.type": "adapter"})),
    "more keys than there are": lambda: b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63) + bytes(100),
    "more tensors than there are": lambda: b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0) + bytes(100),
    "a text longer than the file": lambda: b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62),
    "a list in a list in a list": lambda: (
        b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000
    ),
    "a tensor behind the end": lambda: file(header(tensors=((b"a", (32,), 0, 2**40),))),
    "a tensor whose size wraps": lambda: file(header(tensors=((b"a", (2**32, 2**32), 0, 0),))),
    "a tensor of nothing": lambda: file(header(tensors=((b"a", (0, 32), 0, 0),))),
    "a tensor of five dimensions": lambda: file(header(tensors=((b"a", (1, 1, 1, 1, 32), 0, 0),))),
    "one tensor in another": lambda: file(header(tensors=((b"a", (32, 2), 1, 0), (b"b", (32,), 0, 64)))),
    "two tensors of one name": lambda: file(header(tensors=((b"a", (32, 2), 1, 0), (b"a", (32,), 0, 128)))),
    "a tensor out of line": lambda: file(header(tensors=((b"a", (16,), 0, 7),))),
    "an alignment of nothing": lambda: file(header({**KEYS, "general.alignment": 0})),
    "a part of several under another name": lambda: file(header({**KEYS, "split.count": 3})),
    "rows that do not divide into blocks": lambda: file(header(tensors=((b"a", (33, 2), 8, 0),))),
    "cut, in a type of the importance quants": lambda: file(header(tensors=((b"a", (256, 8), 23, 0),))),
    "cut, in a type of four bits a value": lambda: file(header(tensors=((b"a", (64, 64), 39, 0),))),
    "a key that stands twice": lambda: file(twice("general.architecture", "llama")),
    "a key without a name": lambda: file(header({**KEYS, "": 1})),
    "an architecture that is a number": lambda: file(header({**KEYS, "general.architecture": 5})),
    "an alignment that is no power of two": lambda: (
        header({**KEYS, "general.alignment": 24}, ((b"a", (32, 2), 1, 0), (b"b", (32,), 0, 144))) + bytes(600)
    ),
    "a gap between two tensors": lambda: header(tensors=((b"a", (32, 2), 1, 0), (b"b", (32,), 0, 160))) + bytes(600),
    "a gap before the first": lambda: header(tensors=((b"a", (32, 2), 1, 32), (b"b", (32,), 0, 160))) + bytes(600),
    "tensors in another order": lambda: file(header(tensors=((b"b", (32,), 0, 128), (b"a", (32, 2), 1, 0)))),
    "a tensor with too long a name": lambda: file(header(tensors=((b"a" * 64, (32, 2), 1, 0),))),
    "a type that is gone": lambda: file(header(tensors=((b"a", (32, 2), 4, 0),))),
    "a name that is no UTF-8": lambda: file(header(tensors=((b"\xff\xfe", (32,), 0, 0),))),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_server_can_load_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "m.gguf").write_bytes(HOSTILE[what]())
    with pytest.raises(InputError):
        check_servable(tmp_path / "m.gguf", "m")


@given(at=st.integers(0, len(header()) - 1), value=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    content = bytearray(file(header()))
    content[at] = value
    place = tmp_path_factory.getbasetemp() / "changed.gguf"
    place.write_bytes(content)
    try:
        check_servable(place, "m")
    except InputError as refused:
        assert "\n" not in str(refused)
