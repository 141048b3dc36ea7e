"""The one rule of "no worse": three outcomes, one-sided 95 %, whatever differences are distributed like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from core.statistics.no_worse import (
    EXACT_UP_TO,
    MOST_INPUTS,
    agreeing_inputs,
    clusters_that_tell,
    could_differ,
    lower_bound,
    no_worse,
    no_worse_p,
    upper_bound,
    worse_p,
)
from core.statistics.paired import Paired

MARGIN = 0.05
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def paired(*values: float, clusters: str | None = None) -> Paired:
    return Paired(tuple(values), tuple(clusters or map(str, range(len(values)))))


def rare_loss(share: float, otherwise: float, noise: float) -> Draw:
    return lambda g, n: np.where(g.random(n) < share, -1.0, otherwise + g.normal(0, noise, n))


def steps(values: list[float], chances: list[float]) -> Draw:
    return lambda g, n: g.choice(values, p=chances, size=n)


WORSE_BY_THE_MARGIN: dict[str, Draw] = {
    "normal, narrow": lambda g, n: np.clip(g.normal(-MARGIN, 0.1, n), -1, 1),
    "normal, wide": lambda g, n: np.clip(g.normal(-MARGIN, 0.3, n), -1, 1),
    "binary, lively": steps([1, 0, -1], [0.30, 0.35, 0.35]),
    "binary, quiet": steps([1, 0, -1], [0.02, 0.91, 0.07]),
    "binary, only losses": steps([0, -1], [0.95, 0.05]),
    "ties, then losses": lambda g, n: np.where(g.random(n) < 0.8, 0.0, np.clip(g.normal(-0.25, 0.3, n), -1, 1)),
    "small gains, rare collapse": rare_loss(0.1, 0.05 / 0.9, 0.02),
    "hardly any noise, rare collapse": rare_loss(0.05, 0.0, 0.005),
    "steps of a judge": steps([0.4, 0.2, 0, -0.2, -0.4, -1], [0.10, 0.15, 0.395, 0.20, 0.125, 0.03]),
}


@pytest.mark.parametrize("name", WORSE_BY_THE_MARGIN)
def test_worse_by_the_margin_passes_in_one_run_of_twenty_at_most(name: str) -> None:
    """And is called worse by more than the margin no oftener. 300 runs a size; the bound allows for their chance."""
    generator, draw = np.random.default_rng(14), WORSE_BY_THE_MARGIN[name]
    for n in (2, 5, 12, 40):
        runs = [paired(*draw(generator, n)) for _ in range(300)]
        most = stats.binom.ppf(0.999, len(runs), 0.05)
        assert sum(no_worse_p(one, MARGIN) <= 0.05 for one in runs) <= most, n
        assert sum(worse_p(one, MARGIN) <= 0.05 for one in runs) <= most, n


def test_it_holds_for_documents_of_uneven_size() -> None:
    """Sources of one to six inputs, of which one in ten is lost as a whole."""
    generator, passed = np.random.default_rng(3), 0
    for _ in range(600):
        sizes = generator.integers(1, 7, 20)
        lost = np.where(generator.random(20) < 0.1, -1.0, 0.05 / 0.9)
        values, names = np.repeat(lost, sizes), np.repeat(np.arange(20), sizes)
        passed += no_worse_p(Paired(tuple(values), tuple(map(str, names))), MARGIN) <= 0.05
    assert passed <= stats.binom.ppf(0.999, 600, 0.05)


def test_the_t_test_does_not_hold_it() -> None:
    """Why it is not the rule: what few inputs do not show, it takes for impossible."""
    generator = np.random.default_rng(14)

    def passes(name: str, n: int) -> float:
        runs = [WORSE_BY_THE_MARGIN[name](generator, n) for _ in range(400)]
        # Values that are all equal have no standard error, and so no t.
        told = [stats.ttest_1samp(one, -MARGIN, alternative="greater").pvalue for one in runs if np.ptp(one) > 0]
        return sum(p <= 0.05 for p in told) / len(runs)

    assert passes("small gains, rare collapse", 12) > 0.2
    assert passes("hardly any noise, rare collapse", 12) > 0.45
    assert passes("ties, then losses", 12) > 0.1


def test_differences_of_all_or_nothing_are_held_to_the_exact_binomial_test() -> None:
    for wins, losses in [(10, 0), (12, 1), (20, 5), (3, 3), (40, 10)]:
        n = wins + losses
        exact = stats.binomtest(wins, n, (1 - MARGIN) / 2, alternative="greater").pvalue
        assert no_worse_p(paired(*[1.0] * wins, *[-1.0] * losses), MARGIN) == pytest.approx(exact, rel=1e-9)
        other = stats.binomtest(wins, n, (1 - MARGIN) / 2, alternative="less").pvalue
        assert worse_p(paired(*[1.0] * wins, *[-1.0] * losses), MARGIN) == pytest.approx(other, rel=1e-9)


def test_the_exact_chance_is_that_of_random_weights() -> None:
    values = np.round(np.random.default_rng(6).uniform(-0.4, 0.6, 14), 1)
    weights = np.random.default_rng(7).dirichlet(np.ones(15), 200_000)
    below = (weights @ np.append(values, -1.0) <= -MARGIN).mean()
    assert no_worse_p(paired(*values), MARGIN) == pytest.approx(below, abs=0.004)


@pytest.mark.parametrize("name", WORSE_BY_THE_MARGIN)
def test_many_inputs_are_judged_nearly_as_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(9)
    for shift in (-0.02, 0.0, 0.03, 0.05):
        values = np.clip(WORSE_BY_THE_MARGIN[name](generator, EXACT_UP_TO + 1) + shift, -1, 1)
        approximate = no_worse_p(paired(*values), MARGIN)
        with monkeypatch.context() as patch:
            patch.setattr("core.statistics.no_worse.EXACT_UP_TO", 1_000)
            exact = no_worse_p(paired(*values), MARGIN)
        assert approximate == pytest.approx(exact, abs=0.006 if exact > 0.1 else 0.002)


@pytest.mark.parametrize(("n", "outcome"), [(1, "cannot_tell"), (12, "cannot_tell"), (58, "cannot_tell"), (59, "pass")])
def test_none_seen_is_the_rule_of_three(n: int, outcome: str) -> None:
    found = no_worse(paired(*[0.0] * n), MARGIN)
    assert (found.outcome, found.needed) == (outcome, 59 if n < 59 else None)
    assert found.p == pytest.approx(0.95**n)
    assert found.could_differ == pytest.approx(1 - 0.05 ** (1 / n))
    assert found.low == pytest.approx(-(1 - 0.05 ** (1 / n)), abs=2e-6)


def test_twelve_inputs_without_a_difference_leave_22_percent() -> None:
    assert could_differ(12) == pytest.approx(0.2209, abs=1e-4)
    assert (could_differ(0), agreeing_inputs(0.05), agreeing_inputs(0.0)) == (None, 59, None)


def test_a_little_noise_is_no_evidence() -> None:
    """All equal cannot tell at 12 inputs, and neither can nearly all equal: a t test passes the one and not the other."""
    equal, nearly = paired(*[0.0] * 12), paired(*[0.0] * 11, 0.01)
    assert no_worse_p(nearly, MARGIN) == pytest.approx(no_worse_p(equal, MARGIN), abs=0.01)
    assert no_worse(nearly, MARGIN).could_differ is None


def test_no_input_and_one_input_cannot_tell() -> None:
    found = no_worse(None, MARGIN)
    assert (found.outcome, found.p, found.low, found.inputs, found.needed) == ("cannot_tell", None, None, 0, None)
    for value in (1.0, 0.0, -1.0):
        assert no_worse(paired(value), MARGIN).outcome == "cannot_tell"


@pytest.mark.parametrize(("wins", "outcome"), [(4, "cannot_tell"), (5, "pass")])
def test_five_total_gains_are_enough_and_four_are_not(wins: int, outcome: str) -> None:
    assert no_worse(paired(*[1.0] * wins), MARGIN).outcome == outcome


def test_a_clear_loss_fails_and_says_by_how_much_at_the_best() -> None:
    found = no_worse(paired(*[-0.6, -0.4, -0.5, -0.4] * 4), MARGIN)
    assert found.outcome == "fail"
    assert found.high is not None and found.difference is not None and found.difference < found.high < -MARGIN


def test_inputs_of_one_source_are_one() -> None:
    alone = no_worse(paired(*[1.0] * 12, clusters="a" * 12), MARGIN)
    assert (alone.outcome, alone.inputs, alone.clusters) == ("cannot_tell", 12, 1)
    twice = paired(0.4, 0.4, 0.1, 0.1, 0.9, 0.9, clusters="aabbcc")
    assert no_worse_p(twice, MARGIN) == pytest.approx(no_worse_p(paired(0.4, 0.1, 0.9), MARGIN))
    assert lower_bound(twice) == pytest.approx(lower_bound(paired(0.4, 0.1, 0.9)), abs=2e-6)


def test_what_is_missing_is_never_assumed() -> None:
    gains = [0.5] * 30
    one = no_worse(paired(*gains), MARGIN, least=paired(*gains, -1.0), most=paired(*gains, 1.0), missing=1)
    assert (one.outcome, one.missing, one.inputs) == ("pass", 1, 30)
    holes = no_worse(
        paired(*gains), MARGIN, least=paired(*gains, *[-1.0] * 15), most=paired(*gains, *[1.0] * 15), missing=15
    )
    assert (holes.outcome, holes.missing_decides, holes.needed) == ("cannot_tell", True, None)
    losses = [-0.5] * 30
    few = no_worse(paired(*losses), MARGIN, least=paired(*losses, -1.0), most=paired(*losses, 1.0), missing=1)
    assert few.outcome == "fail"
    nobody = no_worse(None, MARGIN, least=paired(-1.0, -1.0), most=paired(1.0, 1.0), missing=2)
    assert (nobody.outcome, nobody.missing) == ("cannot_tell", 2)


def test_the_number_that_would_tell_does_in_four_samples_of_five() -> None:
    generator = np.random.default_rng(2)
    sample = paired(*np.clip(generator.normal(0.0, 0.2, 40), -1, 1))
    sample = paired(*(value - sample.mean for value in sample.values))
    needed = clusters_that_tell(sample, MARGIN)
    assert needed is not None and needed > 40
    told = [no_worse_p(paired(*generator.choice(sample.values, needed)), MARGIN) <= 0.05 for _ in range(150)]
    assert 0.68 < sum(told) / len(told) < 0.92


def test_the_number_that_would_tell_of_a_loss_and_of_none() -> None:
    worse = paired(*[0.0, -0.4] * 3)
    found = no_worse(worse, MARGIN)
    assert found.outcome == "cannot_tell" and found.needed is not None and 6 < found.needed < 60
    assert clusters_that_tell(paired(*[-MARGIN] * 8), MARGIN) is None, "exactly the margin is never told"
    assert clusters_that_tell(paired(*[0.0] * 8), 0.0) is None
    assert clusters_that_tell(paired(*[0.0] * 8), 0.001) is None and MOST_INPUTS < 2_995
    wider = [clusters_that_tell(paired(*[0.2, -0.2] * 6), margin) or 0 for margin in (0.05, 0.1, 0.2)]
    assert wider == sorted(wider, reverse=True) and wider[-1] > 12


def test_bounds_are_where_the_rule_turns() -> None:
    sample = paired(*np.random.default_rng(5).uniform(-0.3, 0.5, 20))
    low, high = lower_bound(sample), upper_bound(sample)
    assert -1 < low < sample.mean < high < 1
    assert no_worse_p(sample, -low + 1e-4) < 0.05 < no_worse_p(sample, -low - 1e-4)
    assert worse_p(sample, -high - 1e-4) < 0.05 < worse_p(sample, -high + 1e-4)


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=25),
    st.integers(0, 24),
    st.floats(0, 0.9),
    st.randoms(use_true_random=False),
)
def test_a_better_answer_never_harms_and_the_order_means_nothing(
    fifths: list[int], place: int, margin: float, chance: object
) -> None:
    values = [value / 5 for value in fifths]
    p, worse = no_worse_p(paired(*values), margin), worse_p(paired(*values), margin)
    assert 0 <= p <= 1 and 0 <= worse <= 1
    assert not (p <= 0.05 and worse <= 0.05)
    raised = list(values)
    raised[place % len(values)] = min(1.0, raised[place % len(values)] + 0.2)
    assert no_worse_p(paired(*raised), margin) <= p + 1e-9
    assert no_worse_p(paired(*reversed(values)), margin) == pytest.approx(p, abs=1e-9)
    assert no_worse_p(paired(*values), min(0.99, margin + 0.05)) <= p + 1e-9
