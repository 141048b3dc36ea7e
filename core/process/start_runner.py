"""Starting the runner so that it outlives whoever started it.

Kept free of imports, and apart from the runner: a shim that finds no runner starts one as well.
"""

from __future__ import annotations

import subprocess
import sys

from core.files import private
from core.home import Home

RUNNER = "core.runner.daemon"
"""The module of the runner's process. Named, not imported: whoever starts a runner needs none of its code."""


def start_runner(home: Home, *, by_person: bool) -> bool:
    """Start a runner for this home; one that is there already makes the new one leave at once.

    A person's act also lifts a former `runner stop`; anybody else respects it. Returns False when it does.
    """
    if by_person:
        home.runner_stopped.unlink(missing_ok=True)
    elif home.runner_stopped.exists():
        return False
    with open(home.runner_log, "ab", opener=private) as log:
        subprocess.run(
            [sys.executable, "-P", "-m", RUNNER, str(home.root)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
        )
    return True
