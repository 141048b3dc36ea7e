"""What a runner does now and then for served models that nobody looks after: their shim was killed, or a deployment of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeAlias

from core.errors import BakehouseError
from core.home import Home
from core.served.away import is_over
from core.served.control import start
from core.served.former import Owner, noted_former
from core.served.install import confirm, go_back
from core.served.record import is_served_folder, read_records
from core.served.state import SHIM_GONE, read_state
from core.served.unit import has_unit, rests
from core.store.fleet_changes import ChangeState

StateOfChange: TypeAlias = Callable[[int], ChangeState | None]
"""The state of a change of an alias by its number; None where there is none."""


def take_back(home: Home, state_of_change: StateOfChange) -> list[str]:
    """Have what served before what was broken off, where nobody carries that on; their names.

    Else what it had stopped would stay so until somebody tries again. What serves after a killed deployment stays, also when it
    ends one day; a retry begins from what is there. Of a change the store says what stands: an open one is not touched, for a
    runner carries it on.
    """
    taken: list[str] = []
    for name in sorted(entry.name for entry in home.served.iterdir() if is_served_folder(entry)):
        before = noted_former(home, home.served_dir(name))
        # What fails is tried again, and the state says that it does not run.
        with contextlib.suppress(BakehouseError, OSError):
            if before is None or not _is_left(home, name, before.owner, state_of_change):
                continue
            if _stays(home, name, before.owner, state_of_change):
                confirm(home, name)
                continue
            go_back(home, name, before)
            taken.append(name)
    return taken


def _is_left(home: Home, name: str, owner: Owner, state_of_change: StateOfChange) -> bool:
    """Whether nobody carries on what this owner has begun."""
    if owner.kind == "change":
        return state_of_change(owner.id) != "open"
    return is_over(home, owner.id) and read_state(home, name).phase in ("failed", "stopped", "serving")


def _stays(home: Home, name: str, owner: Owner, state_of_change: StateOfChange) -> bool:
    """Whether what is in place now is what stands, of an owner that does not carry it on."""
    if owner.kind == "change":
        return state_of_change(owner.id) == "done"
    return read_state(home, name).phase == "serving"


def revive(home: Home) -> list[str]:
    """Start again what was killed together with its shim in this boot, unless systemd is about to do so; their names.

    What ended by a signal to end stays so: a person has sent that, or systemd for a person.
    """
    revived = []
    for record in read_records(home)[0]:
        folder = home.served_dir(record.name)
        if folder.stopped.exists() or read_state(home, record.name).reason != SHIM_GONE:
            continue
        if has_unit(folder) and not rests(record.name):
            continue
        with contextlib.suppress(BakehouseError, OSError):  # it is tried again, and its state says that it does not run
            start(home, record.name)
            revived.append(record.name)
    return revived
