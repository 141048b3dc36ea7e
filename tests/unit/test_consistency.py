"""How consistent a model is over the repeats of each input."""

from __future__ import annotations

import itertools
import math

import pytest

from core.bakeoff.consistency import agreement, pass_hat, repeatability, worst_of


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
