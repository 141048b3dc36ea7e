"""What jobs run on: the interpreter, torch against the GPU, the libraries, and the probes that put them to work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import __version__
from core.doctor.findings import findings
from core.doctor.lora_faults import lora_faults
from core.doctor.machine import Machine, version_numbers
from core.doctor.probing import run_probes
from core.doctor.results import Diagnostic
from core.errors import BakehouseError
from core.jobfile.train import TRAINING
from core.submission.python_environment import find_python, require, versions

SECTION = "torch"
SHOWN = ("transformers", "trl", "peft", "accelerate")

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
        return [*lines, *lora_faults(machine, found["torch"], {}), left_out()]
    document = run_probes(machine, python)
    faults = lora_faults(machine, found["torch"], figures_of(document, "device"))
    return [*lines, *faults, *findings(document, machine, lora_is_doubtful=bool(faults))]


def interpreter(python: str, version: str | None) -> Diagnostic:
    """The interpreter of the jobs; another version of Bakehouse there does what that version does."""
    if version not in (None, __version__):
        message = f"{python} has Bakehouse {version}, this is {__version__}"
        return line("python", "warning", message, f"in this version's clone: {python} -m pip install '.[train]'")
    return line("python", "ok", python)


def figures_of(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The figures of one probe; empty where it did not come to any."""
    probes = document.get("probes")
    found = [one.get("figures") for one in probes or () if isinstance(one, dict) and one.get("name") == name]
    return next((figures for figures in found if isinstance(figures, dict)), {})


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
