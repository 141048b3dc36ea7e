"""Which frames stand below the form, and how high each is."""

from __future__ import annotations

FRAMES = {"memory": 7, "lesson": 13, "around": 5}
"""The frames and the rows that each needs at least."""
MOST_MEMORY_ROWS = 12
LEAST = 5
"""Rows below which a frame says nothing."""


def heights(room: int, first: int, memory_rows: int) -> dict[str, int]:
    """The height of each frame that is shown: as many as fit into `room` rows, beginning with the one numbered `first`.

    The memory gets the rows it has something to say in, the data what is left. None where there is no room for any.
    """
    if room < LEAST:
        return {}
    names = list(FRAMES)
    wanted = names[first:] + names[:first]
    shown, used = [wanted[0]], FRAMES[wanted[0]]
    for name in wanted[1:]:
        if used + FRAMES[name] <= room:
            shown.append(name)
            used += FRAMES[name]
    found = {name: FRAMES[name] for name in names if name in shown}
    spare = max(0, room - used)
    if "memory" in found and len(found) > 1:
        more = max(0, min(memory_rows + 2 - FRAMES["memory"], spare))
        found["memory"] += more
        spare -= more
    found["lesson" if "lesson" in found else shown[0]] += spare
    return {name: min(height, max(3, room)) for name, height in found.items()}
