"""The statistics against statsmodels, an implementation that shares nothing with ours."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from core.statistics.multiplicity import holm, holm_over_groups
from core.statistics.paired import Paired, clusters_needed, minimum_detectable_effect, t_interval
from core.statistics.proportions import mcnemar, wilson


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> Iterator[None]:
    """`multipletests` collects garbage at each call, over all that a worker holds that has read thousands of tests."""
    gc.freeze()
    yield
    gc.unfreeze()


p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(p_values)
def test_holm(values: list[float]) -> None:
    expected = multipletests(values, method="holm")[1]
    assert holm(values) == pytest.approx(expected)
    assert [group[0] for group in holm_over_groups([[value] for value in values])] == pytest.approx(expected)


@given(p_values)
def test_one_group_is_as_it_came(values: list[float]) -> None:
    ordered = np.maximum.accumulate(sorted(values))
    assert sorted(holm_over_groups([values])[0]) == pytest.approx(ordered)


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson(successes: int, n: int) -> None:
    successes = min(successes, n)
    low, high = proportion_confint(successes, n, method="wilson")
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar(ours: int, theirs: int) -> None:
    expected = mcnemar_of_statsmodels([[5, ours], [theirs, 7]], exact=True).pvalue
    assert mcnemar(ours, theirs) == pytest.approx(min(1.0, expected))


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_clusters_is_that_of_a_regression_with_clustered_errors(seed: int) -> None:
    generator = np.random.default_rng(seed)
    clusters = generator.integers(0, 9, 25)
    values = generator.normal(0.1, 0.3, 25) + generator.normal(0, 0.2, 9)[clusters]
    paired = Paired(tuple(values), tuple(map(str, clusters)))
    fitted = OLS(values, np.ones(25)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    assert paired.standard_error == pytest.approx(fitted.bse[0])
    found = t_interval(paired)
    assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int()[0]))


@pytest.mark.parametrize("n", [8, 12, 30])
def test_the_detectable_effect_has_the_power_that_is_said(n: int) -> None:
    effect = minimum_detectable_effect(0.25, n)
    assert effect is not None
    # Ours is the sum of two quantiles of t; statsmodels has the noncentral t.
    assert TTestPower().power(effect / 0.25, n, 0.05) == pytest.approx(0.8, abs=0.03)
    assert clusters_needed(0.25, effect) == pytest.approx(n, abs=1)
    assert TTestPower().solve_power(effect / 0.25, alpha=0.05, power=0.8) == pytest.approx(n, abs=1)
