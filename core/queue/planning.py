"""The memory of a training as its submission sees it: `fit: auto` is settled, the forecast is written down."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.home import Home
from core.queue.spec import FittedKey, ForecastNote
from core.store.database import open_database
from core.vram.budget import Budget, this_machine
from core.vram.calibration import Calibration, calibration_of
from core.vram.fit import changes, fit, leanest, too_large
from core.vram.forecast import Forecast, forecast
from core.vram.layers import NotPredicted
from core.vram.onfile import with_shape


@dataclass(frozen=True)
class Planned:
    """The recipe that will run, what `fit: auto` changed in it, and its forecast or why there is none."""

    recipe: Recipe
    forecast: ForecastNote | None = None
    not_predicted: str | None = None
    fitted: list[FittedKey] = field(default_factory=list)


def plan_training(home: Home, model: ModelEntry, recipe: Recipe) -> Planned:
    """What a training will take of this machine. Raises `InputError` when it cannot fit and the ladder leads nowhere.

    A model that nothing is predicted of is trained as its recipe says.
    """
    model = with_shape(home, model)
    try:
        budget = this_machine(home)
        connection = open_database(home)
        try:
            calibration = calibration_of(connection, home, budget)
        finally:
            connection.close()
        fitted = fit(recipe, model, budget, calibration) if recipe.fit == "auto" else None
        used = fitted.recipe if fitted else recipe
        expected = forecast(model, used, budget, calibration)
        ladder = way_down(model, used, budget, calibration, expected)
    except NotPredicted as unknown:
        auto = "; fit: auto leaves the recipe as it is" if recipe.fit == "auto" else ""
        return Planned(recipe, not_predicted=unknown.why + auto)
    changed = fitted.changes if fitted else ()
    return Planned(
        used,
        note(expected, ladder),
        fitted=[FittedKey(key=one.key, before=one.before, after=one.after) for one in changed],
    )


def way_down(model: ModelEntry, recipe: Recipe, budget: Budget, calibration: Calibration, expected: Forecast) -> str:
    """What the ladder will do for a training that does not fit; empty for one that may.

    Raises `InputError` for one that cannot fit and for which no rung is left but a shorter length: that is for the person
    to choose.
    """
    if not expected.cannot_fit:
        return ""
    least = leanest(recipe)
    if recipe.out_of_memory == "ladder" and not forecast(model, least, budget, calibration).cannot_fit:
        steps = ", ".join(f"{one.key} {one.before} → {one.after}" for one in changes(recipe, least))
        return f"does not fit as it is: the ladder will step down, at most to {steps}"
    raise too_large(recipe, model, budget, calibration)


def note(expected: Forecast, ladder: str) -> ForecastNote:
    """The forecast as the job file keeps it."""
    return ForecastNote(
        allocated_bytes=expected.allocated_bytes,
        plus_minus_bytes=expected.plus_minus_bytes,
        device_bytes=expected.device_bytes,
        components=expected.estimate.components,
        budget_name=expected.budget.name,
        limit_bytes=expected.budget.limit_bytes,
        fits=expected.fits,
        calibrated_by=expected.calibration.runs,
        calibration=expected.calibration.words,
        ladder=ladder,
    )
