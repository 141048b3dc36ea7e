"""A machine for the lease: a played GPU, a played model server whose runners are real processes, and a home with a runner.

What was seen is kept: `states` holds every `gpu_lease.json` that differed, so that a test can ask in which order things
happened.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from core.config.settings import GpuSettings
from core.events import EventReader
from core.gpu_lease.state import LeaseState, read_lease_state
from core.serving.ollama import Ollama, ServerError
from core.telemetry.ring import TelemetryRing
from tests.support.cardsim import GpuSim, SimGpu
from tests.support.ollama_standin import OllamaStandin, Version
from tests.support.queueing import Queue
from tests.support.waiting import PATIENCE_SECONDS, wait_until

IDLE_BYTES = 300_003_328
TOLERANCE_BYTES = GpuSettings().tolerance_bytes
# What is waited for anyway is short; what a slow machine could run into is long.
CARD = {"settle_seconds": 0.6, "clear_seconds": 600.0, "return_seconds": 60.0}
CARD |= dict.fromkeys(("retry_seconds", "reload_seconds", "clients_quiet_seconds"), 1.0)
GRACE_SECONDS = 60.0
QUIET = {"hang": "off", "vram": "off", "zero_loss": "off"}


class LeaseBench:
    """Everything a test of the lease turns."""

    def __init__(self, folder: Path, sim: GpuSim, ollama: OllamaStandin, queue: Queue) -> None:
        self.folder, self.sim, self.ollama, self.queue = folder, sim, ollama, queue
        self.states: list[LeaseState] = []
        self._others: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._recorder = threading.Thread(target=self._record, daemon=True)
        self._recorder.start()

    def settle(self, *, grace: float = GRACE_SECONDS, ollama: dict[str, object] | None = None, **gpu: object) -> None:
        """Write the person's settings; a runner reads them when it starts."""
        write_settings(self.folder, self.ollama.url, grace, ollama or {}, gpu)

    def submit(self, words: str, expected_bytes: int | None = None) -> int:
        """A stand-in job for the GPU, as one whose forecast says `expected_bytes`."""
        return self.queue.submit(words, device_bytes=expected_bytes)

    def program(self, vram_bytes: int, *, name: str = "blender", user_id: int | None = None, **how: object) -> int:
        """A real process of somebody else that has memory of the GPU; its pid."""
        process = subprocess.Popen(["sleep", "900"])
        self._others.append(process)
        self.sim.hold(process.pid, vram_bytes, name=name, user_id=user_id, **how)  # type: ignore[arg-type]
        return process.pid

    @contextlib.contextmanager
    def asking(self, name: str, every_seconds: float = 0.3) -> Iterator[list[float]]:
        """A client that goes on asking a model something small; the times at which answers came. None is told of errors."""
        answered: list[float] = []
        over = threading.Event()

        def ask() -> None:
            with Ollama(self.ollama.url, timeout_seconds=5.0) as client:
                while not over.wait(every_seconds):
                    with contextlib.suppress(ServerError):
                        client.generate(name, "hello", num_predict=2, num_ctx=4096, timeout_seconds=PATIENCE_SECONDS)
                        answered.append(time.time())

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield answered
        finally:
            over.set()
            thread.join(PATIENCE_SECONDS)

    def load(self, name: str, context_length: int = 8192, keep_alive_seconds: float = 600) -> None:
        with self.client() as client:
            client.load(name, context_length=context_length, keep_alive_seconds=keep_alive_seconds)

    # What stands there.

    @property
    def gpu(self) -> LeaseState:
        """The newest `gpu_lease.json`; one that says nothing where no runner has written it yet."""
        return read_lease_state(self.queue.home) or LeaseState(time=0.0)

    def add_models(self, **sizes: int) -> None:
        """Models of the server's store, each with a blob of its own."""
        for name, size_bytes in sizes.items():
            self.ollama.add_model(f"{name}:latest", size_bytes=size_bytes, load_seconds=0.2)

    def client(self) -> Ollama:
        return Ollama(self.ollama.url)

    def loaded(self) -> dict[str, tuple[int | None, float | None]]:
        """What the server lists: name → context length, seconds that it would stay (-1: for ever)."""
        with self.client() as client:
            now = time.time()
            return {
                resident.name: (resident.context_length, resident.keep_alive_seconds(now)) for resident in client.ps()
            }

    def started_at(self, job_id: int, attempt: int = 1) -> float:
        """When the job's process began to work: the time of its first event."""
        events = self.queue.home.run_dir(job_id).attempt(attempt).events
        first = wait_until(lambda: next(iter(EventReader(events)), None), what="a first event")
        assert first is not None
        return float(first["time"])

    def used_at_start(self, job_id: int, attempt: int = 1) -> int:
        """What the GPU held when the job's process began."""
        return self.sim.used_at(self.started_at(job_id, attempt))

    def wait_gpu(self, phase: str) -> LeaseState:
        def found() -> LeaseState | None:
            state = self.gpu
            return state if state.phase == phase else None

        return wait_until(found, what=lambda: f"phase {phase}: {self.gpu}") or self.gpu

    def wait_seen(self) -> None:
        """Wait until the runner has looked at the GPU as it stands now: until the second reading from after now."""
        ring = TelemetryRing(self.queue.home.telemetry)

        def newest() -> float:
            sample = ring.latest()
            return 0.0 if sample is None else sample.time

        for _ in range(2):
            now = time.time()
            wait_until(lambda now=now: newest() > now, what="a reading of the GPU")

    def phases(self) -> list[str]:
        """The phases the GPU has been in, each once in a row."""
        phases = [state.phase for state in list(self.states)]
        return [phase for index, phase in enumerate(phases) if index == 0 or phases[index - 1] != phase]

    def wait_loaded(self, *names: str) -> None:
        """Wait until the server lists these and no others."""
        wait_until(lambda: set(self.loaded()) == set(names), what=lambda: f"{names}: {self.loaded()}, {self.gpu}")

    def wait_restored(self) -> None:
        """Wait until nothing is left that is to come back."""
        wait_until(lambda: not self.queue.home.evicted_models.exists(), what=lambda: f"nothing left to do: {self.gpu}")

    def wait_unowned(self) -> LeaseState:
        """Wait until memory is told that belongs to nobody."""

        def found() -> LeaseState | None:
            state = self.gpu
            return state if state.unowned_bytes else None

        return wait_until(found, what=lambda: f"unowned memory: {self.gpu}") or self.gpu

    def submitted_at(self, job_id: int) -> float:
        return self.queue.history(job_id)[0].time

    def wait_learnt(self) -> int:
        """Wait until the idle use of the GPU is known; its bytes."""

        def learnt() -> int | None:
            state = read_lease_state(self.queue.home)
            return None if state is None else state.baseline_bytes

        return int(wait_until(learnt, what="the idle use of the GPU") or 0)

    # Its end.

    def close(self) -> None:
        self._over.set()
        self._recorder.join()
        try:
            self.queue.close()
        finally:
            for process in self._others:
                process.kill()
                process.wait()

    def _record(self) -> None:
        while not self._over.wait(0.02):
            state = read_lease_state(self.queue.home)
            if state is not None and (
                not self.states or replace(state, time=0.0) != replace(self.states[-1], time=0.0)
            ):
                self.states.append(state)


def write_settings(folder: Path, url: str, grace: float, ollama: dict[str, object], gpu: dict[str, object]) -> None:
    document = {
        "queue": {"stop_grace_seconds": grace},
        "gpu": {**CARD, **gpu},
        "ollama": {"url": url, **ollama},
        "watch": QUIET,
    }
    (folder / "config/bakehouse/settings.yaml").write_text(yaml.safe_dump(document))


@contextlib.contextmanager
def lease_bench(
    machine: Path, monkeypatch: pytest.MonkeyPatch, version: Version = "0.33.0-rc2"
) -> Iterator[LeaseBench]:
    """A GPU of 16 GiB with 300 MB of idle use, and a server that has three models and none loaded."""
    with (
        GpuSim(machine / "kernel", SimGpu(idle_bytes=IDLE_BYTES)) as sim,
        OllamaStandin(version) as ollama,
    ):
        sim.use(monkeypatch)
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
        ollama.on_residents_changed = sim.serve
        write_settings(machine, ollama.url, GRACE_SECONDS, {}, {})
        bench = LeaseBench(machine, sim, ollama, Queue.create(machine))
        try:
            yield bench
        finally:
            bench.close()
