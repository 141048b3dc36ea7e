"""The words for whether a job fits into a GPU's memory: the same wherever that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.format import data_size
from core.gpu.room import Fit
from core.text import printable

if TYPE_CHECKING:
    from core.vram.budget import Budget
    from core.vram.forecast import Forecast


def fit_words(fit: Fit, holders: Sequence[str] = ()) -> str:
    """`fits`, `waits for blender`, `does not fit`; `holders` are the programs that are in the way, the largest first."""
    if fit == "waits":
        return f"waits for {printable(holders[0]) if holders else 'memory that no process owns'}"
    return {"fits": "fits", "too_large": "does not fit"}[fit]


def forecast_words(forecast: Forecast) -> str:
    """The same of a forecast, which can fit at its central figure and not at its upper end: `fits narrowly`."""
    if forecast.fit == "fits" and not forecast.surely_fits:
        return "fits narrowly"
    room = forecast.budget.room
    return fit_words(forecast.fit, () if room is None else room.holders)


def budget_words(budget: Budget) -> str:
    """`AMD RX 9070 XT: 17.1 GB, 1.2 GB in use, 15.3 GB usable by a job`."""
    idle = f", {budget.in_use}" if budget.in_use else ""
    return f"{budget.name}: {data_size(budget.total_bytes)}{idle}, {data_size(budget.limit_bytes)} usable by a job"
