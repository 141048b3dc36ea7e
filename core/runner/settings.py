"""The settings of jobs that an older version stored, read off their job files once."""

from __future__ import annotations

import json
import sqlite3

from core.errors import BakehouseError
from core.home import Home
from core.jobfile.spec import JobFile
from core.store.database import transaction


def fill_settings(home: Home, connection: sqlite3.Connection) -> None:
    """Store what each job was told where the table does not have it yet. A job whose file is gone stays as it is."""
    rows = connection.execute("SELECT id FROM jobs WHERE settings = '{}'").fetchall()
    found = []
    for row in rows:
        try:
            settings = JobFile.load(home.run_dir(row["id"])).spec.settings
        except (BakehouseError, OSError):
            continue
        if settings:
            found.append((json.dumps(settings), row["id"]))
    if found:
        with transaction(connection):
            connection.executemany("UPDATE jobs SET settings = ? WHERE id = ?", found)
