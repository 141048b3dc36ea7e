"""The table of `bakehouse gpu`: what a GPU does not give is left out, and text of others is only text."""

from __future__ import annotations

from collections.abc import Iterator

from core.cli.readings import Reading
from core.format import data_size, duration, moment
from core.gpu.memory_owners import memory_owners
from core.gpu.reading import DeviceReading, HostReading, ProcessReading
from core.gpu.room import gpu_room
from core.gpu_lease.state import LeaseState
from core.text import cell_width, clip, printable
from core.wording.gpu import gpu_phase_words, gpu_words
from core.wording.obstacles import not_used

_HEAD = 15
_SEEN_BYTES = 50_000_000
_SIGNS = {"ok": "✓", "warn": "▲", "bad": "✗"}


def table(reading: Reading, width: int | None = None) -> list[str]:
    """All that is known, line by line, cut at `width` columns where the terminal has so many."""
    sample = reading.sample
    lines = []
    for device in sample.devices:
        lines += device_lines(device, reading.gpu_pci, alone=len(sample.devices) == 1)
        if device.pci is not None and device.pci == reading.gpu_pci:
            lines += whose(reading, device)
        lines.append("")
    if not sample.devices:
        lines += ["GPU           none found", ""]
    lines += host_lines(sample.host)
    lines += process_lines(reading)
    lines += ["", row("lease", standing(reading))]
    if reading.state is not None:
        lines += state_lines(reading.state, reading.runner_alive)
    lines += [row("read", taken(reading)), *warnings(reading)]
    return [clip(line, width) if width else line for line in map(printable, lines)]


def device_lines(device: DeviceReading, gpu_pci: str | None, *, alone: bool) -> list[str]:
    head = [device.name, device.architecture, device.pci]
    if device.integrated:
        head.append("integrated")
    if device.pci is not None and device.pci == gpu_pci and not alone:
        head.append("jobs run here")
    lines = [row(f"GPU {device.index}", "  ".join(part for part in head if part))]
    if device.for_jobs is False and gpu_pci is None and not device.integrated:
        lines.append(row("", f"▲ {not_used(device)}: jobs run on the CPU"))
    if device.suspended:
        lines.append(row("", "asleep: reading it would wake it"))
    for label, value in figures(device):
        if value:
            lines.append(row(f"  {label}", value))
    return lines


def whose(reading: Reading, device: DeviceReading) -> list[str]:
    """Whose the memory of the GPU is that jobs run on, as far as anybody holds any."""
    state = reading.state if reading.runner_alive else None
    served = state.loaded_bytes if state else 0
    known = memory_owners(reading.sample, device, state.baseline_bytes if state else None, served)
    if known is None:
        return []
    others = [(holding.name, holding.vram_bytes) for holding in known.others]
    parts = [("ours", known.ours_bytes), ("served models", known.served_bytes), *others]
    parts += [("no owner", known.unowned_bytes), ("idle use" if known.knows_idle else "not told", known.idle_bytes)]
    held = [f"{name} {data_size(count)}" for name, count in parts if count >= _SEEN_BYTES]
    free = known.total_bytes - known.used_bytes
    figures = [*held, f"free {data_size(free)}"]
    if state is not None:
        room = gpu_room(known, models_stay=state.models_stay, tolerance_bytes=state.tolerance_bytes)
        figures.append(f"usable by a job {data_size(room.room_bytes)}")
    return [row("  whose", "   ".join(figures))]


def figures(device: DeviceReading) -> Iterator[tuple[str, str]]:
    """Label and words; empty words where nothing is known."""
    yield "VRAM", of_bytes(device.vram_used_bytes, device.vram_total_bytes)
    yield "GTT", of_bytes(device.gtt_used_bytes, device.gtt_total_bytes)
    yield "busy", joined(amount(device.busy_percent, "%"), amount(device.memory_busy_percent, "%", "memory "))
    limit = "" if device.power_limit_watts is None else f" of {device.power_limit_watts:.0f} W"
    yield "power", amount(device.power_watts, "W") + limit if device.power_watts is not None else ""
    degrees = [("edge", device.temperature_edge_c), ("hotspot", device.temperature_hotspot_c)]
    degrees.append(("memory", device.temperature_memory_c))
    yield "temperature", joined(*(amount(value, "°C", f"{sensor} ") for sensor, value in degrees))
    yield "clock", joined(amount(device.clock_mhz, "MHz"), amount(device.memory_clock_mhz, "MHz", "memory "))
    yield "fan", joined(amount(device.fan_percent, "%"), amount(device.fan_rpm, "rpm"))
    if device.slowed_by is not None:
        yield "throttling", f"▲ {', '.join(device.slowed_by)}" if device.slowed_by else "none"


def host_lines(host: HostReading) -> list[str]:
    used = None
    if host.memory_total_bytes is not None and host.memory_available_bytes is not None:
        used = host.memory_total_bytes - host.memory_available_bytes
    cores = f" on {host.cpu_count} cores" if host.cpu_count else ""
    load = "" if host.load_1m is None else f"{host.load_1m:.2f}{cores}"
    shown = [("memory", of_bytes(used, host.memory_total_bytes)), ("load", load)]
    shown.append(("CPU", amount(host.cpu_percent, "%")))
    return [row(label, value) for label, value in shown if value]


