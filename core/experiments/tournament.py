"""The experiment of a tournament: every model that fits this machine's memory, each in the ways in which it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.config.experiment import Experiment, Weights
from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.config.shipped import DEMO_RECIPE, PLAIN_RECIPE
from core.data.examples import load_examples
from core.data.source import read_source
from core.errors import InputError
from core.experiments.arms import on_weights
from core.format import data_size, listed
from core.home import Home
from core.models.shapes import with_shape
from core.vram.budget import Budget
from core.vram.calibration import Calibration
from core.vram.plan import row

GPU_WAYS: tuple[Weights, ...] = ("bf16", "4-bit")
CPU_WAYS: tuple[Weights, ...] = ("auto",)
"""Quantised weights save memory, which a CPU has, and cost time, which it has not."""
LEAST_RANK = 4
RATES_AROUND = (1 / 3, 1.0, 3.0)
"""The learning rates that are tried, as multiples of the recipe's: its best differs by model and rank by about so much."""
TRIAL_SHARE = 1 / 3
LEAST_TRIAL_STEPS = 4


@dataclass(frozen=True)
class WantedTournament:
    """What is asked for; None leaves it to the recipe, the machine or the default. `learning_rates` of one value: no trials."""

    tasks: tuple[str, ...]
    models: tuple[str, ...] = ()
    ways: tuple[Weights, ...] = ()
    recipe: str | None = None
    seeds: int = 3
    steps: int | None = None
    learning_rates: tuple[float, ...] = ()
    keep: int | None = None
    measure: str = "adapter"
    repeats: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class LeftOutModel:
    """A model that is not trained in a way, and why: a code with the words of the forecast."""

    model: str
    way: str
    code: Literal["not_predicted", "does_not_fit"]
    reason: str


@dataclass(frozen=True)
class Tournament:
    """The experiment, and who is not in it."""

    experiment: Experiment
    left_out: tuple[LeftOutModel, ...]

    @property
    def about(self) -> dict[str, Any]:
        """What is kept with the experiment: how it came to its arms."""
        return {"left_out": [asdict(one) for one in self.left_out]}


def tournament(
    home: Home, project: Project, wanted: WantedTournament, budget: Budget, calibration: Calibration
) -> Tournament:
    """The arms that fit, and why the others do not.

    Of a model that is named the forecast need not be known; of all others it must. Raises `NotFoundError` for a task, a model
    or a recipe that is not there, `InputError` where a task has no training data and where fewer than two arms are left.
    """
    named = wanted.recipe or (PLAIN_RECIPE if budget.kind == "gpu" else DEMO_RECIPE)
    recipe = project.recipe(named)
    examples = [_examples(project, task) for task in dict.fromkeys(wanted.tasks)]
    steps = wanted.steps or recipe.steps_of(max(examples, default=1))
    ways = wanted.ways or (GPU_WAYS if budget.kind == "gpu" else CPU_WAYS)
    entries = [project.model(name) for name in wanted.models] if wanted.models else project.models()
    arms: list[dict[str, Any]] = []
    left_out: list[LeftOutModel] = []
    for entry in entries:
        for way in ways:
            found = _arm(with_shape(home, entry), way, recipe, budget, calibration, bool(wanted.models))
            if isinstance(found, LeftOutModel):
                left_out.append(found)
            else:
                arms.append(found)
    if len(arms) < 2:
        raise _too_few(arms, left_out)
    rates = list(wanted.learning_rates) or [_rounded(recipe.lr * factor) for factor in RATES_AROUND]
    if {arm["rank"] for arm in arms} == {recipe.rank}:
        arms = [{key: value for key, value in arm.items() if key != "rank"} for arm in arms]
    hold = {"steps": steps} | ({"lr": rates[0]} if len(rates) == 1 else {})
    experiment = Experiment.model_validate(
        {
            "name": wanted.name or f"tournament-{'-'.join(dict.fromkeys(wanted.tasks))}"[:100],
            "question": f"Which model deserves to be trained for {listed([*dict.fromkeys(wanted.tasks)])}?",
            "tasks": [*dict.fromkeys(wanted.tasks)],
            "recipe": named,
            "arms": arms,
            "hold": hold,
            "seeds": wanted.seeds,
            "learning_rates": rates if len(rates) > 1 else [],
            "trial": {"steps": max(LEAST_TRIAL_STEPS, round(steps * TRIAL_SHARE)), "eval_fraction": 0.2},
            "race": None if wanted.keep is None else {"keep": wanted.keep},
            "measure": wanted.measure,
            "repeats": wanted.repeats,
        }
    )
    return Tournament(experiment, tuple(left_out))


def _examples(project: Project, name: str) -> int:
    task = project.task(name)
    examples, _ = load_examples(read_source(project.train_file(task)), task)
    return len(examples)


def _arm(
    model: ModelEntry, way: Weights, recipe: Recipe, budget: Budget, calibration: Calibration, is_named: bool
) -> dict[str, Any] | LeftOutModel:
    """The arm of a model in a way, at the recipe's rank or the highest that fits."""
    found = row(model, on_weights(recipe, way), budget, calibration)
    arm = {"model": model.name, "weights": way, "rank": recipe.rank}
    if found.forecast is None:
        if is_named:
            return arm
        return LeftOutModel(model.name, way, "not_predicted", found.not_predicted or "")
    if found.fits:
        return arm
    if found.highest_rank is not None and found.highest_rank >= LEAST_RANK:
        return {**arm, "rank": min(recipe.rank, found.highest_rank)}
    needs = f"needs {data_size(found.forecast.device_bytes)} of {data_size(budget.limit_bytes)} usable"
    return LeftOutModel(model.name, way, "does_not_fit", needs)


def _rounded(rate: float) -> float:
    """Two significant digits: what a person would have written."""
    return float(f"{rate:.2g}")


def _too_few(arms: Sequence[dict[str, Any]], left_out: Sequence[LeftOutModel]) -> InputError:
    """Nobody to compete with: all reasons in one refusal."""
    reasons = "; ".join(f"{one.model} {one.way}: {one.reason}" for one in left_out)
    have = f"only {arms[0]['model']} {arms[0]['weights']} fits" if arms else "no model fits"
    return InputError(
        f"a tournament needs two arms, and {have}{f' ({reasons})' if reasons else ''}",
        code="too_few_arms",
        key="models",
        remedy="name models with --model, ways with --way, or a recipe with a shorter max_length",
    )
