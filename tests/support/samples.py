"""The project's own samples in `tests/samples`: where they are, and how a tree of small files is unpacked."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "samples"


def unpack(tree: str, folder: Path) -> Path:
    """Write the files of `tests/samples/TREE` below `folder`, as the kernel shows them, and return it."""
    text = (SAMPLES / tree).read_text(encoding="utf-8")
    for part in text.split("\n== ")[1:]:
        name, _, content = part.partition("\n")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.removesuffix("\n") + "\n", encoding="utf-8")
    return folder
