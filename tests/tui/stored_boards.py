"""The leaderboards of a stored bake-off as the console reads them, at the time of the invented moment."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from core.home import Home
from core.store.database import open_database
from core.store.results import list_bakeoffs
from tests.tui.scene import NOW
from tui.model.leaderboards import build_boards
from tui.model.snapshot import Board


def boards_of(home: Home, job_id: int) -> tuple[Board, ...]:
    with contextlib.closing(open_database(home)) as connection:
        (row,) = [row for row in list_bakeoffs(connection) if row.job_id == job_id]
        return tuple(replace(board, time=NOW) for board in build_boards(connection, home, row))
