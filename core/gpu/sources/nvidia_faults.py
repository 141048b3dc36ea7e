"""What is wrong with an NVIDIA GPU or its driver, told from NVML's error or nvidia-smi's words; each fault has its own remedy.

No remedy resets a GPU or unloads a driver: either can take down the machine, or another's job.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.gpu.source import SourceError
from core.text import one_line, printable


@dataclass(frozen=True)
class NvidiaFault:
    """One kind of fault. `nvml` are the classes that `pynvml` raises for it, `words` what either of them prints.

    `absent`: that nothing of NVIDIA's is there to be read, which is no fault on a machine without such a GPU.
    """

    code: str
    message: str
    remedy: str
    nvml: tuple[str, ...]
    words: str
    absent: bool = False


FAULTS = (
    NvidiaFault(
        "nvidia_version_mismatch",
        "the NVIDIA driver in the kernel and its library are of different versions",
        "reboot: the driver was updated while the old one was loaded. In a container, restart the container after that",
        ("NVMLError_LibRmVersionMismatch", "NVMLError_ArgumentVersionMismatch"),
        r"(?:version|api) mismatch",
    ),
    NvidiaFault(
        "nvidia_reset_required",
        "an NVIDIA GPU needs a restart",
        "end what runs on it and reboot; if that recurs, look for Xid in the kernel log: dmesg | grep Xid",
        ("NVMLError_ResetRequired",),
        r"gpu requires (?:a )?(?:reset|restart)|(?:gpu )?(?:reset|restart) required|in recovery",
    ),
    NvidiaFault(
        "nvidia_no_power",
        "an NVIDIA GPU says that its power cables are not plugged in",
        "switch the machine off and plug in the GPU's power cables",
        ("NVMLError_InsufficientPower",),
        r"insufficient external power|insufficiently powered|power cables? (?:is|are) not|not properly (?:attached|connected)",
    ),
    NvidiaFault(
        "nvidia_no_permission",
        "this user may not read the NVIDIA GPU",
        "`ls -l /dev/nvidia*` shows who may: join that group, then log in again. In a container, pass the devices with --gpus",
        ("NVMLError_NoPermission",),
        r"insufficient permissions|no permission",
    ),
    # Behind those whose cause is named beside the handle that could not be had.
    NvidiaFault(
        "nvidia_gpu_lost",
        "an NVIDIA GPU is lost: it no longer answers on the PCI bus",
        "switch the machine off and on again, a reboot may not be enough. If that recurs, look at the GPU's power supply and "
        "cables, its slot or riser, and its temperature; the kernel log has Xid 79 for it",
        ("NVMLError_GpuIsLost", "NVMLError_GpuNotFound"),
        r"gpu is lost|fallen off the bus|xid[^\n]{0,60}?\b79\b|gpu not found|unable to determine the device handle",
    ),
    NvidiaFault(
        "nvidia_blocked",
        "the operating system blocks the NVIDIA GPU",
        "in WSL2: update NVIDIA's driver in Windows, then `wsl --shutdown`. In a container, pass the devices with --gpus",
        ("NVMLError_OperatingSystem",),
        r"blocked by the operating system|operating system has blocked",
    ),
    NvidiaFault(
        "nvidia_driver_not_loaded",
        "the NVIDIA driver is not loaded",
        "sudo modprobe nvidia. Where that fails, the driver is not built for this kernel (`dkms status`), or Secure Boot "
        "refuses it (`mokutil --sb-state`): install the driver's package again, then reboot",
        ("NVMLError_DriverNotLoaded",),
        r"couldn'?t communicate with the nvidia driver|driver not loaded",
        absent=True,
    ),
    NvidiaFault(
        "nvidia_no_library",
        "the NVIDIA driver's library libnvidia-ml is not here",
        "it belongs to the driver's own package (libnvidia-compute, nvidia-utils): install that in the driver's version. In a "
        "container, pass the GPU with --gpus and NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ("NVMLError_LibraryNotFound",),
        r"libnvidia-ml.{0,60}(?:not found|no such file)|couldn'?t find libnvidia-ml|shared library not found",
        absent=True,
    ),
    NvidiaFault(
        "nvidia_no_devices",
        "the NVIDIA driver has no GPU",
        "dmesg | grep NVRM says why it took none: another driver (nouveau, vfio-pci) has the GPU, or the GPU did not start",
        (),
        r"no devices (?:were )?found|rminitadapter failed",
        absent=True,
    ),
    NvidiaFault(
        "nvidia_unknown_error",
        "the NVIDIA driver refuses access with an unknown error",
        "in a container: restart the container, for a reload of systemd on the host took its devices away; Docker's option "
        "native.cgroupdriver=cgroupfs, or a CDI device, keeps them. Else reboot, and look for NVRM in the kernel log",
        ("NVMLError_Unknown",),
        r"unknown error",
    ),
)
NOT_LOADED = next(fault for fault in FAULTS if fault.code == "nvidia_driver_not_loaded")
QUOTED_CHARACTERS = 160


def fault_in(text: str) -> NvidiaFault | None:
    """The fault that a tool's output or an error's message tells of; a cell of a table such as `[Unknown Error]` is none."""
    told = re.sub(r"\[[^\]\n]*\]", "", text).lower()
    return next((fault for fault in FAULTS if re.search(fault.words, told)), None)


def nvml_fault(error: Exception) -> NvidiaFault | None:
    """The fault behind an error of NVML's: by its class, else by its words."""
    name = type(error).__name__
    return next((fault for fault in FAULTS if name in fault.nvml), None) or fault_in(str(error))


def source_error(source: str, fault: NvidiaFault | None, said: str) -> SourceError:
    """What a source raises: the fault with its remedy, and the line that tells of it (which can name the GPU)."""
    if fault is None:
        return SourceError(f"{source}: {one_line(said)}", remedy="look for NVRM and Xid in the kernel log (dmesg)")
    lines = [line for line in map(one_line, said.splitlines()) if re.search(fault.words, line.lower())]
    quoted = f" ({printable(lines[0].strip(' .'), limit=QUOTED_CHARACTERS)})" if lines else ""
    return SourceError(f"{source}: {fault.message}{quoted}", remedy=fault.remedy)
