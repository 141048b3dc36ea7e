"""Files that are whole or absent: atomic writes, durable appends, and readers that drop a torn last line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TAIL_STEP_BYTES = 65_536


def private(path: str, flags: int) -> int:
    """An opener that makes a file readable by its owner alone; a file that is there keeps its rights."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def fsync_directory(folder: Path) -> None:
    """Make a rename or a creation in `folder` durable."""
    fsync_path(folder, os.O_DIRECTORY)


def fsync_path(path: Path, flags: int = 0) -> None:
    """Wait until the disk has what was written to a file, or which names a folder has."""
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Write a file so that a reader sees all of it or the former one; if `durable`, also the machine after a crash."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_directory(path.parent)


def write_json(path: Path, document: Any) -> None:
    """`write_atomic` of a JSON document."""
    write_atomic(path, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The JSON document in `path`, or None when there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def append_line(path: Path, document: Any, *, durable: bool = True) -> None:
    """Append one JSON line; `durable` waits for the disk.

    A file whose last line is torn (a crash cut it) is ended with a newline first, so that the new line stays whole. Raises
    OSError when the disk does not take all of it.
    """
    line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        while line:  # a disk that fills up takes a part without an error, and refuses the rest
            line = line[os.write(descriptor, line) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield (document, offset behind it) of each whole JSON line from `offset` on.

    A last line without its newline is left for the next call; a line that is no JSON object was torn and is dropped.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                yield document, offset


def tail_offset(path: Path, most_bytes: int) -> int:
    """Where the last `most_bytes` of a file begin; 0 where the file is shorter or not there."""
    try:
        return max(0, path.stat().st_size - most_bytes)
    except FileNotFoundError:
        return 0


def tail(file: Path | int, most_bytes: int) -> bytes:
    """The last bytes of a file (or of an open descriptor, left where it stands), at most `most_bytes`; empty without a file."""
    try:
        descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, min(size, most_bytes), max(0, size - most_bytes))
    finally:
        if not isinstance(file, int):
            os.close(descriptor)


def last_lines(path: Path, count: int) -> tuple[list[bytes], int]:
    """The last lines of a file, read from its end, without their newlines; and the offset behind them.

    The last one may still lack its newline. No lines and 0 where there is no file.
    """
    try:
        with path.open("rb") as file:
            size = start = os.fstat(file.fileno()).st_size
            block = b""
            while start > 0 and block.count(b"\n") <= count:
                step = min(_TAIL_STEP_BYTES, start)
                start -= step
                block = os.pread(file.fileno(), step, start) + block
    except FileNotFoundError:
        return [], 0
    lines = block.removesuffix(b"\n").split(b"\n") if block else []
    return lines[-count:] if count > 0 else [], size


class AppendedLines:
    """The lines of a growing file that were written since it was last asked; `rest` is the last one while it has no newline."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.size = 0
        self.rest = b""

    def read(self, most_bytes: int = 1_000_000, *, newest: bool = False) -> tuple[list[bytes], bool]:
        """The new lines without their newlines, out of at most `most_bytes`; and whether lines before them are missing.

        With `newest` what is more than `most_bytes` behind is left out; without, the next call gives it. Lines are missing
        then, and where the file has become shorter: it is read from its beginning again.
        """
        gap = False
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], gap
        try:
            self.size = os.fstat(descriptor).st_size
            if self.size < self.offset:
                self.offset, self.rest, gap = 0, b"", True
            cut = newest and self.size - self.offset > most_bytes
            if cut:
                self.offset, self.rest, gap = self.size - most_bytes, b"", True
            data = os.pread(descriptor, min(most_bytes, self.size - self.offset), self.offset)
        finally:
            os.close(descriptor)
        self.offset += len(data)
        if cut:
            data = data.partition(b"\n")[2]
        *whole, rest = (self.rest + data).split(b"\n")
        self.rest = rest[-most_bytes:]
        return whole, gap


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path, known: Mapping[str, str] | None = None) -> str:
    """Hex SHA-256 over the names and contents of all files of a folder, independent of times and order.

    `known` are hashes of files that whoever calls has computed already, by their name in the folder.
    """
    digest = hashlib.sha256()
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{(known or {}).get(name) or sha256_file(path)}\n".encode())
    return digest.hexdigest()


def sha256_json(document: Any) -> str:
    """Hex SHA-256 of a JSON document in its canonical form (sorted keys, no spaces)."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
