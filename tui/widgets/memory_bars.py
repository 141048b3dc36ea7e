"""Memory as bars on one scale in GB: a run by its components, others beside it, and the limit as a dashed rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.format import gb, gb_within
from core.wording.memory import forecast_words
from tui.lines import Line

if TYPE_CHECKING:
    from core.vram.forecast import Forecast

Part = tuple[str, int, str]
"""(what, bytes, role)"""

GROUPS = {
    "weights": ("weights", "busy"),
    "checkpoints": ("checkpoints", "focus"),
    "activations": ("activations", "focus"),
    "lora": ("LoRA, optimizer", "violet"),
    "gradients": ("LoRA, optimizer", "violet"),
    "optimizer": ("LoRA, optimizer", "violet"),
    "copies": ("LoRA, optimizer", "violet"),
    "process": ("Python, torch", "text"),
    "recompute": ("work", "warn"),
    "loss": ("work", "warn"),
    "gaps": ("work", "warn"),
}
STEPS = (0.1, 0.2, 0.5, 1, 2, 4, 5, 10, 20, 40, 50, 100, 200)


def parts_of(components: Mapping[str, int], allocated: int, device: int) -> list[Part]:
    """The components in groups of one colour, corrected as the sum is; last what the GPU holds beyond them."""
    total = sum(components.values()) or 1
    groups: dict[str, tuple[float, str]] = {}
    for name, count in components.items():
        word, role = GROUPS.get(name, (name, "warn"))
        groups[word] = (groups.get(word, (0.0, role))[0] + count * allocated / total, role)
    parts = [(word, round(count), role) for word, (count, role) in groups.items()]
    if device > allocated:
        parts.append(("reserve", device - allocated, "dim"))
    return parts


def forecast_parts(forecast: Forecast) -> list[Part]:
    return parts_of(forecast.estimate.components, forecast.allocated_bytes, forecast.device_bytes)


def scale(top: float, width: int) -> Line:
    """`0    4    8   12` over a bar of `width` cells that ends at `top` bytes."""
    step = next((step for step in STEPS if top / 1e9 / step <= max(2, width / 9)), STEPS[-1])
    line, value = Line(), 0.0
    while value * 1e9 <= top:
        label = f"{value:g}"
        at = round(value * 1e9 / top * width)
        if at + len(label) > width + 4 or (at and at < line.width + 1):
            break
        line.to(at).add(label, "dim")
        value = round(value + step, 6)
    return line


def bar(parts: list[Part], top: float, limit: float, width: int) -> Line:
    """Parts as blocks, red from the limit on; the rest shaded, the limit as `┊`."""
    cells: list[tuple[str, str]] = []
    edge = min(width - 1, int(limit / top * width))
    reached = 0
    for _, count, role in parts:
        reached += count
        end = min(width, max(len(cells), round(reached / top * width)))
        cells += [("█", role)] * (end - len(cells))
    if reached > limit:
        # At least one cell says so, where the excess is narrower than one.
        start = min(edge, max(0, len(cells) - 1))
        cells[start:] = [("█", "bad")] * (len(cells) - start)
    cells += [("░", "frame")] * (width - len(cells))
    if limit < top and cells[edge][0] == "░":
        cells[edge] = ("┊", "warn")
    line = Line()
    for character, role in cells:
        line.add(character, role)
    return line


def verdict(forecast: Forecast, plus_minus: bool = True) -> Line:
    """`8.9 ± 0.3, fits`: the figure is what the GPU will show as used."""
    figure = gb_within(forecast.device_bytes, forecast.plus_minus_bytes) if plus_minus else gb(forecast.device_bytes)
    words = forecast_words(forecast)
    if not forecast.fits:
        return Line(f"{figure}, {words}", "bold bad" if plus_minus else "bad")
    if forecast.fit == "waits" or not forecast.surely_fits:
        return Line(figure, "bold warn" if plus_minus else "warn").add(f", {words}", "warn")
    return Line(figure, "bold" if plus_minus else "text").add(f", {words}")


def legend(parts: list[Part], width: int) -> list[Line]:
    """`weights 5.6  checkpoints 1.0`, each in the colour of its blocks, in as many rows as they need.

    What is nearly nothing is left out.
    """
    rows = [Line()]
    for word, count, role in parts:
        if count < 50_000_000:
            continue
        said = f"{word} {gb(count)}"
        if rows[-1].pieces and rows[-1].width + 2 + len(said) > width:
            rows.append(Line())
        rows[-1].add("  " if rows[-1].pieces else "").add(said, role)
    return [row.cut(width) for row in rows]
