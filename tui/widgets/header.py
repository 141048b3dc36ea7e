"""The first line: where am I, what runs, what waits, what is wrong, what time is it."""

from __future__ import annotations

from core.format import clock, percent, plural, weekday
from core.store.jobs import ACTIVE
from core.text import printable
from tui.lines import Line
from tui.model.gpu_facts import gpu_name
from tui.model.snapshot import EMPTY, Snapshot
from tui.widgets.canvas import Canvas


def header(snapshot: Snapshot, width: int) -> Line:
    """Everything but the clock, which is a widget of its own: it changes each second, this does not."""
    small = width < 88
    line = Line(" Bakehouse", "bold").add(f"  {printable(snapshot.host)}")
    if not small and (name := gpu_name(snapshot.sample)):
        line.add(" · ", "dim").add(name)
    if not snapshot.ready:
        return line
    job = snapshot.running
    waiting = max(0, snapshot.waiting - snapshot.held)
    if job is None:
        line.add("   idle", "text" if waiting else "good")
    else:
        title = job.title.removesuffix(f" · {job.model}") if job.model else job.title
        text = f"   ▶ {job.id} {printable(title)}"
        if job.progress and job.progress.fraction is not None and job.state == "running":
            text += f" {percent(job.progress.fraction)}"
            left = job.progress.left
            text += f", {left}" if left and not small else ""
        line.add(text, "busy")
        others = sum(other.state in ACTIVE for other in snapshot.jobs) - 1
        if others > 0:
            line.add(f" +{others}", "busy")
    if waiting and not small:
        line.add(f"   {waiting} waiting")
    if snapshot.held and not small:
        line.add(f"   {snapshot.held} held")
    if snapshot.queue.paused:
        line.add("   ‖ paused", "warn")
    if count := len(snapshot.warnings):
        said = f"   ▲ {plural(count, 'warning')}"
        if small or line.width + len(said) + 2 > width:
            said = f"   ▲ {count}"
        line.add(said, "warn").add(" w", "bold")
    return line.cut(width)


class Header(Canvas):
    def __init__(self) -> None:
        super().__init__(id="header")
        self.snapshot: Snapshot = EMPTY

    def show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        return [header(self.snapshot, width)]


class ClockLabel(Canvas):
    """Day and time; without the seconds on small terminals and slow lines."""

    def __init__(self) -> None:
        super().__init__(id="clock")
        self.time = 0.0
        self.seconds = True

    def show(self, time: float, seconds: bool) -> None:
        self.time, self.seconds = time, seconds
        self.paint()

    def draw(self, width: int, height: int) -> list[Line]:
        if not self.time:
            return [Line()]
        day = f"{weekday(self.time)} " if self.seconds else ""
        return [Line().right(Line(f"{day}{clock(self.time, self.seconds)}", "dim"), width - 1)]
