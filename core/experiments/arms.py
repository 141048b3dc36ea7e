"""From what an experiment says to its arms, and from arms to the runs that are queued. Pure, and the same each time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from core.config.experiment import RECIPE_KEYS, Experiment
from core.config.overrides import override
from core.config.project import Project
from core.config.recipe import HqqOptions, Recipe
from core.config.yaml import KeyPath, load_mapping
from core.errors import BakehouseError, InputError
from core.files import sha256_json
from core.jobfile.quantize import Quantization
from core.store.experiments import Place, RunRole

RunKey = tuple[str, str, RunRole, int, float | None]
"""Task, arm, role, seed and learning rate (of a trial): what tells two runs of an experiment apart."""

CONVERTED = ("F16", "BF16", "F32")
"""What can be measured as a file that is only converted, not quantised."""
# What changes nothing of what is trained.
_WITHOUT_EFFECT = {"name", "seed", "report_to", "save_steps", "keep_checkpoints"}


@dataclass(frozen=True)
class Arm:
    """One way to train. `key` is 12 hex digits of what decides what is trained, but for the seed, the task and the learning
    rate that is chosen.

    `values` are the keys that differ between arms, with this arm's values. `recipe` is resolved, all but seed and chosen
    learning rate. `learning_rates` are those that are tried; none: the recipe's, without trials.
    """

    key: str
    name: str
    model: str
    weights: str
    values: Mapping[str, Any]
    recipe: Recipe
    learning_rates: tuple[float, ...]


@dataclass(frozen=True)
class ArmRun:
    """One job of an arm: a `trial` has the first seed and an `lr`, every other role the seed of its `final`."""

    task: str
    arm: Arm
    role: RunRole
    seed: int
    lr: float | None = None

    @property
    def key(self) -> RunKey:
        return self.task, self.arm.key, self.role, self.seed, self.lr

    @property
    def place(self) -> Place:
        return self.task, self.arm.key, self.seed


@dataclass(frozen=True)
class Expansion:
    """`runs` are in the order in which they are queued: trials, then block by block of one seed each."""

    arms: tuple[Arm, ...]
    runs: tuple[ArmRun, ...]

    def arm(self, key: str) -> Arm | None:
        return next((arm for arm in self.arms if arm.key == key), None)


def expand(experiment: Experiment, project: Project) -> Expansion:
    """All arms and runs of an experiment. Recipes are looked up in the project; models and tasks are only named.

    Raises `InputError` at the place in the file for a value that its recipe does not allow, for two arms that are the same
    and for a file format that cannot be measured, `NotFoundError` for a recipe that is not there.
    """
    _require_measurable(experiment)
    arms = _arms(experiment, project)
    return Expansion(arms, tuple(_runs(experiment, arms)))


def trial_recipe(experiment: Experiment, arm: Arm, lr: float) -> Recipe:
    """By what a learning rate of an arm is tried: the budget of a trial, with examples held out to tell the loss by.

    The warm-up is scaled with the steps, and where a training is counted in epochs is a quarter of the trial at most: one that
    was longer than the trial would never come to the rate that is tried.
    """
    steps, full = experiment.trial.steps, arm.recipe.steps
    warmup = arm.recipe.warmup_steps
    changed = {
        "lr": lr,
        "seed": experiment.seed_list[0],
        "steps": steps,
        "warmup_steps": min(warmup, steps // 4) if full is None else min(warmup, round(warmup * steps / full)),
        "eval_fraction": experiment.trial.eval_fraction,
        "eval_steps": None,
        "early_stopping": None,
    }
    return override(arm.recipe, changed)


def final_recipe(arm: Arm, seed: int) -> Recipe:
    """By what an arm is trained in full with a seed; a chosen learning rate takes the place of the recipe's."""
    return override(arm.recipe, {"seed": seed})


