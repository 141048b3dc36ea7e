"""The words for whether a job fits into a GPU's memory: the same wherever that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.gpu.room import Fit
from core.text import printable

if TYPE_CHECKING:
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
