"""What the keys of the fleet ask for. A move is followed to its end, which is told in one line: the runner may take it back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from core.errors import InputError
from core.text import printable
from core.wording.fleet import change_reason_words, kind_words, state_words, still_open_words
from tui.actions import AUTHOR, RequestDone, in_background

if TYPE_CHECKING:
    from core.fleet.promotion import Promotion
    from core.fleet.rows import FleetRow
    from core.store.fleet_changes import FleetChange
    from tui.context import Context


def roll_back(context: Context, row: FleetRow) -> None:
    """The alias becomes what it was before; where somebody else changed or removed it, what was recorded."""

    def act() -> RequestDone:
        from core.fleet.promotion import NOT_FOREIGN, foreign_change, rollback
        from core.runner.client import author
        from core.store.database import open_database

        foreign = NOT_FOREIGN
        if row.foreign:
            with contextlib.closing(open_database(context.home)) as connection:
                foreign = foreign_change(context.home, connection, row.alias)
        change = rollback(
            context.home,
            row.alias,
            by=author(AUTHOR),
            foreign=foreign,
            task=row.task,
            project_id=row.project_id,
        )
        return RequestDone(ended_words(row.alias.name, change), failed=change.state != "done")

    in_background(context, act)


def ended_words(alias: str, change: FleetChange) -> str:
    """How a move ended, in a line: `Rollback of vault-judge: done`."""
    if change.state == "open":
        return still_open_words(alias, change.kind)
    words = f"{kind_words(change.kind)} of {printable(alias)}: {state_words(change.state)}"
    if change.reason is not None:
        words += f"; {change_reason_words(change.reason)}"
    return words[0].upper() + words[1:]


def promote(context: Context, promotion: Promotion, override: str | None) -> FleetChange:
    """Promote, and wait for the end of it: call it in a thread. Raises `RefusedError`, as where another console was first."""
    from core.fleet.promotion import promote as asked_promotion
    from core.runner.client import author

    return asked_promotion(context.home, promotion, override=override, by=author(AUTHOR))


def check_for_drift(context: Context, row: FleetRow) -> None:
    """Queue a check that what serves a task still answers as it did."""

    def act() -> RequestDone:
        from core.aliases.drift_due import drift_states
        from core.runner.client import author
        from core.store.database import open_database
        from core.submission.drift import submit_drift

        with contextlib.closing(open_database(context.home)) as connection:
            states = drift_states(connection)
        due = [one for one in states if (one.task.project_id, one.task.task) == (row.project_id, row.task)]
        if not due:
            raise InputError(f"nothing is known to serve {row.task} yet", code="no_incumbent")
        (asked,) = submit_drift(context.home, due, author=author(AUTHOR))
        if asked.error is not None:
            raise asked.error
        assert asked.job is not None  # one of the two
        how = "queued" if asked.is_new else "in the queue already:"
        return RequestDone(f"{how} {asked.job.id} {printable(asked.job.title)}", job_ids=(asked.job.id,))

    in_background(context, act)
