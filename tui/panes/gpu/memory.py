"""The GPU's memory: who holds it, what the running job was expected to take and took, whether the next one fits."""

from __future__ import annotations

from core.format import data_size, energy, gb, gb_within, plural
from core.gpu.memory_owners import USABLE, MemoryOwners
from core.gpu.reading import DeviceReading, Sample
from core.gpu.room import GpuRoom
from core.store.jobs import JobRow
from core.text import printable
from core.wording.memory import fit_words
from tui.lines import Line, side_by_side
from tui.model.forecasts import RunForecast
from tui.model.gpu_facts import next_bytes, next_on_gpu, room, server_name, shares
from tui.model.snapshot import Snapshot
from tui.widgets.bars import signed_bar, stacked_bar

Share = tuple[str, str, int, str]
"""(sign, who, bytes, role): the sign tells the parts of the bar apart where colours do not."""
LABEL = 5
SEEN_BYTES = 50_000_000
MOST_NAMED = 3


def owners(snapshot: Snapshot, known: MemoryOwners) -> list[Share]:
    """Who holds the memory, in the order of the bar."""
    job = snapshot.slot.job_id
    found: list[Share] = [("█", f"job {job}" if job else "ours", known.ours_bytes, "busy")]
    state = snapshot.lease_state
    own = known.home_served_bytes or (sum(one.size_vram_bytes for one in state.served) if state else 0)
    own = min(own, known.served_bytes)
    found.append(("▓", server_name(snapshot), known.served_bytes - own, "violet"))
    found.append(("▓", "served", own, "violet"))
    found += [("▄", printable(other.name), other.vram_bytes, "warn") for other in known.others[:MOST_NAMED]]
    rest = sum(other.vram_bytes for other in known.others[MOST_NAMED:])
    found.append(("▄", f"{len(known.others) - MOST_NAMED} others", rest, "warn"))
    # After a job its memory takes a moment to come back: until that is over, nobody says that it is lost.
    returning = state is not None and state.phase == "verifying"
    found.append(("×", "coming back" if returning else "no owner", known.unowned_bytes, "warn" if returning else "bad"))
    # Where nothing was learnt of the idle use, much that nobody is named for is more than an idle GPU's.
    found.append(
        ("▒", "idle" if known.knows_idle or known.idle_bytes < 2e9 else "not told whose", known.idle_bytes, "dim")
    )
    return [share for share in found if share[2] >= SEEN_BYTES]


def gpu_rows(snapshot: Snapshot, device: DeviceReading, width: int) -> list[Line]:
    """The bar of the GPU's memory, and below it who holds what, in as many rows as that needs."""
    known = shares(snapshot)
    if known is None:
        size = f", {data_size(device.vram_total_bytes)} in all" if device.vram_total_bytes else ""
        said = "the GPU sleeps: nobody uses it" if device.suspended else "its use is not given by the driver"
        return [Line("VRAM ").add(said + size, "dim").cut(width)]
    total_bytes, used = known.total_bytes, known.used_bytes
    limit = total_bytes * USABLE
    figures = f" {gb(used)}/{data_size(total_bytes)}"
    found = owners(snapshot, known)
    bar = signed_bar(
        [(sign, count, role) for sign, _, count, role in found], total_bytes, width - LABEL - len(figures), limit
    )
    parts = [Line(f"{sign} ", role).add(f"{who} {gb(count)}", role) for sign, who, count, role in found]
    parts.append(Line(f"░ free {gb(max(0, total_bytes - used))}"))
    rows = [Line("VRAM ").extend(bar).add(figures, "bad" if used > limit else "text")]
    for part in parts:
        if len(rows) == 1 or rows[-1].width + 2 + part.width > width:
            rows.append(Line(" " * LABEL))
        rows[-1].add("  " if rows[-1].width > LABEL else "").extend(part)
    # What a job can have, the idle use left out: it has its figure where there is room.
    if (usable := room(snapshot)) is not None:
        for words in ("usable by a job ", "usable ", ""):
            line = f"┊ {words}{gb(usable.room_bytes)}"
            if rows[-1].width + 2 + len(line) <= width:
                rows[-1].add(f"  {line}", "dim")
                break
    return [row.cut(width) for row in rows]


def host_rows(sample: Sample, job: JobRow | None, width: int) -> list[Line]:
    """The bar of the machine's memory, what the running job took at most and what is left."""
    host = sample.host
    if not host.memory_total_bytes or host.memory_available_bytes is None:
        return [Line("memory ").add("not known", "dim")]
    used = host.memory_total_bytes - host.memory_available_bytes
    figures = f" {gb(used)}/{data_size(host.memory_total_bytes)}"
    bar = stacked_bar([(used, "busy")], host.memory_total_bytes, width - 7 - len(figures))
    parts = [(f"free {data_size(host.memory_available_bytes)}", "dim")]
    if job is not None and job.progress and job.progress.peak_memory_bytes:
        parts.insert(0, (f"job {job.id} at most {data_size(job.progress.peak_memory_bytes)}", "busy"))
    return [Line("memory ").extend(bar).add(figures), Line("       ").extend(side_by_side(parts, width=width - 7))]


