"""`telemetry.ring`: the last hour of samples in a file of fixed size, with one writer and readers in other processes.

Layout, little-endian: a header of one page, then `slots` slots of `slot_bytes`.

| where  | what |
|--------|------|
| header | magic, version, slots, slot_bytes, a random id of the file, their CRC-32; then the newest sequence number |
| slot   | CRC-32 of all that follows, length of the payload, sequence number (from 1), payload: a sample in JSON |

Sample `n` lies in slot `n % slots`. A slot is believed when its CRC holds and it carries the number looked for: one
that is just being written, or that a crash has cut, is passed over. The newest number in the header is a hint only.

The file is read and written by pread and pwrite. A mapping would be no cheaper at one sample a second, and would kill
its process by SIGBUS when the disk is full or the file is cut short under it.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import BakehouseError
from core.gpu.reading import Sample

MAGIC = b"BAKERING"
VERSION = 1
SLOTS = 3600
SLOT_BYTES = 4096
# Of a sample that is too large for its slot, so many processes keep user, command and beginning.
_TOLD_WHOLE = 4
_PAGE = 4096
_HEADER = struct.Struct("<8sIIIQ")
_CRC = struct.Struct("<I")
_NEWEST = struct.Struct("<Q")
_NEWEST_OFFSET = 64
_SLOT = struct.Struct("<IIQ")


@dataclass(frozen=True)
class _Header:
    slots: int
    slot_bytes: int
    identity: int

    @property
    def size(self) -> int:
        return _PAGE + self.slots * self.slot_bytes

    def pack(self) -> bytes:
        body = _HEADER.pack(MAGIC, VERSION, self.slots, self.slot_bytes, self.identity)
        return body + _CRC.pack(zlib.crc32(body))


class TelemetryRing:
    """The ring at `path`. The first `append` makes this object its writer; reading needs no preparation.

    `slots` and `slot_bytes` matter to the writer alone, a reader takes what the file says. Not for several threads.
    """

    def __init__(self, path: Path, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        self.path = path
        self.slots = slots
        self.slot_bytes = slot_bytes
        self._writer: tuple[int, _Header] | None = None
        self._newest = 0
        self._cache: dict[int, Sample] = {}
        self._cached_file = 0

    def append(self, sample: Sample) -> None:
        """Write one sample. Raises `BakehouseError` (`ring_busy`) when another writer lives, OSError on a full disk."""
        writer = self._writer
        if writer is None or not self._is_current(*writer):
            self.close()
            writer = self._writer = self._open_writer()
            self._newest = _find_newest(*writer)
        descriptor, header = writer
        number = self._newest + 1
        payload = _encode(sample, header.slot_bytes - _SLOT.size)
        body = _SLOT.pack(0, len(payload), number)[_CRC.size :] + payload
        _write(descriptor, _CRC.pack(zlib.crc32(body)) + body, _PAGE + number % header.slots * header.slot_bytes)
        _write(descriptor, _NEWEST.pack(number), _NEWEST_OFFSET)
        self._newest = number

    def latest(self) -> Sample | None:
        """The newest sample, or None when there is no file, or none that this version can read."""
        samples = self.history(1)
        return samples[-1] if samples else None

    def history(self, count: int) -> list[Sample]:
        """The newest `count` samples, oldest first; what is torn is left out.

        What was decoded once is kept, so that asking again costs only what is new.
        """
        with self._reading() as (descriptor, header):
            if descriptor is None or header is None:
                return []
            newest = _find_newest(descriptor, header)
            oldest = max(1, newest - min(count, header.slots) + 1)
            found: dict[int, Sample] = {}
            for number in range(oldest, newest + 1):
                sample = self._cache.get(number) or _read_slot(descriptor, header, number)
                if sample is not None:
                    found[number] = sample
        self._cache.update(found)
        for number in [number for number in self._cache if number <= newest - header.slots]:
            del self._cache[number]
        return list(found.values())

    def close(self) -> None:
        """Give up writing."""
        if self._writer is not None:
            os.close(self._writer[0])
            self._writer = None

    @contextmanager
    def _reading(self) -> Iterator[tuple[int | None, _Header | None]]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # Not there, not ours to read, or no plain file: for a reader there are no samples.
            yield None, None
            return
        try:
            header = _read_header(descriptor)
            if header is not None and header.identity != self._cached_file:
                self._cache, self._cached_file = {}, header.identity
            yield descriptor, header
        finally:
            os.close(descriptor)

    def _is_current(self, descriptor: int, header: _Header) -> bool:
        """Whether the file that is written still is the whole one at the path (a person may have cleaned the home)."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return os.path.samestat(os.fstat(descriptor), found) and found.st_size == header.size

    def _open_writer(self) -> tuple[int, _Header]:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._create()
        keep = False
        try:
            # Also a file that cannot be read may have a writer: one of another version.
            self._lock(descriptor)
            header = _read_header(descriptor)
            if header is not None and (header.slots, header.slot_bytes) == (self.slots, self.slot_bytes):
                keep = True
                return descriptor, header
            return self._create()
        finally:
            if not keep:
                os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BakehouseError(
                "another process writes the telemetry",
                code="ring_busy",
                file=self.path,
                remedy="let one runner live for a home",
            ) from error

    def _create(self) -> tuple[int, _Header]:
        """A new file in place of what is there. Readers of the old one keep it whole: nothing is cut under them."""
        header = _Header(self.slots, self.slot_bytes, int.from_bytes(os.urandom(8), "little") or 1)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._lock(descriptor)
            # Room for all of it now, so that a disk that fills up later does not blind the console.
            os.posix_fallocate(descriptor, 0, header.size)
            _write(descriptor, header.pack(), 0)
            temporary.replace(self.path)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        return descriptor, header


