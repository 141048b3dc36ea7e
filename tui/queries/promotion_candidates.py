"""What may be promoted to a task: the deployments of this home for it that its alias' server has, newest first."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.home import Home

if TYPE_CHECKING:
    from core.fleet.rows import FleetRow


@dataclass(frozen=True)
class PromotionCandidate:
    """`reference` is how a command names it; `words` and `note` are for people."""

    reference: str
    words: str
    note: str = ""


def candidates_of(home: Home, row: FleetRow) -> tuple[PromotionCandidate, ...]:
    """Reads the store: call it in a thread. One that serves as the alias already is left out, as is an older one of a name."""
    from core.aliases.digests import is_same
    from core.fleet.lineage import deployments, lineages
    from core.store.database import open_database

    with contextlib.closing(open_database(home)) as connection:
        found = [one for one in deployments(connection) if one.task == row.task and one.name != row.alias.name]
        told = lineages(connection, [one.job_id for one in found])
    version, names = row.version, set[str]()
    candidates = []
    for one in found:
        serves = version is not None and (is_same(one.digest, version.digest) or is_same(one.weights, version.weights))
        if one.name in names or serves:
            continue
        names.add(one.name)
        made = told.get(one.job_id)
        recipe = "" if made is None or not made.recipe else f" · recipe {made.recipe}"
        trained = "" if made is None or made.train_job is None else f" · training {made.train_job}"
        note = f"deployment {one.job_id}{trained}{recipe}"
        candidates.append(PromotionCandidate(f"job:{one.job_id}", f"{one.name}  {one.model or 'model unknown'}", note))
    return tuple(candidates)
