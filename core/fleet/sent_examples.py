"""The examples that requests have to send to a model: those that its deployment says, since its training had as many in front.

A bake-off has measured what clients get where it asked the model with as many.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Collection

from core.aliases.digests import bare
from core.errors import BakehouseError
from core.fleet.lineage import Deployment
from core.home import Home, RunDir
from core.jobfile.raw import read_key

_VARIANT = re.compile(r"@(?=[A-Za-z_][A-Za-z0-9_-]*=)(.*)", re.DOTALL)


def newest_by_weights(done: Collection[Deployment]) -> dict[tuple[str, str], Deployment]:
    """The newest deployment of weights for a task, by (task, SHA-256 of the weights); `done` as `deployments` gives them."""
    found: dict[tuple[str, str], Deployment] = {}
    for one in done:
        weights = bare(one.weights)
        if one.task is not None and weights is not None:
            found.setdefault((one.task, weights), one)
    return found


def sent_count(home: Home, made: Deployment | None) -> int:
    """How many examples requests have to send to what a deployment made; 0 where its job file tells of none or is gone."""
    if made is None:
        return 0
    run = home.run_dir(made.job_id)
    with contextlib.suppress(BakehouseError, OSError):
        return _count(run, run.job_file.stat().st_mtime_ns)
    return 0


def shots_of(candidate: str) -> int | None:
    """How many examples a candidate was shown, by its name (`judge-4b @few_shot=2`); None where it was asked in yet another way
    than its task says."""
    found = _VARIANT.search(candidate)
    if found is None:
        return 0
    shots = re.fullmatch(r"few_shot=([0-9]+)", found[1])
    return None if shots is None else int(shots[1])


@functools.lru_cache(maxsize=1024)
def _count(run: RunDir, _written: int) -> int:
    """Of a job file as it was written at that time: the rows of the fleet are made often, and job files stay as they are."""
    served = read_key(run, "spec", dict).get("served")
    examples = served.get("examples") if isinstance(served, dict) else None
    return len(examples) if isinstance(examples, list) else 0
