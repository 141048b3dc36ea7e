"""Scores of candidates whose truth is known, for tests of how often a bake-off says what is false.

A candidate's true score of an input is that of the input (some are harder), moved by the candidate's own effect, by how it gets
on with this input, and by how it gets on with the source of the input; each repeat passes each check by that chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.scoring.scorer import PARTS, Part
from core.statistics.comparison import Comparison, compare_pairs, pair_tests
from core.statistics.input_scores import InputScores
from core.statistics.paired import differences as paired_differences
from core.statistics.verdicts import is_shown
from tests.support.sign_flips import sign_flip

MARGIN = 0.05


@dataclass(frozen=True)
class Layout:
    """What is asked: the source of each input, repeats, checks a part, and the parts. `ceiling`: most inputs are easy, the
    more so the higher `skilled` is; `missing` is the share of inputs that a candidate has no answer to; with
    `each_lacks_another` each has none to one input, the next candidate to the next."""

    sources: tuple[int, ...]
    repeats: int = 3
    checks: int = 5
    parts: tuple[Part, ...] = ("format",)
    ceiling: bool = False
    missing: float = 0.0
    skilled: float = 16.0
    each_lacks_another: bool = False

    @property
    def cluster_of(self) -> dict[str, str]:
        return {f"i{index}": f"s{source}" for index, source in enumerate(self.sources)}


TWELVE = Layout(tuple(range(12)))
UNEVEN = Layout((*[0] * 6, *[1] * 4, *[2] * 3, *[3] * 2, *range(4, 11)))
"""22 inputs of 11 sources."""
TWO_PARTS = Layout(tuple(range(12)), parts=PARTS)
CEILING = Layout(tuple(range(14)), ceiling=True)
GAPS = Layout(tuple(range(14)), missing=0.03)
EACH_ANOTHER = Layout(tuple(range(12)), each_lacks_another=True)
LAYOUTS = {"twelve": TWELVE, "uneven": UNEVEN, "two parts": TWO_PARTS, "ceiling": CEILING, "gaps": GAPS}


@dataclass(frozen=True)
class Drawn:
    """Bake-offs of one layout: the mean over repeats of each part, runs × candidates × inputs, and which of them are there."""

    means: Mapping[Part, np.ndarray]
    there: np.ndarray

    def __len__(self) -> int:
        return len(self.there)


def draw(generator: np.random.Generator, layout: Layout, effects: Sequence[float], runs: int) -> Drawn:
    """Bake-offs of candidates that differ in truth by `effects` on each part, the first of them the incumbent."""
    shape = (runs, len(effects), len(layout.sources))
    means: dict[Part, np.ndarray] = {}
    for part in layout.parts:
        easy = (layout.skilled, 2.0) if layout.ceiling else (4.0, 2.0)
        difficulty = generator.beta(*easy, (runs, 1, shape[2]))
        of_source = generator.normal(0, 0.1, (*shape[:2], max(layout.sources) + 1))[:, :, list(layout.sources)]
        truth = difficulty + generator.normal(0, 0.12, shape) + of_source
        # Mirrored at the ends, so that equal candidates are equal wherever their scores lie.
        chance = np.clip(np.where(truth > 1, 2 - truth, np.abs(truth)) + np.array(effects)[:, None], 0, 1)
        # The mean over checks and repeats: so many tries, each with this chance.
        tries = layout.checks * layout.repeats
        means[part] = generator.binomial(tries, chance) / tries
    there = generator.random(shape) >= layout.missing
    if layout.each_lacks_another:
        for row in range(shape[1]):
            there[:, row, row % shape[2]] = False
    return Drawn(means, there)


def scores_of(drawn: Drawn, run: int, layout: Layout) -> list[InputScores]:
    """The candidates of one of the bake-offs."""
    names = list(layout.cluster_of)
    found = []
    for row, there in enumerate(drawn.there[run]):
        places = np.flatnonzero(there).tolist()
        by_part = {
            part: {names[place]: float(table[run, row, place]) for place in places}
            for part, table in drawn.means.items()
        }
        found.append(InputScores(f"m{row}", by_part))
    return found


def simulate(generator: np.random.Generator, layout: Layout, effects: Sequence[float]) -> list[InputScores]:
    """One bake-off; see `draw`."""
    return scores_of(draw(generator, layout, effects, 1), 0, layout)


def excluded_by_the_best(scores: Sequence[InputScores], cluster_of: Mapping[str, str]) -> set[str]:
    """Who was outside of the tied set before: worse by max-T than whoever is best in the same data."""
    best = max(scores, key=lambda one: one.mean("format") or 0.0)
    others = [one for one in scores if one is not best]
    found = [paired_differences(one.means("format"), best.means("format"), cluster_of) for one in others]
    test = sign_flip([one for one in found if one is not None])
    return {
        one.candidate
        for one, paired, p in zip(others, found, test.adjusted, strict=True)
        if paired is not None and is_shown(paired.mean, p, MARGIN)
    }


def against_the_first(scores: Sequence[InputScores], layout: Layout) -> list[Comparison]:
    """The comparisons of all others with the first, as a leaderboard makes them."""
    pairs = [(one, scores[0]) for one in scores[1:]]
    tests = pair_tests(pairs, layout.parts, layout.cluster_of, among=scores)
    return compare_pairs(pairs, layout.parts, layout.cluster_of, MARGIN, tests)


def called_different(scores: Sequence[InputScores], layout: Layout) -> set[str]:
    """Who is called better or worse than the first, on any part: the same without the figures beside it, which take longer."""
    pairs = [(one, scores[0]) for one in scores[1:]]
    tests = pair_tests(pairs, layout.parts, layout.cluster_of, among=scores)
    return {ours for (_, ours, _), one in tests.found.items() if is_shown(one.difference, one.p_adjusted, MARGIN)}


def most_by_chance(runs: int, rate: float = 0.05) -> float:
    """The share of runs that stays below this in 99 of 100 simulations where the true share is the rate."""
    return rate + 2.33 * (rate * (1 - rate) / runs) ** 0.5
