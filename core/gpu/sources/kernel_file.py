"""Small files of `/sys` and `/proc`, read so that nothing in them, or missing from them, raises."""

from __future__ import annotations

import os
import re
from pathlib import Path

from core.text import printable

_LIMIT_BYTES = 16_384
NAME_CHARACTERS = 128
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def read_bytes(path: Path | str, limit_bytes: int = _LIMIT_BYTES) -> bytes | None:
    """What one read of the file gives (at most `limit_bytes`), or None when it cannot be read."""
    try:
        # Not blocking: should a FIFO lie here, the open must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return os.read(descriptor, limit_bytes)
    except OSError:
        # A driver answers EPERM, EBUSY, EINVAL or EOPNOTSUPP for a value it has not got now.
        return None
    finally:
        os.close(descriptor)


def read_text(path: Path | str) -> str | None:
    """The file's text (at most 16 KiB, foreign bytes replaced, stripped), or None when there is nothing to read."""
    data = read_bytes(path)
    return None if data is None else data.decode("utf-8", errors="replace").strip() or None


def read_line(path: Path | str) -> str | None:
    """The first line, at most 128 characters of it, for a name that is shown: what is not printable becomes `?`."""
    text = read_text(path)
    return None if text is None else printable(text.split("\n", 1)[0], limit=NAME_CHARACTERS, instead="?")


def read_int(path: Path | str, *, low: int = 0, high: int = 2**62) -> int | None:
    """The decimal number that is the file's whole content, or None when it is another thing or outside [low, high]."""
    text = read_text(path)
    if text is None or not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if low <= value <= high else None


def read_uevent(device: Path) -> dict[str, str]:
    """What the kernel says of a device when it appears: `DRIVER`, `PCI_ID`, `PCI_SLOT_NAME` and the like."""
    lines = (read_text(device / "uevent") or "").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def names(folder: Path | str) -> list[str]:
    """The names in a folder, sorted; none when it cannot be listed."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted, not paths
    except OSError:
        return []
