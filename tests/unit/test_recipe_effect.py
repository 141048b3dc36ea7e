"""What may be said of a recipe by a few seeds and inputs: the figures. How often they are wrong is simulated elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from core.statistics.paired import Paired, t_interval
from core.statistics.recipe_effect import (
    adapter_difference,
    adapter_mean,
    bound,
    half_width_with,
    main_effect,
    recipe_difference,
    recipe_mean,
)
from core.statistics.seed_scores import SeedScores, seed_scores

NAMES = tuple(f"input-{number}" for number in range(12))
EACH = {name: name for name in NAMES}


def arm(name: str, values: np.ndarray, *, seeded: bool = True, clusters: dict[str, str] | None = None) -> SeedScores:
    return SeedScores(name, values, NAMES, clusters or EACH, seeded)


def drawn(seed: int, seeds: int = 3, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.clip(generator.normal(0.5 + shift, 0.2, (seeds, 12)) + generator.normal(0, 0.1, (seeds, 1)), 0, 1)


def test_the_interval_of_a_difference_has_the_variance_of_seeds_and_of_inputs_and_satterthwaites_degrees() -> None:
    ours, theirs = drawn(1, 3), drawn(2, 4)
    found = recipe_difference(arm("ours", ours), arm("theirs", theirs))
    parts = [
        (stats.sem(ours.mean(axis=1)) ** 2, 2),
        (stats.sem(theirs.mean(axis=1)) ** 2, 3),
        (stats.sem(ours.mean(axis=0) - theirs.mean(axis=0)) ** 2, 11),
    ]
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / of_part for part, of_part in parts)
    expected = stats.t(degrees, ours.mean() - theirs.mean(), math.sqrt(variance))
    assert (found.interval.low, found.interval.high) == pytest.approx(expected.interval(0.95))
    assert found.degrees == pytest.approx(degrees)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(expected.mean() / math.sqrt(variance)), degrees))
    assert (found.seeds, found.inputs, found.missing) == ((3, 4), 12, 0)
    wider = bound(found, 0.99)
    assert (wider.low, wider.high) == pytest.approx(expected.interval(0.99))


def test_an_untrained_model_takes_part_by_its_inputs_alone() -> None:
    ours, theirs = drawn(1), drawn(2, 1)
    found = recipe_difference(arm("tuned", ours), arm("untrained", theirs, seeded=False))
    assert found.seeds == (3, 0)
    assert found.seed_variance == pytest.approx(stats.sem(ours.mean(axis=1)) ** 2)
    both = recipe_difference(arm("one", drawn(3, 1), seeded=False), arm("untrained", theirs, seeded=False))
    paired = Paired(tuple((drawn(3, 1) - theirs)[0].tolist()), NAMES)
    assert (both.interval.low, both.interval.high) == pytest.approx((t_interval(paired).low, t_interval(paired).high))


def test_one_adapter_varies_over_inputs_alone_and_its_interval_is_the_paired_one() -> None:
    ours, theirs = drawn(1), drawn(2)
    found = adapter_difference(arm("ours", ours), 2, arm("theirs", theirs), 0)
    expected = t_interval(Paired(tuple((ours[2] - theirs[0]).tolist()), NAMES))
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    assert found.estimand == "adapter"
    assert adapter_mean(arm("ours", ours), 1).mean == pytest.approx(ours[1].mean())
    with pytest.raises(IndexError, match="no seed 3"):
        adapter_mean(arm("ours", ours), 3)


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_a_recipe_has_a_mean_and_no_interval(seeds: int) -> None:
    found = recipe_mean(arm("ours", drawn(1, seeds)))
    assert found.mean == pytest.approx(drawn(1, seeds).mean())
    assert (found.interval.estimable, found.p, found.degrees, found.unknown) == (False, None, None, "too_few_seeds")


def test_inputs_of_one_source_count_once() -> None:
    clusters = {name: f"source-{number // 2}" for number, name in enumerate(NAMES)}
    values = drawn(1)
    found = recipe_mean(arm("ours", values, clusters=clusters))
    assert (found.clusters, found.inputs) == (6, 12)
    assert found.input_variance == pytest.approx(stats.sem(values.mean(axis=0).reshape(6, 2).mean(axis=1)) ** 2)
    alone = recipe_mean(arm("ours", values, clusters=dict.fromkeys(NAMES, "one")))
    assert alone.unknown == "one_source"


def test_where_nothing_varies_there_is_no_interval_of_zero_width() -> None:
    equal = recipe_difference(arm("ours", np.ones((3, 12))), arm("theirs", np.ones((3, 12))))
    assert (equal.mean, equal.p, equal.unknown, equal.interval.estimable) == (0.0, 1.0, "no_variation", False)
    always = recipe_difference(arm("ours", np.ones((3, 12))), arm("theirs", np.zeros((1, 12)), seeded=False))
    assert (always.mean, always.unknown) == (1.0, "no_variation")
    assert always.p == pytest.approx(2 / 2**12)


def test_seeds_that_agree_leave_the_interval_over_inputs() -> None:
    values = np.repeat(drawn(1, 1), 3, axis=0)
    found = recipe_mean(arm("ours", values))
    assert found.seed_variance == 0
    assert found.degrees == pytest.approx(11)


def test_an_input_that_one_seed_lacks_is_left_out_for_all() -> None:
    ours = drawn(1)
    ours[1, 4] = math.nan
    found = recipe_difference(arm("ours", ours), arm("theirs", drawn(2)))
    assert (found.inputs, found.missing) == (11, 1)
    kept = [place for place in range(12) if place != 4]
    assert found.mean == pytest.approx(ours[:, kept].mean() - drawn(2)[:, kept].mean())


def test_a_seed_without_any_score_is_no_seed() -> None:
    ours = drawn(1, 4)
    ours[2] = math.nan
    found = recipe_mean(arm("ours", ours))
    assert (found.seeds[0], found.inputs, found.missing) == (3, 12, 0)


def test_arms_that_share_no_input_have_no_difference() -> None:
    ours, theirs = drawn(1), drawn(2)
    ours[:, :6] = math.nan
    theirs[:, 6:] = math.nan
    found = recipe_difference(arm("ours", ours), arm("theirs", theirs))
    assert (found.mean, found.unknown, found.inputs, found.missing) == (None, "nothing_shared", 0, 12)


def test_arms_are_matched_by_the_names_of_their_inputs_not_by_their_places() -> None:
    turned = SeedScores("theirs", drawn(2)[:, ::-1], NAMES[::-1], EACH)
    one = recipe_difference(arm("ours", drawn(1)), turned)
    other = recipe_difference(arm("ours", drawn(1)), arm("theirs", drawn(2)))
    assert one.mean == pytest.approx(other.mean)
    assert one.p == pytest.approx(other.p)


def test_a_main_effect_is_the_mean_over_matched_pairs() -> None:
    arms = {
        (weights, rank): arm(f"{weights} {rank}", drawn(ord(weights) + rank)) for weights in "ab" for rank in (4, 16)
    }
    found = main_effect([(arms["a", rank], arms["b", rank]) for rank in (4, 16)])
    by_input = sum(arms["a", rank].values.mean(axis=0) - arms["b", rank].values.mean(axis=0) for rank in (4, 16)) / 2
    of_seeds = sum(stats.sem(one.values.mean(axis=1)) ** 2 for one in arms.values()) / 4
    assert found.mean == pytest.approx(by_input.mean())
    assert found.input_variance == pytest.approx(stats.sem(by_input) ** 2)
    assert found.seed_variance == pytest.approx(of_seeds)
    assert found.seeds == (3, 3)
    single = main_effect([(arms["a", 4], arms["b", 4])])
    assert single.p == pytest.approx(recipe_difference(arms["a", 4], arms["b", 4]).p)


def test_more_seeds_and_more_inputs_narrow_an_interval_each_in_its_part() -> None:
    found = recipe_difference(arm("ours", drawn(1)), arm("theirs", drawn(5)))
    now, by_seeds, by_both = (
        half_width_with(found, seeds=seeds, inputs=inputs) for seeds, inputs in ((1, 1), (2, 1), (2, 2))
    )
    assert now == pytest.approx(found.half_width)
    assert now is not None and by_seeds is not None and by_both is not None
    assert by_both < by_seeds < now
    assert half_width_with(recipe_mean(arm("ours", np.ones((3, 12))))) is None


def test_scores_by_input_become_rows_with_holes() -> None:
    found = seed_scores("ours", [{"input-0": 0.5}, {"input-1": 1.0, "input-0": 0.0}], EACH)
    assert found.values.shape == (2, 12)
    assert np.isnan(found.values).sum() == 21
    assert found.seeds == 2
    with pytest.raises(ValueError, match="2 rows of a model that no seed changes"):
        seed_scores("untrained", [{}, {}], EACH, seeded=False)
