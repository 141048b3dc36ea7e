"""One of several runners' worth of claims: takes ready jobs until there are none, and prints what it took.

    python -m tests.support.contender HOME START_LOCK

It begins when START_LOCK is let go, so that all of them begin at once. Once it has taken one it says so, and takes the others
when a line comes to it: so each of them has its turn, whatever the machine gives to whom.
"""

from __future__ import annotations

import fcntl
import json
import sys
from pathlib import Path

from core.home import Home
from core.store.database import open_database
from core.store.jobs import claim_next


def main() -> None:
    home, start = Home(Path(sys.argv[1])), Path(sys.argv[2])
    connection = open_database(home)
    print("here", flush=True)
    with start.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    taken = []
    while (job := claim_next(connection, "cpu", "boot", "contender")) is not None:
        taken.append(job.id)
        if len(taken) == 1:
            print("took one", flush=True)
            sys.stdin.readline()
    print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
