"""`make bench`: every benchmark one after the other, three quarters of an hour.

`python -m tests.bench NAME …` runs those that are named, `python -m tests.bench.NAME` one of them with its own options.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

BENCHMARKS = (
    "spine",
    "memory",
    "train",
    "quality",
    "scan",
    "sampling",
    "bakeoff",
    "results",
    "failure_modes",
    "checks",
    "fleet",
    "experiment",
    "experiment_statistics",
    "survival",
    "merge",
    "proof",
)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all without one")
    names = parser.parse_args(arguments).names
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        importlib.import_module(f"tests.bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
