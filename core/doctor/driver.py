"""The GPU, its driver, the rights to it, who reads it and who may take it."""

from __future__ import annotations

import grp
import os
import platform
import stat
from collections.abc import Callable
from pathlib import Path

from core.doctor.machine import TOOL_SECONDS, Machine, one_line, version_numbers
from core.doctor.results import Diagnostic
from core.errors import BakehouseError
from core.format import data_size, listed, moment
from core.gpu.source import SourceError
from core.gpu.sources.kernel_file import names, read_text, read_uevent
from core.gpu.sources.nvidia_faults import NOT_LOADED
from core.gpu.vendors import VENDORS
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.gpu_fault import read_fault
from core.gpu_lease.state import read_lease_state
from core.process.identity import current_boot_id
from core.process.user import user_name
from core.telemetry.newest import runner_sample
from core.watchdog.kernel_messages import parse_kernel_lines
from core.wording.gpu import gpu_words
from core.wording.obstacles import obstacle_remedy, obstacle_words

SECTION = "gpu"
HIDING = (
    "BAKEHOUSE_GPU_SOURCE",
    *sorted({name for vendor in VENDORS.values() for group in vendor.visibility for name in group}),
)
LOG_TOOLS = (("dmesg",), ("journalctl", "--dmesg", "--boot", "--no-pager", "--output=short-unix"))
LOG_BYTES = 4_000_000
BY_PCI_ID = {vendor.pci_id: vendor for vendor in VENDORS.values()}


