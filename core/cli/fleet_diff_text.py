"""What two versions of an alias differ in, as text: a line for each thing, then the chat templates."""

from __future__ import annotations

from collections.abc import Iterator

from core.cli.text_grid import folded, wrap
from core.fleet.version_diff import VersionDiff
from core.text import printable
from core.wording.fleet_diff import diff_rows, diff_title

LABEL = 12


def diff_lines(found: VersionDiff, width: int) -> Iterator[str]:
    """All lines, none wider than `width`; what is the same is said in a word, what is not known as such."""
    yield printable(diff_title(found))
    for label, text in diff_rows(found):
        lines = list(wrap(printable(text), width - LABEL, indent=0))
        for number, line in enumerate(lines):
            yield f"{printable(label) if number == 0 else '':<{LABEL}}{line}"
    for line in found.template:
        yield from (f"  {part}" for part in folded(printable(line), width - 2))
