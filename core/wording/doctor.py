"""The doctor's report in words, the same in the console and on the command line."""

from __future__ import annotations

SECTION_TITLES = {
    "gpu": "GPU and driver",
    "torch": "Torch and libraries",
    "probes": "What they can do (measured)",
    "environment": "Environment of jobs",
    "serving": "Serving",
    "machine": "Machine",
}


def section_title(name: str) -> str:
    """The title of a section; of one that a newer version has written, its name."""
    return SECTION_TITLES.get(name, name)
