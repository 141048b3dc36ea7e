"""What a runner does now and then for served models that nobody looks after: their shim was killed, or a deployment of them."""

from __future__ import annotations

import contextlib

from core.errors import BakehouseError
from core.home import Home
from core.served.away import is_over
from core.served.control import start
from core.served.install import go_back, noted
from core.served.record import is_served_folder, read_records
from core.served.state import SHIM_GONE, read_state
from core.served.unit import has_unit, rests


def take_back(home: Home) -> list[str]:
    """Have what served before a deployment that was killed, where what that put in its place does not serve; their names.

    Else what it had stopped would stay so until somebody retries it. A retry begins from what is there again.
    """
    taken: list[str] = []
    for name in sorted(entry.name for entry in home.served.iterdir() if is_served_folder(entry)):
        before = noted(home, home.served_dir(name))
        if before is None or not is_over(home, before[2]):
            continue
        if read_state(home, name).phase in ("failed", "stopped"):
            # What fails is tried again, and the state says that it does not run.
            with contextlib.suppress(BakehouseError, OSError):
                go_back(home, name, before[:2])
                taken.append(name)
    return taken


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
