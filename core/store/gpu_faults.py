"""The page faults of the GPU that a job's attempts ended in, as its history has them."""

from __future__ import annotations

import json
import sqlite3


def former_faults(connection: sqlite3.Connection, job_id: int) -> list[int | None]:
    """At which step each of the job's faults was, the oldest first; None for one of a job without steps."""
    rows = connection.execute(
        "SELECT reason_values FROM transitions WHERE job_id = ? AND reason_code = 'gpu_fault' ORDER BY id", [job_id]
    )
    return [json.loads(row["reason_values"]).get("at_step") for row in rows]
