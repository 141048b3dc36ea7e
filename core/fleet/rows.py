"""The fleet as people see it: a row a task, with what serves it, why, what did before, and what may come.

All rows are made of the same few queries, however many aliases there are: the console draws them again whenever something has
been written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from core.aliases.digests import is_same
from core.aliases.observing import Observed, is_foreign
from core.fleet.challengers import Challenger, challengers
from core.fleet.lineage import UNKNOWN, VersionLineage, deployments, lineages, made_by
from core.fleet.names import reference_of
from core.fleet.verdicts import Measurement, Sought, measurements
from core.home import Home
from core.reasons import Reason
from core.store.drift import OVERTAKEN
from core.store.fleet import Alias, AliasVersion, aliases, fleet_tasks, versions_by_id
from core.store.fleet_changes import FleetChange, former_versions, open_changes

NOT_OBSERVED: Mapping[int, Observed] = {}


@dataclass(frozen=True)
class Before:
    """The version that an alias was before its present one. `scores` are of the same bake-off as those of the present version
    where that has measured both, and `measured` is where they are from."""

    version: AliasVersion
    scores: Mapping[str, float] = field(default_factory=dict)
    measured: Measurement | None = None
    model: str | None = None


@dataclass(frozen=True)
class DriftState:
    """What the newest check for drift of a version said (`code`, with the whole `summary` of its result), at `time` (Unix
    seconds). Where none has ended well, the state of the newest is the code. `baseline` is the summary of the check that left
    the answers which it was held to."""

    code: str
    time: float
    job_id: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FleetRow:
    """One task (None: an alias that no task is assigned to). None is what is not known.

    `scores` are those of the verdict by part, over `n_inputs`; `measured` is the whole of it. `stale`: what is another than
    the verdict was made on (`digest_differs`, `server_version_differs`, `template_differs`, each with `before` and `now`);
    `stale_checked`: a check for drift found the same answers on what is there now as on what the verdict was made on.
    `back` is what a rollback goes to (without scores), which after a rollback is not what the alias was `before`.
    `foreign`: somebody else's model is under the name, or none. `change` is the move that the alias is in. `overridden` is the
    reason by which the present version came in spite of its gate.
    """

    project_id: str | None
    task: str | None
    alias: Alias
    version: AliasVersion | None
    scores: Mapping[str, float] = field(default_factory=dict)
    n_inputs: int | None = None
    before: Before | None = None
    back: Before | None = None
    resident: bool | None = None
    vram_bytes: int | None = None
    lineage: VersionLineage = UNKNOWN
    stale: tuple[Reason, ...] = ()
    stale_checked: bool = False
    foreign: bool = False
    drift: DriftState | None = None
    change: FleetChange | None = None
    challenger: Challenger | None = None
    measured: Measurement | None = None
    observed: Observed | None = None
    overridden: str | None = None

    @property
    def model(self) -> str | None:
        """The base model by name."""
        return (None if self.version is None else self.version.model) or self.lineage.model

    @property
    def size_bytes(self) -> int | None:
        return None if self.version is None else self.version.size_bytes

    @property
    def reference(self) -> str:
        """How a bake-off names what serves."""
        return reference_of(self.alias)

    def to_json(self) -> dict[str, Any]:
        version, observed, change = self.version, self.observed, self.change
        return {
            "task": self.task,
            "project_id": self.project_id,
            "alias": self.alias.name,
            "server": self.alias.server,
            "url": self.alias.url,
            "since": self.alias.since,
            "version": None if version is None else version.number,
            "origin": None if version is None else version.origin,
            "digest": None if version is None else version.digest,
            "weights": None if version is None else version.weights,
            "template": None if version is None else version.template,
            "server_version": None if version is None else version.server_version,
            "size_bytes": self.size_bytes,
            "model": self.model,
            "scores": dict(self.scores),
            "inputs": self.n_inputs,
            "measured": None if self.measured is None else asdict(self.measured),
            "before": None if self.before is None else _before_json(self.before),
            "resident": self.resident,
            "vram_bytes": self.vram_bytes,
            "lineage": asdict(self.lineage),
            "stale": [one.to_json() for one in self.stale],
            "stale_checked": self.stale_checked,
            "foreign": self.foreign,
            "observed": None if observed is None else _observed_json(observed),
            "drift": None if self.drift is None else asdict(self.drift),
            "change": None
            if change is None
            else {
                "id": change.id,
                "kind": change.kind,
                "phase": change.phase,
                "author": change.author,
                "asked_at": change.asked_at,
                "source": change.target.source,
            },
            "challenger": None if self.challenger is None else asdict(self.challenger),
            "overridden": self.overridden,
        }


def _before_json(before: Before) -> dict[str, Any]:
    return {
        "version": before.version.number,
        "model": before.model,
        "digest": before.version.digest,
        "size_bytes": before.version.size_bytes,
        "scores": dict(before.scores),
        "bakeoff_job": None if before.measured is None else before.measured.job_id,
    }


def _observed_json(observed: Observed) -> dict[str, Any]:
    return {**asdict(observed), "error": None if observed.error is None else observed.error.to_json()}


def fleet_rows(
    home: Home,
    connection: sqlite3.Connection,
    project_id: str | None = None,
    observed: Mapping[int, Observed] = NOT_OBSERVED,
) -> list[FleetRow]:
    """A row a task of the project (of all where it is None), then the aliases that no task is assigned to.

    `observed`: what aliases are now, by their ids; of one that is not in it, what the runner stored last.
    """
    known = {one.id: one for one in aliases(connection)}
    assigned = fleet_tasks(connection)
    shown: list[tuple[str | None, str | None, Alias]] = [
        (one.project_id, one.task, known[one.alias_id]) for one in assigned if project_id in (None, one.project_id)
    ]
    taken = {one.alias_id for one in assigned}
    moving = {one.alias_id: one for one in open_changes(connection)}
    # A name to which no promotion has come is nothing yet: it stands in the history alone.
    real = {one.id for one in known.values() if one.version_id is not None or one.id in moving}
    shown += [(None, None, one) for one in known.values() if one.id in real - taken]
    came = came_by(connection)
    present = {one.version_id for one in known.values() if one.version_id is not None}
    back_of = {at: to for at, to in former_versions(connection).items() if at in present}
    earlier = {one.former for one in came.values() if one.former is not None}
    by_id = versions_by_id(connection, present | earlier | set(back_of.values()))
    made_of = _lineages(connection, by_id.values())
    measured = _measured(home, connection, shown, came, by_id, observed)
    tasks = {(project, task): alias.since for project, task, alias in shown if project is not None and task is not None}
    coming = challengers(connection, tasks)
    drifted = _drift(connection, present)
    rows = []
    for project, task, alias in shown:
        version = None if alias.version_id is None else by_id.get(alias.version_id)
        seen = observed.get(alias.id) or stored_observation(alias)
        row = FleetRow(
            project,
            task,
            alias,
            version,
            lineage=UNKNOWN if version is None else made_of[version.id],
            foreign=seen is not None and is_foreign(version, seen),
            change=moving.get(alias.id),
            observed=seen,
            resident=None if seen is None else seen.resident,
            vram_bytes=None if seen is None else seen.vram_bytes,
            challenger=None if project is None or task is None else coming.get((project, task)),
        )
        if version is not None and version.id in back_of:
            back = by_id[back_of[version.id]]
            row = replace(row, back=Before(back, model=back.model or made_of[back.id].model))
        way = came.get(alias.id)
        if version is not None and way is not None:
            former = None if way.former is None else by_id.get(way.former)
            row = replace(row, overridden=way.overridden)
            if former is not None:
                row = replace(row, before=Before(former, model=former.model or made_of[former.id].model))
        if version is not None and task is not None:
            row = replace(row, drift=drifted.get((version.id, project or "", task)))
            row = _with_verdict(row, measured)
        row = replace(row, stale=_stale(row))
        rows.append(replace(row, stale_checked=_is_checked(row)))
    return rows


def stored_observation(alias: Alias) -> Observed | None:
    """What the runner saw of an alias last; None where it has not looked yet."""
    error = None if alias.observed_error is None else Reason(alias.observed_error)
    if alias.observed_at is None:
        return None if error is None else Observed(0.0, error=error)
    return Observed(alias.observed_at, alias.observed_digest, alias.observed_server_version, error)


@dataclass(frozen=True)
class CameBy:
    """How an alias came to its present version: what it was before (the id of a version), and the reason by which it came in
    spite of its gate."""

    former: int | None
    overridden: str | None


def came_by(connection: sqlite3.Connection) -> dict[int, CameBy]:
    """How each alias came to be what it is, by its id: by the newest change that made it so."""
    rows = connection.execute(
        """
        SELECT alias_id, max(fleet_changes.id), from_version, override_reason
        FROM fleet_changes JOIN aliases ON aliases.id = alias_id AND to_version = version_id
        WHERE state = 'done' AND kind IN ('adopt', 'promote', 'rollback') AND from_version IS NOT to_version
        GROUP BY alias_id
        """
    )
    return {row["alias_id"]: CameBy(row["from_version"], row["override_reason"]) for row in rows}


def _lineages(connection: sqlite3.Connection, versions: Collection[AliasVersion]) -> dict[int, VersionLineage]:
    """By version what it was made of: by the deployment that is stored with it, else by the one that left this digest."""
    made: dict[int, int] = {one.id: one.deploy_job_id for one in versions if one.deploy_job_id is not None}
    if len(made) < len(versions):
        done = deployments(connection)
        for one in versions:
            found = None if one.id in made else made_by(done, one.digest, one.weights)
            if found is not None:
                made[one.id] = found.job_id
    told = lineages(connection, made.values())
    return {one.id: told.get(made.get(one.id, 0), UNKNOWN) for one in versions}


def _sought(project_id: str | None, task: str, version: AliasVersion, seen: Observed | None = None) -> Sought:
    """What is looked for of a version: asked under the template that runs now, where that is known, else under its own."""
    now = None if seen is None or not is_same(seen.digest, version.digest) else seen.template
    return Sought(task, version.weights, now or version.template, project_id)


def _measured(
    home: Home,
    connection: sqlite3.Connection,
    shown: Collection[tuple[str | None, str | None, Alias]],
    came: Mapping[int, CameBy],
    by_id: Mapping[int, AliasVersion],
    observed: Mapping[int, Observed],
) -> dict[Sought, tuple[Measurement, ...]]:
    sought = set()
    for project, task, alias in shown:
        if task is None or alias.version_id is None:
            continue
        sought.add(_sought(project, task, by_id[alias.version_id], observed.get(alias.id)))
        former = None if alias.id not in came else came[alias.id].former
        if former is not None:
            sought.add(_sought(project, task, by_id[former]))
    return measurements(home, connection, sought)


def _with_verdict(row: FleetRow, measured: Mapping[Sought, tuple[Measurement, ...]]) -> FleetRow:
    """The row with the newest measurement of its version, and beside it that of the former one."""
    version, task = row.version, row.task
    assert version is not None and task is not None
    found = next(iter(measured.get(_sought(row.project_id, task, version, row.observed), ())), None)
    if found is not None:
        row = replace(row, measured=found, scores=found.scores, n_inputs=found.n_inputs)
    if row.before is None:
        return row
    all_former = measured.get(_sought(row.project_id, task, row.before.version), ())
    same = (one for one in all_former if found is not None and one.job_id == found.job_id)
    former = next(same, next(iter(all_former), None))
    if former is None:
        return row
    return replace(row, before=replace(row.before, scores=former.scores, measured=former))


def _stale(row: FleetRow) -> tuple[Reason, ...]:
    """What is another than the verdict was made on; nothing where there is no verdict, or nobody has looked."""
    seen, measured = row.observed, row.measured
    if seen is None or seen.error is not None or measured is None:
        return ()
    if row.foreign:
        before = None if row.version is None else row.version.digest
        return (Reason("digest_differs", {"before": before, "now": seen.digest}),)
    found = []
    pairs = (
        ("server_version_differs", measured.server_version, seen.server_version),
        ("template_differs", measured.template, seen.template),
    )
    for code, before, now in pairs:
        if before is not None and now is not None and not is_same(before, now):
            found.append(Reason(code, {"before": before, "now": now}))
    return tuple(found)


def _is_checked(row: FleetRow) -> bool:
    """Whether a check for drift found the same answers with all that differs as it is now, held to answers that were taken as
    the verdict was made. A check that is held to later answers says nothing of that difference."""
    seen, measured, drift = row.observed, row.measured, row.drift
    if not row.stale or row.foreign or seen is None or measured is None or drift is None or drift.code != "same":
        return False
    differ = {one.code.removesuffix("_differs") for one in row.stale}
    pairs = [
        ("server_version", drift.summary, seen.server_version),
        ("template", drift.summary, seen.template),
        ("server_version", drift.baseline, measured.server_version),
        ("template", drift.baseline, measured.template),
        ("weights", drift.summary, measured.weights),
        ("weights", drift.baseline, measured.weights),
    ]
    known = ((name, checked.get(name), wanted) for name, checked, wanted in pairs)
    return all(is_same(one, other) for name, one, other in known if name in differ or None not in (one, other))


def _drift(connection: sqlite3.Connection, present: Collection[int]) -> dict[tuple[int, str, str], DriftState]:
    """The newest check of each (version, project, task): of those that are done and count, else its job's state."""
    rows = connection.execute(
        """
        SELECT newest.*, json_extract(jobs.result, '$.summary') AS baseline FROM (
          SELECT json_extract(settings, '$.version_id') AS version, project_id, task, max(id) AS id, state,
                 json_extract(result, '$.summary') AS summary, coalesce(ended_at, submitted_at) AS time
          FROM jobs WHERE kind = 'drift' AND task IS NOT NULL
            AND json_extract(settings, '$.version_id') IN (SELECT value FROM json_each(?))
            AND json_extract(result, '$.summary.outcome') IS NOT ?
          GROUP BY version, project_id, task, state = 'done'
        ) AS newest LEFT JOIN jobs ON jobs.id = json_extract(newest.summary, '$.smoke.baseline_job')
        ORDER BY newest.state = 'done'
        """,
        [json.dumps(sorted(present)), OVERTAKEN],
    )
    found = {}
    for row in rows:
        summary, baseline = (json.loads(row[name]) if row[name] else {} for name in ("summary", "baseline"))
        code = summary.get("outcome") or row["state"]
        state = DriftState(code, row["time"], row["id"], summary, baseline)
        found[row["version"], row["project_id"], row["task"]] = state
    return found