def file_roles(measure: str) -> tuple[RunRole, ...]:
    """What is made of a trained adapter before it is asked: nothing, or the way to a GGUF file."""
    if measure == "adapter":
        return ()
    return ("merge", "convert") if measure in CONVERTED else ("merge", "convert", "quantize")


def place_of(
    experiment: Experiment, path: KeyPath, message: str, *, code: str, remedy: str | None = None
) -> InputError:
    """An error at a place of an experiment; of one that was read from no file the key alone is named."""
    if experiment.file is not None:
        return load_mapping(experiment.file).error(message, path, code=code, remedy=remedy)
    return InputError(message, code=code, key=".".join(map(str, path)) or None, remedy=remedy)


def _require_measurable(experiment: Experiment) -> None:
    known = ("adapter", *get_args(Quantization), *CONVERTED)
    if experiment.measure not in known:
        message = f"`{experiment.measure}` cannot be measured: expected {', '.join(known[:-1])} or {known[-1]}"
        raise place_of(experiment, ("measure",), message, code="wrong_value")


def _arms(experiment: Experiment, project: Project) -> tuple[Arm, ...]:
    recipes: dict[str, Recipe] = {}
    made: dict[str, tuple[Mapping[str, Any], Recipe, str]] = {}
    combinations = list(_combinations(experiment))
    computed_in = _computed_in(keys for _, keys in combinations)
    for path, keys in combinations:
        name = str(keys.get("recipe", experiment.recipe))
        if name not in recipes:
            recipes[name] = project.recipe(name)
        if len(experiment.learning_rates) == 1:
            keys = keys | {"lr": experiment.learning_rates[0]}
        try:
            recipe = _resolved(recipes[name], keys, computed_in)
        except BakehouseError as error:
            words = ", ".join(f"{key} {value}" for key, value in keys.items())
            raise place_of(
                experiment, path, f"{words}: {error.message}", code=error.code, remedy=error.remedy
            ) from error
        key = _key(experiment, str(keys["model"]), recipe)
        if key in made:
            message = "this arm is the same as another one"
            raise place_of(experiment, path, message, code="doubled_arm", remedy="remove one of the two")
        made[key] = keys, recipe, _weights(recipe)
    varied = _varied(experiment, list(made.values()))
    rates = _tried(experiment)
    arms = []
    for key, (said, recipe, weights) in made.items():
        values = {one: _value(one, said, recipe, weights) for one in varied}
        # A race needs trials of every arm, also where there is one learning rate.
        tried = rates or ((recipe.lr,) if experiment.race is not None else ())
        model = str(said["model"])
        arms.append(Arm(key, _name(model, values), model, weights, values, recipe, tried))
    return _told_apart(arms)


def _tried(experiment: Experiment) -> tuple[float, ...]:
    """The learning rates among which each arm chooses; a single one is no choice."""
    return tuple(experiment.learning_rates) if len(experiment.learning_rates) > 1 else ()


def _combinations(experiment: Experiment) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The keys of each arm, and where in the file it is said."""
    if experiment.vary or not experiment.arms:
        for values in product(*experiment.vary.values()):
            yield ("vary",), experiment.hold | dict(zip(experiment.vary, values, strict=True))
    for place, arm in enumerate(experiment.arms):
        yield ("arms", place), experiment.hold | arm


def _computed_in(arms: Iterable[Mapping[str, Any]]) -> str | None:
    """What arms on plain weights compute in, where all of them that say it agree.

    Quantised ones compute in the same where their recipe leaves it open: on a CPU `auto` may choose another dtype, and an arm
    would differ from the others in two things.
    """
    said = {str(keys.get("weights")) for keys in arms} & {"fp32", "bf16"}
    return said.pop() if len(said) == 1 else None


def _resolved(base: Recipe, keys: Mapping[str, Any], computed_in: str | None) -> Recipe:
    """The recipe of an arm. `alpha` follows the rank, so that the scale of the update stays the recipe's."""
    changed: dict[str, Any] = {key: value for key, value in keys.items() if key in RECIPE_KEYS}
    if "rank" in changed and "alpha" not in changed and not changed.get("rslora", base.rslora):
        # With rslora the scale is alpha / √rank, which is made for an alpha that stays.
        changed["alpha"] = base.alpha / base.rank * changed["rank"]
    return override(base, changed | _weight_keys(base, str(keys.get("weights", "auto")), computed_in))


