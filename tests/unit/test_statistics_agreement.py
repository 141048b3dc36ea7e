"""Agreement of two raters: kappa beyond chance, its interval over clusters, and what it says of judges that tell nothing."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.agreement import LEAST_CLUSTERS, RaterAgreement, rater_agreement

Pairs = list[tuple[bool, bool]]


def of_counts(both: int, ours: int, theirs: int, neither: int) -> RaterAgreement:
    pairs: Pairs = (
        [(True, True)] * both + [(True, False)] * ours + [(False, True)] * theirs + [(False, False)] * neither
    )
    return rater_agreement(pairs, [f"i{number}" for number in range(len(pairs))])


def test_kappa_is_what_the_textbook_has() -> None:
    """Fleiss, Levin & Paik, Statistical Methods for Rates and Proportions, 3rd ed., ch. 18: 2 × 2 by hand."""
    found = of_counts(20, 5, 10, 15)
    assert (found.pairs, found.share) == (50, pytest.approx(0.7))
    assert found.kappa == pytest.approx((0.7 - 0.5) / 0.5)
    assert found.beyond_chance is True


def test_a_judge_that_calls_everything_good_is_told_by_kappa_though_it_agrees_nine_times_in_ten() -> None:
    found = of_counts(27, 0, 3, 0)
    assert found.share == pytest.approx(0.9) and found.kappa == 0 and found.beyond_chance is False


def test_where_both_say_the_same_of_all_nothing_can_be_told() -> None:
    found = of_counts(30, 0, 0, 0)
    assert (found.share, found.kappa, found.beyond_chance) == (1.0, None, None)
    assert rater_agreement([], []).share is None


def test_few_ratings_show_nothing_and_perfect_ones_what_a_guess_would_not_reach() -> None:
    few, agrees, lone = of_counts(2, 1, 1, 2), of_counts(6, 0, 0, 6), of_counts(11, 0, 0, 1)
    assert few.pairs < LEAST_CLUSTERS and not few.kappa_interval.estimable and few.beyond_chance is None
    assert of_counts(1, 2, 2, 1).beyond_chance is None, "six do not show that a judge is no better than chance either"
    assert agrees.kappa == 1 and not agrees.kappa_interval.estimable
    assert agrees.perfect_p == pytest.approx(1 / 924) and agrees.beyond_chance is True
    assert lone.perfect_p == pytest.approx(1 / 12) and lone.beyond_chance is None


def test_ratings_that_can_be_exchanged_have_one_margin() -> None:
    pairs: Pairs = [(True, True)] * 8 + [(True, False)] * 6 + [(False, False)] * 6
    turned = [(other, one) for one, other in pairs]
    clusters = [str(number) for number in range(len(pairs))]
    one, other = (rater_agreement(some, clusters, exchangeable=True) for some in (pairs, turned))
    assert one == other
    pooled = (8 * 2 + 6) / 40
    by_chance = pooled**2 + (1 - pooled) ** 2
    assert one.kappa == pytest.approx((0.7 - by_chance) / (1 - by_chance))


def simulated(
    rng: np.random.Generator, inputs: int, each: int, good: float, told: tuple[float, float]
) -> RaterAgreement:
    """Marks and verdicts of `each` answers to so many inputs, some of which are easier; `told` is how often the judge calls a
    right answer right and a wrong one right."""
    easy = rng.beta(4 * good, 4 * (1 - good), inputs) if each > 1 else np.full(inputs, good)
    marks = rng.random((inputs, each)) < easy[:, None]
    verdicts = rng.random((inputs, each)) < np.where(marks, told[0], told[1])
    pairs = list(zip(marks.ravel().tolist(), verdicts.ravel().tolist(), strict=True))
    return rater_agreement(pairs, [str(number) for number in range(inputs) for _ in range(each)])


def true_kappa(good: float, told: tuple[float, float]) -> float:
    called = good * told[0] + (1 - good) * told[1]
    share, chance = good * told[0] + (1 - good) * (1 - told[1]), good * called + (1 - good) * (1 - called)
    return (share - chance) / (1 - chance)


@pytest.mark.parametrize(("inputs", "each", "good"), [(20, 1, 0.5), (20, 3, 0.5), (40, 1, 0.8), (40, 3, 0.8)])
def test_the_interval_covers_the_kappa_that_is_there(inputs: int, each: int, good: float) -> None:
    """Measured over 4,000 runs: 95 to 98 %; 500 runs here, with room for their own noise (three standard errors)."""
    rng, told = np.random.default_rng(7), (0.85, 0.3)
    true, covered, told_of = true_kappa(good, told), 0, 0
    for _ in range(500):
        interval = simulated(rng, inputs, each, good, told).kappa_interval
        if interval.low is not None and interval.high is not None:
            told_of += 1
            covered += interval.low <= true <= interval.high
    assert told_of > 450 and covered / told_of >= 0.95 - 0.03


def test_a_judge_that_guesses_is_hardly_ever_said_to_know_more_than_chance() -> None:
    rng = np.random.default_rng(8)
    said = [simulated(rng, 20, 2, 0.7, (0.6, 0.6)).beyond_chance for _ in range(500)]
    assert said.count(True) / len(said) <= 0.025 + 0.02
