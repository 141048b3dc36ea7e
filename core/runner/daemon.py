"""The runner's process: `python -P -m core.runner.daemon HOME` leaves its parent at once and becomes the home's runner.

Kept free of imports until then: the process that asks waits until this one has forked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from core.home import Home


def main(arguments: list[str]) -> int:
    if os.fork():
        os._exit(0)
    os.setsid()
    from core.runner.main import main as run

    return run(Home(Path(arguments[0])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
