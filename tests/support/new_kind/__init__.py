"""A kind of job that Bakehouse does not have, in the four pieces that a kind consists of.

Here is the entry of the registry; `spec` would be a file of `core/jobfile`, `job` one of `jobs`, `command` one of `core/cli`.
"""

from __future__ import annotations

from core.jobfile.kinds import JobKind, KindCommand

PACK = JobKind(
    "pack",
    noun="a packing",
    spec=f"{__name__}.spec:PackSpec",
    module=f"{__name__}.job",
    lane="cpu",
    makes=("packed",),
    command=KindCommand("pack", f"{__name__}.command:pack", "Queue the packing of an artefact into one file."),
)
