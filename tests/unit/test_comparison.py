"""Candidates in pairs: which differences are one family, and who is in the tied set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.scoring.scorer import PARTS, Part
from core.statistics.comparison import compare_pairs, pair_tests, tied_set
from core.statistics.consistency import Repeats
from core.statistics.input_scores import InputScores
from core.statistics.paired import differences as paired_differences
from tests.support.sign_flips import sign_flip
from tests.support.simulation import TWO_PARTS, simulate

CLUSTERS = {f"i{index}": f"i{index}" for index in range(8)}
fifths = st.integers(0, 5).map(lambda value: value / 5)
tables = st.lists(st.lists(fifths, min_size=8, max_size=8), min_size=2, max_size=5)


def scores(name: str, *parts: list[float | None]) -> InputScores:
    by_part: dict[Part, dict[str, float]] = {
        part: {f"i{index}": value for index, value in enumerate(values) if value is not None}
        for part, values in zip(PARTS, parts, strict=False)
    }
    return InputScores(name, by_part)


def several(table: list[list[float]]) -> list[InputScores]:
    return [scores(f"m{row}", values) for row, values in enumerate(table)]


@given(tables)
def test_all_pairs_are_tested_with_the_same_flips(table: list[list[float]]) -> None:
    candidates = several(table)
    pairs = list(itertools.combinations(candidates, 2))
    found = pair_tests(pairs, ["format"], CLUSTERS)
    paired = [paired_differences(a.means("format"), b.means("format"), CLUSTERS) for a, b in pairs]
    expected = sign_flip([one for one in paired if one is not None])
    for (ours, theirs), p, adjusted in zip(pairs, expected.p, expected.adjusted, strict=True):
        test = found.of("format", ours.candidate, theirs.candidate)
        assert test is not None
        assert (test.p, test.p_adjusted) == pytest.approx((p, adjusted))


@given(tables)
def test_whoever_is_out_because_of_the_incumbent_is_called_worse_than_it(table: list[list[float]]) -> None:
    """The tests against the incumbent are a part of those of all pairs: they say at least as much."""
    candidates = several(table)
    every = pair_tests(list(itertools.combinations(candidates, 2)), ["format"], CLUSTERS)
    against = [(one, candidates[0]) for one in candidates[1:]]
    some = pair_tests(against, ["format"], CLUSTERS, among=candidates)
    for ours, theirs in against:
        one, other = (tests.of("format", ours.candidate, theirs.candidate) for tests in (some, every))
        assert one is not None and other is not None
        assert one.p_adjusted <= other.p_adjusted + 1e-12


def test_both_parts_are_one_family() -> None:
    """What both parts show on every input costs nothing to look at twice; what one shows is corrected for the other."""
    generator = np.random.default_rng(4)
    alone, both = [], []
    for _ in range(20):
        ours, theirs = simulate(generator, TWO_PARTS, [0.0, 0.2])
        for parts, into in ((("format",), alone), (PARTS, both)):
            found = pair_tests([(ours, theirs)], parts, TWO_PARTS.cluster_of).of("format", "m0", "m1")
            assert found is not None
            into.append(found.p_adjusted)
    assert all(one <= two + 1e-12 for one, two in zip(alone, both, strict=True))
    assert sum(both) > sum(alone)
    steady = [scores("a", [1.0] * 8, [1.0] * 8), scores("b", [0.0] * 8, [0.5] * 8)]
    (first, second) = compare_pairs([(steady[0], steady[1])], PARTS, CLUSTERS, 0.05)
    assert first.p_adjusted == second.p_adjusted == pytest.approx(2 / 2**8)


holes = st.lists(st.lists(st.none() | fifths, min_size=8, max_size=8), min_size=2, max_size=5)


@given(holes)
def test_pairs_over_other_inputs_are_of_the_same_family(table: list[list[float | None]]) -> None:
    """A pair is of what both answered, and a cluster's sign turns the differences of all pairs that have it."""
    candidates = [scores(f"m{row}", values) for row, values in enumerate(table)]
    pairs = list(itertools.combinations(candidates, 2))
    found = pair_tests(pairs, ["format"], CLUSTERS)
    paired = [(pair, paired_differences(pair[0].means("format"), pair[1].means("format"), CLUSTERS)) for pair in pairs]
    shared = [(pair, one) for pair, one in paired if one is not None]
    assert set(found.found) == {("format", ours.candidate, theirs.candidate) for (ours, theirs), _ in shared}
    if not shared:
        return
    expected = sign_flip([one for _, one in shared])
    for ((ours, theirs), one), p, adjusted in zip(shared, expected.p, expected.adjusted, strict=True):
        test = found.of("format", ours.candidate, theirs.candidate)
        assert test is not None
        assert (test.difference, test.p, test.p_adjusted) == pytest.approx((one.mean, p, adjusted))
        assert test.least_p == pytest.approx(2 / 2**one.n)


