"""The tables of the GPU pane when it is alone: processes, what the server holds, the GPUs, the runner's notes, the profile."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.format import clock, gb, named_values, when, with_limit
from core.gpu.reading import DeviceReading, ProcessReading, Sample
from core.gpu_lease.state import LeaseState
from core.text import printable
from core.wording.gpu import gpu_words
from tui.lines import Line, wrapped
from tui.model.gpu_facts import gpu, server_name
from tui.model.snapshot import ProfileLines, Snapshot

RUN_FOLDER = re.compile(r"/\S*/runs/(\d+)\b")
LEVELS = {"ok": "dim", "warn": "warn", "bad": "bad"}


def process_rows(snapshot: Snapshot, width: int) -> list[Line]:
    """Every process that has the GPU open, the one that holds most first."""
    sample, device = snapshot.sample, gpu(snapshot.sample)
    if sample is None or device is None:
        return []
    here = [process for process in sample.processes if process.pci in (None, device.pci)]
    head = Line("    pid", "dim").to(9).add("user", "dim").to(19).add("VRAM GB", "dim").to(29).add("GTT", "dim")
    rows = [
        heading("processes", f"{len(here)} on this GPU"),
        head.to(34).add("since", "dim").to(42).add("command", "dim"),
    ]
    if not here:
        return [rows[0], Line("none: nobody has it open, or the driver does not tell", "dim")]
    rows += [
        process_row(process, snapshot) for process in sorted(here, key=lambda item: (-(item.vram_bytes or 0), item.pid))
    ]
    return [row.cut(width) for row in rows]


def process_row(process: ProcessReading, snapshot: Snapshot) -> Line:
    holds = bool(process.vram_bytes)
    role = "busy" if process.ours else "text" if holds else "dim"
    line = Line("█ " if process.ours else "  ", "busy").add(f"{process.pid:>5}", role).to(9)
    line.add(printable(process.user or "—"), role).cut(18).to(19).add(f"{gb(process.vram_bytes):>7}", role).to(27)
    line.add(f"{gb(process.gtt_bytes):>5}", role).to(34)
    line.add(when(process.since, snapshot.time) or "—", role).to(42)
    job = snapshot.slot.job_id
    if process.ours:
        line.add(f"job {job}  " if job else "ours  ", "busy")
    elif process.served is not None:
        line.add(f"served {printable(process.served)}  ", "violet")
    return line.add(short_command(printable(process.command or process.name or "?")), role)


def short_command(command: str) -> str:
    """A command without the folders of its program and of the run it works on."""
    program, space, rest = command.partition(" ")
    return program.rsplit("/", 1)[-1] + space + RUN_FOLDER.sub(r"runs/\1", rest)


def server_rows(snapshot: Snapshot, width: int) -> list[Line]:
    """What the model server holds, what was unloaded for the job, what clients loaded meanwhile."""
    state = snapshot.lease_state
    if state is None or not (state.server or state.server_fault or state.residents or state.evicted):
        return []
    rows = [heading(printable(state.server or server_name(snapshot)), "" if state.residents else "holds no model")]
    if state.server_fault:
        rows.append(Line(f"▲ {gpu_words(state.server_fault)}", "warn"))
    for model in state.residents:
        line = Line("  ").add(printable(model.name)).cut(32).to(34).add(f"{gb(model.size_vram_bytes):>5} GB")
        line.add(f"   context {model.context_length:,}" if model.context_length else "", "dim")
        stays = f"until {when(model.expires_at, snapshot.time)}" if model.expires_at else "stays"
        rows.append(line.add(f"   {stays}", "dim"))
    if state.evicted:
        label = "  loaded before the job: " if state.serves else "  unloaded for the job: "
        rows.append(Line(label, "dim").add(", ".join(printable(name) for name in state.evicted)))
    for intruder in state.intruders:
        said = f"  {printable(intruder.name)} loaded by a client {intruder.times}×, first at {clock(intruder.since)}"
        rows.append(Line(said, "warn"))
    return [row.cut(width) for row in rows]


def gpu_rows(sample: Sample, width: int) -> list[Line]:
    """All GPUs, the one that jobs run on marked."""
    rows = [heading("GPUs", f"read from {printable(sample.source)}")]
    rows += [row for index, device in enumerate(sample.devices) for row in device_rows(device, index == 0, width)]
    return [row.cut(width) for row in rows]


def device_rows(device: DeviceReading, chosen: bool, width: int) -> list[Line]:
    where = [
        printable(device.pci or ""),
        printable(device.architecture or ""),
        "integrated" if device.integrated else "",
    ]
    line = Line("▸ " if chosen else "  ", "focus").add(printable(device.name), "text" if chosen else "dim")
    line.add("   ").add("  ".join(part for part in where if part), "dim")
    if device.suspended:
        return [line.add("   sleeps", "dim")]
    figures = []
    if device.vram_total_bytes:
        figures.append(f"{gb(device.vram_used_bytes)}/{gb(device.vram_total_bytes)} GB")
    if device.gtt_used_bytes is not None:
        total = f"/{gb(device.gtt_total_bytes)}" if device.gtt_total_bytes else ""
        figures.append(f"GTT {gb(device.gtt_used_bytes)}{total} GB")
    if device.busy_percent is not None:
        figures.append(f"busy {device.busy_percent:.0f} %")
    if device.memory_busy_percent is not None:
        figures.append(f"memory busy {device.memory_busy_percent:.0f} %")
    if device.power_watts is not None:
        figures.append(with_limit(device.power_watts, device.power_limit_watts, "W"))
    degrees = named_values(
        {
            "edge": device.temperature_edge_c,
            "hotspot": device.temperature_hotspot_c,
            "memory": device.temperature_memory_c,
        },
        "°C",
    )
    if degrees:
        figures.append(degrees)
    if device.clock_mhz is not None:
        memory = f", memory {device.memory_clock_mhz:,}" if device.memory_clock_mhz is not None else ""
        figures.append(f"clock {device.clock_mhz:,}{memory} MHz")
    if device.fan_rpm is not None or device.fan_percent is not None:
        figures.append(
            "fan " + (f"{device.fan_rpm:,} rpm" if device.fan_rpm is not None else f"{device.fan_percent:.0f} %")
        )
    if device.slowed_by is not None:
        figures.append(
            f"throttling: {printable(', '.join(device.slowed_by))}" if device.slowed_by else "not throttling"
        )
    if not figures:
        return [line.add("   gives no figures", "dim")]
    return [line, *(Line("    ").add(row, "text" if chosen else "dim") for row in flowed(figures, width - 4))]


def flowed(parts: Sequence[str], width: int) -> list[str]:
    """Parts side by side in as many rows as they need, none broken."""
    rows: list[str] = []
    for part in parts:
        if rows and len(rows[-1]) + 3 + len(part) <= width:
            rows[-1] += f" · {part}"
        else:
            rows.append(part)
    return rows


def note_rows(state: LeaseState | None, now: float, width: int) -> list[Line]:
    """What happened to the GPU, the newest first."""
    if state is None or not state.notes:
        return []
    rows = [heading("what happened", "the newest first")]
    for note in reversed(state.notes):
        moment = clock(note.time, seconds=True) if now - note.time < 43_200 else when(note.time, now)
        role = LEVELS.get(note.level, "text")
        sign = "✗ " if note.level == "bad" else "▲ " if note.level == "warn" else ""
        for index, row in enumerate(wrapped(sign + gpu_words(note.reason, now), width - 12)):
            rows.append(Line("  ").add(moment if index == 0 else "", "dim").to(12).add(row, role))
    return rows


def profile_rows(profile: ProfileLines | None, width: int) -> list[Line]:
    """The variables that jobs on this GPU are given, and why."""
    if profile is None:
        return []
    rows = [heading("environment of jobs", printable(profile.name))]
    longest = min(44, max((len(name) for name, _ in profile.rows), default=0))
    for name, why in profile.rows:
        head = (Line("  ").add(printable(name)) if name else Line("  note", "dim")).cut(longest + 2).to(longest + 5)
        for index, row in enumerate(list(wrapped(printable(why), width - longest - 5)) or [""]):
            rows.append((head if index == 0 else Line(" " * (longest + 5))).add(row, "dim"))
    return rows


def heading(name: str, note: str = "") -> Line:
    return Line(name, "bold").add(f"  {note}" if note else "", "dim")
