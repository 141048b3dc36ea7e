"""What jobs run on: the interpreter, torch against the GPU, the libraries, and the probes that put them to work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import __version__
from core.doctor.driver import rocm_version
from core.doctor.findings import findings
from core.doctor.machine import Machine, version_numbers
from core.doctor.probing import run_probes
from core.doctor.results import Diagnostic
from core.doctor.variables import environment_of
from core.errors import BakehouseError
from core.gpu.vendors.amd import AMD, CACHING
from core.jobfile.train import TRAINING
from core.submission.python_environment import find_python, require, torch_vendor, versions

SECTION = "torch"
SHOWN = ("transformers", "trl", "peft", "accelerate")
TROUBLED = ("gfx1200", "gfx1201")
TROUBLED_SINCE = (7, 2)

# The least version that the extra `train` asks for.
LEAST = {"torch": (2, 9), "transformers": (5, 20), "trl": (1, 16), "peft": (0, 21), "accelerate": (1, 10)}


def line(subject: str, state: str, message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic(subject, state, message, remedy, SECTION)  # type: ignore[arg-type]


def examine_software(machine: Machine, *, quick: bool) -> list[Diagnostic]:
    try:
        python = find_python(machine.settings.jobs.python)
        found = versions(machine.home, python, (*TRAINING, "hqq", "bitsandbytes"))
    except BakehouseError as error:
        return [line("python", "fault", error.message, error.remedy or "")]
    lines = [interpreter(python, found["bakehouse"]), *installed(machine, python, found)]
    if found["torch"] is None or found["bakehouse"] is None:
        return lines
    if quick:
        return [*lines, *hipblaslt(machine, found["torch"]), left_out()]
    document = run_probes(machine, python)
    return [*lines, *hipblaslt(machine, built_for(document) or found["torch"]), *findings(document, machine)]


def interpreter(python: str, version: str | None) -> Diagnostic:
    """The interpreter of the jobs; another version of Bakehouse there does what that version does."""
    if version not in (None, __version__):
        message = f"{python} has Bakehouse {version}, this is {__version__}"
        return line("python", "warning", message, f"in this version's clone: {python} -m pip install '.[train]'")
    return line("python", "ok", python)


def built_for(document: Mapping[str, Any]) -> str | None:
    """`rocm 7.2.1`, `cuda 12.8`, `cpu`, as torch tells it itself; None where no probe did."""
    figures = [probe.get("figures") for probe in document.get("probes", ()) if probe.get("name") == "device"]
    return next((str(one["built_for"]) for one in figures if isinstance(one, dict) and "built_for" in one), None)


def left_out() -> Diagnostic:
    return Diagnostic("probes", "absent", "left out", "bakehouse doctor without --quick puts torch to work", "probes")


def installed(machine: Machine, python: str, found: dict[str, str | None]) -> list[Diagnostic]:
    """Torch, the libraries of a training, and what only some recipes need."""
    lines = []
    try:
        require(machine.home, python, TRAINING, None if machine.gpu is None else machine.gpu.vendor)
    except BakehouseError as error:
        lines.append(line("training", "fault", error.message, error.remedy or ""))
    else:
        lines.append(torch_line(machine, found["torch"] or ""))
        old = [
            f"{name} {found[name]}"
            for name, least in LEAST.items()
            if (numbers := version_numbers(found[name] or "")) and numbers < least
        ]
        shown = ", ".join(f"{name} {found[name]}" for name in SHOWN)
        if old:
            remedy = f"in the clone of Bakehouse: {python} -m pip install '.[train]'"
            lines.append(line("libraries", "warning", f"older than what is tested: {', '.join(old)}", remedy))
        else:
            lines.append(line("libraries", "ok", shown))
    if found["hqq"] is None:
        remedy = f"DISABLE_CUDA=1 {python} -m pip install hqq"
        lines.append(line("hqq", "absent", "not installed: method qlora-hqq needs it", remedy))
    else:
        lines.append(line("hqq", "ok", f"hqq {found['hqq']}"))
    if found["bitsandbytes"] is not None:
        lines.append(line("bitsandbytes", "ok", f"bitsandbytes {found['bitsandbytes']}; no recipe needs it"))
    return lines


def torch_line(machine: Machine, version: str) -> Diagnostic:
    """Torch as its version names itself; a build for the CPU leaves a GPU unused."""
    if machine.gpu is not None and "cpu" in version.partition("+")[2].split("."):
        message = f"torch {version} is a build for the CPU: jobs would not use {machine.gpu.name}"
        return line("torch", "fault", message, "install torch from the index for your GPU (README)")
    return line("torch", "ok", f"torch {version}")


def hipblaslt(machine: Machine, built: str) -> list[Diagnostic]:
    """The page faults of LoRA under hipBLASLt from ROCm 7.2 on, on RDNA 4 (ROCm issues 6413, 6600, 6647).

    `built` is a version of torch (`2.13.0+rocm7.2`) or what it was built for (`rocm 7.2.1`).
    """
    if machine.gpu is None or machine.gpu.architecture not in TROUBLED:
        return []
    version = rocm_of(built) or version_numbers(rocm_version(machine) or "")
    if not version or version < TROUBLED_SINCE:
        return []
    _, made = environment_of(machine)
    shown = ".".join(str(part) for part in version)
    if (made.set.get(CACHING) or machine.environ.get(CACHING)) == "1":
        return [line("hipBLASLt", "ok", f"its page faults in ROCm {shown} are kept off by {CACHING}=1")]
    message = f"in ROCm {shown} it can end a LoRA of a rank below its tile size in a page fault on this GPU"
    remedy = f'if a run ends so: gpu: {{environment: {{{CACHING}: "1"}}}} in settings.yaml (slower; 3 of 3 runs came through)'
    return [line("hipBLASLt", "warning", message, remedy)]


def rocm_of(built: str) -> tuple[int, ...]:
    """The ROCm that torch was built with, as far as the text says it."""
    if torch_vendor(built) not in (None, AMD.name):
        return ()
    _, _, after = built.lower().partition("rocm")
    return version_numbers(after.strip())
