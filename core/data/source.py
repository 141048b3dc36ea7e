"""The bytes of a data file, read once: what is told of a file, copied and learnt comes from one reading.

A pipe (`<(…)`, /dev/stdin, a FIFO) gives its content a single time, and a file can change between two readings. So whoever
needs the content more than once keeps the `DataSource`.
"""

from __future__ import annotations

import os
import select
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError

# A file of more bytes, unpacked or not, is refused: it is held in memory, several times over while it is read.
MOST_BYTES = 4 << 30
STEP_BYTES = 1 << 20
# So long a FIFO may be without a program that writes into it. One that has a writer is waited for.
WRITER_SECONDS = 10.0
# Silence of a pipe after which `waiting` is called.
SILENT_SECONDS = 1.0
STDIN = "-"
GZIP = b"\x1f\x8b"

Waiting = Callable[[Path], None]


@dataclass(frozen=True)
class DataSource:
    """What a file held when it was read. `regular` is false of a pipe, whose content cannot be read again."""

    path: Path
    content: bytes
    regular: bool = True

    @property
    def name(self) -> str:
        """The file's name; `stdin` of a pipe, whose path says nothing."""
        return self.path.name if self.regular else "stdin"


def read_source(
    path: Path, waiting: Waiting | None = None, *, silent: float = SILENT_SECONDS, writer: float = WRITER_SECONDS
) -> DataSource:
    """The content of a file, or of a pipe up to its end; `-` is the standard input.

    `waiting` is called once when a pipe has been silent for `silent` seconds. InputError for what is no file, cannot be
    read, changes while it is read, is larger than MOST_BYTES, or is a FIFO into which nothing has written for `writer` seconds.
    """
    try:
        with _opened(path) as (descriptor, kind):
            if stat.S_ISREG(kind):
                return DataSource(path, _regular(descriptor, path))
            return DataSource(path, _piped(descriptor, path, waiting, silent, writer), regular=False)
    except FileNotFoundError:
        raise InputError("there is no such file", code="no_such_file", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", code="unreadable", file=path) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """An open descriptor and the kind of what it is. A FIFO is opened without waiting for its writer."""
    if str(path) == STDIN:
        descriptor = os.dup(0)
    else:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise InputError("is a folder", code="not_a_file", file=path, remedy="name one file")
        if stat.S_ISSOCK(kind):
            raise InputError("is a socket, not a file", code="not_a_file", file=path)
        flags = os.O_RDONLY | os.O_CLOEXEC | (0 if stat.S_ISREG(kind) else os.O_NONBLOCK | os.O_NOCTTY)
        descriptor = os.open(path, flags)
    try:
        kind = os.fstat(descriptor).st_mode
        if os.isatty(descriptor):
            raise InputError(
                "is the terminal", code="not_a_file", file=path, remedy="name a file, or pipe one into the command"
            )
        if stat.S_ISCHR(kind) and not os.path.samestat(os.fstat(descriptor), Path(os.devnull).stat()):
            raise InputError("is a device, not a file", code="not_a_file", file=path)
        yield descriptor, kind
    finally:
        os.close(descriptor)


def _regular(descriptor: int, path: Path) -> bytes:
    before = os.fstat(descriptor)
    if before.st_size > MOST_BYTES:
        raise _too_large(path)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read()
    after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError("changed while it was read", code="changing", file=path, remedy="try again when it is written")
    return content


def _piped(descriptor: int, path: Path, waiting: Waiting | None, silent: float, writer: float) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    pieces: list[bytes] = []
    size, told, began = 0, False, time.monotonic()
    while True:
        if not poll.poll(silent * 1000):
            if waiting is not None and not told:
                waiting(path)
            told = True
            if os.get_blocking(descriptor):
                continue  # the standard input: without a writer it would be at its end
        try:
            piece = os.read(descriptor, STEP_BYTES)
        except BlockingIOError:
            continue  # it has a writer, who is silent
        if piece:
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                raise _too_large(path)
        elif told and not pieces and not _hung_up(poll):
            if time.monotonic() - began >= writer:
                raise InputError(
                    f"nothing has written into this pipe for {writer:.0f} s",
                    code="no_writer",
                    file=path,
                    remedy="start the program that writes into it first",
                )
        else:
            return b"".join(pieces)


def _hung_up(poll: select.poll) -> bool:
    """True of a pipe whose writer has left; false of a FIFO that never had one."""
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def unpacked(source: DataSource) -> tuple[bytes, str | None]:
    """The content without its compression, and which it was (`gzip`, None). InputError for a gzip stream that is not whole."""
    if not source.content.startswith(GZIP):
        return source.content, None
    pieces: list[bytes] = []
    size, rest = 0, source.content
    while rest.startswith(GZIP):  # several streams, one behind another, are one file
        stream = zlib.decompressobj(wbits=31)
        try:
            while rest and not stream.eof:
                pieces.append(stream.decompress(rest, STEP_BYTES * 16))
                size += len(pieces[-1])
                rest = stream.unconsumed_tail
                if size > MOST_BYTES:
                    raise _too_large(source.path)
            pieces.append(stream.flush())
        except zlib.error as error:
            raise InputError(f"its gzip stream is damaged: {error}", code="bad_gzip", file=source.path) from error
        if not stream.eof:
            raise InputError(
                "its gzip stream is cut off", code="bad_gzip", file=source.path, remedy="fetch or write the file again"
            )
        rest = stream.unused_data
    if rest.strip(b"\0"):
        raise InputError("something else follows its gzip stream", code="bad_gzip", file=source.path)
    return b"".join(pieces), "gzip"


def _too_large(path: Path) -> InputError:
    return InputError(f"holds more than {MOST_BYTES >> 30} GB", code="too_large", file=path, remedy="split it")
