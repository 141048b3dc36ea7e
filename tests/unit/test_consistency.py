"""How consistent a model is over the repeats of each input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from core.statistics.consistency import Repeats, agreement, noise_floor, pass_hat, repeatability, worst_of


def test_repeatability_is_the_deviation_within_inputs() -> None:
    scores = [[1.0, 0.8, 0.6], [0.5, 0.5, 0.5], [0.2]]
    assert repeatability(scores) == pytest.approx(math.sqrt((0.04 + 0.0) / 2))
    assert repeatability([[0.1], [0.9]]) is None


def test_a_model_that_is_always_wrong_is_perfectly_consistent() -> None:
    wrong = [[0.0, 0.0, 0.0]] * 5
    assert repeatability(wrong) == 0
    assert worst_of(wrong) == 0
    assert agreement([["x"] * 3] * 5) == 1
    assert pass_hat([[False] * 3] * 5, 3) == 0


def test_worst_is_the_mean_of_the_worst_repeats() -> None:
    assert worst_of([[1.0, 0.4], [0.8, 0.6]]) == pytest.approx(0.5)
    assert worst_of([]) is None


def test_pass_hat_k_is_the_chance_that_k_draws_all_pass() -> None:
    """Against every way to draw k of the answers."""
    passes = [[True, True, False, True], [True] * 4, [False] * 4, [True, False, False, True]]
    for k in (1, 2, 3, 4):
        drawn = [all(draw) for repeats in passes for draw in itertools.combinations(repeats, k)]
        assert pass_hat(passes, k) == pytest.approx(sum(drawn) / len(drawn))
    assert pass_hat([[True, True]], 3) is None


def test_agreement_is_over_inputs_with_repeats() -> None:
    assert agreement([["a", "a"], ["a", "b"], ["c"]]) == 0.5
    assert agreement([["a"]]) is None


def test_the_noise_floor_is_what_sampling_alone_makes_of_two_equal_models() -> None:
    """By simulation: with no difference but that of the repeats, 5 % of differences of the means are above it."""
    generator = np.random.default_rng(8)
    names, runs, above = [f"i{index}" for index in range(10)], 2_000, 0
    difficulty = generator.uniform(0.2, 0.8, (10, 1))
    for _ in range(runs):
        ours, theirs = (difficulty + generator.normal(0, 0.2, (10, 3)) for _ in range(2))
        sides = [Repeats(repeatability(side.tolist()) or 0.0, dict.fromkeys(names, 3)) for side in (ours, theirs)]
        floor = noise_floor(*sides, names)
        assert floor is not None
        above += abs(ours.mean() - theirs.mean()) > floor
    assert above / runs == pytest.approx(0.05, abs=0.015)


def test_the_noise_floor_counts_the_repeats_that_there_are() -> None:
    """t·s_w·√(2/(n·k)) for k repeats everywhere; an input that has fewer weighs more."""
    even = Repeats(0.1, {"a": 2, "b": 2})
    assert noise_floor(even, even, ["a", "b"]) == pytest.approx(2.7764451 * 0.1 * (2 / 4) ** 0.5)
    uneven = Repeats(0.1, {"a": 3, "b": 1})
    assert noise_floor(uneven, even, ["a", "b"]) == pytest.approx(2.7764451 * 0.1 * (1 / 3 + 1 + 1) ** 0.5 / 2)


def test_without_sampled_repeats_the_noise_floor_is_not_known() -> None:
    once, twice = Repeats(0.0, {"a": 1}), Repeats(0.1, {"a": 2})
    assert noise_floor(once, once, ["a"]) is None
    assert noise_floor(None, twice, ["a"]) is None
    assert noise_floor(Repeats(0.0, {"a": 3}), Repeats(0.0, {"a": 3}), ["a"]) is None
    assert noise_floor(twice, twice, []) is None
