"""How often what is said of recipes is false: a small simulation with a fixed seed for each change.

`python -m tests.bench experiment_statistics` is the large one over all truths, whose table stands in docs/statistics.md.
"""

from __future__ import annotations

import pytest

from core.statistics.paired import ALPHA
from tests.support.recipe_levels import (
    adapter_coverage,
    difference_coverage,
    false_winners,
    main_effect_coverage,
    over_both,
    over_inputs,
    over_seeds,
    prediction_levels,
    tau_coverage,
)
from tests.support.simulated_recipes import BINARY, CEILING, PLAIN, STRONG, UNSTEADY, Truth
from tests.support.simulation import most_by_chance

HELD = (PLAIN, STRONG, BINARY, CEILING, UNSTEADY)
MISSED = 0.07
"""At most so many intervals of nominally 5 % may miss."""
AGREE = [0.0, 0.05, 0.1, 0.15]


@pytest.mark.parametrize("truth", HELD, ids=lambda truth: truth.name)
@pytest.mark.parametrize("untrained", [False, True], ids=["two recipes", "one untrained"])
def test_the_interval_over_seeds_and_inputs_covers(truth: Truth, untrained: bool) -> None:
    found = difference_coverage(truth, over_both, runs=400, untrained=untrained)
    assert 1 - found.covered <= most_by_chance(400, MISSED)


def test_the_simulation_tells_an_interval_that_does_not_cover() -> None:
    assert difference_coverage(STRONG, over_inputs, runs=200).covered < 0.8
    assert difference_coverage(PLAIN, over_seeds, runs=200, untrained=True).covered < 0.93


def test_two_seeds_have_no_interval() -> None:
    assert difference_coverage(PLAIN, over_both, runs=5, seeds=2).none == 1


@pytest.mark.parametrize("truth", [PLAIN, STRONG], ids=lambda truth: truth.name)
def test_intervals_of_adapters_and_of_main_effects_cover(truth: Truth) -> None:
    assert 1 - adapter_coverage(truth, runs=400).covered <= most_by_chance(400, MISSED)
    assert 1 - main_effect_coverage(truth, runs=200).covered <= most_by_chance(200, MISSED)


@pytest.mark.parametrize("truth", [PLAIN, STRONG, BINARY], ids=lambda truth: truth.name)
def test_no_arm_that_is_as_good_as_the_best_is_left_out(truth: Truth) -> None:
    assert false_winners(truth, [0.0] * 4, runs=150) <= most_by_chance(150, ALPHA)
    assert false_winners(truth, [0.0, 0.0, 0.0, -0.3], runs=150) <= most_by_chance(150, ALPHA)


@pytest.mark.parametrize(
    ("before", "after"),
    [(AGREE, AGREE), ([0.0] * 4, [0.0] * 4), ([0.0] * 4, AGREE), (AGREE, [0.0] * 4), ([0, 0.01, 0.02, 0.03], AGREE)],
    ids=["agree", "all alike", "alike before", "alike after", "hardly measured before"],
)
def test_a_ranking_that_agrees_is_not_said_to_predict_nothing(before: list[float], after: list[float]) -> None:
    found = prediction_levels(PLAIN, before, after, runs=100)
    assert found.said["does_not_predict"] <= most_by_chance(100, ALPHA)
    assert all(1 - regret.covered <= most_by_chance(100, MISSED) for regret in found.regrets)


def test_a_ranking_that_is_turned_round_is_found_and_never_said_to_predict() -> None:
    found = prediction_levels(PLAIN, [0.0, -0.2, -0.4], [-0.4, -0.2, 0.0], runs=60)
    assert found.said["does_not_predict"] >= 0.8
    assert found.said["predicts"] == 0


def test_the_bootstrap_of_tau_is_rough_and_is_over_models() -> None:
    assert 0.85 <= tau_coverage(8, 0.0, runs=60).covered <= 1.0
