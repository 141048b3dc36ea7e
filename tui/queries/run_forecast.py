"""What a new run will need, asked of `core.vram` in a thread: its forecast, what else fits, and what to prefer."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.shipped import PLAIN_RECIPE, QUANTISED_RECIPE
from core.errors import BakehouseError, InputError
from core.gpu.reading import Sample
from core.home import Home

if TYPE_CHECKING:
    from core.config.model import ModelEntry
    from core.config.project import Project
    from core.config.recipe import Recipe
    from core.vram.budget import Budget
    from core.vram.calibration import Calibration
    from core.vram.fit import Change
    from core.vram.forecast import Forecast
    from core.vram.plan import Plan, Verdict
    from tui.queries.catalogue import Catalogue


@dataclass(frozen=True)
class ForecastRow:
    """What one model takes by one recipe; without a forecast `why` says why there is none."""

    model: str
    recipe: str
    method: str
    """In words: `bf16`, `HQQ 4-bit`."""
    forecast: Forecast | None
    why: str = ""


@dataclass(frozen=True)
class MemoryOutlook:
    """All that the form says of memory. `problem`: why this cannot be queued as it is; or why nothing is known."""

    run: ForecastRow | None = None
    budget: Budget | None = None
    calibration: Calibration | None = None
    rank_limit: int | None = None
    length_limit: int | None = None
    changes: tuple[Change, ...] = ()
    """What `fit: auto` makes of the recipe."""
    others: tuple[ForecastRow, ...] = ()
    preferred: ForecastRow | None = None
    """What a key of the form changes to; None when this run is the one to prefer, or nothing is."""
    why: str = ""
    """Why that one, or this one, is to be preferred; or that nothing fits."""
    also: str = ""
    """What else fits, and what would decide."""
    problem: str = ""
    ladder: str = ""
    """What the job will do about a forecast that does not fit."""

    pace: str = ""
    """How long it takes on a CPU, or that nobody knows; empty on a GPU."""
    slow: bool = False
    """It takes longer than a night."""
    of_data: bool = False
    """The forecast is for the longest example of the data, and not for `max_length`."""

    @property
    def forecast(self) -> Forecast | None:
        return self.run.forecast if self.run else None

    @property
    def length(self) -> str:
        """`at 634 tokens, its longest example`, or `at 2,048 tokens (max_length)`; empty without a forecast."""
        if self.forecast is None:
            return ""
        return f"at {self.forecast.length:,} tokens{', its longest example' if self.of_data else ' (max_length)'}"

    @property
    def here(self) -> str:
        return "this GPU" if self.budget and self.budget.kind == "gpu" else "this machine"


@dataclass(frozen=True)
class RunQuery:
    """What is asked: a model by a recipe with some of its values changed. `sample` is the newest reading of the machine."""

    model: str
    recipe: str
    changed: Mapping[str, Any]
    sample: Sample | None = None
    task: str = ""
    """Whose longest example counts, where an audit has counted it."""


@dataclass(frozen=True)
class Experience:
    """What this home has measured: how far estimates are off, and what its bake-offs decided."""

    calibration: Calibration
    verdicts: tuple[Verdict, ...] = ()


_decided: dict[Path, tuple[tuple[object, ...], tuple[Verdict, ...]]] = {}
"""Of each home its bake-offs and what they decided. A leaderboard costs statistics; until one is added they decide the same."""


def experience(home: Home, budget: Budget) -> Experience:
    """What counts for a budget. Raises `sqlite3.Error`, and `BakehouseError` for a database of another version."""
    from core.results.evidence import verdicts
    from core.store.database import open_database
    from core.store.results import list_bakeoffs
    from core.vram.calibration import calibration_of

    with contextlib.closing(open_database(home)) as connection:
        bakeoffs = tuple((row.job_id, row.state) for row in list_bakeoffs(connection))
        known = _decided.get(home.root)
        if known is None or known[0] != bakeoffs:
            known = _decided[home.root] = (bakeoffs, tuple(verdicts(connection, home)))
        return Experience(calibration_of(connection, home, budget), known[1])


def look(
    home: Home, catalogue: Catalogue, query: RunQuery, find_project: Callable[[], Project] | None = None
) -> MemoryOutlook:
    """The outlook on a run; what goes wrong is told in it. `find_project` is asked for the task's data."""
    from core.config.overrides import override
    from core.submission.audit_process import longest_example
    from core.vram.budget import this_machine
    from core.vram.forecast import at_longest

    base, model = catalogue.recipe_objects.get(query.recipe), catalogue.model_objects.get(query.model)
    if base is None or model is None:
        return MemoryOutlook()
    try:
        recipe = override(base, dict(query.changed))
        longest = None
        if query.task and find_project is not None:
            project = find_project()
            longest = longest_example(home, project, project.task(query.task), model, recipe)
        budget = this_machine(home, query.sample)
        known = experience(home, budget)
    except (BakehouseError, OSError, sqlite3.Error) as error:
        return MemoryOutlook(problem=str(error))
    found = outlook(catalogue, model, at_longest(recipe, longest), budget, known)
    return replace(found, of_data=longest is not None)


