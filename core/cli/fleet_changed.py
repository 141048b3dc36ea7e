"""What the commands that move an alias share: how a refusal is told, where a change is, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.cli.output import say
from core.errors import BakehouseError
from core.runner.commands import RefusedError
from core.store.fleet_changes import FleetChange
from core.wording.fleet import FLEET_REFUSAL_WORDS, change_reason_words, kind_words, phase_words, still_open_words

REMEDIES = {
    "change_open": "`bakehouse fleet list` shows what it waits for; if that server never answers again, "
    "`bakehouse fleet assign TASK ALIAS` gives the task another alias"
}


def asked_of_fleet(ask: Callable[[], FleetChange]) -> FleetChange:
    """Ask for a change and wait for its end. A refusal is raised again in words; nothing has changed then."""
    try:
        return ask()
    except RefusedError as error:
        words = FLEET_REFUSAL_WORDS.get(error.reason.code)  # type: ignore[call-overload]
        said = error.message if words is None else words(error.reason.values)
        remedy = REMEDIES.get(error.reason.code, "`bakehouse fleet list` and `fleet history` say what is so")
        raise BakehouseError(said, code=error.reason.code, remedy=remedy) from error


def tell_phases(*, quiet: bool = False) -> Callable[[FleetChange], None]:
    """What tells each phase of a change once."""
    told = set[str]()

    def tell(change: FleetChange) -> None:
        if not quiet and change.phase and change.phase not in told:
            told.add(change.phase)
            say(f"… {phase_words(change.phase)}", error=True)

    return tell


def change_json(change: FleetChange) -> dict[str, Any]:
    reason = None if change.reason is None else change.reason.to_json()
    return {
        "id": change.id,
        "kind": change.kind,
        "state": change.state,
        "from_version": change.from_version,
        "to_version": change.to_version,
        "override_reason": change.override_reason,
        "author": change.author,
        "reason": reason,
    }


def show_change(change: FleetChange, alias: str, what: str) -> None:
    """How it ended."""
    why = "" if change.reason is None else f": {change_reason_words(change.reason)}"
    if change.state == "done":
        say(f"✓ {alias} is {what} from now on{why}.")
    elif change.state == "open":
        say(f"▲ {still_open_words(alias, change.kind)}")
    else:
        say(f"✗ {alias} is what it was: the {kind_words(change.kind)} came to nothing{why}.", error=True)
