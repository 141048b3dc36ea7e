"""GPU: who holds the GPU, will the next run fit, is it healthy? Without one: the machine's memory and load, and the one
slot of the CPU. Alone on the screen it shows all that is known of the GPU."""

from __future__ import annotations

from core.format import data_size, duration, gb, percent, plural
from core.gpu.memory_owners import USABLE
from core.text import printable
from tui.lines import Line, side_by_side
from tui.model.gpu_facts import HOT_C, gpu, shares
from tui.panes.gpu.history import history_rows, trend_rows
from tui.panes.gpu.lease import lease_rows, remark_rows, remarks, slot_rows, status_parts
from tui.panes.gpu.memory import LABEL, forecast_rows, gpu_rows, host_rows, owners
from tui.panes.gpu.tables import gpu_rows as gpus_table
from tui.panes.gpu.tables import note_rows, process_rows, profile_rows, server_rows
from tui.widgets.bars import signed_bar
from tui.widgets.pane import Pane

FAR = 100_000
Ranked = list[tuple[int, Line]]
"""Rows with how soon they give way where there is no room: 0 never, 9 first."""


def ranked(rows: list[Line], *ranks: int) -> Ranked:
    """Each row with its rank; the last rank holds for all that follow."""
    return [(ranks[min(index, len(ranks) - 1)], row) for index, row in enumerate(rows)]


def that_fit(rows: Ranked, height: int) -> list[Line]:
    """The rows that are left when those that matter least have given way, of equal ones the last first."""
    kept = list(rows)
    while len(kept) > height:
        least = max(rank for rank, _ in kept)
        if least == 0:
            break
        kept.pop(next(index for index in range(len(kept) - 1, -1, -1) if kept[index][0] == least))
    return [row for _, row in kept]


class GpuPane(Pane):
    number = 2
    heading = "GPU"

    def __init__(self) -> None:
        super().__init__(id="gpu")
        self.alone = False
        """The whole screen is its: all that is known is shown, and scrolls."""
        self.top = 0
        self.below = 0

    def set_alone(self, alone: bool) -> None:
        if alone != self.alone:
            self.alone, self.top = alone, 0
            self.paint()

    def move(self, step: int) -> None:
        if self.alone:
            self.top = max(0, min(FAR, self.top + step))
            self.paint()

    def note(self) -> Line:
        sample = self.snapshot.sample
        if sample is None:
            return Line("no reading yet", "dim") if self.snapshot.ready else Line()
        if self.alone and self.below:
            return Line(f"{plural(self.below, 'row')} below", "dim")
        if (age := self.snapshot.stale_seconds) is not None:
            return Line(f"▲ {duration(age)} old", "warn")
        more = f"GPU 1 of {len(sample.devices)}, " if len(sample.devices) > 1 else ""
        return Line(f"{more}{printable(sample.source) if sample.devices else 'host memory and load'}, 1 Hz", "dim")

    def draw(self, width: int, height: int) -> list[Line]:
        # The note tells how many rows stand below those that are shown: they are worked out first.
        self.below = 0
        if self.alone and self.snapshot.sample is not None:
            rows = self.everything(width - 4)
            self.top = max(0, min(self.top, len(rows) - (height - 2)))
            self.below = max(0, len(rows) - self.top - (height - 2))
        return super().draw(width, height)

    def rows(self, width: int, height: int) -> list[Line]:
        snapshot = self.snapshot
        if snapshot.sample is None:
            if not snapshot.ready:
                return []
            rows = [Line("no reading yet: the runner takes one a second", "dim").cut(width)]
            return [*rows, Line(), *slot_rows(snapshot, False, width)[:1]]
        if self.alone:
            return self.everything(width)[self.top : self.top + height]
        device = gpu(snapshot.sample)
        memory = gpu_rows(snapshot, device, width) if device else host_rows(snapshot.sample, snapshot.running, width)
        history = history_rows(snapshot.samples, width, device is not None)
        lease = lease_rows(snapshot, device is not None, width)
        wrong = remark_rows(remarks(snapshot), width)
        # What is wrong comes before what only spaces or repeats.
        found = ranked(memory, 0, 1, 4)
        found += ranked(forecast_rows(snapshot, LABEL if device else 7, width), 3, 4)
        found += [(9, Line()), *ranked(history, 2, 5, 6), (9, Line())]
        found += [*ranked(lease, 0, 3, 7), *ranked(wrong, 0, 2, 4, 6, 8)]
        return that_fit(found, height)

    def everything(self, width: int) -> list[Line]:
        """All that is known of the GPU, its machine and who uses it."""
        snapshot = self.snapshot
        sample = snapshot.sample
        if sample is None:
            return []
        device = gpu(sample)
        blocks = [
            gpu_rows(snapshot, device, width) if device else host_rows(sample, snapshot.running, width),
            lease_rows(snapshot, device is not None, width) + remark_rows(remarks(snapshot), width),
            trend_rows(snapshot.samples, width) if device else history_rows(snapshot.samples, width, False),
        ]
        blocks[0] += forecast_rows(snapshot, LABEL if device else 7, width)
        if device:
            blocks += [process_rows(snapshot, width), server_rows(snapshot, width), gpus_table(sample, width)]
            blocks += [note_rows(snapshot.lease_state, snapshot.time, width), profile_rows(snapshot.profile, width)]
        rows: list[Line] = []
        for block in blocks:
            if block:
                rows += [Line(), *block] if rows else block
        return rows

    def summary(self, width: int) -> Line:
        sample = self.snapshot.sample
        if sample is None:
            return Line("no reading yet" if self.snapshot.ready else "", "dim")
        device, host = gpu(sample), sample.host
        parts: list[tuple[str, str]] = []
        if (age := self.snapshot.stale_seconds) is not None:
            parts.append((f"▲ {duration(age)} old", "warn"))
        if device is not None:
            parts += status_parts(self.snapshot)
            if device.busy_percent is not None:
                parts.append((f"{device.busy_percent:.0f} %", "text"))
            if device.power_watts is not None:
                parts.append((f"{device.power_watts:.0f} W", "text"))
            if (hot := device.temperature_hotspot_c or device.temperature_edge_c) is not None:
                parts.append((f"{hot:.0f} °C", "warn" if hot > HOT_C else "text"))
        if device and device.vram_total_bytes and device.vram_used_bytes is not None:
            total, used, limit = device.vram_total_bytes, device.vram_used_bytes, device.vram_total_bytes * USABLE
        elif device is not None:
            asleep = "the GPU sleeps" if device.suspended else "the GPU gives no memory figures"
            return side_by_side([(asleep, "dim"), *parts], width=width)
        elif host.memory_total_bytes and host.memory_available_bytes is not None:
            total, used = host.memory_total_bytes, host.memory_total_bytes - host.memory_available_bytes
            parts = [("no GPU", "dim"), *parts]
            if host.cpu_percent is not None:
                parts.append((f"CPU {percent(host.cpu_percent / 100)}", "text"))
            limit = None
        else:
            return Line("not known", "dim")
        known = shares(self.snapshot)
        held = [(sign, count, role) for sign, _, count, role in owners(self.snapshot, known)] if known else []
        bar = signed_bar(held or [("█", used, "busy")], total, 20, limit)
        figures = (f"{gb(used)}/{data_size(total)}", "text")
        return bar.add(" ").extend(side_by_side([figures, *parts], width=width - 21))
