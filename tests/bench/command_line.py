"""The command line of a benchmark: its module's docstring is its help, and most have no option."""

from __future__ import annotations

import argparse


def parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """For `python -m tests.bench.NAME`; `about` is the module's `__doc__`, shown with its own line breaks."""
    return argparse.ArgumentParser(
        prog=f"python -m tests.bench.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