def on_weights(base: Recipe, weights: str) -> Recipe:
    """The recipe on frozen weights of this kind (`core.config.experiment.Weights`)."""
    return override(base, _weight_keys(base, weights, None))


def _weight_keys(base: Recipe, weights: str, computed_in: str | None) -> dict[str, Any]:
    if weights == "auto":
        return {}
    if weights in ("fp32", "bf16"):
        return {"method": "lora", "hqq": None, "dtype": weights}
    bits = int(weights.partition("-")[0])
    dtype = computed_in if base.dtype == "auto" and computed_in is not None else base.dtype
    return {
        "method": "qlora-hqq",
        "hqq": {**(base.hqq or HqqOptions()).model_dump(), "bits": bits},
        "dtype": dtype,
    }


def _weights(recipe: Recipe) -> str:
    return recipe.dtype if recipe.hqq is None else f"{recipe.hqq.bits}-bit"


def _key(experiment: Experiment, model: str, recipe: Recipe) -> str:
    # Without what is as by default, so that a key that recipes get later makes no other arms of these.
    trained = recipe.model_dump(mode="json", exclude=_WITHOUT_EFFECT, exclude_defaults=True)
    choice = None
    if rates := _tried(experiment):
        trained.pop("lr")
        choice = [sorted(rates), experiment.trial.model_dump(mode="json")]
    return sha256_json([model, trained, choice])[:12]


def _varied(experiment: Experiment, made: list[tuple[Mapping[str, Any], Recipe, str]]) -> list[str]:
    """The keys that differ between arms, in the order in which the file names them."""
    named = dict.fromkeys([*experiment.vary, *(key for arm in experiment.arms for key in arm)])
    # A recipe decides about the weights as well.
    keys = dict.fromkeys([*named, *(["weights"] if "recipe" in named else [])])
    return [key for key in keys if len({repr(_value(key, *arm)) for arm in made}) > 1]


def _value(key: str, keys: Mapping[str, Any], recipe: Recipe, weights: str) -> Any:
    match key:
        case "model":
            return keys["model"]
        case "weights":
            return weights
        case "recipe":
            return keys.get("recipe", recipe.name)
    value = getattr(recipe, key)
    return value.model_dump() if hasattr(value, "model_dump") else value


def _name(model: str, values: Mapping[str, Any]) -> str:
    words = [model]
    for key, value in values.items():
        if key in ("model",):
            continue
        if key in ("weights", "recipe"):
            words.append(str(value))
        elif key == "rank":
            words.append(f"r{value}")
        else:
            words.append(f"{key} {_short(value)}")
    return " ".join(words)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return "+".join(map(str, value))
    if isinstance(value, dict):
        return "+".join(f"{key}={part}" for key, part in value.items())
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _told_apart(arms: list[Arm]) -> tuple[Arm, ...]:
    """With names of which no two are the same."""
    names = [arm.name for arm in arms]
    return tuple(replace(arm, name=f"{arm.name} {arm.key[:4]}") if names.count(arm.name) > 1 else arm for arm in arms)


def _runs(experiment: Experiment, arms: tuple[Arm, ...]) -> Iterator[ArmRun]:
    first = experiment.seed_list[0]
    for task in experiment.tasks:
        for arm in arms:
            for lr in arm.learning_rates:
                yield ArmRun(task, arm, "trial", first, lr)
    for seed in experiment.seed_list:
        for task in experiment.tasks:
            for arm in arms:
                yield ArmRun(task, arm, "final", seed)
                for role in file_roles(experiment.measure):
                    yield ArmRun(task, arm, role, seed)
