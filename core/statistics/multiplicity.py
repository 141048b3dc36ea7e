"""p-values that hold for several tests together: Holm's procedure, over single tests and over groups of them."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given: for challengers that were not asked the same inputs."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def holm_over_groups(groups: Sequence[Sequence[float]]) -> list[list[float]]:
    """p-values that hold over several groups (tasks), from those that a step-down test adjusted within each of them.

    A p-value is multiplied by the number of groups that still have a hypothesis, beginning with the smallest; groups of one
    make this Holm's procedure. Valid whatever the dependence, as the groups that hold true hypotheses share the level
    (the sequential rejection principle: Goeman and Solari, Annals of Statistics 38, 2010).
    """
    adjusted = [[1.0] * len(group) for group in groups]
    waiting = {index: sorted(range(len(group)), key=group.__getitem__) for index, group in enumerate(groups) if group}
    highest = 0.0
    while waiting:
        index = min(waiting, key=lambda index: groups[index][waiting[index][0]])
        first = waiting[index].pop(0)
        highest = max(highest, min(1.0, len(waiting) * groups[index][first]))
        adjusted[index][first] = highest
        if not waiting[index]:
            del waiting[index]
    return adjusted
