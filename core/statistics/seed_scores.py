"""What statements about a recipe are made of: the scores of one arm of an experiment, one row a seed, one column an
input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SeedScores:
    """One arm on one part of one task.

    `values` is seeds × inputs in [0, 1], not a number where there is no scored answer; repeats are averaged before.
    `inputs` are the columns, `cluster_of` the source of each of them. Not `seeded`: an untrained model, whose one row no
    seed changes.
    """

    name: str
    values: NDArray[np.float64]
    inputs: tuple[str, ...]
    cluster_of: Mapping[str, str]
    seeded: bool = True

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.inputs):
            raise ValueError(f"{self.name}: values of shape {self.values.shape} for {len(self.inputs)} inputs")
        if not self.seeded and len(self.values) > 1:
            raise ValueError(f"{self.name}: {len(self.values)} rows of a model that no seed changes")

    @property
    def answered(self) -> NDArray[np.float64]:
        """The rows that have a score at all."""
        import numpy as np

        rows: NDArray[np.float64] = self.values[~np.isnan(self.values).all(axis=1)]
        return rows

    @property
    def seeds(self) -> int:
        """Trainings that have a score; 0 for an untrained model."""
        return len(self.answered) if self.seeded else 0

    def of_seed(self, row: int) -> SeedScores:
        """One training alone, as a thing by itself: no seed changes an adapter. IndexError where there is no such row."""
        if not 0 <= row < len(self.values):
            raise IndexError(f"{self.name} has no seed {row}")
        return SeedScores(self.name, self.values[row : row + 1], self.inputs, self.cluster_of, seeded=False)


def seed_scores(
    name: str, rows: Sequence[Mapping[str, float]], cluster_of: Mapping[str, str], *, seeded: bool = True
) -> SeedScores:
    """Of the mean scores by input of each seed; `cluster_of` has all inputs that were asked."""
    import numpy as np

    inputs = tuple(cluster_of)
    missing = float("nan")
    values = np.array([[row.get(one, missing) for one in inputs] for row in rows], float).reshape(
        len(rows), len(inputs)
    )
    return SeedScores(name, values, inputs, cluster_of, seeded)


@dataclass(frozen=True, eq=False)
class SharedScores:
    """Arms over the inputs that every seed of each of them answered: the same columns for all.

    Means of seeds over different inputs would differ by the inputs, which is why an input that one seed lacks is left
    out for all. `missing` counts those left out.
    """

    values: tuple[NDArray[np.float64], ...]
    seeded: tuple[bool, ...]
    clusters: tuple[str, ...]
    missing: int

    @property
    def inputs(self) -> int:
        return len(self.clusters)


def shared_scores(arms: Sequence[SeedScores]) -> SharedScores:
    """The arms over their common inputs, in the order of the first; rows without any score are left out."""
    import numpy as np

    everywhere: set[str] | None = None
    seen: set[str] = set()
    rows = [arm.answered for arm in arms]
    for arm, answered in zip(arms, rows, strict=True):
        counts = np.isnan(answered).sum(axis=0) if len(answered) else np.ones(len(arm.inputs))
        names = {name for name, lacking in zip(arm.inputs, counts.tolist(), strict=True) if not lacking}
        everywhere = names if everywhere is None else everywhere & names
        seen.update(arm.inputs)
    kept = [name for name in arms[0].inputs if name in (everywhere or ())] if arms else []
    values = []
    for arm, answered in zip(arms, rows, strict=True):
        place = {name: column for column, name in enumerate(arm.inputs)}
        values.append(answered[:, [place[name] for name in kept]])
    clusters = tuple(arms[0].cluster_of[name] for name in kept) if arms else ()
    return SharedScores(tuple(values), tuple(arm.seeded for arm in arms), clusters, len(seen) - len(kept))
