"""JSON documents over a socket, each after its length: neither side ever runs what the other one sends."""

from __future__ import annotations

import json
import struct
from typing import Any

MOST_BYTES = 16_000_000
_LENGTH = struct.Struct(">I")


class BadFrameError(ValueError):
    """What came is no document: somebody else wrote to the socket."""


def encoded(document: Any) -> bytes:
    """A document as it is sent. ValueError or TypeError for what JSON does not have."""
    body = json.dumps(document, separators=(",", ":")).encode()
    if len(body) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return _LENGTH.pack(len(body)) + body


class Incoming:
    """What has come of the documents so far."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, piece: bytes) -> None:
        self._bytes += piece

    def next(self) -> Any:
        """The next whole document; None while there is none. BadFrameError for what is none."""
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        if length > MOST_BYTES:
            raise BadFrameError("no length of a document")
        end = _LENGTH.size + length
        if len(self._bytes) < end:
            return None
        body = bytes(self._bytes[_LENGTH.size : end])
        del self._bytes[:end]
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise BadFrameError("no document") from None
