"""What fits a budget, at which length and rank, and what `fit: auto` makes of a recipe."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.recipe import Recipe
from core.errors import InputError
from core.vram.budget import Budget, budget_for
from core.vram.calibration import Calibration, uncalibrated
from core.vram.fit import TOKENS_AT_ONCE, Change, fit, leanest, too_large
from core.vram.forecast import (
    CONTEXT_BYTES,
    LONGEST,
    forecast,
    highest_rank_that_fits,
    longest_that_fits,
)
from core.vram.layers import NotPredicted, rank_ceiling
from core.vram.oom_fallbacks import fallbacks, next_fallback

CARD = budget_for("16")
NONE = uncalibrated()


@cache
def entry(name: str) -> ModelEntry:
    return shipped().model(name)


@cache
def lora() -> Recipe:
    return shipped().recipe("lora-bf16")


def changed(**values: object) -> Recipe:
    return lora().model_copy(update=values)


def sized(count: int, kind: str = "gpu") -> Budget:
    """A budget whose limit is just so many bytes, with nothing to speak of in use."""
    total = round(count / 0.97) + 2
    return Budget(total, int(0.97 * total) - count, "a GPU", kind)  # type: ignore[arg-type]


def test_the_device_shows_more_than_is_allocated_and_a_cpu_just_the_process() -> None:
    on_gpu = forecast(entry("Qwen3-4B"), lora(), CARD, NONE)
    assert on_gpu.allocated_bytes == on_gpu.estimate.allocated_bytes
    assert on_gpu.device_bytes > on_gpu.allocated_bytes + CONTEXT_BYTES
    on_cpu = forecast(entry("SmolLM2-135M"), shipped().recipe("demo"), Budget(2**34, 0, "host memory", "cpu"), NONE)
    assert on_cpu.device_bytes == on_cpu.allocated_bytes


def test_a_calibration_scales_the_estimate_and_says_how_far_it_may_be_off() -> None:
    plain = forecast(entry("Qwen3-4B"), lora(), CARD, NONE)
    corrected = forecast(entry("Qwen3-4B"), lora(), CARD, Calibration(9, 1.1, 0.02, 0.01))
    assert corrected.allocated_bytes == pytest.approx(1.1 * plain.allocated_bytes, rel=1e-9)
    assert corrected.plus_minus_bytes == pytest.approx(0.02 * corrected.allocated_bytes, rel=1e-6)


@pytest.mark.parametrize(
    ("offset", "fits", "surely", "cannot"),
    [(-0.06, False, False, True), (-0.02, False, False, False), (0.02, True, False, False), (0.06, True, True, False)],
)
def test_it_fits_by_the_central_figure_and_surely_or_never_by_the_ends_of_its_error(
    offset: float, fits: bool, surely: bool, cannot: bool
) -> None:
    device = forecast(entry("Qwen3-4B"), lora(), CARD, NONE).device_bytes
    there = forecast(entry("Qwen3-4B"), lora(), sized(round(device * (1 + offset))), NONE)
    assert (there.fits, there.surely_fits, there.cannot_fit) == (fits, surely, cannot)


def test_exactly_enough_is_enough_and_one_byte_less_is_not() -> None:
    device = forecast(entry("Qwen3-4B"), lora(), CARD, NONE).device_bytes
    at_most = Budget(round(device / 0.97) + 2, 0, "a GPU", "gpu")
    room = at_most.limit_bytes - device
    assert forecast(entry("Qwen3-4B"), lora(), Budget(at_most.total_bytes, room, "", "gpu"), NONE).fits
    assert not forecast(entry("Qwen3-4B"), lora(), Budget(at_most.total_bytes, room + 1, "", "gpu"), NONE).fits


models = st.sampled_from([one.name for one in shipped().models() if one.shape and one.shape.attention == "full"])
budgets = st.floats(0.3, 40.0).map(lambda gigabytes: sized(round(gigabytes * 1e9)))
recipes = st.builds(
    changed,
    method=st.sampled_from(["lora", "qlora-hqq"]),
    rank=st.integers(1, 256),
    max_length=st.integers(1, 512).map(lambda steps: 16 * steps),
    batch_size=st.sampled_from([1, 2, 4, 8, 3]),
    accumulation=st.sampled_from([1, 2, 8]),
    optimizer=st.sampled_from(["adamw", "adamw-8bit"]),
    activation_checkpointing=st.booleans(),
    fit=st.just("auto"),
)


@given(models, recipes, budgets)
def test_the_longest_length_and_the_highest_rank_fit_and_the_next_ones_do_not(
    name: str, recipe: Recipe, budget: Budget
) -> None:
    model = entry(name)

    def fits(**values: object) -> bool:
        return forecast(model, recipe.model_copy(update=values), budget, NONE).fits

    longest = longest_that_fits(model, recipe, budget, NONE)
    assert longest is None or fits(max_length=longest)
    assert longest == model.shape.context or not fits(max_length=(longest or 0) + 16)  # type: ignore[union-attr]
    highest = highest_rank_that_fits(model, recipe, budget, NONE)
    assert highest is None or fits(rank=highest)
    assert highest == rank_ceiling(model) or not fits(rank=(highest or 0) + 1)


@given(models, recipes, budgets)
def test_what_is_fitted_fits_and_learns_the_same(name: str, recipe: Recipe, budget: Budget) -> None:
    try:
        fitted = fit(recipe, entry(name), budget, NONE)
    except InputError as refused:
        assert forecast(entry(name), leanest(recipe), budget, NONE).cannot_fit
        assert refused.code == "too_large"
        return
    made = fitted.recipe
    assert fitted.forecast == forecast(entry(name), made, budget, NONE)
    assert fitted.forecast.fits or (made == leanest(recipe) and not fitted.forecast.cannot_fit)
    assert made.batch_size * made.accumulation == recipe.batch_size * recipe.accumulation
    kept = ("rank", "max_length", "method", "targets", "lr", "epochs", "lora_dtype")
    assert [getattr(made, key) for key in kept] == [getattr(recipe, key) for key in kept]
    Recipe.model_validate(made.model_dump())  # a recipe that a person could have written
    assert recipe.model_copy(update={change.key: change.after for change in fitted.changes}) == made
    assert all(getattr(recipe, change.key) == change.before != change.after for change in fitted.changes)


def test_what_is_fast_is_taken_while_it_fits_and_an_8_bit_optimizer_last() -> None:
    """Qwen3-4B at 2048, eight examples a step: under ever smaller budgets."""
    model, recipe = entry("Qwen3-4B"), changed(fit="auto")
    chosen = []
    for gigabytes in (200, 40, 20, 14, 12, 11, 10.8, 10.5, 10.2):
        try:
            made = fit(recipe, model, sized(round(gigabytes * 1e9)), NONE).recipe
        except InputError:
            break
        recomputed = 1 / made.every_n_layers if made.activation_checkpointing else 0.0
        chosen.append((made.optimizer == "adamw-8bit", recomputed, -made.batch_size))
    assert chosen[0] == (False, 0.0, -TOKENS_AT_ONCE // 2048)
    assert chosen == sorted(chosen)
    assert len(set(chosen)) >= 4


def test_with_room_nothing_is_recomputed_and_the_changes_say_so() -> None:
    changes = fit(changed(fit="auto"), entry("Qwen3-4B"), sized(10**12), NONE).changes
    assert changes == (
        Change("batch_size", 1, 4),
        Change("accumulation", 8, 2),
        Change("activation_checkpointing", True, False),
    )


def test_when_nothing_fits_the_error_names_the_length_and_the_rank_that_would() -> None:
    recipe = changed(fit="auto", rank=512, max_length=16_384)
    with pytest.raises(
        InputError, match=r"Qwen3-4B with rank 512 at 16384 tokens takes [\d.]+ GB, at least"
    ) as refused:
        fit(recipe, entry("Qwen3-4B"), CARD, NONE)
    least = leanest(recipe)
    rank = highest_rank_that_fits(entry("Qwen3-4B"), least, CARD, NONE)
    assert rank is not None
    assert f"rank {rank} at max_length 16384" in (refused.value.remedy or "")
    assert refused.value.exit_code == 2


def test_when_no_length_and_no_rank_would_fit_it_says_to_take_a_smaller_model() -> None:
    with pytest.raises(InputError, match="smaller model"):
        fit(changed(fit="auto"), entry("Qwen3-14B"), CARD, NONE)


def test_what_may_fit_as_it_is_written_is_not_refused_because_of_fit_auto() -> None:
    """The leanest settings, 2 % above the limit, where the forecast may be 5 % off."""
    least = leanest(changed(fit="auto"))
    device = forecast(entry("Qwen3-4B"), least, CARD, NONE).device_bytes
    fitted = fit(changed(fit="auto"), entry("Qwen3-4B"), sized(round(device / 1.02)), NONE)
    assert (fitted.recipe, fitted.forecast.fits, fitted.forecast.cannot_fit) == (least, False, False)
    with pytest.raises(InputError, match="takes"):
        fit(changed(fit="auto"), entry("Qwen3-4B"), sized(round(device / 1.08)), NONE)


def test_what_only_others_keep_from_fitting_is_fitted_as_lean_as_can_be() -> None:
    recipe = changed(fit="auto", max_length=2048)
    full = Budget(2**34, 9 * 10**9, "a GPU", "gpu")
    fitted = fit(recipe, entry("Qwen3-4B"), full, NONE)
    assert fitted.recipe == leanest(recipe)
    assert fitted.forecast.cannot_fit and not fitted.forecast.never_fits


@given(recipes)
def test_the_rungs_are_those_that_a_job_steps_down(recipe: Recipe) -> None:
    there: list[Recipe] = []
    below = next_fallback(recipe, recipe.max_length)
    while below is not None and below[0].max_length == recipe.max_length:
        there.append(below[0])
        below = next_fallback(below[0], recipe.max_length)
    assert list(fallbacks(recipe)) == there
    assert leanest(recipe) == (there[-1] if there else recipe)


def test_the_error_tells_of_the_recipe_that_was_asked_and_which_settings_would_fit() -> None:
    asked = changed(max_length=2048, batch_size=8, accumulation=1, activation_checkpointing=False, out_of_memory="fail")
    budget = Budget(2**34, 1_500_000_000, "a GPU", "gpu")
    error = too_large(asked, entry("Qwen3-4B"), budget, NONE)
    takes = forecast(entry("Qwen3-4B"), asked, budget, NONE).device_bytes
    assert f"takes {takes / 1e9:.1f} GB; a GPU has 15.2 GB for it, of 17.2 GB, 1.5 GB in use" in str(error)
    assert takes > budget.limit_bytes, "a figure below the limit would contradict it"
    assert error.remedy is not None
    assert error.remedy.startswith("batch_size 8 → 1, accumulation 1 → 8, activation_checkpointing false → true; ")
    assert "`fit: auto`" in error.remedy and "max_length" not in error.remedy
    after = asked.model_copy(update={"batch_size": 1, "accumulation": 8, "activation_checkpointing": True})
    assert forecast(entry("Qwen3-4B"), after, budget, NONE).fits


def test_no_length_is_offered_beyond_the_positions_that_a_model_has() -> None:
    vast = sized(10**13)
    assert longest_that_fits(entry("Qwen3-4B"), lora(), vast, NONE) == 40_960
    assert longest_that_fits(entry("SmolLM2-135M"), lora(), vast, NONE) == 8192
    shape = entry("Qwen3-4B").shape
    assert shape is not None
    unknown = entry("Qwen3-4B").model_copy(update={"shape": shape.model_copy(update={"context": None})})
    assert longest_that_fits(unknown, lora(), vast, NONE) == LONGEST


def test_a_model_that_is_not_modelled_is_not_fitted() -> None:
    with pytest.raises(NotPredicted):
        fit(changed(fit="auto"), entry("Qwen3.5-9B"), CARD, NONE)
