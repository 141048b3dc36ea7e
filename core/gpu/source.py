"""What a source of readings is, and where it looks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from core.errors import BakehouseError
from core.gpu.reading import DeviceReading, ProcessReading


class SourceError(BakehouseError):
    """A source found its GPU or driver, but cannot read it now; it is tried again later."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message, code="gpu_source_failed", remedy=remedy)


class Source(Protocol):
    """One way to read GPUs. Its calls may take long or hang: `core.gpu.source_timeout` puts a limit on them."""

    @property
    def name(self) -> str:
        """The word by which `BAKEHOUSE_GPU_SOURCE` forces it."""

    def available(self) -> bool:
        """Whether this machine has what the source reads; its absence is no fault. Raises `SourceError` for a fault."""

    def read(self) -> tuple[Sequence[DeviceReading], Sequence[ProcessReading]]:
        """The GPUs, and the processes on them (`ours` is not yet known here). Raises `SourceError`."""


def sysfs_root(environ: Mapping[str, str] | None = None) -> Path:
    """`/sys`, or where `BAKEHOUSE_SYSFS` has moved it for the readings of core/gpu."""
    return Path((os.environ if environ is None else environ).get("BAKEHOUSE_SYSFS") or "/sys")


def dev_root(environ: Mapping[str, str] | None = None) -> Path | None:
    """`/dev`, or where `BAKEHOUSE_DEV` has moved it.

    None where only the other trees are moved: this machine's device files say nothing of that one's GPUs.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get("BAKEHOUSE_DEV"):
        return Path(named)
    return None if environ.get("BAKEHOUSE_SYSFS") or environ.get("BAKEHOUSE_PROCFS") else Path("/dev")


def procfs_root(environ: Mapping[str, str] | None = None) -> Path:
    """`/proc`, or where `BAKEHOUSE_PROCFS` has moved it for the readings of core/gpu."""
    return Path((os.environ if environ is None else environ).get("BAKEHOUSE_PROCFS") or "/proc")
