"""What the figures of the probes mean: a line for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from core.doctor.machine import Machine, one_line
from core.doctor.results import Diagnostic
from core.format import data_size, gb
from core.gpu.vendors import VENDORS

SECTION = "probes"
# bf16 keeps 8 bits of a number: a few rounded sums of it are off by some tenths of a percent, never by this.
LARGEST_ERROR = 0.02
# 4 bits in groups of 64 on normal weights, as HQQ's own code gives it: 0.087.
HQQ_WEIGHT_ERROR = 0.12
# A fused path keeps no matrix of tokens × tokens: far below this share of the math path's peak.
FUSED_SHARE = 0.8

SUBJECTS = {
    "device": "device",
    "bf16": "bf16",
    "attention": "attention",
    "lora": "LoRA shapes",
    "hqq": "HQQ",
    "bitsandbytes": "bitsandbytes",
}


def line(subject: str, state: str, message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic(subject, state, message, remedy, SECTION)  # type: ignore[arg-type]


def findings(document: Mapping[str, Any], machine: Machine, *, lora_is_doubtful: bool = False) -> list[Diagnostic]:
    """The lines of a document of `jobs.probe`, or why there is none.

    `lora_is_doubtful`: these versions are known for faults that the probe of LoRA cannot show, whatever it found.
    """
    if why := document.get("left_out"):
        return [line("probes", "warning", f"not run: {why}", "run it again when the GPU is free")]
    if problem := document.get("problem"):
        return [line("probes", "fault", one_line(str(problem)), "is Bakehouse installed there, in this version?")]
    lines: list[Diagnostic] = []
    for probe in document["probes"]:
        try:
            lines += finding(probe, machine)
        except (KeyError, TypeError, ValueError) as error:
            name = one_line(str(probe.get("name", "?")) if isinstance(probe, dict) else "?")
            lines.append(line(name, "fault", f"its figures are not understood ({error!r})"))
    return [doubted(one) for one in lines] if lora_is_doubtful else lines


def doubted(one: Diagnostic) -> Diagnostic:
    """Products of LoRA that were right do not speak for versions whose trainings fault."""
    if one.subject != SUBJECTS["lora"] or one.state != "ok":
        return one
    return replace(one, state="warning", remedy="this GPU's versions are known for page faults: see hipBLASLt above")


def finding(probe: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    name = str(probe["name"])
    subject, status = SUBJECTS[name], probe["status"]
    if status == "ok":
        return READ[name](probe["figures"], machine)
    problem = one_line(str(probe.get("problem", "")))
    if status == "absent":
        # That hqq is missing is said among the libraries.
        return [] if name == "hqq" else [line(subject, "absent", f"{problem}; no recipe needs it")]
    if status == "skipped":
        return [line(subject, "warning", f"not run: {problem}")]
    at = f" at: {one_line(str(probe['at']))}" if probe.get("at") else ""
    return [line(subject, "fault", f"{status}{at}: {problem}", remedy_of(name, probe, machine))]


def remedy_of(name: str, probe: Mapping[str, Any], machine: Machine) -> str:
    of_vendor = vendor_remedies(machine)
    if probe.get("left_pid"):
        return f"process {probe['left_pid']} hangs on the GPU: look at `sudo dmesg`; a reboot frees it"
    if name == "lora" and name in of_vendor:
        return of_vendor[name]
    if probe["status"] == "hung":
        return "the GPU or its driver is stuck: look at `sudo dmesg`" if machine.gpu else "is the machine overloaded?"
    return {
        "device": "install the build of torch for this machine (README: CPU, CUDA, ROCm)",
        "hqq": "method qlora-hqq will fail in the same way; DISABLE_CUDA=1 pip install --upgrade hqq",
        "bitsandbytes": "no recipe needs it; a build of it for another CUDA or ROCm fails so",
    }.get(name, "the line above it in `PYTHON -P -m jobs.probe` tells more")


def device(figures: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    built = f"torch {figures['torch']}, built for {figures['built_for']}"
    if figures["device"] == "cpu":
        if machine.gpu is None:
            how = f"{figures['threads']} threads, {figures['cpu_capability']}"
            return [line("device", "ok", f"the CPU ({how}); {built}")]
        why = figures["unavailable"] or "it is a build for the CPU"
        remedy = (
            "install the build of torch for the GPU (README)"
            if figures["built_for"] == "cpu"
            else "look at the lines of driver and rights above; *_VISIBLE_DEVICES may hide the GPU"
        )
        return [
            line("device", "fault", f"torch does not see {machine.gpu.name}: {one_line(str(why))}; {built}", remedy)
        ]
    memory = f"{gb(figures['free_bytes'])} of {gb(figures['total_bytes'])} GB free as torch tells"
    seen = f"{figures['name']} ({figures['architecture']}), {memory}; {built}"
    if not figures["has_kernels"]:
        compiled = ", ".join(figures["compiled_for"]) or "nothing it names"
        message = f"torch has no kernels for {figures['architecture']}, it was compiled for {compiled}"
        return [line("device", "fault", message, "install a build of torch for this GPU (README)")]
    known = machine.gpu.architecture if machine.gpu else None
    if known and known != figures["architecture"]:
        message = f"torch takes the GPU for {figures['architecture']}, the driver calls it {known}"
        return [line("device", "warning", message, "unset HSA_OVERRIDE_GFX_VERSION, or see which GPU is visible")]
    if machine.gpu is None:
        return [line("device", "warning", f"{seen}; Bakehouse finds no GPU to lease", "is BAKEHOUSE_GPU_SOURCE set?")]
    lines = [line("device", "ok", seen)]
    if not figures["bf16"]:
        message = "this GPU does not compute in bf16; torch emulates it slowly"
        lines.append(line("device", "warning", message, "train with dtype: fp32, or on another GPU"))
    return lines


def bf16(figures: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    speed, plain = figures["tflops"], figures["fp32_tflops"]
    message = f"{errors(figures)}; {speed:.1f} TFLOPS, {plain:.1f} in fp32"
    if wrong(figures):
        return [
            line("bf16", "fault", f"computes wrongly: {message}", "install another build of torch or of the driver")
        ]
    if machine.gpu is not None and speed < plain:
        return [line("bf16", "warning", f"slower than fp32: {message}", "is the GPU's bf16 emulated?")]
    return [line("bf16", "ok", message)]


def attention(figures: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    taken, backends = figures["taken"], figures["backends"]
    bad = [name for name, one in backends.items() if one["works"] and wrong(one)]
    by = " (AOTriton)" if figures["aotriton"] and taken != "math" else ""
    shape = figures.get("shape") or {}
    at = f" at {shape['tokens']} tokens and heads of {shape['width']}" if {"tokens", "width"} <= set(shape) else ""
    message = f"{taken}{by} is the path taken{at}"
    message += f"; {errors(backends[taken])}" if taken in backends else ""
    if taken in bad:
        return [line("attention", "fault", f"computes wrongly: {message}", "install another build of torch")]
    peak, math_peak = figures["peak_bytes"], backends.get("math", {}).get("peak_bytes")
    if peak is not None and math_peak:
        message += f"; {data_size(peak)} where the math path takes {data_size(math_peak)}"
    fused = peak is None or not math_peak or peak < FUSED_SHARE * math_peak
    if taken == "math" or not fused:
        why = next((one["why"] for name, one in backends.items() if name == "flash" and not one["works"]), "")
        said = f" ({one_line(str(why))})" if why else ""
        return [
            line("attention", "warning", f"{message}: memory grows with the square of the length{said}", fuse(machine))
        ]
    return [line("attention", "ok", message)]


def fuse(machine: Machine) -> str:
    otherwise = "install a build of torch with flash attention for this GPU"
    return vendor_remedies(machine).get("attention", otherwise)


def vendor_remedies(machine: Machine) -> Mapping[str, str]:
    known = None if machine.gpu is None else VENDORS.get(machine.gpu.vendor)
    return {} if known is None else known.probe_remedies


def lora(figures: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    ranks = list(figures["errors"])
    if not isinstance(figures["largest_error"], float) or figures["largest_error"] > LARGEST_ERROR:
        off = ", ".join(rank for rank, error in figures["errors"].items() if not small(error))
        return [
            line("LoRA shapes", "fault", f"computes wrongly at rank {off}", remedy_of("lora", {"status": ""}, machine))
        ]
    tried = f", {figures['rounds']} times each" if isinstance(figures.get("rounds"), int) else ""
    message = (
        f"single products of rank {ranks[0]} to {ranks[-1]}{tried}: within {percent(figures['largest_error'])} of fp32. "
        "This does not show that a training comes through; `bakehouse doctor --stress` trains for some minutes"
    )
    return [line("LoRA shapes", "ok", message)]


def hqq(figures: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    weights = figures["weight_error"]
    message = f"{errors(figures)}; 4-bit weights are {percent(weights)} off the original"
    if wrong(figures) or not small(figures["autocast_error"]):
        return [line("HQQ", "fault", f"computes wrongly: {message}", "do not train with qlora-hqq here")]
    if not small(weights, HQQ_WEIGHT_ERROR):
        return [line("HQQ", "warning", f"quantises badly: {message}", "another version of hqq may do better")]
    return [line("HQQ", "ok", message)]


def bitsandbytes(figures: Mapping[str, Any], machine: Machine) -> list[Diagnostic]:
    message = f"{errors(figures)}; NF4 weights are {percent(figures['weight_error'])} off the original"
    if wrong(figures):
        return [line("bitsandbytes", "warning", f"computes wrongly: {message}", "no recipe needs it: leave it alone")]
    return [line("bitsandbytes", "ok", message)]


READ: dict[str, Callable[[Mapping[str, Any], Machine], list[Diagnostic]]] = {
    "device": device,
    "bf16": bf16,
    "attention": attention,
    "lora": lora,
    "hqq": hqq,
    "bitsandbytes": bitsandbytes,
}


def errors(figures: Mapping[str, Any]) -> str:
    forward, backward = figures["forward_error"], figures["backward_error"]
    return f"forward within {percent(forward)} and backward within {percent(backward)} of fp32"


def wrong(figures: Mapping[str, Any]) -> bool:
    return not (small(figures["forward_error"]) and small(figures["backward_error"]))


def small(error: Any, limit: float = LARGEST_ERROR) -> bool:
    """The figure is a number, and a small one; a probe writes what is not finite as a word."""
    return isinstance(error, int | float) and 0 <= error <= limit


def percent(error: Any) -> str:
    return f"{100 * error:.2g} %" if isinstance(error, int | float) else str(error)