def line(subject: str, state: str, message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic(subject, state, message, remedy, SECTION)  # type: ignore[arg-type]


def examine(machine: Machine) -> list[Diagnostic]:
    found = [gpu(machine), *runner_s_gpu(machine), *passed_over(machine), *without_driver(machine)]
    for vendor in vendors_to_examine(machine):
        found += SECTIONS[vendor](machine) if vendor in SECTIONS else []
    found += nvidia_answers(machine)
    if machine.gpu is not None:
        found.append(kernel_log(machine))
    return [*found, telemetry(machine), *page_fault(machine), *unowned_memory(machine), lease_folder(machine)]


def vendors_to_examine(machine: Machine) -> list[str]:
    """The vendor of the GPU for jobs; without one, of those that something stands in the way of, but a person's choice."""
    if machine.gpu is not None:
        return [machine.gpu.vendor]
    codes = ("no_device_file", "no_rights", "access_revoked", "not_offered")
    return list(dict.fromkeys(one.gpu.vendor for one in machine.choice.passed_over if one.why.code in codes))


def runner_s_gpu(machine: Machine) -> list[Diagnostic]:
    """That a living runner, started in another environment, runs jobs on another GPU than is chosen here, or on none."""
    sample = runner_sample(machine.home)
    if sample is None or not any(device.for_jobs is not None for device in sample.devices):
        return []
    its, here = sample.job_gpu, machine.gpu
    if (None if its is None else its.pci) == (None if here is None else here.pci):
        return []
    where = "the CPU" if its is None else f"{its.name} at {its.pci}"
    message = f"the runner was started with other variables and runs jobs on {where}"
    return [
        line("runner's GPU", "warning", message, "bakehouse runner stop; the next submission starts one as it is here")
    ]


def passed_over(machine: Machine) -> list[Diagnostic]:
    """The GPUs that jobs would run on, were it not for something that a person can change."""
    found = []
    for gpu, why in ((one.gpu, one.why) for one in machine.choice.passed_over):
        if why.code == "integrated" or machine.gpu is not None:
            continue
        chosen = why.code in ("hidden", "source_forced")
        message = f"{gpu.name} at {gpu.pci} is not used: {obstacle_words(why)}"
        found.append(line("GPU not used", "warning" if chosen else "fault", message, obstacle_remedy(why)))
    if machine.gpu is None and not found and (machine.dev / "dxg").exists():
        message = "WSL2 has /dev/dxg, and no tool names a GPU: jobs run on the CPU, and no GPU is shown to them"
        remedy = "NVIDIA: install the driver in Windows, then `wsl --shutdown`. An AMD GPU cannot be watched in WSL2"
        found.append(line("GPU not used", "warning", message, remedy))
    return found


def gpu(machine: Machine) -> Diagnostic:
    if machine.gpu is None:
        hiding = [name for name in HIDING if name in machine.environ]
        remedy = f"unset {' and '.join(hiding)}, should it hide one" if hiding else ""
        return line("GPU", "absent", "no GPU that jobs can run on: the CPU is the one slot", remedy)
    device = next((one for one in machine.sample.devices if one.pci == machine.gpu.pci), None)
    memory = device.vram_total_bytes if device else None
    architecture = machine.gpu.architecture or (device.architecture if device else None)
    known = VENDORS.get(machine.gpu.vendor)
    parts = [
        machine.gpu.name,
        architecture or ("architecture not told" if known is not None and known.names_architecture else ""),
        "" if memory is None else data_size(memory),
        f"at {machine.gpu.pci}",
    ]
    return line("GPU", "ok", ", ".join(part for part in parts if part))


def without_driver(machine: Machine) -> list[Diagnostic]:
    """GPUs that no driver for computing has."""
    found = []
    bus = machine.sysfs / "bus/pci/devices"
    packaged = machine.which("nvidia-smi") is not None
    for name in names(bus):
        device = bus / name
        vendor = BY_PCI_ID.get(read_text(device / "vendor") or "")
        if vendor is None or not (read_text(device / "class") or "").startswith("0x03"):
            continue
        driver = read_uevent(device).get("DRIVER", "")
        if driver != vendor.driver:
            has = f"driven by {driver}" if driver else "without a driver"
            message = f"{vendor.label} GPU at {name} is {has}: it cannot compute"
            # Where its tools are, the driver is installed: it is only not loaded.
            remedy = NOT_LOADED.remedy if vendor.name == "nvidia" and packaged else vendor.driver_remedy
            found.append(line("driver", "warning", message, remedy))
    return found


def amd(machine: Machine) -> list[Diagnostic]:
    module = machine.sysfs / "module/amdgpu"
    version = read_text(module / "version")
    kernel = read_text(machine.procfs / "sys/kernel/osrelease") or platform.release()
    # Only the module that AMD packages says a version; the kernel's own goes with the kernel.
    driver = f"amdgpu {version}" if version else "amdgpu of the kernel"
    lines = [line("driver", "ok", f"{driver}, Linux {kernel}")]
    lines.append(kfd(machine))
    lines.append(render_nodes(machine))
    lines.append(rocm(machine))
    return lines


def kfd(machine: Machine) -> Diagnostic:
    """ROCm computes through /dev/kfd: it must be there, be ours to open, and list the GPU."""
    device = machine.dev / "kfd"
    if not device.exists():
        inside = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
        remedy = "start the container with --device=/dev/kfd --device=/dev/dri" if inside else "load the amdgpu module"
        return line("KFD", "fault", f"there is no {device}: ROCm cannot compute", remedy)
    if not os.access(device, os.R_OK | os.W_OK):
        return line("KFD", "fault", f"{device} is not yours to open ({owner(device)})", join_group(device))
    left_out = [one.gpu.name for one in machine.choice.passed_over if one.why.code == "not_offered"]
    if machine.gpu is None and left_out:
        return line(
            "KFD",
            "fault",
            f"KFD does not offer {listed(left_out)}: ROCm will not see it",
            "look at `sudo dmesg | grep kfd`; a GPU behind a slot without PCIe atomics is left out",
        )
    lists = ", and KFD lists the GPU" if machine.gpu else ""
    return line("KFD", "ok", f"{device} is yours to open{lists}")


def render_nodes(machine: Machine) -> Diagnostic:
    nodes = sorted((machine.dev / "dri").glob("renderD*"))
    if not nodes:
        return line("render", "fault", f"there is no {machine.dev}/dri/renderD*", "load the amdgpu module")
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed and len(closed) == len(nodes):
        return line("render", "fault", f"{closed[0]} is not yours to open ({owner(closed[0])})", join_group(closed[0]))
    shown = ", ".join(node.name for node in nodes if node not in closed)
    if closed:
        return line("render", "warning", f"{shown} is yours to open, {closed[0].name} not", join_group(closed[0]))
    return line("render", "ok", f"{shown} is yours to open")


def owner(device: Path) -> str:
    status = device.stat()
    return f"{stat.filemode(status.st_mode)}, group {group_name(status.st_gid)}"


def group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:  # a container often does not know the host's groups
        return str(number)


def join_group(device: Path) -> str:
    group = group_name(device.stat().st_gid)
    return f"sudo usermod -aG {group} {user_name()}, then log in anew"


def rocm(machine: Machine) -> Diagnostic:
    """ROCm as the system has it; a wheel of torch brings libraries of its own."""
    version = rocm_version(machine)
    if version is None:
        return line("ROCm", "absent", f"not under {rocm_folder(machine)}; wheels of torch bring their own libraries")
    return line("ROCm", "ok", f"{version} under {rocm_folder(machine)}")


def rocm_folder(machine: Machine) -> Path:
    return Path(machine.environ.get("ROCM_PATH") or machine.opt / "rocm")


def rocm_version(machine: Machine) -> str | None:
    folder = rocm_folder(machine)
    for name in (".info/version", ".info/version-rocm"):
        if (said := read_text(folder / name)) and version_numbers(said):
            return one_line(said)
    return None


def nvidia(machine: Machine) -> list[Diagnostic]:
    if (dxg := machine.dev / "dxg").exists():
        state, end = ("ok", "can be opened") if os.access(dxg, os.R_OK | os.W_OK) else ("fault", "is not yours to open")
        remedy = "" if state == "ok" else join_group(dxg)
        return [
            line("driver", "ok", "WSL2: the NVIDIA driver is that of Windows"),
            line("CUDA", state, f"{dxg} {end}", remedy),
            toolkit(machine),
        ]
    said = read_text(machine.procfs / "driver/nvidia/version") or ""
    words = one_line(said).split()
    version = next((word for word in words if len(version_numbers(word)) >= 2), None)
    if version is None:
        first = line("driver", "warning", "NVIDIA's driver does not say its version", "is the module nvidia loaded?")
    else:
        kind = ", open kernel modules" if "Open" in words else ""
        first = line("driver", "ok", f"NVIDIA {version}{kind}")
    wanted = [machine.dev / name for name in ("nvidiactl", "nvidia-uvm")]
    missing = [node for node in wanted if not node.exists()]
    closed = [node for node in wanted if node.exists() and not os.access(node, os.R_OK | os.W_OK)]
    if missing:
        remedy = "sudo nvidia-modprobe -u -c=0; in a container: --gpus all with NVIDIA's container toolkit"
        return [
            first,
            line("CUDA", "fault", f"there is no {missing[0]}: CUDA cannot compute", remedy),
            toolkit(machine),
        ]
    if closed:
        return [
            first,
            line("CUDA", "fault", f"{closed[0]} is not yours to open ({owner(closed[0])})", join_group(closed[0])),
            toolkit(machine),
        ]
    return [first, line("CUDA", "ok", "its device files are yours to open"), toolkit(machine)]


def nvidia_answers(machine: Machine) -> list[Diagnostic]:
    """What NVML and nvidia-smi complain of, where there is anything of NVIDIA's: each fault with its own remedy."""
    from core.gpu.source_timeout import Guard

    bus = machine.sysfs / "bus/pci/devices"
    here = any(
        read_text(bus / name / "vendor") == VENDORS["nvidia"].pci_id
        and (read_text(bus / name / "class") or "").startswith("0x03")
        for name in names(bus)
    )
    chosen = [machine.gpu] if machine.gpu is not None else [one.gpu for one in machine.choice.passed_over]
    here = here or (machine.dev / "dxg").exists() or any(gpu.vendor == "nvidia" for gpu in chosen)
    absent: Diagnostic | None = None
    for make in VENDORS["nvidia"].sources.values():
        guard = Guard(make(machine.environ), limit_seconds=TOOL_SECONDS)
        try:
            if guard.available():
                guard.read()
                warning = getattr(guard.source, "warning", None)
                return [line("NVIDIA", "fault", *parted(warning))] if warning else []
            fault = getattr(guard.source, "absence", None)
            if fault is not None and (here or fault is NOT_LOADED):
                absent = absent or line("NVIDIA", "fault" if here else "warning", fault.message, fault.remedy)
        except SourceError as error:
            return [line("NVIDIA", "fault", error.message, error.remedy or "")]
        finally:
            guard.close()
    return [] if absent is None else [absent]


def parted(warning: str) -> tuple[str, str]:
    """A message and the remedy behind it."""
    message, _, remedy = warning.partition("; ")
    return message, remedy


def toolkit(machine: Machine) -> Diagnostic:
    compiler = machine.which("nvcc")
    if compiler is None:
        return line("toolkit", "absent", "no CUDA toolkit on PATH; nothing here needs one")
    said = machine.ask(compiler, "--version")
    release = next((row.strip() for row in said.stdout.splitlines() if "release" in row), said.problem or "no version")
    return line("toolkit", "ok", one_line(release))


def kernel_log(machine: Machine) -> Diagnostic:
    """Whether the kernel's messages can be read, by which a hang is confirmed, and trouble of the GPU in this boot."""
    assert machine.gpu is not None
    for tool, *arguments in LOG_TOOLS:
        path = machine.which(tool)
        said = machine.ask(path, *arguments, most_bytes=LOG_BYTES) if path else None
        if said is None or said.code != 0 or not said.stdout.strip():
            continue
        trouble = [one for one in parse_kernel_lines(said.stdout) if one.pci in (None, machine.gpu.pci)]
        if trouble:
            times = f"{len(trouble)} messages" if len(trouble) > 1 else "a message"
            message = f"{times} of trouble with the GPU, the last: {one_line(trouble[-1].text)}"
            return line(
                "kernel log", "warning", message, "if the GPU misbehaves, reboot; never reset it while a job runs"
            )
        # What the kernel said earlier in this boot may have been overwritten, and it has words that nobody here knows.
        message = f"can be read ({tool}); no known message of GPU trouble in what it still holds of this boot"
        return line("kernel log", "ok", message)
    message = "cannot be read: a hang is told by the steps and the load alone"
    return line(
        "kernel log", "absent", message, "sudo sysctl kernel.dmesg_restrict=0, or join the group systemd-journal"
    )


def telemetry(machine: Machine) -> Diagnostic:
    """Which source reads the GPU, and which should but cannot."""
    sample = machine.sample
    forced = machine.environ.get("BAKEHOUSE_GPU_SOURCE")
    by = f"{sample.source}{', forced by BAKEHOUSE_GPU_SOURCE' if forced else ''}"
    device = next((one for one in sample.devices if machine.gpu and one.pci == machine.gpu.pci), None)
    if device is not None and device.vram_used_bytes is None and not device.suspended:
        return line(
            "telemetry", "warning", sample.problem or f"{by}: no figures of the GPU", "bakehouse gpu shows more"
        )
    if sample.problem:
        return line("telemetry", "warning", f"read by {by}; {one_line(sample.problem)}", "bakehouse gpu shows more")
    if device is None:
        return line("telemetry", "ok", "the host's memory and load; there is no GPU to read")
    return line("telemetry", "ok", f"read by {by}" + (", the GPU is asleep" if device.suspended else ""))


def unowned_memory(machine: Machine) -> list[Diagnostic]:
    """What the runner says of memory that belongs to nobody; nothing where there is none, or no runner has looked."""
    state = read_lease_state(machine.home)
    if state is None or not state.unowned_bytes:
        return []
    since = f" since {moment(state.unowned_since)}" if state.unowned_since is not None else ""
    said = f"{data_size(state.unowned_bytes)} belong to no process{since}, as the runner saw at {moment(state.time)}"
    return [line("stale memory", "warning", said, gpu_words(state.remedy))]


def page_fault(machine: Machine) -> list[Diagnostic]:
    """That the GPU is blocked after a page fault; nothing where it is not, or the machine has restarted since."""
    fault = read_fault(machine.home)
    if fault is None or fault.boot_id != current_boot_id():
        return []
    whose = f" of job {fault.job_id}" if fault.job_id else ""
    said = f"a page fault{whose} at {moment(fault.time)}: no job gets the GPU until it is released"
    return [line("page fault", "fault", said, "restart the machine, or bakehouse queue release-gpu")]


def lease_folder(machine: Machine) -> Diagnostic:
    """The lock that keeps two jobs off one GPU: its file must be ours to write, and trustworthy."""
    path = gpu_lock.lease_path(machine.home, None if machine.gpu is None else machine.gpu.pci)
    held = gpu_lock.holder(path)
    if held is not None and "problem" in held:
        return line("lease", "fault", held["problem"], f"remove {path} if no job runs")
    if held is not None:
        by = f"job {held['job']} of {held.get('home')}" if "job" in held else "a process that has not said"
        return line("lease", "ok", f"{path}, in use by {by}")
    try:
        taken = gpu_lock.take(path)
    except (BakehouseError, OSError) as error:
        why = error.message if isinstance(error, BakehouseError) else f"{path}: {error.strerror}"
        return line("lease", "fault", f"no lock can be made: {why}", f"make {path.parent} writable for everybody")
    if taken is not None:
        taken.release()
    return line("lease", "ok", f"{path} can be locked")


SECTIONS: dict[str, Callable[[Machine], list[Diagnostic]]] = {"amd": amd, "nvidia": nvidia}
"""What is to be said of each vendor's driver."""
