"""Moments of a GPU, invented: each answers who holds it, whether the next run fits, and whether it is healthy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.gpu_lease.notes import Note
from core.gpu_lease.state import Intruder, LeaseState, ResidentModel
from core.reasons import Reason
from core.store.jobs import QueueState
from core.telemetry.run_record import Summary
from tests.tui.scene import NOW, forecast, job, jobs, scene
from tui.model.snapshot import ProfileLines, RunFinding, Slot, Snapshot

PCI = "0000:0f:00.0"
TOTAL = 17_095_000_000
IDLE = 900_000_000
OURS = 11_400_000_000

DEVICE = DeviceReading(
    0,
    "RX 9070 XT",
    "amd",
    PCI,
    vram_total_bytes=TOTAL,
    vram_used_bytes=IDLE,
    gtt_total_bytes=16_700_000_000,
    gtt_used_bytes=41_000_000,
    busy_percent=2.0,
    memory_busy_percent=0.0,
    power_watts=21.0,
    power_limit_watts=304.0,
    temperature_edge_c=38.0,
    temperature_hotspot_c=41.0,
    temperature_memory_c=46.0,
    clock_mhz=52,
    memory_clock_mhz=96,
    fan_rpm=0,
    throttling=(),
    architecture="gfx1201",
    integrated=False,
)
SECOND = DeviceReading(1, "Radeon Graphics", "amd", "0000:7a:00.0", 536_870_912, 130_000_000, integrated=True)

TRAINER = ProcessReading(
    41_877, "python", OURS, True, PCI, 210_000_000, "anna", "python -P -m jobs runs/42", since=NOW - 2095
)
DESKTOP = ProcessReading(
    1834, "Xorg", 310_000_000, False, PCI, 12_000_000, "root", "/usr/lib/xorg/Xorg :0", NOW - 86_000
)
SERVER = ProcessReading(
    2290, "ollama", 4_300_000_000, False, PCI, 30_000_000, "ollama", "/usr/bin/ollama runner --port 40121", NOW - 640
)
RENDERER = ProcessReading(
    52_110, "blender", 9_100_000_000, False, PCI, 80_000_000, "ben", "blender -b cat.blend -a", NOW - 5000
)

JUDGE = ResidentModel("vault-judge:v1", 4_300_000_000, 8192, NOW + 240)
EVICTED = ("vault-judge:v1", "vault-planner:v1", "qwen3:1.7b")
PROFILE = ProfileLines(
    "gfx1201",
    (
        ("MIOPEN_FIND_MODE=FAST", "a search for kernels makes the first step take minutes"),
        ("HSA_OVERRIDE_GFX_VERSION unset", "this GPU has kernels of its own"),
    ),
)


def samples(
    *processes: ProcessReading, beyond: int = 0, second: bool = False, problem: str | None = None, **changes: Any
) -> tuple[Sample, ...]:
    """Ten minutes: the GPU idles, and is as `changes` say for the last six. `beyond`: memory that nobody is named for."""
    used = IDLE - 300_000_000 + sum(process.vram_bytes or 0 for process in processes) + beyond
    now = replace(DEVICE, **{"vram_used_bytes": used, **changes})
    found = []
    for tick in range(0, 601, 2):
        device = now if tick > 240 else DEVICE
        devices = (device, SECOND) if second else (device,)
        host = HostReading(33_500_000_000, 21_000_000_000, 2.1, 12.0, 16)
        held = processes if tick > 240 else (DESKTOP,)
        found.append(Sample(NOW - 600 + tick, "sysfs", host, devices, held, problem))
    return tuple(found)


def state(phase: Any = "free", **changes: Any) -> LeaseState:
    fields = {"time": NOW, "pci": PCI, "server": "Ollama 0.24.0", "baseline_bytes": 590_000_000}
    return LeaseState(**{**fields, "phase": phase, **changes})


def training(**changes: Any) -> Snapshot:
    """Job 42 trains, and the fleet was unloaded for it."""
    busy = {"busy_percent": 97.0, "memory_busy_percent": 61.0, "power_watts": 238.0, "clock_mhz": 2870}
    heat = {"temperature_edge_c": 64.0, "temperature_hotspot_c": 82.0, "temperature_memory_c": 78.0}
    fields = {
        "samples": samples(TRAINER, DESKTOP, **busy, **heat, memory_clock_mhz=1258, fan_rpm=1720),
        "lease_state": state("held", job_id=42, since=NOW - 2100, evicted=EVICTED, notes=NOTES),
        "gpu_summary": Summary(12_600_000_000, OURS, 260_000_000, 486_000.0, 94.0, 84.0, 2090.0),
        "slot": Slot(True, 42, NOW - 2100, forecast=forecast()),
        "profile": PROFILE,
        "jobs": tuple(replace(one, device_memory_bytes=8_900_000_000) if one.id == 43 else one for one in jobs()),
    }
    return scene(**{**fields, **changes})


def shared() -> Snapshot:
    """Job 42 is a bake-off on models of the server, which has two loaded beside the one that it asks."""
    asked = ResidentModel("tuned:latest", 2_000_000_000, 4096, NOW + 1800)
    held = state("held", mode="serving", job_id=42, since=NOW - 300, residents=(JUDGE, asked), evicted=EVICTED[:2])
    return training(samples=samples(SERVER, DESKTOP), lease_state=held, slot=Slot(True, 42, NOW - 300))


NOTES = (
    Note(NOW - 2112, Reason("unloading_models", {"models": list(EVICTED)})),
    Note(NOW - 2101, Reason("gpu_cleared", {"freed_bytes": 10_200_000_000, "seconds": 9})),
)


def waiting(**changes: Any) -> Snapshot:
    """Nothing runs yet: job 45 waits for the GPU."""
    rows = (job(45, "waiting", "train spacer · Qwen3-1.7B", device_memory_bytes=8_900_000_000), *jobs()[5:])
    fields = {
        "jobs": rows,
        "counts": {"waiting": 1, "done": 2, "failed": 1},
        "slot": Slot(),
        "detail": None,
        "samples": samples(DESKTOP),
        "lease_state": state(),
        "profile": PROFILE,
    }
    return scene(**{**fields, **changes})


def idle() -> Snapshot:
    return waiting(
        jobs=jobs()[5:],
        counts={"done": 2},
        samples=samples(SERVER, DESKTOP),
        lease_state=state(residents=(JUDGE,), notes=(Note(NOW - 1900, Reason("models_returned", {"count": 3})),)),
    )


def serving() -> Snapshot:
    """A served model of the home has the GPU, beside a model of Ollama."""
    process = ProcessReading(
        2301, "llama-server", 2_000_000_000, False, PCI, command="llama-server --port 18080", served="note-title"
    )
    note = ResidentModel("note-title", 2_000_000_000, 4096)
    held = state(residents=(JUDGE,), served=(note,))
    return waiting(jobs=jobs()[5:], counts={"done": 2}, samples=samples(SERVER, process, DESKTOP), lease_state=held)


def served_away() -> Snapshot:
    """Job 42 trains, and a served model is away for it."""
    return training(lease_state=state("held", job_id=42, since=NOW - 2100, served_away=("note-title",)))


def held_by_another() -> Snapshot:
    values = {"name": "blender", "pid": 52_110, "user": "ben", "held_bytes": 9_100_000_000, "since": NOW - 5000}
    reason = Reason("held_by_program", values)
    return waiting(
        samples=samples(RENDERER, DESKTOP), lease_state=state("blocked", job_id=45, since=NOW - 60, status=reason)
    )


def held_by_another_home() -> Snapshot:
    said = Reason("held_by_other_home", {"job_id": 7, "home": "/srv/ben/bakehouse"})
    return waiting(lease_state=state("blocked", job_id=45, since=NOW - 60, status=said))


def stale_memory() -> Snapshot:
    told = {"unowned_bytes": OURS, "unowned_since": NOW - 1500, "remedy": Reason("restart_after_driver_death")}
    said = Reason("memory_unowned", {"unowned_bytes": OURS, "since": NOW - 1500})
    return waiting(
        samples=samples(DESKTOP, beyond=OURS),
        lease_state=state("blocked", job_id=45, since=NOW - 60, status=said, **told),
    )


def faulted() -> Snapshot:
    """A page fault of job 42, and nobody has released the GPU since."""
    said = Reason("gpu_faulted", {"job_id": 42, "time": NOW - 1500, "text": "[gfxhub] page fault"})
    blocked = state("blocked", cause="gpu_faulted", since=NOW - 1490, status=said, evicted=EVICTED)
    return waiting(queue=QueueState(False, "", "", gpu_faulted=True), lease_state=blocked)


def clearing() -> Snapshot:
    said = Reason("unloading_models", {"models": list(EVICTED[:2])})
    held = state("clearing", job_id=45, since=NOW - 3, status=said, residents=(JUDGE,), evicted=EVICTED)
    return waiting(samples=samples(SERVER, DESKTOP), lease_state=held)


def verifying() -> Snapshot:
    said = Reason("job_memory_returning", {"job_id": 45, "left_bytes": OURS})
    return waiting(
        samples=samples(DESKTOP, beyond=OURS),
        lease_state=state("verifying", job_id=45, since=NOW - 3, status=said, evicted=EVICTED),
    )


def restoring() -> Snapshot:
    said = Reason("loading_model", {"model": "vault-planner:v1", "place": 2, "total": 3})
    held = state("restoring", job_id=42, since=NOW - 3, status=said, residents=(JUDGE,), evicted=EVICTED[1:])
    return waiting(samples=samples(SERVER, DESKTOP), lease_state=held)


def intruded() -> Snapshot:
    found = training()
    assert found.lease_state is not None
    intruder = Intruder("vault-judge:v1", NOW - 300, 2)
    return replace(found, lease_state=replace(found.lease_state, intruders=(intruder,)))


def spilling() -> Snapshot:
    finding = RunFinding(
        NOW - 42, "spill", "GTT grew by 2.6 GB since the run began: it spills into host memory, and slows down"
    )
    changed = replace(
        DEVICE, vram_used_bytes=16_900_000_000, gtt_used_bytes=2_700_000_000, busy_percent=71.0, power_watts=160
    )
    found = training(findings={42: (finding,)})
    full = replace(TRAINER, vram_bytes=16_000_000_000)
    return replace(
        found, samples=tuple(replace(one, devices=(changed,), processes=(full, DESKTOP)) for one in found.samples)
    )


def throttled() -> Snapshot:
    found = training()
    hot = {"temperature_hotspot_c": 104.0, "throttling": ("thermal", "power")}
    return replace(
        found, samples=tuple(replace(one, devices=(replace(one.devices[0], **hot),)) for one in found.samples)
    )


def several() -> Snapshot:
    return training(samples=samples(TRAINER, DESKTOP, second=True, busy_percent=97.0, power_watts=238.0))


def absent() -> Snapshot:
    """A GPU that gives its memory and nothing else, and a driver that names nobody."""
    bare = DeviceReading(0, "Arc B580", "none", PCI, 12_216_000_000, 3_100_000_000)
    found = waiting(lease_state=state(baseline_bytes=None, server=None))
    return replace(
        found, samples=tuple(Sample(one.time, "sysfs", HostReading(), (bare,)) for one in found.samples), profile=None
    )


def asleep() -> Snapshot:
    found = waiting()
    sleeps = DeviceReading(0, "RX 9070 XT", "amd", PCI, vram_total_bytes=TOTAL, suspended=True)
    return replace(found, samples=tuple(replace(one, devices=(sleeps,), processes=()) for one in found.samples))


def old_readings() -> Snapshot:
    found = training()
    return replace(found, samples=tuple(replace(one, time=one.time - 12) for one in found.samples))


def broken_source() -> Snapshot:
    problem = "sysfs: gpu_busy_percent does not answer since 2 s; tried again in 30 s"
    return training(samples=samples(TRAINER, DESKTOP, problem=problem, power_watts=238.0))


MOMENTS = {
    function.__name__: function
    for function in (
        idle,
        serving,
        served_away,
        training,
        held_by_another,
        held_by_another_home,
        stale_memory,
        faulted,
        clearing,
        verifying,
        restoring,
        intruded,
        spilling,
        throttled,
        several,
        absent,
        asleep,
        old_readings,
        broken_source,
    )
}
