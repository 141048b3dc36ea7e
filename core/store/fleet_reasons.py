"""Why a move of an alias was refused, how it ended, and what was noticed: every code that the fleet stores.
`core.wording.fleet` has the words. A value carries what its words need, under a name with its unit."""

from __future__ import annotations

from typing import Literal

from core.reasons import Reason, Value

FleetRefusalCode = Literal[
    "change_open",  # alias, kind, author, at
    "not_current",  # alias, version (its number, None: nothing), author, at (of the change that made it so; None: unknown)
    "gate_not_asked",  # task
    "no_alias",  # task
    "alias_unknown",  # alias
    "no_former_version",  # alias
    "version_unknown",  # alias, version
    "already_current",  # alias, version
    "no_digest",  # source
    "task_moved",  # task, alias (that the task has now, None: none), author, at
    "is_alias_itself",  # alias
]

ChangeReasonCode = Literal[
    "gate_not_passed",  # of a promotion that nobody overrode; what the gate said stands with the change
    "finished_after_restart",
    "server_away",  # message
    "move_refused",  # message
    "digest_differs",  # alias, digest (that was there), wanted
    "source_gone",  # source
    "source_changed",  # source
    "name_taken",  # alias
    "former_gone",  # alias
    "alias_changed",  # alias, digest (None: nothing is there)
]
"""Each may carry `after_restart`: a runner that found the change open ended it so."""


def fleet_refusal(code: FleetRefusalCode, **values: Value) -> Reason:
    """Why a command about the fleet is refused."""
    return Reason(code, values)


def change_reason(code: ChangeReasonCode, **values: Value) -> Reason:
    """Why a move ended as it did."""
    return Reason(code, values)
