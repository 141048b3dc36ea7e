"""`bakehouse fleet promote`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import by, find_project, json_option, opened, project_option, told_if_slow
from core.cli.fleet_changed import asked_of_fleet, change_json, show_change, tell_phases
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import wrap
from core.home import Home

if TYPE_CHECKING:
    from core.fleet.gate import Gate
    from core.fleet.promotion import Promotion
    from core.store.fleet_changes import FleetChange

NOT_PASSED = 3
"""As of every gate."""
MEASURABLE = frozenset({"no_bakeoff", "not_in_it", "changed", "mixed"})
"""Why candidate or incumbent counts as not measured, where a bake-off now would measure it."""


@click.command("promote", epilog="Example: bakehouse fleet promote judge job:12 --dry-run")
@click.argument("task")
@click.argument("candidate")
@click.option("--as", "alias", metavar="NAME", help="The production name of a task that has none yet.")
@click.option("--override", metavar="REASON", help="Promote though the gate does not pass; the reason is kept.")
@click.option("--dry-run", is_flag=True, help="Show the evidence, and change nothing.")
@project_option
@json_option
def promote(
    task: str,
    candidate: str,
    alias: str | None,
    override: str | None,
    dry_run: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Have a model serve under the production name of TASK, if its evidence holds.

    CANDIDATE is a deployment (job:12), SERVER:MODEL, served:NAME, or a name on the server of the task's alias. The evidence
    is shown first. Where it says no or cannot tell, nothing is done but to note that in the history (exit code 3), unless
    --override gives a reason. What served before is kept: `fleet rollback` brings it back without a rebuild.
    """
    from core.errors import BakehouseError, InputError
    from core.fleet.promotion import promote as move
    from core.fleet.promotion import promotion_gate

    if override is not None and not override.strip():
        raise InputError("the reason is empty", code="no_reason", key="--override", remedy="say why, in a few words")
    home, of_project = Home.find(), find_project(project)
    with opened(home) as connection, told_if_slow("asking the servers what they have …"):
        found = promotion_gate(home, connection, of_project, task, candidate, alias=alias)
    gate = found.gate
    if not as_json:
        for line in _evidence(gate, terminal_width()):
            say(line)
    passed = gate.outcome == "pass"
    if dry_run:
        if as_json:
            print_json({"gate": gate.to_json(), "change": None})
        elif not passed:
            say("Nothing was done: it would need a reason (--override REASON), which is kept.")
            _tell_how_to_measure(found)
        sys.exit(0 if passed else NOT_PASSED)

    def ask() -> FleetChange:
        reason = None if passed else override
        return asked_of_fleet(lambda: move(home, found, override=reason, by=by(), heard=tell_phases(quiet=as_json)))

    if not passed and override is None:
        noted = None
        try:
            noted = ask()
        except BakehouseError as error:
            say(f"▲ This is not in the history: {error.message}", error=True)
        if as_json:
            print_json({"gate": gate.to_json(), "change": None if noted is None else change_json(noted)})
        else:
            say(
                "Not promoted: production is as it was. --override REASON promotes it nevertheless, and keeps the reason."
            )
            _tell_how_to_measure(found)
        sys.exit(NOT_PASSED)
    change = ask()
    if as_json:
        print_json({"gate": gate.to_json(), "change": change_json(change)})
    else:
        show_change(change, found.alias.name, candidate)
    sys.exit(0 if change.state == "done" else 1)


def bakeoff_command(found: Promotion) -> str | None:
    """The command that holds the candidate against what serves, as both are now; None where a bake-off is not what lacks."""
    from core.fleet.names import reference_of

    told: dict[str, Any] = {
        one.code: one.values for one in found.gate.conditions if one.code in ("measured", "incumbent_measured")
    }
    whys = {values.get("why") for values in told.values()}
    if whys.isdisjoint(MEASURABLE) or whys & {"no_answer", "gone"}:
        return None
    sides = {"incumbent_measured": found.alias, "measured": replace(found.alias, name=found.target.source)}
    if found.incumbent is None:
        del sides["incumbent_measured"]
    sent = {code: told[code].get("examples") for code in sides}
    asked = [reference_of(one) + (f"@few_shot={sent[code]}" if sent[code] else "") for code, one in sides.items()]
    return f"bakehouse bakeoff {found.task} {' '.join(asked)} --wait"


def _tell_how_to_measure(found: Promotion) -> None:
    if to_measure := bakeoff_command(found):
        said = "has both measured as they serve now" if found.incumbent else "has it measured"
        say(f"`{to_measure}` {said}.")


def _evidence(gate: Gate, width: int) -> Iterator[str]:
    from core.wording.promotion import basis_words, condition_head, condition_words, gate_title

    yield from wrap(gate_title(gate), width)
    for one in gate.conditions:
        head = condition_head(one)
        first, *rest = wrap(condition_words(one), max(20, width - len(head)), indent=0)
        yield head + first
        yield from (" " * len(head) + piece for piece in rest)
    for line in basis_words(gate):
        yield from wrap(line, width)
