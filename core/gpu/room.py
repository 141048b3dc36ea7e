"""What a job can have of a GPU's memory, and whether it fits: one answer for plan, form, `fit: auto`, GPU pane and runner.

A job has the GPU alone. What the lease has unloaded for a job, or waits for, is no part of what the job has to do without; what
stays while the job runs is: the idle use, and the served models where the settings leave them in place.

The words for a GPU's memory, wherever it is shown:

| word            | what                                                                                            |
|-----------------|-------------------------------------------------------------------------------------------------|
| in use          | what its driver counts as used now, by whomever: `used_bytes`                                   |
| free            | the rest of its memory now: total less in use                                                   |
| usable by a job | what a job gets once all that makes way has gone: 97 % of the total, less what stays            |

Of a machine without a GPU the same words are said of its memory: in use is what the kernel does not count as available.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.gpu.memory_owners import USABLE, MemoryOwners

Fit = Literal["fits", "waits", "too_large"]
"""`waits`: it fits, and starts once other programs, or memory of nobody, are gone. `too_large`: not even then."""


@dataclass(frozen=True)
class GpuRoom:
    """A GPU's memory in bytes, as it is for a job that wants all of it. `used_bytes` is in use now.

    `stays_bytes` is in use while the job runs (`staying` are the model servers among that), `unloaded_bytes` are the models of
    a server that make way for it, and `in_the_way_bytes` belong to `holders` (programs of others, the largest first) or to
    nobody: a job waits until they are gone, but for `tolerance_bytes`.
    """

    total_bytes: int
    stays_bytes: int = 0
    unloaded_bytes: int = 0
    in_the_way_bytes: int = 0
    holders: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()
    tolerance_bytes: int = 0
    used_bytes: int = 0

    @property
    def room_bytes(self) -> int:
        """What is usable by a job."""
        return max(0, int(USABLE * self.total_bytes) - self.stays_bytes)

    def fit(self, needed_bytes: int) -> Fit:
        """Whether a job that needs so much of the device fits."""
        if needed_bytes > self.room_bytes:
            return "too_large"
        return "waits" if self.in_the_way_bytes > self.tolerance_bytes else "fits"


def gpu_room(known: MemoryOwners, *, models_stay: bool, tolerance_bytes: int) -> GpuRoom:
    """The room that the owners of a GPU's memory leave; `models_stay`: a model server's models are not unloaded for a job. The
    home's own served models are in any case."""
    leaves = known.home_served_bytes if models_stay else known.served_bytes
    return GpuRoom(
        total_bytes=known.total_bytes,
        stays_bytes=known.idle_bytes + known.served_bytes - leaves,
        unloaded_bytes=leaves,
        in_the_way_bytes=known.others_bytes + known.unowned_bytes,
        holders=tuple(dict.fromkeys(holding.name for holding in known.others)),
        staying=tuple(dict.fromkeys(one.name for one in known.servers if one.serves)) if models_stay else (),
        tolerance_bytes=tolerance_bytes,
        used_bytes=known.used_bytes,
    )