def outlook(
    catalogue: Catalogue, model: ModelEntry, recipe: Recipe, budget: Budget, known: Experience
) -> MemoryOutlook:
    """The outlook on a model by a recipe under a budget."""
    from core.submission.memory_check import way_down
    from core.vram.cpu_time import A_NIGHT_SECONDS, seconds_on_cpu, time_words
    from core.vram.fit import fit, leanest
    from core.vram.forecast import forecast, highest_rank_that_fits, longest_that_fits
    from core.vram.layers import NotPredicted, require_shape, total_parameters
    from core.vram.plan import method_words

    calibration, problem, ladder = known.calibration, "", ""
    changes: tuple[Change, ...] = ()
    rank = length = None
    try:
        if recipe.fit == "auto":
            least = leanest(recipe)
            try:
                fitted = fit(recipe, model, budget, calibration)
            except InputError as error:
                problem, expected = error.message, forecast(model, least, budget, calibration)
            else:
                changes, expected = fitted.changes, fitted.forecast
                ladder = way_down(model, fitted.recipe, budget, calibration, expected)
        else:
            least, expected = recipe, forecast(model, recipe, budget, calibration)
            try:
                ladder = way_down(model, recipe, budget, calibration, expected)
            except InputError as error:
                problem = error.message
        run = ForecastRow(model.name, recipe.name, method_words(recipe), expected)
        rank = highest_rank_that_fits(model, least, budget, calibration)
        length = longest_that_fits(model, least, budget, calibration)
        calibration = expected.calibration  # of the runs that this forecast rests on
    except NotPredicted as unknown:
        run = ForecastRow(model.name, recipe.name, method_words(recipe), None, unknown.why)
    others, preferred, why, also = instead(catalogue, model, recipe, budget, known)
    if preferred is not None and all((row.model, row.recipe) != (preferred.model, preferred.recipe) for row in others):
        others = (*others, preferred)
    found = MemoryOutlook(
        run, budget, calibration, rank, length, changes, others, preferred, why, also, problem, ladder
    )
    if budget.kind == "gpu" or run.forecast is None:
        return found
    seconds = seconds_on_cpu(total_parameters(model, require_shape(model)), recipe.method, known.calibration.measured)
    return replace(found, pace=time_words(seconds), slow=seconds is not None and seconds > A_NIGHT_SECONDS)


def instead(
    catalogue: Catalogue, model: ModelEntry, recipe: Recipe, budget: Budget, known: Experience
) -> tuple[tuple[ForecastRow, ...], ForecastRow | None, str, str]:
    """(the same model by the other method, what the plan prefers, why, what else fits). Raises nothing:
    a row says what is not known."""
    from core.vram.cpu_time import A_NIGHT_SECONDS
    from core.vram.plan import method_words, plan

    def shown(other: ModelEntry, recipe: Recipe, forecast: Forecast | None, why: str | None) -> ForecastRow:
        return ForecastRow(other.name, recipe.name, method_words(recipe), forecast, why or "")

    recipes = methods(catalogue, recipe)
    models = list(catalogue.model_objects.values())
    if budget.kind == "cpu":
        # A CPU has memory for models that it would take days to train: only smaller ones are worth a word.
        models = [one for one in models if (one.parameters or math.inf) <= (model.parameters or math.inf)]
    made = plan(models, recipes, budget, known.calibration, recipe.max_length, known.verdicts)
    others = tuple(
        shown(row.model, row.recipe, row.forecast, row.not_predicted)
        for row in made.rows
        if row.model.name == model.name and row.recipe.method != recipe.method
    )
    best = made.preferred
    this = next((row for row in made.rows if row.key == (model.name, recipe.method)), None)
    if best is None:
        return others, None, made.why, made.also
    soon = this is not None and this.fits and (this.seconds or 0.0) <= A_NIGHT_SECONDS
    if best.key == (model.name, recipe.method) or (budget.kind == "cpu" and soon):
        said = (made.why, made.also) if best.key == (model.name, recipe.method) and budget.kind == "gpu" else ("", "")
        return others, None, *said
    return others, shown(best.model, best.recipe, best.forecast, best.not_predicted), made.why, made.also


def methods(catalogue: Catalogue, chosen: Recipe) -> list[Recipe]:
    """The chosen recipe and one of each other method."""
    found = [chosen.model_copy(update={"fit": None})]
    named = [
        catalogue.recipe_objects[name] for name in (PLAIN_RECIPE, QUANTISED_RECIPE) if name in catalogue.recipe_objects
    ]
    for recipe in [*named, *catalogue.recipe_objects.values()]:
        if all(recipe.method != other.method for other in found):
            found.append(recipe)
    return sorted(found, key=lambda recipe: recipe.method)


@dataclass(frozen=True)
class PlanQuery:
    """`vram` is a GPU as it is sold (`16`), empty for this machine's own memory."""

    vram: str = ""
    max_length: int | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class PlanAnswer:
    """A plan under a budget, or why there is none."""

    plan: Plan | None = None
    budget: Budget | None = None
    calibration: Calibration | None = None
    problem: str = ""


def make_plan(home: Home, catalogue: Catalogue, query: PlanQuery) -> PlanAnswer:
    """Every model by every method; what goes wrong is told in it."""
    from core.vram.budget import budget_for, this_machine
    from core.vram.plan import plan

    try:
        budget = budget_for(query.vram) if query.vram else this_machine(home, query.sample)
        known = experience(home, budget)
    except (BakehouseError, OSError, sqlite3.Error) as error:
        return PlanAnswer(problem=str(error))
    models: Sequence[ModelEntry] = list(catalogue.model_objects.values())
    recipes = [
        catalogue.recipe_objects[name] for name in (PLAIN_RECIPE, QUANTISED_RECIPE) if name in catalogue.recipe_objects
    ]
    chosen = recipes or list(catalogue.recipe_objects.values())
    made = plan(models, chosen, budget, known.calibration, query.max_length, known.verdicts)
    return PlanAnswer(made, budget, known.calibration)
