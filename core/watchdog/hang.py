"""Whether a run still beats: how long it has given no sign of life, and what its process, its GPU and the kernel say.

A sign of life is any event. While a run steps, its usual step time says how long it may be silent; before the first step, in
phases without steps and after the last one nobody knows, so it has the grace of a first step there.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.gpu.reading import DeviceReading

if TYPE_CHECKING:
    from core.config.settings import WatchSettings

RECENT_STEPS = 20
WINDOW_SECONDS = 10.0
"""How far back evidence counts, and never further than the last sign of life."""
LOOKS = 3
EARLY_SECONDS = 15.0
"""So long before a run has been silent for too long its process is looked at, so that the evidence is there in time."""
PATIENCE_SECONDS = 5.0
"""How much longer looks at the process are waited for before a silence is told without them."""
AWAY_SECONDS = 30.0
"""Nobody looked for longer than this: the machine slept, and the run with it."""
UNCONFIRMED = 3.0
"""Silent for so many times what is allowed, a run hangs although nothing confirms it."""
IDLE_PERCENT, BUSY_PERCENT, WORKING_PERCENT = 1.0, 99.0, 10.0
STILL_CPU_SHARE = 0.02
KERNEL_LEAD_SECONDS = 30.0
"""The kernel can complain before the last event is written."""
STATES = {"D": "waits in the kernel (state D)", "T": "is stopped (state T)", "Z": "is dead and not reaped (state Z)"}


@dataclass(frozen=True)
class ProcessLook:
    """The job's process at one moment: its state as in `/proc/PID/stat`, and the CPU seconds of its whole group."""

    time: float
    state: str
    cpu_seconds: float


@dataclass(frozen=True)
class Silence:
    """A run that has given no sign of life for too long. `evidence`: what confirms that it hangs, in words."""

    seconds: float
    allowed_seconds: float
    after: str
    usual_seconds: float | None
    evidence: tuple[str, ...]
    certain: bool

    @property
    def message(self) -> str:
        usual = f" (usual: {_seconds(self.usual_seconds)} a step)" if self.usual_seconds is not None else ""
        kind = "no step" if self.usual_seconds is not None else "no sign of life"
        said = "; ".join(self.evidence) or "nothing else shows yet that it hangs"
        return f"{kind} for {_seconds(self.seconds)} {self.after}{usual}: {said}"


