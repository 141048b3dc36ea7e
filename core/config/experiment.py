"""An experiment: which trainings are compared, what varies between them, and what is held equal.

The file says it; `core.experiments.arms` makes arms and runs of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from core.config.base import Loaded, Name, NonEmpty, Written
from core.config.overrides import checked_value
from core.config.recipe import MOST_STEPS, Recipe
from core.config.validation import nearest
from core.errors import InputError, KeyedError

Weights = Literal["fp32", "bf16", "auto", "8-bit", "4-bit", "3-bit", "2-bit"]
"""What the frozen weights are while an adapter is trained on them; `auto` leaves that to the recipe."""
MOST_SEEDS = 100
LARGEST_SEED = 2**32 - 1

# Keys of a recipe that an experiment says in its own words.
ELSEWHERE = {
    "name": "name the recipe with `recipe`",
    "seed": "say which seeds in `seeds`",
    "method": "say the weights in `weights`: bf16, 4-bit, …",
    "hqq": "say the weights in `weights`: 8-bit, 4-bit, 3-bit or 2-bit",
    "dtype": "say the weights in `weights`: fp32 or bf16",
}
RECIPE_KEYS = tuple(key for key in Recipe.model_fields if key not in ELSEWHERE)
KEYS = ("model", "weights", "recipe", *RECIPE_KEYS)
"""What can vary and what can be held."""


class TrialBudget(Written):
    """How long each trial of a learning rate trains, the same for all, and which share of the examples is held out of it."""

    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 20
    eval_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.2


class Race(Written):
    """Only the `keep` arms whose best trial has the lowest held-out loss a byte are trained in full."""

    keep: Annotated[int, Field(ge=1)]


class Experiment(Loaded):
    """Arms are all combinations of `vary`, and those under `arms` beside them; `hold` has keys that are equal in all.

    `seeds` is a number (3: seeds 0, 1 and 2) or the seeds themselves; `seed_list` has them either way. Without
    `learning_rates` each arm takes its recipe's. `measure` is what is asked in the bake-off: the adapter on its base, or the
    GGUF file of that name (`Q4_K_M`) that is made of it.
    """

    name: Name
    question: NonEmpty | None = None
    tasks: list[Name] = Field(min_length=1)
    recipe: Name
    vary: dict[str, list[Any]] = Field(default_factory=dict)
    arms: list[dict[str, Any]] = Field(default_factory=list)
    hold: dict[str, Any] = Field(default_factory=dict)
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] | list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]] = 3
    learning_rates: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=list)
    trial: TrialBudget = TrialBudget()
    race: Race | None = None
    measure: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")] = "adapter"
    untrained: bool = True
    repeats: Annotated[int, Field(ge=1, le=1000)] | None = None

    also_called: ClassVar[dict[str, str]] = {
        "task": "tasks",
        "lr": "learning_rates",
        "learning_rate": "learning_rates",
        "lrs": "learning_rates",
        "seed": "seeds",
        "fixed": "hold",
        "grid": "vary",
        "matrix": "vary",
        "include": "arms",
    }

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds, in the order of their blocks."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else tuple(self.seeds)

    @property
    def has_trials(self) -> bool:
        """Whether arms are tried before they are trained: to choose a learning rate among several, or to race."""
        return len(self.learning_rates) > 1 or self.race is not None

    @field_validator("tasks", "seeds", "learning_rates")
    @classmethod
    def _each_once(cls, values: Any, info: ValidationInfo) -> Any:
        if isinstance(values, list):
            if not values and info.field_name != "learning_rates":  # no learning rates: the recipe's
                raise KeyedError("there is none", remedy="name one, or leave the key out")
            _refuse_doubles(values, ())
        return values

    @field_validator("vary")
    @classmethod
    def _what_varies(cls, vary: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in vary.items():
            _known(key, (key,))
            if not values:
                raise KeyedError("it has no value", key=(key,), remedy="give a list of values, or remove the key")
            for place, value in enumerate(values):
                _legal(key, value, (key, place))
            _refuse_doubles(values, (key,))
        return vary

    @field_validator("arms")
    @classmethod
    def _further_arms(cls, arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for place, arm in enumerate(arms):
            for key, value in arm.items():
                _known(key, (place, key))
                _legal(key, value, (place, key))
        return arms

    @field_validator("hold")
    @classmethod
    def _what_is_held(cls, hold: dict[str, Any]) -> dict[str, Any]:
        for key, value in hold.items():
            _known(key, (key,))
            _legal(key, value, (key,))
        return hold

    @model_validator(mode="after")
    def _one_place_for_a_key(self) -> Experiment:
        for key in self.vary:
            if key in self.hold:
                raise KeyedError(f"`{key}` varies: it cannot be held as well", key=("hold", key))
        for place, arm in enumerate(self.arms):
            if "model" not in arm and "model" not in self.hold:
                remedy = "add `model: NAME`, or hold one for all arms"
                raise KeyedError("it names no model", key=("arms", place), remedy=remedy)
        if "model" not in self.vary and "model" not in self.hold and (self.vary or not self.arms):
            raise KeyedError(
                "it names no model", remedy="name models under `vary: {model: [NAME, …]}` or `hold: {model: NAME}`"
            )
        if self.learning_rates:
            for where, keys in (("vary", self.vary), ("hold", self.hold)):
                if "lr" in keys:
                    remedy = "remove it, or `learning_rates`"
                    raise KeyedError("each arm chooses among `learning_rates`", key=(where, "lr"), remedy=remedy)
            for place, arm in enumerate(self.arms):
                if "lr" in arm:
                    remedy = "remove it, or `learning_rates`"
                    raise KeyedError(
                        "each arm chooses among `learning_rates`", key=("arms", place, "lr"), remedy=remedy
                    )
        return self


def _known(key: str, at: tuple[str | int, ...]) -> None:
    if key in KEYS:
        return
    if key in ELSEWHERE:
        raise KeyedError(f"`{key}` cannot vary or be held", key=at, remedy=ELSEWHERE[key])
    meant = Recipe.also_called.get(key) or nearest(key, KEYS)
    remedy = f"did you mean `{meant}`?" if meant else "take `model`, `weights`, `recipe` or a key of a recipe"
    raise KeyedError(f"unknown key `{key}`", key=at, remedy=remedy)


def _legal(key: str, value: Any, at: tuple[str | int, ...]) -> None:
    """Refuse a value that its key alone does not allow."""
    if key in ("model", "recipe"):
        _of_type(Name, "a name", value, at)
    elif key == "weights":
        words = [str(word) for word in Weights.__args__]  # type: ignore[attr-defined]
        if value not in words:
            near = nearest(str(value), words)
            remedy = f"did you mean `{near}`?" if near else None
            raise KeyedError(f"expected {', '.join(words[:-1])} or {words[-1]}, found {value!r}", key=at, remedy=remedy)
    else:
        try:
            checked_value(key, value)
        except InputError as error:
            raise KeyedError(f"`{value}` is no value of `{key}`: {error.message}", key=at) from None


def _of_type(wanted: Any, words: str, value: Any, at: tuple[str | int, ...]) -> None:
    try:
        TypeAdapter(wanted).validate_python(value, strict=True)
    except ValidationError:
        raise KeyedError(f"expected {words}, found {value!r}", key=at) from None


def _refuse_doubles(values: Iterable[Any], at: tuple[str | int, ...]) -> None:
    seen: list[Any] = []
    for place, value in enumerate(values):
        if value in seen:
            raise KeyedError(f"`{value}` stands twice", key=(*at, place))
        seen.append(value)
