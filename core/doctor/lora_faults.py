"""The page faults of LoRA on RDNA 4: which versions have them, whatever a probe of single products says.

hipBLASLt reads an operand of a product past its end where the product's free dimension (a LoRA's rank) is smaller than the
tile. Whether that faults depends on what lies behind the operand, so that only a training can show it (rocm-libraries issue
7992; ROCm issues 6413, 6600, 6647).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.doctor.driver import rocm_version
from core.doctor.machine import Machine, version_numbers
from core.doctor.results import Diagnostic
from core.doctor.variables import environment_of
from core.gpu.vendors.amd import AMD, CACHING
from core.submission.python_environment import torch_vendor

ARCHITECTURES = ("gfx1200", "gfx1201")
SINCE = (7, 2)
"""The first version that faults, of ROCm and of HIP. They part later: ROCm 10.0 has HIP 7.15."""
SUBJECT = "hipBLASLt"
_ROCM = re.compile(r"rocm[-_ ]?(?=\d)", re.IGNORECASE)


@dataclass(frozen=True)
class RocmVersions:
    """The versions that torch runs on as far as they are told, empty where they are not. `of_system`: ROCm's is that of the
    system, because torch does not say its own."""

    rocm: tuple[int, ...] = ()
    hip: tuple[int, ...] = ()
    of_system: bool = False

    @property
    def known(self) -> bool:
        return bool(self.rocm or self.hip)

    @property
    def faulty(self) -> bool:
        """Whether they are in the range. Numbers are compared, not texts: 7.15 is later than 7.2, and 10.0 than both."""
        return any(version >= SINCE for version in (self.rocm, self.hip) if version)

    @property
    def words(self) -> str:
        rocm = f"ROCm {shown(self.rocm)}{' of the system' if self.of_system else ''}" if self.rocm else ""
        hip = f"HIP {shown(self.hip)}" if self.hip else ""
        return ", ".join(part for part in (rocm, hip) if part) or "a ROCm of unknown version"


def shown(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def rocm_versions(machine: Machine, torch: str, figures: Mapping[str, Any]) -> RocmVersions | None:
    """What torch was built with: its own version (`2.13.0+rocm7.2`), and what the probe `device` told of it.

    None where torch is built for something else. A torch that does not say its ROCm may run on the system's.
    """
    built = str(figures.get("built_for") or "")
    if built and not built.lower().startswith("rocm"):
        return None
    if torch_vendor(torch) not in (None, AMD.name):
        return None
    rocm = after_rocm(torch) or version_numbers(str(figures.get("rocm") or ""))
    # What torch calls its HIP version stands in `built_for` as well, under the name of ROCm.
    hip = version_numbers(str(figures.get("hip") or "")) or after_rocm(built)
    of_system = not rocm and not hip
    return RocmVersions(rocm or version_numbers(rocm_version(machine) or ""), hip, of_system)


def after_rocm(text: str) -> tuple[int, ...]:
    """`2.13.0+rocm7.2` and `rocm 7.2.1` as (7, 2) and (7, 2, 1)."""
    found = _ROCM.search(text)
    return version_numbers(text[found.end() :]) if found else ()


def lora_faults(machine: Machine, torch: str, figures: Mapping[str, Any]) -> list[Diagnostic]:
    """The warning for a GPU and versions that have the fault, or may have it; nothing for others.

    `figures` are those of the probe `device`, empty where no probe ran.
    """
    versions = affected(machine, torch, figures)
    if versions is None:
        return []
    if not versions.known:
        message = (
            f"which ROCm torch runs on is not known. From {shown(SINCE)} on a LoRA training can end in a GPU page fault on "
            "this GPU; no probe can rule it out"
        )
        return [warning(message, f"{TRY_IT}; {WAYS_OUT}")]
    _, made = environment_of(machine)
    environ = {**machine.environ, **made.set}
    message = (
        f"{versions.words}: a LoRA training can end in a GPU page fault on this GPU (ROCm {shown(SINCE)} and later; 7.1 and "
        "older are below the range). Which builds have the fix is not known, and no probe can rule it out"
    )
    if environ.get(CACHING) == "1" and CACHING not in made.unset:
        message += f". {CACHING}=1 is set for jobs: 3 of 3 runs came through with it, which is no proof"
        return [warning(message, f"{TRY_IT}; if a run faults all the same: another data order (`seed`), or ROCm 7.1")]
    return [warning(message, f"{TRY_IT}; {WAYS_OUT}")]


TRY_IT = "`bakehouse doctor --stress` trains for some minutes"
WAYS_OUT = (
    f'if a run faults: gpu: {{environment: {{{CACHING}: "1"}}}} in settings.yaml (slower; 3 of 3 runs came through), another '
    "data order (`seed`), or ROCm 7.1"
)


def affected(machine: Machine, torch: str, figures: Mapping[str, Any]) -> RocmVersions | None:
    """The versions where this GPU with them has the fault, or where they are not known; None where it has not."""
    if machine.gpu is None or machine.gpu.vendor != AMD.name:
        return None
    if (machine.gpu.architecture or figures.get("architecture")) not in ARCHITECTURES:
        return None
    versions = rocm_versions(machine, torch, figures)
    return versions if versions is not None and (versions.faulty or not versions.known) else None


def warning(message: str, remedy: str) -> Diagnostic:
    return Diagnostic(SUBJECT, "warning", message, remedy, "torch")