def process_lines(reading: Reading) -> list[str]:
    """A row a process, the columns as wide as what stands in them."""
    sample = reading.sample
    if not sample.processes:
        return []
    places = {device.pci: str(device.index) for device in sample.devices if device.pci}
    rows = [("GPU", "pid", "user", "VRAM", "since", "command")]
    for process in sample.processes:
        held = data_size(process.vram_bytes) or "?"
        place = places.get(process.pci or "", "")
        since = moment(process.since)
        rows.append((place, str(process.pid), process.user or "", held, since, named(process)))
    rows = [tuple(printable(cell) for cell in cells) for cells in rows]  # type: ignore[misc]
    widths = [max(cell_width(cells[column]) for cells in rows) for column in range(5)]
    if len(sample.devices) < 2:
        widths[0] = 0
    shown = []
    for place, pid, user, held, since, command in rows:
        cells = [padded(place, widths[0])] if widths[0] else []
        cells += [pid.rjust(widths[1]), padded(user, widths[2]), held.rjust(widths[3]), padded(since, widths[4])]
        shown.append("  ".join([*cells, command]))
    return ["", *shown]


def named(process: ProcessReading) -> str:
    said = process.command or process.name or ""
    if process.served is not None:
        return f"● served {process.served}  {said}"
    return f"● ours  {said}" if process.ours else said


def standing(reading: Reading) -> str:
    """The lease in words; it can be held by a process that has not said, or not yet, for whom."""
    held = reading.lease
    slot = "the GPU" if reading.gpu_pci else "the CPU, the one slot"
    if held is None:
        return f"{slot}: free"
    if "problem" in held:
        return f"{slot}: ▲ {held['problem']}"
    if "job" not in held:
        return f"{slot}: in use by an unknown process"
    since = f", since {moment(held['since'])}" if "since" in held else ""
    return f"{slot}: in use by job {held['job']} of {held.get('home', 'an unknown home')}{since}"


def state_lines(state: LeaseState, runner_alive: bool) -> list[str]:
    """What the runner says of the GPU, and what it said last when it is gone."""
    phase = gpu_phase_words(state.phase, state.job_id, state.cause, state.mode)
    since = f" since {moment(state.since)}" if state.since is not None and state.phase != "free" else ""
    old = "" if runner_alive else f"  (as the runner left it at {moment(state.time)})"
    message = f": {gpu_words(state.status)}" if state.status else ""
    lines = [row("gpu", f"{phase}{since}{message}{old}")]
    if state.server or state.server_fault:
        lines.append(row("models", f"▲ {gpu_words(state.server_fault)}" if state.server_fault else server(state)))
    if state.evicted:
        label, after = ("before", "restored") if state.serves else ("unloaded", "reloaded")
        lines.append(row(label, f"{', '.join(state.evicted)}: will be {after} after the job"))
    if state.served:
        held = (f"{one.name} {data_size(one.size_vram_bytes)}" for one in state.served)
        lines.append(row("served", f"llama-server: {', '.join(held)}"))
    if state.served_away:
        lines.append(row("away", f"{', '.join(state.served_away)}: will be started again after the job"))
    for intruder in state.intruders:
        times = f", {intruder.times} times" if intruder.times > 1 else ""
        said = f"{intruder.name} was loaded by a client during the job, {moment(intruder.since)}{times}"
        lines.append(row("", f"▲ {said}"))
    if state.baseline_bytes is not None:
        lines.append(row("idle use", data_size(state.baseline_bytes)))
    if state.unowned_bytes:
        since = f" since {moment(state.unowned_since)}" if state.unowned_since is not None else ""
        advice = f". {gpu_words(state.remedy)}" if state.remedy else ""
        lines.append(row("unowned", f"▲ {data_size(state.unowned_bytes)} that no process holds{since}{advice}"))
    elif state.remedy:
        lines.append(row("", f"▲ {gpu_words(state.remedy)}"))
    for note in state.notes[-5:]:
        lines.append(row(moment(note.time), f"{_SIGNS.get(note.level, '·')} {gpu_words(note.reason)}"))
    return lines


def server(state: LeaseState) -> str:
    """`Ollama 0.24.0: judge:v1 5.2 GB, planner:v1 3.1 GB`."""
    held = [f"{model.name} {data_size(model.size_vram_bytes)}" for model in state.residents]
    return f"{state.server}: {', '.join(held) or 'none loaded'}"


def taken(reading: Reading) -> str:
    """Who read it, when, and through what."""
    if reading.taken_by == "command":
        return f"now, {reading.sample.source}"
    return f"by the runner, {reading.age_seconds:.1f} s ago, {reading.sample.source}"


def warnings(reading: Reading) -> list[str]:
    found = []
    if reading.stale:
        age = duration(reading.age_seconds)
        found.append(f"▲ the figures are {age} old: a runner lives and writes no new ones; see runner.log in its home")
    if reading.runner_alive and reading.taken_by == "command":
        found.append("▲ a runner lives and has written no readings; these are this command's own")
    if reading.sample.problem:
        found.append(f"▲ {reading.sample.problem}")
    return found


def row(label: str, value: str) -> str:
    return f"{label:<{_HEAD}}{value}".rstrip()


def of_bytes(used: int | None, total: int | None) -> str:
    """`11.6 of 17.1 GB, 68 %`, or the one of both that is known."""
    if used is None or total is None:
        return f"{data_size(used)} in use" if used is not None else data_size(total) and f"{data_size(total)} in all"
    of_it = f", {100 * used / total:.0f} %" if total else ""
    return f"{data_size(used)} of {data_size(total)}{of_it}"


def amount(value: float | None, unit: str, before: str = "") -> str:
    return "" if value is None else f"{before}{value:.0f} {unit}"


def joined(*parts: str) -> str:
    return "   ".join(part for part in parts if part)


def padded(said: str, width: int) -> str:
    return said + " " * max(0, width - cell_width(said))