def forecast_rows(snapshot: Snapshot, indent: int, width: int) -> list[Line]:
    """What the running job was expected to take against what it took; the GPU peak and energy so far; the next job."""
    slot = snapshot.slot
    job = snapshot.job(slot.job_id)
    peak = job.progress.peak_memory_bytes if job is not None and job.progress else None
    steps = snapshot.ladders.get(slot.job_id or 0, 0)
    room = width - indent
    first: list[Line] = []
    if slot.forecast is not None and job is not None:
        first = forecast_parts(slot.forecast, peak, steps, room)
    # The energy is what can be missed first.
    second = [part for part in (peak_part(snapshot), next_part(snapshot), energy_part(snapshot)) if part is not None]
    # One row where both fit into one.
    if first and second and len((both := side_by_side([*first, *second])).plain) <= room:
        return [Line(" " * indent).extend(both)]
    rows = [side_by_side(parts, width=room) for parts in (first, second) if parts]
    return [Line(" " * indent).extend(row).cut(width) for row in rows if row.pieces]


def peak_part(snapshot: Snapshot) -> Line | None:
    """`GPU peak 12.4`, since the job that holds it began."""
    summary = snapshot.gpu_summary
    if summary is None or summary.peak_vram_bytes is None or snapshot.slot.job_id is None:
        return None
    role = "warn" if _over(snapshot, summary.peak_vram_bytes) else "text"
    return Line(f"GPU peak {gb(summary.peak_vram_bytes)}", role)


def energy_part(snapshot: Snapshot) -> Line | None:
    """`138 Wh`, of the job that holds the GPU so far."""
    summary = snapshot.gpu_summary
    if summary is None or summary.energy_wh is None or snapshot.slot.job_id is None:
        return None
    return Line(energy(summary.energy_wh), "dim")


def _over(snapshot: Snapshot, count: int) -> bool:
    known = shares(snapshot)
    return known is not None and count > known.total_bytes * USABLE


def next_part(snapshot: Snapshot) -> Line | None:
    """`next 45: 8.9, fits`; what it waits for when it does not; None where nothing is predicted."""
    job, needed = next_on_gpu(snapshot), next_bytes(snapshot)
    if job is None or needed is None:
        return None
    subject = f"next {job.id}: {gb(needed)}"
    device = None if snapshot.sample is None else snapshot.sample.job_gpu
    known, forecast = room(snapshot), snapshot.slot.next_forecast
    if known is None and device is not None and device.vram_total_bytes:
        known = GpuRoom(device.vram_total_bytes)
    if known is not None:
        fit = known.fit(needed)
    elif device is None and forecast is not None and forecast.known:
        fit = "fits" if needed <= forecast.limit_bytes else "too_large"
    else:
        return Line(subject, "dim")
    words = fit_words(fit, known.holders if known else ())
    return Line(f"{subject}, {words}", {"fits": "dim", "waits": "warn", "too_large": "bad"}[fit])


def forecast_parts(forecast: RunForecast, peak: int | None, ladder: int, room: int) -> list[Line]:
    """`forecast for this run 11.7 ± 0.2, measured peak so far 11.4`; shorter words where there is no room."""
    if not forecast.known:
        measured = Line(f"measured peak so far {data_size(peak)}", "text") if peak else Line()
        return [Line("not predicted: measured as it runs", "dim"), measured]
    # Both are what torch has allocated (on a CPU the resident size): the context and the reserve are in neither.
    low, high = (forecast.allocated_bytes + sign * forecast.plus_minus_bytes for sign in (-1, 1))
    figure = gb_within(forecast.allocated_bytes, forecast.plus_minus_bytes)
    if ladder:
        # What was forecast is the recipe as submitted, and that is not what runs any more.
        said = [Line(f"forecast {figure}, before {plural(ladder, 'step')} of the ladder", "warn")]
        return [*said, Line(f"peak {gb(peak)}")] if peak else said
    if not peak:
        return [Line(f"forecast for this run {figure}", "dim")]
    role = "warn" if peak > high else "text" if peak >= low else "dim"
    long = Line(f"forecast for this run {figure}, ", "dim").add(f"measured peak so far {gb(peak)}", role)
    if long.width <= room:
        return [long]
    return [Line(f"forecast {figure}, ", "dim").add(f"measured peak so far {gb(peak)}", role)]
