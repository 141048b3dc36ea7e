"""Which tasks of the fleet are due for a check for drift, and why: by what is stored of versions, checks and observations.

A reason counts until a check that saw the same of the server is done. Nobody is asked here.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from core.aliases.digests import is_same
from core.files import sha256_json
from core.reasons import Reason
from core.store.drift import DriftCheck, drift_checks
from core.store.fleet import Alias, AliasVersion, FleetTask, current_version, fleet_tasks, get_alias
from core.store.fleet_changes import open_change_of
from core.store.jobs import RETRYABLE


@dataclass(frozen=True)
class DriftDue:
    """One task and what serves it. `reasons` is empty where nothing is due. `observed` names what was seen of the server.

    `pending` is the check that is in the queue already, `tried` the newest for what was observed that ended without a result,
    `newest` the newest that has one.
    """

    task: FleetTask
    alias: Alias
    version: AliasVersion
    reasons: tuple[Reason, ...]
    observed: str
    pending: DriftCheck | None = None
    tried: DriftCheck | None = None
    newest: DriftCheck | None = None

    @property
    def starts_by_itself(self) -> bool:
        """Whether a runner has it checked unasked: it is due, its server has the model, and no check of this failed before."""
        waits = self.pending is not None or self.tried is not None
        is_there = self.alias.observed_error is None and self.alias.observed_digest is not None
        return bool(self.reasons) and is_there and not waits


def drift_states(connection: sqlite3.Connection, project_id: str | None = None) -> list[DriftDue]:
    """How each task of the fleet stands, of one project or of all. An alias that is being moved is left out, and so is one of
    which no version is known."""
    found = []
    for task in fleet_tasks(connection, project_id):
        alias = get_alias(connection, task.alias_id)
        version = current_version(connection, alias)
        if version is not None and open_change_of(connection, alias.id) is None:
            found.append(_state(connection, task, alias, version))
    return found


def observed_key(alias: Alias, version: AliasVersion) -> str:
    """Names what was seen of an alias last; where its server was never asked, what its version is."""
    digest = alias.observed_digest or version.digest
    return sha256_json([digest, alias.observed_server_version or version.server_version])[:16]


def _checks(connection: sqlite3.Connection, task: FleetTask, version: AliasVersion) -> list[DriftCheck]:
    return drift_checks(connection, version.id, task.project_id, task.task)


def _state(connection: sqlite3.Connection, task: FleetTask, alias: Alias, version: AliasVersion) -> DriftDue:
    checks, observed = _checks(connection, task, version), observed_key(alias, version)
    results = [one for one in checks if one.outcome is not None]
    reasons = []
    if not results:
        reasons.append(Reason("no_baseline"))
    if not any(one.observed == observed for one in results):
        reasons += stale_reasons(alias, version)
    return DriftDue(
        task,
        alias,
        version,
        tuple(reasons),
        observed,
        pending=next((one for one in checks if one.is_open), None),
        tried=next((one for one in checks if one.observed == observed and one.job.state in RETRYABLE), None),
        newest=results[0] if results else None,
    )


def stale_reasons(alias: Alias, version: AliasVersion) -> list[Reason]:
    """What the server said last that is other than the version was, as the rows of the fleet name it."""
    found = []
    now, version_now = alias.observed_digest, alias.observed_server_version
    if None not in (version.digest, now) and not is_same(version.digest, now):
        found.append(Reason("digest_differs", {"before": version.digest, "now": now}))
    if None not in (version.server_version, version_now) and version.server_version != version_now:
        found.append(Reason("server_version_differs", {"before": version.server_version, "now": version_now}))
    return found
