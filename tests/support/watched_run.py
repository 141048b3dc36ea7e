"""A run under the watchdog, played second by second, and the GPU it runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from core.config.settings import WatchSettings
from core.gpu.reading import DeviceReading
from core.watchdog.hang import ProcessLook
from core.watchdog.run_watch import Finding, RunWatch

START = 1_000_000.0
GB = 1_000_000_000


def gpu(**changes: Any) -> DeviceReading:
    """A GPU at work, half full."""
    usual: dict[str, Any] = {
        "vram_total_bytes": 16 * GB,
        "vram_used_bytes": 8 * GB,
        "gtt_used_bytes": GB // 4,
        "busy_percent": 96.0,
        "memory_busy_percent": 55.0,
        "power_watts": 240.0,
        "throttling": (),
    }
    return DeviceReading(0, "Stand-in", "amd", "0000:2b:00.0", **(usual | changes))


@dataclass
class Run:
    """Plays a run: the clock stands where the last thing happened, and all findings are kept."""

    watch: RunWatch
    now: float = START
    step: int = 0
    cpu_seconds: float = 0.0
    found: list[Finding] = field(default_factory=list)

    @classmethod
    def begin(cls, *, asks_server: bool = False, **settings: Any) -> Run:
        return cls(RunWatch(WatchSettings(**settings), START, asks_server=asks_server))

    def event(self, kind: str, **fields: Any) -> None:
        self.watch.event({"kind": kind, "time": self.now, **fields})

    def phase(self, name: str) -> None:
        self.event("phase", name=name)

    def steps(self, count: int, seconds: float = 1.0, loss: float = 1.0, total: int = 10_000, **fields: Any) -> None:
        for _ in range(count):
            self.pass_time(seconds)
            self.step += 1
            self.event("step", step=self.step, total=total, **{"loss": loss, "grad_norm": 0.5, **fields})
        self.check()

    def losses(self, values: Iterable[float], **fields: Any) -> None:
        for value in values:
            self.steps(1, loss=value, **fields)

    def pass_time(
        self,
        seconds: float,
        state: str = "R",
        cpu: float = 1.0,
        device: Callable[[int], DeviceReading] | DeviceReading | None = None,
    ) -> None:
        """Second by second: a sample each, and a look at the process when the watchdog wants one."""
        end = self.now + seconds
        while self.now + 1.0 <= end:
            self.now += 1.0
            self.cpu_seconds += cpu
            if device is not None:
                number = int(self.now - START)
                self.watch.sample(self.now, device if isinstance(device, DeviceReading) else device(number))
            if self.watch.suspicious(self.now):
                self.watch.process(ProcessLook(self.now, state, self.cpu_seconds))
            self.check()
        self.now = end
        self.check()

    def check(self) -> None:
        self.found += self.watch.check(self.now)

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.found]


def working(second: int) -> DeviceReading:
    """A GPU at full load, whose figures move a little."""
    return gpu(busy_percent=99.0 + second % 2, memory_busy_percent=50.0 + second % 7, power_watts=238.0 + second % 9)
