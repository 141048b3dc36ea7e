"""What a check for drift found, as a note of its alias: written when the check's result is imported."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from core.errors import NotFoundError
from core.reasons import Reason, Value
from core.store.drift import OVERTAKEN, set_overtaken
from core.store.fleet import get_alias
from core.store.fleet_changes import add_note


def note_drift(connection: sqlite3.Connection, job_id: int, result: Mapping[str, Any]) -> None:
    """Add the note `drift_OUTCOME`. Call it in a transaction, behind `import_result`; an alias that is gone by now has none.

    Where another version has become the alias since the check was asked for, what it found counts for none: `overtaken`.
    Raises KeyError or TypeError for a result that this version does not know.
    """
    summary = result["summary"]
    alias_id = int(summary["alias_id"])
    try:
        alias = get_alias(connection, alias_id)
    except NotFoundError:
        return
    if alias.version_id != int(summary["version_id"]):
        set_overtaken(connection, job_id)
        summary = {**summary, "outcome": OVERTAKEN}
    add_note(connection, alias_id, drift_note(job_id, summary), task=str(summary["task"]))


def drift_note(job_id: int, summary: Mapping[str, Any]) -> Reason:
    """The outcome as a code, and beside it the version's number, what had changed, and the scores of the part that tells most:
    the first that is lost, else the first."""
    smoke = summary["smoke"]
    values: dict[str, Value] = {
        "job": job_id,
        "version": int(summary["version"]),
        "same": len(smoke["same"]),
        "differing": len(smoke["differing"]),
        "changed": [str(name) for name in summary["changed"]],
    }
    parts = (summary.get("first") or {}).get("parts") or {}
    part = next(iter([*summary["lost"], *parts]), None)
    if part is not None:
        found = parts[part]
        values |= {"part": part, "before": found["before"], "now": found["now"], "inputs": found["inputs"]}
    return Reason(f"drift_{summary['outcome']}", values)
