"""Starting the runner so that it outlives whoever started it.

    python -P -m core.queue.daemon HOME

Kept free of imports: the process that asks waits until this one has forked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core.home import Home


def start_runner(home: Home, *, by_person: bool) -> bool:
    """Start a runner for this home; one that is there already makes the new one leave at once.

    A person's act also lifts a former `runner stop`; anybody else respects it. Returns False when it does.
    """
    if by_person:
        home.runner_stopped.unlink(missing_ok=True)
    elif home.runner_stopped.exists():
        return False
    with home.runner_log.open("ab") as log:
        subprocess.run(
            [sys.executable, "-P", "-m", "core.queue.daemon", str(home.root)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
        )
    return True


def main(arguments: list[str]) -> int:
    if os.fork():
        os._exit(0)
    os.setsid()
    from core.queue.runner import main as run

    return run(Home(Path(arguments[0])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
