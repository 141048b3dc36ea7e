"""A command of a person at a terminal: submits a job and follows it, as `--wait` does.

python -m tests.support.at_a_terminal FOLDER HOME_NAME TITLE
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.cli.follow import exit_code, follow_to_the_end
from core.store.database import open_database
from tests.support.queueing import Queue


def main() -> int:
    folder, name, title = sys.argv[1:]
    queue = Queue.create(Path(folder), name)
    job = queue.submit(title)
    print(f"submitted {job}", flush=True)
    connection = open_database(queue.home)
    jobs = follow_to_the_end(queue.home, connection, [job])
    return 130 if jobs is None else exit_code(connection, jobs)


if __name__ == "__main__":
    sys.exit(main())
