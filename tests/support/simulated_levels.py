"""How often false things are said in many simulated bake-offs: a quick look at all, the judgement itself where it matters.

The smallest p that max-T could give to any of the pairs whose truth is "equal" is worked out for all runs at once. Where that
is above the level nothing false can be said, and the judgement itself is asked about the other runs alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from core.statistics.input_scores import InputScores
from core.statistics.paired import ALPHA
from tests.support.simulation import Drawn, Layout, draw, scores_of

Pairs = Sequence[tuple[int, int]]
BATCH = 250
# Numbers of a batch of flips at a time.
_AT_ONCE = 2**22
# Above what single precision can be wrong by.
_CLEARLY = 1 + 1e-5


def everyone(effects: Sequence[float]) -> Pairs:
    """All pairs of candidates."""
    return list(itertools.combinations(range(len(effects)), 2))


def least_p(drawn: Drawn, layout: Layout, pairs: Pairs, usual: Pairs) -> np.ndarray:
    """For each run a lower bound of the adjusted p of all these pairs on all parts, in whatever larger family they are tested.

    In a step-down max-T test a hypothesis has at least the p that it has among any of those that differ less, itself with them.
    For the pair that differs most among `pairs` that is the share of flips under which one of `pairs` differs more clearly.
    `usual` are the pairs that say what a usual spread is.
    """
    clusters = np.unique(list(layout.cluster_of.values()), return_inverse=True)[1]
    member = np.eye(clusters.max() + 1)[clusters]
    sums = []
    weights = []
    for means in drawn.means.values():
        norms = np.linalg.norm(_differences(means, drawn.there, usual) @ member, axis=2)
        scale = np.nan_to_num(np.nanmedian(np.where(norms > 0, norms, np.nan), axis=1))
        of_part = _differences(means, drawn.there, pairs) @ member
        own = np.linalg.norm(of_part, axis=2)
        sums.append(of_part)
        weights.append(np.where(own > 0, 1 / np.where(own > 0, own + scale[:, None], 1), 0))
    weighted = (np.concatenate(sums, axis=1) * np.concatenate(weights, axis=1)[:, :, None]).astype(np.float32)
    signs = np.array(list(itertools.product((1, -1), repeat=member.shape[1] - 1)), np.float32).T
    signs = np.concatenate([np.ones((1, signs.shape[1]), np.float32), signs])
    most = np.abs(weighted.sum(axis=2)).max(axis=1) * _CLEARLY
    found = np.empty(len(drawn))
    step = max(1, _AT_ONCE // (weighted.shape[1] * signs.shape[1]))
    for first in range(0, len(drawn), step):
        reached = np.abs(weighted[first : first + step] @ signs).max(axis=1)
        found[first : first + step] = (reached > most[first : first + step, None]).mean(axis=1)
    return found


def _differences(means: np.ndarray, there: np.ndarray, pairs: Pairs) -> np.ndarray:
    ours, theirs = (list(side) for side in zip(*pairs, strict=True))
    both = there[:, ours] & there[:, theirs]
    return np.where(both, means[:, ours] - means[:, theirs], 0.0)


def false_share(
    layout: Layout,
    effects: Sequence[Sequence[float]],
    equal: Callable[[Sequence[float]], Pairs],
    is_false: Callable[[list[list[InputScores]]], bool],
    *,
    runs: int,
    level: float = ALPHA,
    seed: int = 21,
) -> float:
    """The share of runs in which something false is said, of bake-offs over tasks with these effects.

    `equal` are the pairs of a task of which it would be false to say that they differ, in either direction; `is_false` asks the
    judgement about the scores of each task. `level` is the p at which the first false thing can be said.
    """
    return sum(_false(layout, effects, equal, is_false, runs, level, seed)) / runs


def _false(
    layout: Layout,
    effects: Sequence[Sequence[float]],
    equal: Callable[[Sequence[float]], Pairs],
    is_false: Callable[[list[list[InputScores]]], bool],
    runs: int,
    level: float,
    seed: int,
) -> Iterator[bool]:
    generator = np.random.default_rng(seed)
    for first in range(0, runs, BATCH):
        tasks = [draw(generator, layout, of_task, min(BATCH, runs - first)) for of_task in effects]
        bounds = [
            least_p(drawn, layout, equal(of_task), everyone(of_task))
            for drawn, of_task in zip(tasks, effects, strict=True)
        ]
        suspect = np.min(bounds, axis=0) <= level
        for drawn, of_task in zip(tasks, effects, strict=True):
            suspect |= _turned_round(drawn, of_task)
        for run in np.flatnonzero(suspect).tolist():
            yield is_false([scores_of(drawn, run, layout) for drawn in tasks])


def _turned_round(drawn: Drawn, effects: Sequence[float]) -> np.ndarray:
    """The runs in which a worse candidate is better than one of the best over what both answered: it might be shown so."""
    best = [row for row, effect in enumerate(effects) if effect == max(effects)]
    pairs = [(ours, row) for row in range(len(effects)) if row not in best for ours in best]
    found = np.zeros(len(drawn), bool)
    for means in drawn.means.values() if pairs else ():
        found |= (_differences(means, drawn.there, pairs).sum(axis=2) < 0).any(axis=1)
    return found