class HangWatch:
    """Follows one run. All times are seconds of one clock and are passed in; `began` is when it was started or first seen.

    `gpu_worked`: the run is known to have used the GPU. `waits_for_others`: it waits for the answers of a server, so neither an
    idle process nor an idle GPU says that it hangs.
    """

    def __init__(
        self, settings: WatchSettings, began: float, *, gpu_worked: bool = False, waits_for_others: bool = False
    ) -> None:
        self.settings = settings
        self.waits_for_others = waits_for_others
        self.life = began
        self.watched_since: float | None = None
        self.gpu_worked = gpu_worked
        self.stepping = False
        self.after = "since it was started"
        self.step: int | None = None
        self.first_interval: float | None = None
        self.intervals: deque[float] = deque(maxlen=RECENT_STEPS)
        self.mark = began
        """When the step that is on its way began: nothing else is in the time from here to its end."""
        self.looks: deque[ProcessLook] = deque(maxlen=60)
        self.samples: deque[tuple[float, DeviceReading]] = deque(maxlen=60)
        self.kernel_said: deque[tuple[float, str]] = deque(maxlen=5)
        self.checked: float | None = None
        self._more_steps = False

    # What is seen.

    def event(self, event: dict[str, Any], time: float) -> None:
        kind = event["kind"]
        if kind == "step":
            self._stepped(event, time)
        elif kind == "phase":
            self.stepping = False
            self.after = f"in the phase `{event.get('name')}`"
        elif kind == "eval":
            # The steps go on where the evaluation interrupted them.
            self.stepping, self.mark = self._more_steps, time
            self.after = f"after the evaluation at step {event.get('step')}"
        elif kind == "checkpoint":
            self.mark = time
        elif kind == "ladder":
            self._begin_anew()
        self.life = time

    def _stepped(self, event: dict[str, Any], time: float) -> None:
        step, total = event.get("step"), event.get("total")
        if self.step is not None and isinstance(step, int) and step <= self.step:
            self._begin_anew()
        if self.stepping:
            self.intervals.append(max(0.0, time - self.mark))
        elif self.first_interval is None:
            # Longer than a step: it holds what came before the first one, too.
            self.first_interval = max(0.0, time - self.life)
        self.step = step if isinstance(step, int) else None
        self._more_steps = not (isinstance(step, int) and isinstance(total, int) and step >= total)
        self.stepping, self.mark = self._more_steps, time
        self.after = f"after step {step}"

    def _begin_anew(self) -> None:
        self.intervals.clear()
        self.first_interval = self.step = None
        self.stepping = self._more_steps = False
        self.after = "since it began anew"

    def sample(self, time: float, device: DeviceReading) -> None:
        self.samples.append((time, device))
        if self.stepping and device.busy_percent is not None and device.busy_percent > WORKING_PERCENT:
            self.gpu_worked = True

    def process(self, look: ProcessLook) -> None:
        self.looks.append(look)

    def kernel(self, time: float, text: str) -> None:
        self.kernel_said.append((time, text))

    # What follows from it.

    @property
    def usual_seconds(self) -> float | None:
        """The median of recent step times; None while the run is not stepping."""
        if not self.stepping:
            return None
        return statistics.median(self.intervals) if self.intervals else self.first_interval

    @property
    def allowed_seconds(self) -> float:
        """How long the run may be silent now."""
        usual = self.usual_seconds
        if usual is None:
            return self.settings.first_step_seconds
        return self.settings.hang_steps * usual + self.settings.hang_seconds

    def suspicious(self, now: float) -> bool:
        """Whether it is time to look at the run's process."""
        allowed = self.allowed_seconds
        return now - self.life > allowed - min(EARLY_SECONDS, allowed / 2)

    def check(self, now: float) -> Silence | None:
        """The silence of a run that has been silent for too long, None of one that may go on."""
        self.life = min(self.life, now)  # a clock that was set back
        self.watched_since = now if self.watched_since is None else min(self.watched_since, now)
        if self.checked is not None and now - self.checked > AWAY_SECONDS:
            self.life += now - self.checked
            self.watched_since = now
        self.checked = now
        silent, allowed = now - self.life, self.allowed_seconds
        if silent <= allowed:
            return None
        evidence = self.evidence(now)
        watched = now - self.watched_since
        looked = sum(look.time >= self.life for look in self.looks) >= LOOKS
        if not evidence and not looked and min(silent - allowed, watched) < PATIENCE_SECONDS:
            return None
        certain = bool(evidence) or (silent > UNCONFIRMED * allowed and watched > allowed)
        return Silence(silent, allowed, self.after, self.usual_seconds, evidence, certain)

    def evidence(self, now: float) -> tuple[str, ...]:
        """What confirms now that the run hangs, in words."""
        since = max(self.life, now - WINDOW_SECONDS)
        looks = [look for look in self.looks if look.time >= since]
        devices = [device for time, device in self.samples if time >= since]
        said = []
        still = False
        if len(looks) >= LOOKS:
            states = {look.state.upper() for look in looks}
            if len(states) == 1 and (words := STATES.get(states.pop())):
                said.append(f"its process {words}")
            span, used = looks[-1].time - looks[0].time, looks[-1].cpu_seconds - looks[0].cpu_seconds
            still = used <= STILL_CPU_SHARE * span and not self.waits_for_others
        gpu = self._gpu(devices)
        # A process may well sleep while its GPU works; and one without steps may well leave the GPU alone.
        if still and not self._gpu_works(devices):
            said.append("its process uses no CPU time")
        if gpu is not None and self.gpu_worked and (self.stepping or still) and not self.waits_for_others:
            said.append(gpu)
        said += [
            f"the kernel says: {text}" for time, text in self.kernel_said if time >= self.life - KERNEL_LEAD_SECONDS
        ]
        return tuple(said)

    def _gpu(self, devices: list[DeviceReading]) -> str | None:
        """How the GPU stands still, in words."""
        busy = [device.busy_percent for device in devices if device.busy_percent is not None]
        if len(busy) < LOOKS:
            return None
        if max(busy) <= IDLE_PERCENT:
            return f"the GPU is {busy[-1]:.0f} % busy"
        if min(busy) >= BUSY_PERCENT and _unchanged(devices):
            return f"the GPU says {busy[-1]:.0f} % busy, and nothing on it changes"
        return None

    def _gpu_works(self, devices: list[DeviceReading]) -> bool:
        busy = [device.busy_percent for device in devices if device.busy_percent is not None]
        return bool(busy) and max(busy) > WORKING_PERCENT and self._gpu(devices) is None


def _unchanged(devices: list[DeviceReading]) -> bool:
    """Work moves at least one of these from second to second; a GPU that tells none of them proves nothing."""
    proven = False
    for name, slack in (("memory_busy_percent", 1.0), ("power_watts", 3.0)):
        values = [getattr(device, name) for device in devices if getattr(device, name) is not None]
        if len(values) < LOOKS:
            continue
        if max(values) - min(values) > slack:
            return False
        proven = True
    return proven


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
