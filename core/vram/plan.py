"""Which models can be trained under a budget, by which method, and which of them to prefer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.vram.budget import Budget
from core.vram.calibration import Calibration
from core.vram.cpu_time import A_NIGHT_SECONDS, seconds_on_cpu, time_words
from core.vram.forecast import Forecast, forecast, highest_rank_that_fits, longest_that_fits
from core.vram.layers import NotPredicted, rank_ceiling, require_shape, total_parameters

METHOD_WORDS = {"lora": "bf16", "qlora-hqq": "HQQ"}
# The published comparison was between 4B and 7B/8B models: beyond that ratio it says nothing.
RATIO_OF_THE_FINDING = 2.1


@dataclass(frozen=True)
class Verdict:
    """What a bake-off of this home decided between two trained models; each is (model, method)."""

    job_id: int
    task: str
    winner: tuple[str, str]
    loser: tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One model trained by one recipe.

    `highest_rank` and `longest` are the largest that fit while the rest stays, None when none does. Without a `forecast`,
    `not_predicted` says why and `remedy` what to do.
    """

    model: ModelEntry
    recipe: Recipe
    forecast: Forecast | None
    highest_rank: int | None
    longest: int | None
    not_predicted: str | None = None
    remedy: str | None = None
    seconds: float | None = None
    """On a CPU: how long `cpu_time.TOKENS` tokens take; None where nobody knows, and on a GPU."""

    @property
    def fits(self) -> bool:
        return self.forecast is not None and self.forecast.fits

    @property
    def key(self) -> tuple[str, str]:
        return self.model.name, self.recipe.method

    @property
    def words(self) -> str:
        """`Qwen3-4B bf16, rank 32`."""
        return f"{self.model.name} {method_words(self.recipe)}, rank {self.recipe.rank}"

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "parameters": self.model.parameters,
            "method": self.recipe.method,
            "recipe": self.recipe.name,
            "rank": self.recipe.rank,
            "max_length": self.recipe.max_length,
            "forecast": None if self.forecast is None else self.forecast.to_json(),
            "fits": self.fits if self.forecast is not None else None,
            "highest_rank": self.highest_rank,
            "longest": self.longest,
            "seconds_per_100k_tokens": self.seconds,
            "not_predicted": self.not_predicted,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Plan:
    """The rows, the model to prefer (None when nothing fits), and why. `also` says what else fits, and what decides."""

    rows: tuple[Row, ...]
    preferred: Row | None
    why: str
    also: str = ""

    @property
    def reasons(self) -> str:
        """All that is said of the choice, without the last full stop."""
        return f"{self.why}. {self.also}" if self.also else self.why


def method_words(recipe: Recipe) -> str:
    """`bf16`, or `HQQ 4-bit`; `fp32/bf16` where a CPU is to decide."""
    if recipe.hqq is not None:
        return f"{METHOD_WORDS[recipe.method]} {recipe.hqq.bits}-bit"
    return {"fp32": "fp32", "auto": "fp32/bf16"}.get(recipe.dtype, METHOD_WORDS[recipe.method])


def plan(
    models: Sequence[ModelEntry],
    recipes: Sequence[Recipe],
    budget: Budget,
    calibration: Calibration,
    max_length: int | None = None,
    verdicts: Sequence[Verdict] = (),
) -> Plan:
    """Each model with each recipe, at `max_length` where it is given; `verdicts` are of bake-offs, newest first."""
    if max_length is not None:
        recipes = [recipe.model_copy(update={"max_length": max_length}) for recipe in recipes]
    rows = tuple(row(model, recipe, budget, calibration) for model in models for recipe in recipes)
    chosen = prefer_on_cpu(rows, verdicts) if budget.kind == "cpu" else prefer(rows, verdicts)
    return Plan(rows, *chosen)


def row(model: ModelEntry, recipe: Recipe, budget: Budget, calibration: Calibration) -> Row:
    """What a model takes by a recipe, or why nothing is predicted."""
    try:
        expected = forecast(model, recipe, budget, calibration)
        seconds = None
        if budget.kind == "cpu":
            count = total_parameters(model, require_shape(model))
            seconds = seconds_on_cpu(count, recipe.method, calibration.measured)
        return Row(
            model,
            recipe,
            expected,
            highest_rank_that_fits(model, recipe, budget, calibration),
            longest_that_fits(model, recipe, budget, calibration),
            seconds=seconds,
        )
    except NotPredicted as unknown:
        return Row(model, recipe, None, None, None, unknown.why, unknown.remedy)


