"""Answers whose content nobody knows, as no judge has said anything of them: they are left out, and never 0."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.checks import check_ids
from core.checks.judge import JudgeCheck
from core.scoring.scorer import part_weights

if TYPE_CHECKING:
    from core.config.task import Task
    from core.scoring.scored_answers import ScoredAnswers


def with_unknown(task: Task, found: dict[str, ScoredAnswers]) -> dict[str, ScoredAnswers]:
    """The same with the answers marked whose content is unknown.

    That is an answer that is not judged, and every answer to an input of which none is: a fault there is known to score 0, and
    counted alone it would make a candidate of whom a few answers are known to be bad worse than it is.
    """
    import numpy as np

    weights = part_weights(task)["content"]
    if weights is None:
        return found
    checks = [*task.format, *task.content]
    names = zip(check_ids(checks), checks, strict=True)
    judges = {at: name for at, (name, check) in enumerate(names) if isinstance(check, JudgeCheck)}
    if not judges:
        return found
    found = {name: replace(one, judges=frozenset(judges.values())) for name, one in found.items()}
    weighed = [at for at in judges if weights[at] > 0]
    open_ = {name: np.array(one.columns.faulty[:, weighed].any(axis=1), bool) for name, one in found.items()}
    if not any(lacking.any() for lacking in open_.values()):
        return found
    asked, judged = set[int](), set[int]()
    for name, one in found.items():
        whole = np.array([fault is None for fault in one.columns.faults], bool)
        asked.update(one.columns.place[open_[name]].tolist())
        judged.update(one.columns.place[whole & ~open_[name]].tolist())
    nowhere = np.array(sorted(asked - judged), np.intp)
    return {
        name: replace(one, unknown=open_[name] | np.isin(one.columns.place, nowhere)) for name, one in found.items()
    }
