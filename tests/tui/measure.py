"""What the console costs, in a real terminal: `python -m tests.tui.measure [HOME]`.

First paint: from the start of the process until the frames stand, and until the jobs are shown. Output: bytes a second once it
has settled. Without HOME an empty one is used.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.tui.terminal import Terminal

COMMAND = [sys.executable, "-c", "import sys; from core.cli.main import main; sys.exit(main())"]
RUNS = 7
SETTLE_SECONDS, WATCH_SECONDS = 5.0, 20.0


def seconds_until(terminal: Terminal, text: str) -> float:
    if not terminal.shows(text, 20):
        sys.exit(f"never shown: {text}\n{terminal.text}")
    return time.monotonic() - terminal.started


def first_paint(environment: dict[str, str]) -> tuple[float, float]:
    """Seconds until the frames stand and until the queue was read."""
    with Terminal(COMMAND, environment=environment) as terminal:
        frames = seconds_until(terminal, "3 Queue")
        jobs = seconds_until(terminal, "waiting ─╮")
        terminal.type("q")
        terminal.ended(10)
    return frames, jobs


def rate(environment: dict[str, str], size: tuple[int, int], *options: str) -> tuple[int, float]:
    """Bytes until it has settled, and bytes a second from then on."""
    with Terminal([*COMMAND, *options], columns=size[0], lines=size[1], environment=environment) as terminal:
        terminal.watch(SETTLE_SECONDS)
        before = terminal.bytes
        terminal.watch(WATCH_SECONDS)
        per_second = (terminal.bytes - before) / WATCH_SECONDS
        terminal.type("q")
        terminal.ended(10)
    return before, per_second


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "home")
        environment = {"BAKEHOUSE_HOME": home, "PYTHONPATH": str(Path(__file__).parents[2])}
        first_paint(environment)  # makes the home and warms the caches
        times = [first_paint(environment) for _ in range(RUNS)]
        for name, index in (("frames", 0), ("jobs", 1)):
            found = [pair[index] * 1000 for pair in times]
            print(f"first paint, {name}: median {statistics.median(found):.0f} ms, worst {max(found):.0f} ms of {RUNS}")
        for size in ((120, 40), (80, 24)):
            for options in ((), ("--low-bandwidth",)):
                start, per_second = rate(environment, size, *options)
                label = f"{size[0]}×{size[1]} {' '.join(options)}".strip()
                print(f"{label}: {start / 1000:.1f} kB in the first {SETTLE_SECONDS:.0f} s, then {per_second:,.0f} B/s")


if __name__ == "__main__":
    main()
