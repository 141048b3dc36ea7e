"""`make bench`: every benchmark one after the other, three quarters of an hour. `python -m tests.bench NAME` runs one."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = ("spine", "memory", "train", "quality", "scan", "sampling")


def main(names: list[str]) -> int:
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        importlib.import_module(f"tests.bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
