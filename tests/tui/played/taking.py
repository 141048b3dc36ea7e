"""Taking the pictures of docs/pictures: what the modules of this folder do alike."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

SIZES = ("120x40", "80x24")


def take_pictures(description: str | None, known: Collection[str], take: Callable[[str, Path, Path], None]) -> None:
    """`python -m MODULE OUT_FOLDER [NAME …]`: the named ones, else all that are known.

    `take` gets a name, an empty folder of its own and the folder that the pictures go to.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or known:
        with tempfile.TemporaryDirectory(prefix="bakehouse") as folder:
            take(name, Path(folder), arguments.out)


def in_both_sizes(name: str, out: Path, picture: Callable[[Path, str], str]) -> None:
    """`picture` gets the file to write and the size of the terminal, and tells the text that stands there."""
    for size in SIZES:
        print(picture(out / f"{name}-{size}.png", size))