def _read_header(descriptor: int) -> _Header | None:
    """The header, or None when the file is foreign, damaged, cut short or of another version."""
    data = _pread(descriptor, _HEADER.size + _CRC.size, 0)
    size = os.fstat(descriptor).st_size
    if len(data) < _HEADER.size + _CRC.size:
        return None
    magic, version, slots, slot_bytes, identity = _HEADER.unpack_from(data)
    header = _Header(slots, slot_bytes, identity)
    if magic != MAGIC or version != VERSION or header.pack() != data or size != header.size:
        return None
    return header if slots > 0 and slot_bytes > _SLOT.size else None


def _read_slot(descriptor: int, header: _Header, number: int) -> Sample | None:
    """The sample of that number, or None when its slot is torn or holds another."""
    if number < 1:
        return None
    data = _pread(descriptor, header.slot_bytes, _PAGE + number % header.slots * header.slot_bytes)
    if _slot_number(data) != number:
        return None
    _, length, _ = _SLOT.unpack_from(data)
    try:
        return Sample.from_json(json.loads(data[_SLOT.size : _SLOT.size + length]))
    except (ValueError, TypeError):
        return None


def _slot_number(data: bytes) -> int | None:
    """The sequence number of a whole slot, or None when it is torn or was never written."""
    if len(data) < _SLOT.size:
        return None
    crc, length, number = _SLOT.unpack_from(data)
    end = _SLOT.size + length
    if number == 0 or end > len(data) or zlib.crc32(data[_CRC.size : end]) != crc:
        return None
    return int(number)


def _find_newest(descriptor: int, header: _Header) -> int:
    """The newest number whose slot is whole (0: none): the hinted one or its follower, else the best of all slots."""

    def number_at(slot: int) -> int:
        return _slot_number(_pread(descriptor, header.slot_bytes, _PAGE + slot * header.slot_bytes)) or 0

    hint_data = _pread(descriptor, _NEWEST.size, _NEWEST_OFFSET)
    hint: int = _NEWEST.unpack(hint_data)[0] if len(hint_data) == _NEWEST.size else 0
    for number in (hint + 1, hint):
        if number and number_at(number % header.slots) == number:
            return number
    return max(number_at(slot) for slot in range(header.slots))


def _encode(sample: Sample, room: int) -> bytes:
    """JSON of at most `room` bytes. Of a larger sample all but the largest processes are told by less, then the smallest
    are dropped, then the last GPUs."""

    def encoded(sample: Sample) -> bytes:
        return json.dumps(sample.to_json(), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    payload = encoded(sample)
    if len(payload) <= room:
        return payload
    problem = sample.problem[:200] if sample.problem else None
    processes = tuple(sorted(sample.processes, key=lambda process: (not process.ours, -(process.vram_bytes or 0))))
    brief = tuple(replace(process, user=None, command=None, since=None) for process in processes[_TOLD_WHOLE:])
    sample = replace(sample, problem=problem, processes=processes[:_TOLD_WHOLE] + brief)
    while len(payload := encoded(sample)) > room:
        if sample.processes:
            sample = replace(sample, processes=sample.processes[: len(sample.processes) // 2])
        elif sample.devices:
            sample = replace(sample, devices=sample.devices[:-1])
        else:
            raise ValueError(f"a sample of {len(payload)} bytes does not fit into a slot of {room}")
    return payload


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    """The bytes there; none where reading fails (a folder, a pipe, a bad block), which counts as torn."""
    try:
        return os.pread(descriptor, count, offset)
    except OSError:
        return b""


def _write(descriptor: int, data: bytes, offset: int) -> None:
    written = os.pwrite(descriptor, data, offset)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes were written to the telemetry ring")
