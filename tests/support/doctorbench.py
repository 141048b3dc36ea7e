"""A made-up machine for the doctor: its files, its tools on PATH, its devices."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.config.settings import Settings
from core.doctor.machine import Machine
from core.doctor.results import Diagnostic
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.home import Home
from tests.support.machines import FakeMachine

PCI = "0000:2b:00.0"
CARD_BYTES = 17_163_091_968


class Bench:
    """A made-up machine, and boxes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = FakeMachine(folder / "machine")
        self.home = Home(folder / "home").create()
        self.bin, self.dev, self.opt = folder / "bin", folder / "dev", folder / "opt"
        for place in (self.bin, self.dev, self.opt):
            place.mkdir()
        self.settings = Settings()

    @classmethod
    def of_its_own(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
        """One whose locks, settings and servers are nobody else's."""
        monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(folder))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        monkeypatch.delenv("OLLAMA_HOST", raising=False)
        return cls(folder)

    def box(self, **environ: str) -> Machine:
        known = {**self.machine.environ, "PATH": str(self.bin), **environ}
        return Machine(self.home, known, self.settings, dev=self.dev, opt=self.opt)

    def sampled(self, *processes: ProcessReading, used_bytes: int = 300_000_000, **environ: str) -> Machine:
        """A box whose GPU says so much."""
        box = self.box(**environ)
        device = DeviceReading(0, "AMD GPU", "amd", PCI, vram_total_bytes=CARD_BYTES, vram_used_bytes=used_bytes)
        host = HostReading(memory_total_bytes=32_000_000_000, memory_available_bytes=24_000_000_000, cpu_count=8)
        box.__dict__["sample"] = Sample(time.time(), "sysfs", host, (device,), processes)
        return box

    def tool(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path


def one(lines: list[Diagnostic], subject: str) -> Diagnostic:
    found = [line for line in lines if line.subject == subject]
    assert len(found) == 1, f"{subject}: {lines}"
    return found[0]
