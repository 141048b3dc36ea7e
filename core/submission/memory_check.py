"""The memory of a training as its submission sees it: `fit: auto` is settled, the forecast is written down."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.format import gb, gb_within
from core.home import Home
from core.jobfile.train import FittedKey, ForecastNote
from core.models.shapes import with_shape
from core.store.database import open_database
from core.vram.budget import Budget, this_machine
from core.vram.calibration import Calibration, calibration_of
from core.vram.fit import changes, fit, leanest, stepped_down, too_large
from core.vram.forecast import Forecast, at_longest, forecast
from core.vram.layers import NotPredicted
from core.vram.step import Step


@dataclass(frozen=True)
class Planned:
    """The recipe that will run, what was changed in it so that it fits, and its forecast or why there is none."""

    recipe: Recipe
    forecast: ForecastNote | None = None
    not_predicted: str | None = None
    fitted: list[FittedKey] = field(default_factory=list)


@dataclass(frozen=True)
class MeasuredMemory:
    """The memory that there is, and what was measured on it."""

    budget: Budget
    calibration: Calibration


def measured_machine(home: Home) -> MeasuredMemory:
    """This machine as it is now. Raises `NotPredicted` where its memory is unknown."""
    budget = this_machine(home)
    with contextlib.closing(open_database(home)) as connection:
        return MeasuredMemory(budget, calibration_of(connection, home, budget))


def plan_training(
    home: Home, model: ModelEntry, recipe: Recipe, longest: int | None = None, machine: MeasuredMemory | None = None
) -> Planned:
    """What a training will take of this machine. Raises `InputError` when it cannot fit and the ladder leads nowhere.

    `longest` is the tokens of its longest example, where that is known: then it is planned for that length. `machine` is for
    whoever plans many at once: it is looked at once for all of them.

    A model that nothing is predicted of is trained as its recipe says. On a CPU the ladder is gone down here: there the kernel
    ends a process that takes too much, so that the job itself could not.
    """
    model = with_shape(home, model)
    asked, recipe = recipe, at_longest(recipe, longest)
    try:
        machine = machine or measured_machine(home)
        budget, calibration = machine.budget, machine.calibration
        fitted = fit(recipe, model, budget, calibration) if recipe.fit == "auto" else None
        used = fitted.recipe if fitted else recipe
        expected = forecast(model, used, budget, calibration)
        ladder = way_down(model, used, budget, calibration, expected)
        if budget.kind == "cpu" and recipe.out_of_memory == "ladder" and not expected.fits:
            down = stepped_down(used, model, budget, calibration)
            if down is not None:
                fitted, used, expected = down, down.recipe, down.forecast
    except NotPredicted as unknown:
        auto = "; fit: auto leaves the recipe as it is" if recipe.fit == "auto" else ""
        return Planned(asked, not_predicted=unknown.why + auto)
    changed = fitted.changes if fitted else ()
    return Planned(
        used.model_copy(update={"max_length": asked.max_length}),
        note(expected, ladder, Step.of(used, budget.kind), of_data=longest is not None),
        fitted=[FittedKey(key=one.key, before=one.before, after=one.after) for one in changed],
    )


def way_down(model: ModelEntry, recipe: Recipe, budget: Budget, calibration: Calibration, expected: Forecast) -> str:
    """What becomes of a training that does not fit by its central figure; empty for one that does.

    Raises `InputError` for one that would not fit even with nothing else in the memory, and for which no rung is left but a
    shorter length: that is for the person to choose.
    """
    if expected.fits:
        return ""
    ladder = recipe.out_of_memory == "ladder"
    if ladder and budget.kind == "cpu" and (down := stepped_down(recipe, model, budget, calibration)) is not None:
        said = f"does not fit as it is: queued with {', '.join(map(str, down.changes))}"
        return said if down.forecast.fits else f"{said}, and {doubt(down.forecast)}"
    least = leanest(recipe) if ladder else recipe
    lean = forecast(model, least, budget, calibration)
    steps = ", ".join(map(str, changes(recipe, least)))
    if not expected.cannot_fit:
        if budget.kind == "cpu":
            return doubt(expected)
        then = (
            f"the ladder will step down, at most to {steps}"
            if steps
            else "only shorter examples are left for the ladder"
        )
        return f"{doubt(expected)}; if not, {then if ladder else 'out_of_memory: fail ends it'}"
    if lean.never_fits:
        raise too_large(recipe, model, budget, calibration)
    if lean.cannot_fit:
        return doubt(lean) + (f"; even then with {steps} alone" if expected.never_fits else "")
    return f"does not fit as it is: the ladder will step down, at most to {steps}"


def doubt(expected: Forecast) -> str:
    """Why a training that is not certain to find its memory may be queued all the same."""
    budget = expected.budget
    takes = f"{gb_within(expected.device_bytes, expected.plus_minus_bytes)} GB"
    if not expected.cannot_fit:
        in_use = f" ({budget.in_use})" if budget.in_use else ""
        return f"may not fit: needs {takes}, {gb(budget.limit_bytes)} usable{in_use}"
    then = "free GPU memory before the job starts" if budget.kind == "gpu" else "the job waits until there is room"
    return (
        f"does not fit: needs {takes}, {gb(budget.limit_bytes)} of {gb(budget.total_bytes)} usable "
        f"({budget.in_use}); {then}"
    )


def note(expected: Forecast, ladder: str, step: Step, *, of_data: bool = False) -> ForecastNote:
    """The forecast of a step as the job file keeps it; `of_data`: its length is that of the longest example."""
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
        dtype=step.dtype,
        length=expected.length,
        of_data=of_data,
    )
