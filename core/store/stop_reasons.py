"""Why a running job is asked to stop, and what becomes of it then: the rows of the table `stop_reasons`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields
from typing import Literal

from core.store.attempts import Outcome
from core.store.jobs import State

StopReason = Literal["cancel", "hold", "disk", "preempted", "watchdog"]


@dataclass(frozen=True)
class StopRule:
    """What follows a stop request; the schema says what each column means."""

    stop_reason: StopReason
    then_state: State
    then_held: bool
    stopped_outcome: Outcome
    unseen_outcome: Outcome | None
    any_end: bool
    then_reason_code: str


def stop_rules(connection: sqlite3.Connection) -> dict[str, StopRule]:
    """All rules by their stop reason."""
    rules = {}
    for row in connection.execute("SELECT * FROM stop_reasons"):
        values = {field.name: row[field.name] for field in fields(StopRule)}
        values |= {"then_held": bool(row["then_held"]), "any_end": bool(row["any_end"])}
        rules[row["stop_reason"]] = StopRule(**values)
    return rules
