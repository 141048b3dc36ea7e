"""The manager of the GPU on a GPU of made-up figures, a model server in memory and a clock of the test's: minutes take no time.

`round` is one round of the runner. A job's process is the lease that it was handed: the real lock, on a real file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from core.clock import Clock
from core.config.settings import GpuSettings, OllamaSettings
from core.gpu.devices import Gpu
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.manager import GpuLeaseManager
from core.home import Home
from core.jobfile.gpu_use import EXCLUSIVE, GpuUse
from core.serving.address import server_url
from core.serving.replies import FOREVER_SECONDS
from core.store.jobs import JobRow, get_job
from tests.support.clock import FakeClock
from tests.support.fake_model_server import FakeModelServer
from tests.support.fake_ollama import URL, FakeOllama
from tests.support.played_shim import PID, PlayedShim
from tests.support.stored import add_job, fresh

PCI = "0000:2b:00.0"
GPU = Gpu(PCI, "amd", "Stand-in", False, 0)
GB = 1_000_000_000
TOTAL, IDLE = 17 * GB, 300_000_000
ROUND_SECONDS, SAMPLE_SECONDS = 0.2, 1.0
LONG_SECONDS = 3600.0


@cache
def any_job() -> JobRow:
    """A job that waits, as the database has it."""
    _, connection = fresh(Path(mkdtemp(prefix="bakehouse-tests-")))
    try:
        return get_job(connection, add_job(connection))
    finally:
        connection.close()


def job(number: int, device_memory_bytes: int | None = None) -> JobRow:
    return replace(any_job(), id=number, device_memory_bytes=device_memory_bytes)


class LeaseSim:
    """The GPU holds what the server's runners have, the job that has the lease, `others`, and memory of nobody (`unowned`)."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.home = Home(folder / "home").create()
        self.clock = FakeClock()
        self.ollama = FakeOllama(self.clock)
        self.ollama.add_model("judge:latest", 4_600_000_000)
        self.ollama.add_model("planner:latest", 2_900_000_000)
        self.latency_seconds = float(settings.pop("latency_seconds", 0.0))
        self.served = OllamaSettings(**{"url": URL, **settings.pop("server", {})})
        self.settings = GpuSettings(**settings)
        self.server: FakeModelServer | None = None
        self.job, self.second = job(1), job(2)
        self.uses: dict[int, GpuUse] = {}
        """What the jobs do with the GPU, by number; exclusive those that are not named."""
        self.wanted: JobRow | None = None
        self.holder: JobRow | None = None
        self.lease: gpu_lock.Lease | None = None
        self.job_bytes = 0
        self.others: list[ProcessReading] = []
        self.shims: list[PlayedShim] = []
        self.attributes = True
        """Whether the driver shows which process holds how much."""
        self.unowned = 0
        self.figures: dict[str, Any] = {}
        self.sampling = True
        self._sampled_at = -SAMPLE_SECONDS
        self.manager = self.new_manager()

    def new_manager(self) -> GpuLeaseManager:
        return GpuLeaseManager(
            self.home,
            GPU,
            self.settings,
            self.served,
            clock=self.clock,
            connect=self._connect,
            use_of=lambda number: self.uses.get(number, EXCLUSIVE),
        )

    def _connect(self, url: str | None, clock: Clock) -> FakeModelServer:
        self.server = FakeModelServer(self.ollama, latency_seconds=self.latency_seconds)
        self.server.url = server_url(url)
        return self.server

    # A runner's rounds.

    def round(self, seconds: float = ROUND_SECONDS) -> None:
        self.clock.pass_time(seconds)
        for shim in self.shims:
            shim.round()
        if self.sampling and self.clock.monotonic() - self._sampled_at >= SAMPLE_SECONDS:
            self._sampled_at = self.clock.monotonic()
            self.manager.see(self.sample())
        self.manager.tick(self.holder, self.wanted)

    def rounds(self, seconds: float) -> None:
        for _ in range(round(seconds / ROUND_SECONDS)):
            self.round()

    def until(self, condition: Callable[[], Any], what: str = "", seconds: float = LONG_SECONDS) -> None:
        for _ in range(round(seconds / ROUND_SECONDS)):
            self.round()
            if condition():
                return
        raise AssertionError(f"not within {seconds:.0f} simulated seconds: {what}: {self.state}")

    def sample(self) -> Sample:
        runners = [ProcessReading(pid, "ollama", size, pci=PCI) for _, size, pid in self.ollama.processes()]
        mine = [ProcessReading(900, "python", self.job_bytes, True, PCI)] if self.job_bytes else []
        served = [
            ProcessReading(PID + number, "llama-server", one.vram_bytes, pci=PCI, served=one.name)
            for number, one in enumerate(self.shims)
            if one.runs and one.vram_bytes
        ]
        processes = (*runners, *mine, *served, *self.others)
        used = IDLE + self.unowned + sum(process.vram_bytes or 0 for process in processes)
        device = DeviceReading(0, "Stand-in", "amd", PCI, TOTAL, used)
        devices = (replace(device, **self.figures),)
        if not self.attributes:
            processes = tuple(replace(one, vram_bytes=None) for one in processes)
        return Sample(self.clock.time(), "test", HostReading(), devices, processes, taken_at=self.clock.monotonic())

    # What befalls the queue.

    def until_ready(self, wanted: JobRow | None = None) -> None:
        """The GPU is free for a job: it takes it, as the runner would have it do."""
        self.wanted = wanted or self.job
        self.until(lambda: self.wanted is not None and self.manager.ready_for(self.wanted), "the GPU")
        self.start_job()

    def start_job(self, held_bytes: int = 0) -> None:
        assert self.wanted is not None
        self.lease, self.holder, self.wanted = self.manager.hand_over(), self.wanted, None
        self.lease.note_holder(self.home, self.holder.id)
        self.job_bytes = held_bytes

    def asks(
        self, *models: str, number: int = 1, url: str = URL, beside_programs: bool = False, loads_models: bool = True
    ) -> None:
        """That job is a bake-off on these models of the server."""
        self.uses[number] = GpuUse("serving", {url: models}, beside_programs, loads_models)

    def serve(self, name: str = "note", vram_bytes: int = 2 * GB, *, on_gpu: bool = True) -> PlayedShim:
        """A served model of the home, which serves."""
        self.shims.append(
            PlayedShim(self.home, self.clock, name, on_gpu=on_gpu, vram_bytes=vram_bytes if on_gpu else 0)
        )
        return self.shims[-1]

    def loaded(self) -> dict[str, tuple[int | None, float | None]]:
        """What the server holds: name → context length, seconds that it stays after an answer (-1: for ever)."""
        kept = {one.name: one.session_seconds for one in self.ollama.runners()}
        return {
            one.name: (one.context_length, -1.0 if kept[one.name] > FOREVER_SECONDS else kept[one.name])
            for one in self.ollama.ps()
        }

    def end_job(self, leaves_bytes: int = 0) -> None:
        assert self.lease is not None
        self.lease.release()
        self.lease, self.holder, self.job_bytes, self.unowned = None, None, 0, self.unowned + leaves_bytes

    def kill_runner(self) -> None:
        """SIGKILL for the runner's process: its share of the lease is freed, its requests are nobody's, nothing is written."""
        if self.manager.lease is not None:
            self.manager.lease.release()
            self.manager.lease = None
        if self.server is not None:
            self.server.close()

    def next_runner(self) -> None:
        """Another runner on the same home; it knows what stands in files."""
        self.manager = self.new_manager()

    def load(self, name: str = "judge:latest", keep_alive_seconds: float = 600.0, context_length: int = 4096) -> None:
        """A client has a model loaded, and waits for it."""
        load = self.ollama.client_loads(name, keep_alive_seconds, context_length)
        while not load.over():
            self.clock.pass_time(0.05)
            self.ollama.advance()
        assert load.error is None, load.error

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the time of day, forward or back."""
        self.clock.set_time_of_day(self.clock.time() + seconds)

    # What is told.

    @property
    def state(self) -> Any:
        return self.manager.state

    @property
    def status(self) -> str:
        """The code of what goes on, empty when there is nothing to say."""
        return "" if self.state.status is None else str(self.state.status.code)

    @property
    def notes(self) -> list[str]:
        """The codes of what happened, in order."""
        return [note.reason.code for note in self.state.notes]

    def values(self, code: str) -> dict[str, Any]:
        """The values of the newest note of this code."""
        return dict(next(note.reason.values for note in reversed(self.state.notes) if note.reason.code == code))


def fast_folder(prefix: str = "bakehouse-lease-") -> Path:
    """A folder in memory where there is one: syncing to a disk is the slow part of a thousand short lives."""
    memory = Path("/dev/shm")
    return Path(mkdtemp(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None))
