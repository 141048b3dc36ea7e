"""What is wrong with a run, told from its events, the samples of its GPU, and looks at its process.

Nothing is read here and no clock is asked, so that a night's run can be played through in a test. The parts:
`heartbeat` (does it still step), `losses` (do its figures make sense), `strain` (is the GPU up to it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.gpu.reading import DeviceReading
from core.watchdog.gpu_pressure import PressureWatch
from core.watchdog.hang import HangWatch, ProcessLook
from core.watchdog.loss import LossWatch

if TYPE_CHECKING:
    from core.config.settings import WatchSettings

CODES = ("hang", "spill", "vram", "throttling", "nan", "exploding", "zero_loss")
"""Each is a key of `WatchSettings`: what is done about it."""
MEMORY_CODES = frozenset({"spill", "vram"})
GPU_FAULT = "gpu_fault"
"""Always ends the run."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run. `stop`: the run is to be ended for it."""

    code: str
    message: str
    stop: bool
    time: float


class RunWatch:
    """Watches one attempt. What it sees is passed in; `check` gives what is new.

    A finding is told once, and again only when the trouble had gone away meanwhile. A run that seems to hang is told as a
    warning until that is confirmed; then, if the settings say so, once more as a reason to stop.

    `asks_server`: others compute for it. That the run uses no CPU time proves nothing then, and whose memory fills the GPU is
    the server's affair, which places a model that doesn't fit itself.
    """

    def __init__(
        self,
        settings: WatchSettings,
        began: float,
        *,
        gtt_bytes: int | None = None,
        gpu_worked: bool = False,
        asks_server: bool = False,
    ) -> None:
        self.settings = settings
        self.asks_server = asks_server
        self.heartbeat = HangWatch(settings, began, gpu_worked=gpu_worked, waits_for_others=asks_server)
        self.losses = LossWatch()
        self.strain = PressureWatch(gtt_bytes)
        self.found: list[Finding] = []
        self.faulted = False
        self.hang_told: bool | None = None
        """None: not; else whether it was told as a reason to stop."""

    def event(self, event: dict[str, Any]) -> None:
        """A line of the attempt's `events.jsonl`, in the order of the file; one without a time is no event."""
        time = event.get("time")
        if not isinstance(time, int | float):
            return
        self.heartbeat.event(event, time)
        self.hang_told = None
        if event["kind"] == "ladder":
            self.losses.begin()
        for code, message in self.losses.event(event):
            self._find(code, message, time)

    def sample(self, time: float, device: DeviceReading) -> None:
        """A reading of the GPU that the run holds."""
        self.heartbeat.sample(time, device)
        for code, message in self.strain.sample(device):
            if self.asks_server and code in MEMORY_CODES:
                continue
            self._find(code, message, time)

    def process(self, look: ProcessLook) -> None:
        """A look at the run's process; wanted once a second while the run is `suspicious`."""
        self.heartbeat.process(look)

    def gpu_fault(self, time: float, text: str) -> None:
        """The run's own access to the GPU's memory faulted: what it computes is worth nothing, whatever the settings say."""
        if not self.faulted:
            self.faulted = True
            self.found.append(Finding(GPU_FAULT, text, True, time))

    def kernel(self, time: float, text: str) -> None:
        """A message of the kernel that speaks of trouble with the GPU."""
        self.heartbeat.kernel(time, text)

    def suspicious(self, now: float) -> bool:
        return self.settings.hang != "off" and self.heartbeat.suspicious(now)

    def check(self, now: float) -> list[Finding]:
        """What was found since the last call."""
        self._hang(now)
        found, self.found = self.found, []
        return found

    def _hang(self, now: float) -> None:
        silence = self.heartbeat.check(now)
        if silence is None or self.settings.hang == "off":
            return
        stop = silence.certain and self.settings.hang == "stop"
        if self.hang_told is None or (stop and not self.hang_told):
            self.hang_told = stop
            self.found.append(Finding("hang", silence.message, stop, now))

    def _find(self, code: str, message: str, time: float) -> None:
        policy = getattr(self.settings, code)
        if policy != "off":
            self.found.append(Finding(code, message, policy == "stop", time))
