"""The statistics of a bake-off: against brute force, against scipy, and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from core.statistics.multiplicity import holm
from core.statistics.paired import Paired, clusters_needed, differences, minimum_detectable_effect, t_interval
from core.statistics.proportions import mcnemar, wilson
from core.statistics.verdicts import verdict
from tests.support.depth import example_count
from tests.support.sign_flips import sign_flip

fifths = st.integers(-15, 15).map(lambda value: value / 15)


def paired(values: list[float] | np.ndarray, clusters: list[str] | None = None) -> Paired:
    listed = tuple(float(value) for value in values)
    return Paired(listed, tuple(clusters or [str(index) for index in range(len(listed))]))


def brute_force(values: list[float]) -> float:
    """The share of all sign patterns whose |mean| reaches the observed one."""
    observed = abs(sum(values)) / len(values)
    patterns = list(itertools.product((1, -1), repeat=len(values)))
    hits = sum(
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True))) / len(values) >= observed - 1e-9
        for signs in patterns
    )
    return hits / len(patterns)


# --- differences -----------------------------------------------------------------------------------------------


def test_differences_are_taken_over_the_inputs_that_both_answered() -> None:
    found = differences({"a": 1.0, "b": 0.5, "c": 0.0}, {"b": 0.25, "c": 0.5, "d": 1.0}, {"a": "1", "b": "2", "c": "2"})
    assert found == Paired((0.25, -0.5), ("2", "2"))
    assert found is not None
    assert (found.inputs, found.n, found.mean) == (2, 1, -0.125)


def test_candidates_that_share_no_input_have_no_difference() -> None:
    assert differences({"a": 1.0}, {"b": 1.0}, {"a": "a", "b": "b"}) is None


# --- the interval ----------------------------------------------------------------------------------------------


@given(st.lists(fifths, min_size=2, max_size=30))
def test_without_clusters_the_interval_is_that_of_the_paired_t_test(values: list[float]) -> None:
    assume(max(values) - min(values) > 1e-6)
    other = np.linspace(0, 1, len(values))
    expected = stats.ttest_rel(other + values, other).confidence_interval(0.95)
    found = t_interval(paired(values))
    assert found.low == pytest.approx(expected.low)
    assert found.high == pytest.approx(expected.high)


def test_the_interval_of_clusters_is_the_cluster_robust_one() -> None:
    """Against the sandwich estimator of the mean, written out: (G/(G−1)) · Σ over clusters (Σ residuals)² / N²."""
    values = [0.2, 0.4, -0.1, 0.3, 0.6, 0.1]
    clusters = ["a", "a", "b", "b", "b", "c"]
    mean = sum(values) / 6
    sums = [0.6 - 2 * mean, 0.8 - 3 * mean, 0.1 - mean]
    error = math.sqrt(3 / 2 * sum(total**2 for total in sums)) / 6
    half = stats.t.ppf(0.975, 2) * error
    found = t_interval(paired(values, clusters))
    assert found.low == pytest.approx(mean - half)
    assert found.high == pytest.approx(mean + half)


@given(st.lists(fifths, min_size=2, max_size=12), st.integers(2, 4))
def test_copies_of_an_input_in_one_cluster_add_no_certainty(values: list[float], copies: int) -> None:
    assume(max(values) - min(values) > 1e-6)
    single = t_interval(paired(values))
    names = [str(index) for index in range(len(values))]
    copied = t_interval(paired(values * copies, names * copies))
    assert copied.low == pytest.approx(single.low)
    assert copied.high == pytest.approx(single.high)


@pytest.mark.parametrize("values", [[0.4] * 8, [0.0] * 8, [0.1 + 0.2, 0.3, 0.3]])
def test_equal_differences_give_no_interval_of_zero_width(values: list[float]) -> None:
    found = t_interval(paired(values))
    assert (found.low, found.high, found.estimable) == (None, None, False)
    assert found.reason is not None
    assert found.reason.startswith("interval not estimable")


def test_clusters_that_say_the_same_give_no_interval_of_zero_width() -> None:
    assert not t_interval(paired([0.1, -0.1, 0.2, -0.2], ["a", "a", "b", "b"])).estimable


def test_one_source_gives_no_interval() -> None:
    assert not t_interval(paired([0.1, 0.5, 0.3], ["a", "a", "a"])).estimable


# --- the sign-flip test ----------------------------------------------------------------------------------------


@given(st.lists(fifths, min_size=1, max_size=9))
def test_the_exact_p_is_that_of_brute_force(values: list[float]) -> None:
    test = sign_flip([paired(values)])
    assert test.exact
    assert test.p[0] == pytest.approx(brute_force(values))
    assert test.adjusted == test.p


def test_the_exact_p_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).normal(0.1, 0.3, 12)
    reference = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=10_000)
    assert sign_flip([paired(values)]).p[0] == pytest.approx(reference.pvalue)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 13, 20])
def test_the_least_p_is_reached_when_all_inputs_say_the_same(n: int) -> None:
    test = sign_flip([paired([0.5] * n)])
    assert test.p[0] == pytest.approx(2 / 2**n)
    assert test.least == pytest.approx(2 / 2**n)


def test_five_inputs_never_reach_five_percent_and_six_do() -> None:
    assert sign_flip([paired([1.0] * 5)]).p[0] > 0.05
    assert sign_flip([paired([1.0] * 6)]).p[0] < 0.05


def test_no_difference_at_all_has_p_one() -> None:
    assert sign_flip([paired([0.0] * 10)]).p[0] == 1


def test_inputs_of_one_source_are_flipped_together() -> None:
    """Six inputs from three sources are three units: the least p is 2/2³."""
    test = sign_flip([paired([0.5] * 6, ["a", "a", "b", "b", "c", "c"])])
    assert test.p[0] == test.least == 0.25


@given(st.lists(fifths, min_size=2, max_size=8), st.randoms())
def test_p_depends_neither_on_the_order_nor_on_who_is_called_first(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = sign_flip([paired(values)]).p[0]
    assert sign_flip([paired(shuffled)]).p[0] == pytest.approx(expected)
    assert sign_flip([paired([-value for value in values])]).p[0] == pytest.approx(expected)


def test_above_twenty_clusters_random_flips_come_near_the_exact_p_and_are_repeatable() -> None:
    values = np.random.default_rng(5).normal(0.15, 0.4, 24)
    test = sign_flip([paired(values)])
    assert not test.exact
    assert test == sign_flip([paired(values)])
    assert test.p[0] != sign_flip([paired(values)], seed=1).p[0]
    # The exact p over all 2²⁴ patterns, by convolution of the halves.
    halves = []
    for half in (values[:12], values[12:]):
        signs = np.array(list(itertools.product((1, -1), repeat=12)))
        halves.append(signs @ half)
    sums = np.sort(halves[1])
    observed = abs(values.sum()) - 1e-9
    above = len(sums) - np.searchsorted(sums, observed - halves[0], side="left")
    below = np.searchsorted(sums, -observed - halves[0], side="right")
    exact = (above.sum() + below.sum()) / 2**24
    assert test.p[0] == pytest.approx(exact, abs=4 * math.sqrt(exact / 100_000))


def test_a_random_p_is_never_zero() -> None:
    test = sign_flip([paired([1.0] * 40)])
    assert test.p[0] == pytest.approx(1 / 100_001)
    assert test.least == test.p[0]


def test_the_test_holds_its_level_at_ten_inputs() -> None:
    """Two equal models on ten inputs, scores in fifteenths as three repeats of five checks give: at most 5 % are called
    different (4 % for continuous scores), where naive pairs of input and repeat call about 10 %."""
    generator = np.random.default_rng(11)
    runs = 1_500
    flips = naive = 0
    for _ in range(runs):
        ability = generator.beta(4, 2, size=(10, 1))
        ours, theirs = (np.clip(ability + generator.normal(0, 0.15, (10, 1)), 0.02, 0.98) for _ in range(2))
        a, b = (generator.binomial(5, chance, (10, 3)) / 5 for chance in (ours, theirs))
        flips += sign_flip([paired(a.mean(1) - b.mean(1))]).p[0] <= 0.05
        flat = (a - b).ravel()
        naive += bool(flat.std() > 0 and stats.ttest_1samp(flat, 0).pvalue <= 0.05)
    assert 0.015 <= flips / runs <= 0.058
    assert naive / runs > 0.08


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(12)
    runs, covered = 2_000, 0
    for _ in range(runs):
        found = t_interval(paired(generator.normal(0.1, 0.3, 13)))
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.1 <= found.high
    assert covered / runs == pytest.approx(0.95, abs=0.015)


# --- several challengers ---------------------------------------------------------------------------------------


@given(st.lists(st.lists(fifths, min_size=5, max_size=5), min_size=1, max_size=4))
def test_max_t_is_that_of_brute_force(rows: list[list[float]]) -> None:
    table = np.array(rows)
    spreads = np.sqrt((table**2).sum(axis=1))
    table = table / (spreads + np.median(spreads[spreads > 0]) if spreads.any() else spreads + 1)[:, None]
    observed = np.abs(table.sum(axis=1))
    patterns = np.array(list(itertools.product((1, -1), repeat=5)))
    flipped = np.abs(patterns @ table.T)
    found = sign_flip([paired(row) for row in rows]).adjusted
    highest = 0.0
    for index in sorted(range(len(rows)), key=lambda index: -observed[index]):
        rivals = flipped[:, observed <= observed[index] + 1e-9]
        highest = max(highest, (rivals.max(axis=1) >= observed[index] - 1e-9).mean())
        assert found[index] == pytest.approx(highest)


@given(st.lists(st.lists(fifths, min_size=6, max_size=6), min_size=2, max_size=5))
def test_adjusting_never_lowers_a_p(rows: list[list[float]]) -> None:
    test = sign_flip([paired(row) for row in rows])
    for p, adjusted in zip(test.p, test.adjusted, strict=True):
        assert p - 1e-12 <= adjusted <= 1


def test_a_copy_of_a_challenger_costs_nothing() -> None:
    """Max-T knows that the two are one: Bonferroni and Holm would double the p."""
    one = paired([0.3, 0.1, -0.1, 0.4, 0.2, 0.5, 0.1, 0.3])
    assert sign_flip([one, one]).adjusted[0] == sign_flip([one]).p[0]


def test_seven_equal_models_are_rarely_called_different() -> None:
    """The family-wise error rate of max-T over six challengers stays at 5 %, where raw p-values give several times it."""
    generator = np.random.default_rng(13)
    runs = 500
    raw = adjusted = 0
    for _ in range(runs):
        scores = generator.normal(0.7, 0.2, (7, 10))
        test = sign_flip([paired(row - scores[0]) for row in scores[1:]])
        raw += min(test.p) <= 0.05
        adjusted += min(test.adjusted) <= 0.05
    assert adjusted / runs <= 0.08
    assert raw / runs > 0.10


def test_a_hopeless_challenger_does_not_hide_what_the_others_show() -> None:
    """Its flips reach far; one that is compared after it must not be measured by them."""
    clear = paired([0.3, 0.2, 0.4, 0.3, 0.25, 0.35, 0.3, 0.2, 0.3, 0.4])
    hopeless = paired([-0.9, -1.0, -0.95, -1.0, -0.9, -1.0, -1.0, -0.9, -1.0, -1.0])
    assert sign_flip([clear]).p[0] == pytest.approx(2 / 2**10)
    assert sign_flip([clear, hopeless]).adjusted == pytest.approx((2 / 2**10, 2 / 2**10))


def test_max_t_flips_the_same_source_alike_for_all_challengers() -> None:
    """A challenger that answered fewer inputs is compared over its own; the others are flipped with it."""
    full = paired([0.5] * 8)
    part = Paired((0.5,) * 4, ("0", "1", "2", "3"))
    test = sign_flip([full, part])
    assert test.p == pytest.approx((2 / 2**8, 2 / 2**4))


def test_holm_is_the_step_down_of_bonferroni() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)


# --- what may be said ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "p", "p_no_worse", "said"),
    [
        (0.20, 0.01, 0.001, "better"),
        (-0.20, 0.01, 1.0, "worse"),
        (0.05, 0.01, 0.2, "better"),
        (0.04, 0.01, 0.05, "no_worse"),
        (0.20, 0.06, 0.04, "no_worse"),
        (0.20, 0.06, 0.051, "tied"),
        (-0.04, 0.01, 0.02, "no_worse"),
        (0.00, 1.0, 0.54, "tied"),
    ],
)
def test_a_verdict_needs_both_the_p_and_the_margin(difference: float, p: float, p_no_worse: float, said: str) -> None:
    assert verdict(difference, p, p_no_worse, margin=0.05) == said


def test_without_a_margin_no_difference_is_still_no_win() -> None:
    assert verdict(0.0, 0.01, 1.0, margin=0.0) == "tied"


# --- single checks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 13), (1, 13), (7, 13), (13, 13), (35, 36)])
def test_wilson_is_that_of_scipy(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    found = wilson(successes, n)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_says_something_of_a_perfect_score() -> None:
    """13 of 13 still leaves a true share of 77 % possible; an interval of zero width would be a lie."""
    found = wilson(13, 13)
    assert found.low == pytest.approx(0.772, abs=0.001)
    assert found.high == 1
    assert not wilson(0, 0).estimable


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_exact_binomial_test(ours: int, theirs: int) -> None:
    expected = stats.binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
    assert mcnemar(ours, theirs) == pytest.approx(expected)


# --- how many inputs -------------------------------------------------------------------------------------------


@given(st.floats(0.02, 0.5), st.floats(0.02, 0.5))
@settings(max_examples=example_count(50))
def test_the_inputs_needed_are_the_least_that_resolve_the_difference(deviation: float, difference: float) -> None:
    n = clusters_needed(deviation, difference)
    assert n is not None
    effect = minimum_detectable_effect(deviation, n)
    assert effect is not None and effect <= difference + 1e-12
    fewer = minimum_detectable_effect(deviation, n - 1)
    assert fewer is None or fewer > difference - 1e-12


def test_the_inputs_needed_do_give_the_power() -> None:
    """By simulation: with the n that is asked for, the t test finds the difference four times in five."""
    n = clusters_needed(0.25, 0.2)
    assert n is not None
    generator = np.random.default_rng(14)
    found = stats.ttest_1samp(generator.normal(0.2, 0.25, (4_000, n)), 0, axis=1).pvalue <= 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_what_inputs_can_show_is_not_known_without_spread() -> None:
    assert minimum_detectable_effect(0.0, 13) is None
    assert minimum_detectable_effect(None, 1) is None
    assert clusters_needed(None, 0.1) is None