def prefer(rows: Sequence[Row], verdicts: Sequence[Verdict]) -> tuple[Row | None, str, str]:
    """The row to prefer among those that fit, why, and what else fits.

    A smaller model in 16 bits comes before a larger one in 4 when both fit: quantised weights cost more than size gives
    (Sarkissian: a 4B model in bf16 at rank 32 beat 8B and 7B ones on HQQ's 4 bits). A bake-off of this home that decided
    between the two is stronger than that.
    """
    fitting = [row for row in rows if row.fits]
    if not fitting:
        return None, "nothing here fits: take a shorter max_length, a lower rank or a smaller model", ""
    plain = max((row for row in fitting if row.recipe.method == "lora"), key=size, default=None)
    quantised = max((row for row in fitting if row.recipe.method == "qlora-hqq"), key=size, default=None)
    chosen = plain or quantised
    assert chosen is not None  # one of the two methods fits
    by_key = {row.key: row for row in fitting}
    for verdict in verdicts:
        if verdict.loser == chosen.key and verdict.winner in by_key:
            better = by_key[verdict.winner]
            return better, f"it beat {chosen.words} in bake-off {verdict.job_id} ({verdict.task}) of this home", ""
        if verdict.winner == chosen.key and quantised is not None and verdict.loser == quantised.key:
            return chosen, f"it beat {quantised.words} in bake-off {verdict.job_id} ({verdict.task}) of this home", ""
    if plain is None:
        return chosen, "no model fits with 16-bit weights; this is the largest that does with quantised ones", ""
    why = f"the largest model whose {method_words(plain.recipe)} weights fit{room_for_rank(plain)}"
    if quantised is None or size(quantised) <= size(plain):
        return chosen, why, ""
    ratio = size(quantised) / max(1, size(plain))
    finding = (
        "a published run had a 4B model in bf16 beat 7B and 8B ones trained on 4-bit weights"
        if ratio <= RATIO_OF_THE_FINDING
        else f"a published run had bf16 beat 4 bits at twice the size, but this is {ratio:.1f} times: compare them"
    )
    return chosen, why, f"{quantised.words} fits too; {finding}. A bake-off of both on your task decides"


def prefer_on_cpu(rows: Sequence[Row], verdicts: Sequence[Verdict]) -> tuple[Row | None, str, str]:
    """The row to prefer without a GPU: the largest model that a night is enough for, by what was measured here.

    Memory holds models that take days: that one fits is no reason to train it. Before anything was measured the smallest is
    the one to begin with.
    """
    fitting = [row for row in rows if row.fits]
    if not fitting:
        return None, "nothing here fits: take a shorter max_length, a lower rank or a smaller model", ""
    smallest = min(fitting, key=lambda row: (size(row), row.recipe.method != "lora"))
    timed = [row for row in fitting if row.seconds is not None]
    if not timed:
        why = (
            "the smallest model: without a GPU time decides, and nothing is known of it before a training has run here"
        )
        return smallest, why, "Time grows with a model's size: a large one can take days"
    soon = [row for row in timed if (row.seconds or 0.0) <= A_NIGHT_SECONDS]
    if not soon:
        least = min(timed, key=lambda row: row.seconds or 0.0)
        why = f"without a GPU no model here is trained in a night; {least.words} takes {time_words(least.seconds)}"
        return None, why, ""
    chosen = max(soon, key=lambda row: (row.recipe.method == "lora", size(row)))
    by_key = {row.key: row for row in soon}
    for verdict in verdicts:
        if verdict.loser == chosen.key and verdict.winner in by_key:
            better = by_key[verdict.winner]
            said = f"it beat {chosen.words} in bake-off {verdict.job_id} ({verdict.task}) of this home"
            return better, f"{said}, and takes {time_words(better.seconds)}", ""
    why = f"without a GPU the largest model that a night is enough for, {time_words(chosen.seconds)}"
    larger = [row for row in timed if size(row) > size(chosen) and row not in soon]
    if not larger:
        return chosen, why, ""
    following = min(larger, key=size)
    return chosen, why, f"{following.words} fits into the memory and takes {time_words(following.seconds)}"


def room_for_rank(row: Row) -> str:
    """How high the rank may go, where that is more than the recipe's."""
    if row.highest_rank is None or row.highest_rank <= row.recipe.rank:
        return ""
    full = row.highest_rank >= rank_ceiling(row.model)
    return f", at any rank up to {row.highest_rank}" + (" (full rank of its smallest layer)" if full else "")


def size(row: Row) -> int:
    """Parameters of the row's model."""
    return total_parameters(row.model, require_shape(row.model))