def test_twenty_candidates_that_each_lack_another_input_are_told_apart() -> None:
    """190 pairs, hardly two of the same inputs: corrected as so many families nothing could be shown at 12 inputs."""
    clusters = {f"i{place}": f"i{place}" for place in range(12)}
    generator = np.random.default_rng(3)
    table = generator.integers(6, 9, (20, 12)) / 10
    table[7:] -= 0.5
    candidates = [
        InputScores(
            f"m{row}", {"format": {f"i{place}": float(table[row, place]) for place in range(12) if place != row % 12}}
        )
        for row in range(20)
    ]
    found = tied_set(sorted(candidates, key=lambda one: -(one.mean("format") or 0)), ["format"], clusters, 0.05)
    assert set(found.members) == {f"m{row}" for row in range(7)}


def test_candidates_that_share_no_input_are_not_compared() -> None:
    a, b = scores("a", [0.5, 0.5, *[None] * 6]), scores("b", [None, None, *[0.5] * 6])
    assert compare_pairs([(a, b)], ["format"], CLUSTERS, 0.05) == []
    assert tied_set([a, b], ["format"], CLUSTERS, 0.05).members == ("a", "b")


def test_a_candidate_that_the_second_beats_is_out_though_the_best_does_not_show_it() -> None:
    """The best is erratic: it shows nothing of anyone, and the steady second shows that the third is worse."""
    best = scores("best", [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    steady = [scores(name, [0.85] * 7 + [end]) for name, end in (("second", 0.85), ("as good", 0.8), ("too", 0.75))]
    third = scores("third", [0.65, 0.6, 0.7, 0.6, 0.65, 0.7, 0.6, 0.65])
    found = tied_set([best, *steady, third], ["format"], CLUSTERS, 0.05)
    assert found.members == ("best", "second", "as good", "too")
    to_best = found.tests.of("format", "best", "third")
    assert to_best is not None and to_best.p_adjusted > 0.05
    assert {one.against for one in found.ties} == {"best"}


def test_differences_that_go_round_in_a_circle_leave_those_that_the_best_does_not_beat() -> None:
    """Over different inputs a beats b, b beats c and c beats a; somebody has to be left."""
    names = [f"i{index}" for index in range(30)]
    a = dict.fromkeys(names[:20], 0.9)
    b = dict.fromkeys(names[:10], 0.5) | dict.fromkeys(names[20:], 0.9)
    c = dict.fromkeys(names[10:20], 1.0) | dict.fromkeys(names[20:], 0.5)
    ranked = [InputScores(name, {"format": means}) for name, means in (("a", a), ("c", c), ("b", b))]
    found = tied_set(ranked, ["format"], {name: name for name in names}, 0.05)
    assert found.members == ("a", "c")


def test_the_noise_floor_is_that_of_the_inputs_compared() -> None:
    repeats = Repeats(0.2, {f"i{index}": 3 for index in range(8)})
    ours, theirs = (InputScores(name, scores(name, [0.5, 0.7] * 4).by_part, {"format": repeats}) for name in "ab")
    (one,) = compare_pairs([(ours, theirs)], ["format"], CLUSTERS, 0.05)
    # t₀.₉₇₅ with 2·8·2 degrees of freedom, √(2/(8·3)).
    assert one.noise_floor == pytest.approx(2.0369333 * 0.2 * (2 / 24) ** 0.5)
    (half,) = compare_pairs([(ours.only(["i0", "i1"]), theirs)], ["format"], CLUSTERS, 0.05)
    assert half.noise_floor == pytest.approx(2 * one.noise_floor)
    (unknown,) = compare_pairs([(ours, scores("c", [0.5] * 8))], ["format"], CLUSTERS, 0.05)
    assert unknown.noise_floor is None
