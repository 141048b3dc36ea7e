"""No GPU: there are no cards to read, and the machine's own memory and load are all there is to show."""

from __future__ import annotations

import threading

from core.gpu.reading import DeviceReading, HostReading, ProcessReading


class NoGpuSource:
    """Always available, never has a card: the honest answer where nothing else is."""

    name = "none"

    def available(self) -> bool:
        return True

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        return [], []


class HostReader:
    """Reads the machine through psutil, which keeps the former CPU times for each thread that asks."""

    def __init__(self) -> None:
        self._askers: set[int] = set()

    def read(self) -> HostReading:
        """`cpu_percent` covers the time since this thread's last call, so the first call has none."""
        import psutil

        memory = psutil.virtual_memory()
        percent = psutil.cpu_percent(interval=None)
        thread = threading.get_ident()
        first = thread not in self._askers
        self._askers.add(thread)
        return HostReading(
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            load_1m=round(psutil.getloadavg()[0], 2),
            cpu_percent=None if first else percent,
            cpu_count=psutil.cpu_count(),
        )
