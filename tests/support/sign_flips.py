"""The sign-flip test of differences that stand for themselves, without the scores that they are of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.statistics.paired import Paired
from core.statistics.permutation import FLIPS, FlipTest, flip_test


def sign_flip(challengers: Sequence[Paired], *, flips: int = FLIPS, seed: int = 0) -> FlipTest:
    """The sign-flip permutation test of d̄ = 0, with the same flips for all challengers; see `flip_test`."""
    names = list(dict.fromkeys(cluster for paired in challengers for cluster in paired.sums))
    sums = np.array([[paired.sums.get(name, 0.0) for name in names] for paired in challengers])
    return flip_test(sums, flips=flips, seed=seed)
