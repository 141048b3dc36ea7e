"""The bake-off that a promotion rests on: the newest that is done and measured this very model as it serves now.

A model is what its weights, its template, its parameters and the version of its server make it, whatever it is called. It is
asked as clients ask it: as the task says, with the examples in front that its deployment says requests have to send.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.aliases.digests import bare
from core.bakeoff.leaderboard import Leaderboard
from core.config.task import Task
from core.errors import BakehouseError
from core.fleet.lineage import deployments
from core.fleet.sent_examples import newest_by_weights
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ExampleTurn, TaskUnderTest, Variant
from core.jobfile.deploy import DeploySpec
from core.jobfile.spec import JobFile
from core.results.load import bakeoff_file, load_bakeoff
from core.serving.answering import ServedIdentity
from core.staleness.staleness import identities_then
from core.store.results import list_bakeoffs

NEWEST = 200
"""Of the bake-offs of a home that are looked through."""
FIELDS = ("weights", "template", "parameters", "version")
Examples = tuple[tuple[ExampleTurn, ...], ...]


@dataclass(frozen=True)
class Found:
    """A candidate of a bake-off whose weights are those of a model that serves now.

    `changed` are the other fields of its identity that are not as they were, `unknown` those of which that is not known.
    `mixed`: its answers are of several models, since it changed while it was asked. `other_examples`: it was asked with as many
    examples as requests send, and not with the same, since the task's data were others when it was deployed.
    """

    name: str
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    mixed: bool = False
    other_examples: bool = False

    @property
    def is_same(self) -> bool:
        return not (self.changed or self.unknown or self.mixed)


@dataclass(frozen=True)
class MeasuredPair:
    """A bake-off with a candidate, and with the incumbent where it took part. `task` has the checks that scored, `bases` the
    untrained candidates by their names, each with that of its model."""

    job_id: int
    candidate: Found
    incumbent: Found | None
    under_test: TaskUnderTest
    task: Task
    board: Leaderboard
    outdated: bool
    bases: Mapping[str, str]


def sent_examples(home: Home, connection: sqlite3.Connection, task: str, now: ServedIdentity | None) -> Examples:
    """The examples that requests for a task have to send to a model: those of its newest deployment for the task. Empty where
    they have to send none, and where no deployment of this home is known."""
    weights = None if now is None else now.weights
    made = newest_by_weights(deployments(connection)).get((task, bare(weights) or ""))
    if made is not None:
        with contextlib.suppress(BakehouseError, OSError):
            spec = JobFile.load(home.run_dir(made.job_id)).spec
            return spec.served.examples if isinstance(spec, DeploySpec) else ()
    return ()


def measured_pair(
    home: Home,
    connection: sqlite3.Connection,
    project_id: str,
    task: str,
    candidate: ServedIdentity,
    incumbent: ServedIdentity | None,
) -> MeasuredPair | None:
    """The newest bake-off of the project's task with both as they serve now; without one, the newest with the candidate as it
    serves now, then the newest with its weights. None where nothing measured it. Those whose files are gone are passed over.
    """
    sent = tuple(sent_examples(home, connection, task, one) for one in (candidate, incumbent))
    best: tuple[int, int, Found, Found | None, BakeoffSpec] | None = None
    for row in list_bakeoffs(connection, NEWEST):
        if row.state != "done" or row.project_id != project_id or task not in row.tasks:
            continue
        try:
            found = _in_bakeoff(home, connection, row.job_id, task, candidate, incumbent, *sent)
        except (BakehouseError, OSError, ValueError):
            continue
        if found is None:
            continue
        ours, theirs, spec = found
        rank = 2 * ours.is_same + (incumbent is None or (theirs is not None and theirs.is_same))
        if best is None or rank > best[0]:
            best = (rank, row.job_id, ours, theirs, spec)
        if rank == 3:
            break
    if best is None:
        return None
    _, job_id, ours, theirs, spec = best
    stored = load_bakeoff(home, connection, job_id)
    of_task = stored.task(task)
    return MeasuredPair(
        job_id,
        ours,
        theirs,
        next(one for one in spec.tasks if one.name == task),
        of_task.task,
        of_task.leaderboard(),
        of_task.scored.outdated,
        {one.name: one.model.name for one in spec.candidates if one.form == "base" and one.model is not None},
    )


def _in_bakeoff(
    home: Home,
    connection: sqlite3.Connection,
    job_id: int,
    task: str,
    candidate: ServedIdentity,
    incumbent: ServedIdentity | None,
    sent: Examples,
    sent_to_incumbent: Examples,
) -> tuple[Found, Found | None, BakeoffSpec] | None:
    _, spec = bakeoff_file(home, job_id)
    under_test = next((one for one in spec.tasks if one.name == task), None)
    if under_test is None or not Path(under_test.golden.path).exists() or not _are_shown(sent, under_test):
        return None
    then = identities_then(home, connection, job_id)
    mixed = set(_mixed(connection, job_id))
    served = [one for one in spec.candidates if one.form == "served" and one.name in then]

    def those_of(now: ServedIdentity, examples: Examples) -> list[Found]:
        names = [one.name for one in served if _is_asked_with(one, len(examples))]
        compared = (_compared(name, then[name], now, name in mixed) for name in names)
        return [one for one in compared if one is not None]

    found = those_of(candidate, sent)
    if not found:
        return None
    ours = sorted(found, key=lambda one: (not one.is_same, one.name != candidate.model))[0]
    others: list[Found] = []
    if incumbent is not None:
        differ = not _are_shown(sent_to_incumbent, under_test)
        others = [replace(one, other_examples=differ) for one in those_of(incumbent, sent_to_incumbent)]
        others = [one for one in others if one.name != ours.name]
    others.sort(key=lambda one: (not one.is_same, incumbent is not None and one.name != incumbent.model))
    return ours, others[0] if others else None, spec


def _is_asked_with(one: CandidateSpec, examples: int) -> bool:
    """Whether a candidate was asked as the task says, with so many examples in front: what else is not what clients get."""
    if not examples:
        return one.variant.is_plain
    return one.variant == Variant(written=one.variant.written, few_shot=examples)


def _are_shown(examples: Examples, under_test: TaskUnderTest) -> bool:
    """Whether a bake-off shows just these examples first: it shows the same to all candidates."""
    return tuple(map(tuple, under_test.examples[: len(examples)])) == examples


def _compared(name: str, then: ServedIdentity, now: ServedIdentity, mixed: bool) -> Found | None:
    """What of a model is as it was; None for other weights, and where these are not known."""
    if then.weights is None or bare(then.weights) != bare(now.weights):
        return None
    changed, unknown = changed_since(then, now)
    return Found(name, changed, unknown, mixed)


def changed_since(then: ServedIdentity, now: ServedIdentity) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of what differs, and of what one of the two does not tell."""
    changed, unknown = [], []
    for field in FIELDS:
        before, present = getattr(then, field), getattr(now, field)
        if before is None or present is None:
            unknown.append(field)
        elif field == "weights":
            changed += [field] if bare(before) != bare(present) else []
        elif before != present:
            changed.append(field)
    return tuple(changed), tuple(unknown)


def _mixed(connection: sqlite3.Connection, job_id: int) -> Iterator[str]:
    rows = connection.execute(
        """
        SELECT candidate FROM answers WHERE job_id = ? AND fault IS NOT 'server'
        GROUP BY candidate HAVING count(DISTINCT identity) > 1
        """,
        [job_id],
    )
    yield from (row["candidate"] for row in rows)
