"""What sampling the GPU costs: the share of one core that each source takes at 1 Hz, all of them at once, each in a process.

`self` is the sampler's own process as the runner runs it (reading, naming processes, JSON, the ring), `children` what it
starts. No GPU is needed; what is a stand-in is said in the table: trees of files are read from a disk instead of a driver,
the vendors' tools are programs that compute as long as a call of the real ones is said to take, and print, and NVML's library
is a Python object where there is no driver.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core.gpu.sources.nvidia_smi import NvidiaSmiSource
from core.gpu.sources.nvml import NvmlSource
from core.gpu.sources.tool import Tool
from core.home import Home
from core.telemetry.sampler import Sampler
from tests.bench.command_line import parser
from tests.support.machines import FakeMachine, write
from tests.support.queueing import CHECKOUT
from tests.support.tooloutputs import AMD_SMI_CARD, AMD_SMI_PROCESSES, AMD_SMI_STATIC, NVIDIA_APPS, NVIDIA_CSV, ROCM_SMI

SECONDS = 60.0
GOAL_PERCENT = 1.0
# What a call of a tool takes, as measured elsewhere.
AMD_TOOL_SECONDS, NVIDIA_TOOL_SECONDS = 0.25, 0.026
PROCESSES, DESCRIPTORS, ON_CARD = 500, 40, 8
CARD = "0000:2c:00.0"
TOOL = f"""#!{sys.executable} -S
import sys, time
while time.process_time() < SECONDS: pass
with open("FOLDER/" + sys.argv[1].split("=")[0]) as file: print(file.read())
"""
FDINFO = """\
pos:\t0
flags:\t02100002
mnt_id:\t26
ino:\t{client}
drm-driver:\tamdgpu
drm-client-id:\t{client}
drm-pdev:\t{GPU}
pasid:\t{pasid}
drm-total-vram:\t{vram} KiB
drm-shared-vram:\t0
drm-resident-vram:\t{vram} KiB
drm-memory-vram:\t{vram} KiB
drm-total-gtt:\t2064 KiB
drm-memory-gtt:\t2064 KiB
drm-engine-gfx:\t123456789 ns
drm-engine-compute:\t0 ns"""


def gpu_tree(folder: Path) -> FakeMachine:
    """One GPU with every file that is read, an integrated GPU beside it, and the ROCm processes of KFD."""
    machine = FakeMachine(folder).amd(CARD, name="Stand-in XT", gfx=120001)
    machine.amd("0000:0e:00.0", integrated=True, name="Stand-in iGPU")
    files = {
        "mem_info_vram_total": "17095983104",
        "mem_info_vram_used": "11600000000",
        "mem_info_gtt_total": "33000000000",
        "mem_info_gtt_used": "210000000",
        "gpu_busy_percent": "97",
        "mem_busy_percent": "45",
        "power/runtime_status": "active",
        "pp_dpm_sclk": "0: 500Mhz\n1: 2970Mhz *\n2: 3100Mhz",
        "pp_dpm_mclk": "0: 96Mhz\n1: 456Mhz\n2: 1258Mhz *",
    }
    sensors = {"power1_average": 238000000, "power1_cap": 304000000, "temp1_input": 61000, "temp2_input": 78000}
    sensors |= {"temp3_input": 84000, "pwm1": 87, "pwm1_max": 255, "fan1_input": 1240}
    write(
        machine.sysfs / "class/drm/card0/device",
        files | {f"hwmon/hwmon2/{name}": str(value) for name, value in sensors.items()},
    )
    for pid in (1000, 1001):
        write(machine.sysfs / f"class/kfd/kfd/proc/{pid}", {"vram_40001": "5200000000", "pasid": str(pid)})
    return machine


def process_tree(machine: FakeMachine) -> None:
    """500 processes with 40 open files each, eight of them with the GPU open."""
    write(machine.procfs, {"stat": "cpu  1 2 3 4\nbtime 1780000000"})
    for number in range(PROCESSES):
        pid = 1000 + number
        opened = {descriptor: f"/var/lib/file-{descriptor}" for descriptor in range(DESCRIPTORS)}
        fdinfo: dict[int, str] = {}
        if number < ON_CARD:
            for descriptor in (30, 31):
                opened[descriptor] = "/dev/dri/renderD128"
                vram = 5_000_000 if number < 2 else 40_000
                fdinfo[descriptor] = FDINFO.format(client=100 + number, gpu=CARD, pasid=pid, vram=vram)
            if number < 2:
                opened[32] = "/dev/kfd"
        command = ("/usr/bin/program", "--option", str(number))
        machine.process(pid, f"program-{number}", command=command, opened=opened, fdinfo=fdinfo)


def tool(folder: Path, name: str, seconds: float, answers: dict[str, str]) -> None:
    """A program of this name that computes so long and prints the answer to its first argument."""
    write(folder / f"{name}.d", answers)
    path = folder / name
    path.write_text(TOOL.replace("FOLDER", str(folder / f"{name}.d")).replace("SECONDS", str(seconds)))
    path.chmod(0o755)


def rocm_smi(folder: Path) -> dict[str, str]:
    answers = dict.fromkeys(("--showbus", "--showproductname"), json.dumps(ROCM_SMI))
    tool(folder, "rocm-smi", AMD_TOOL_SECONDS, answers)
    return forced(folder, "rocm-smi")


def amd_smi(folder: Path) -> dict[str, str]:
    answers = {"static": AMD_SMI_STATIC, "metric": [AMD_SMI_CARD], "process": AMD_SMI_PROCESSES}
    tool(folder, "amd-smi", AMD_TOOL_SECONDS, {word: json.dumps(document) for word, document in answers.items()})
    return forced(folder, "amd-smi")


def nvidia_smi(folder: Path) -> dict[str, str]:
    tool(
        folder,
        "nvidia-smi",
        NVIDIA_TOOL_SECONDS,
        {"--query-gpu": NVIDIA_CSV, "--query-compute-apps": NVIDIA_APPS},
    )
    return forced(folder, "nvml")


def forced(folder: Path, source: str) -> dict[str, str]:
    """Only this source, on a machine whose files show no GPU."""
    machine = FakeMachine(folder / "machine")
    return {"BAKEHOUSE_GPU_SOURCE": source, "PATH": f"{folder}:{os.defpath}", "BAKEHOUSE_SYSFS": str(machine.sysfs)}


def sysfs(folder: Path) -> dict[str, str]:
    machine = gpu_tree(folder)
    process_tree(machine)
    return {**machine.environ, "BAKEHOUSE_GPU_SOURCE": "sysfs"}


def sysfs_here(folder: Path) -> dict[str, str]:
    machine = gpu_tree(folder)
    return {"BAKEHOUSE_SYSFS": str(machine.sysfs), "BAKEHOUSE_GPU_SOURCE": "sysfs"}


def has_nvidia_driver() -> bool:
    try:
        return NvmlSource().available()
    except Exception:  # noqa: BLE001 - a broken driver is none to measure
        return False


def nvml(folder: Path) -> dict[str, str]:
    return {"BAKEHOUSE_GPU_SOURCE": "nvml"}


def none(folder: Path) -> dict[str, str]:
    return {"BAKEHOUSE_GPU_SOURCE": "none"}


# name: what it reads, and its environment
CASES: dict[str, tuple[str, Callable[[Path], dict[str, str]]]] = {
    "none": ("the machine alone", none),
    "sysfs": (f"files of 2 GPUs and {PROCESSES} processes, {DESCRIPTORS} descriptors each", sysfs),
    "sysfs-here": ("files of 2 GPUs, the real /proc of this machine", sysfs_here),
    "nvml": ("the library" if has_nvidia_driver() else "a stand-in for the library: without its own cost", nvml),
    "nvidia-smi": ("a stand-in tool of 26 ms, twice a second", nvidia_smi),
    "rocm-smi": ("a stand-in tool of 250 ms, once a second", rocm_smi),
    "amd-smi": ("a stand-in tool of 250 ms, twice a second", amd_smi),
}


def measure(name: str, home: Home, seconds: float) -> dict[str, float]:
    """In a process of its own: the sampler in a thread as in the runner, after two samples that load what is needed."""
    sampler = Sampler(home.create())
    if name == "nvml" and not has_nvidia_driver():
        from tests.unit.test_gpu_nvml import CARD as ANSWERS
        from tests.unit.test_gpu_nvml import StandInForNvml

        sampler = Sampler(home, NvmlSource(StandInForNvml(ANSWERS)))
    if name == "nvidia-smi":
        sampler = Sampler(home, NvidiaSmiSource(Tool(name)))
    for _ in range(2):
        sample = sampler.sample()
    before, began, former = usage(), time.monotonic(), sampler.cost
    stop = threading.Event()
    thread = threading.Thread(target=sampler.run, args=(stop,), daemon=True)
    thread.start()
    stop.wait(seconds)
    after, wall, cost = usage(), time.monotonic() - began, sampler.cost
    stop.set()
    thread.join(5)
    taken = cost.samples - former.samples
    return {
        "self_percent": 100 * (after[0] - before[0]) / wall,
        "children_percent": 100 * (after[1] - before[1]) / wall,
        "samples": taken,
        "failures": cost.failures,
        "mean_ms": 1000 * (cost.total_seconds - former.total_seconds) / max(1, taken),
        "longest_ms": 1000 * cost.longest_seconds,
        "devices": len(sample.devices),
        "processes": len(sample.processes),
    }


def usage() -> tuple[float, float]:
    """CPU seconds, user and system, of this process and of the children it has waited for."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def start(name: str, folder: Path, seconds: float) -> subprocess.Popen[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("BAKEHOUSE_")}
    folder.mkdir()
    environ |= CASES[name][1](folder) | {"BAKEHOUSE_HOME": str(folder / "home"), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tests.bench.sampling", "--one", name, "--seconds", str(seconds)]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("sampling", __doc__)
    command.add_argument("--seconds", type=float, default=SECONDS, help="how long to sample, %(default)s by default")
    command.add_argument("--only", action="append", choices=list(CASES), help="this source only; may be repeated")
    command.add_argument("--one", help=argparse.SUPPRESS)
    chosen = command.parse_args(arguments)
    if chosen.one:
        print(json.dumps(measure(chosen.one, Home.find(), chosen.seconds)))
        return
    with tempfile.TemporaryDirectory() as name:
        started = [(case, start(case, Path(name) / case, chosen.seconds)) for case in chosen.only or CASES]
        found = {case: json.loads(process.communicate()[0]) for case, process in started}
    here = sum(entry.name.isdigit() for entry in Path("/proc").iterdir())
    print(
        f"sampling at 1 Hz over {chosen.seconds:.0f} s, {os.cpu_count()} CPUs, {platform.machine()}, {here} processes"
    )
    print(f"{'source':<11} {'self':>8} {'children':>9} {'a sample':>10} {'longest':>9} {'samples':>8}  what is read")
    for case, row in found.items():
        assert row["failures"] == 0, row
        goal = (
            "" if case not in ("sysfs", "sysfs-here", "nvml") or row["self_percent"] < GOAL_PERCENT else " ▲ over 1 %"
        )
        print(
            f"{case:<11} {row['self_percent']:>6.2f} % {row['children_percent']:>7.2f} % {row['mean_ms']:>7.1f} ms"
            f" {row['longest_ms']:>6.0f} ms {row['samples']:>8.0f}  {CASES[case][0]}"
            f" ({row['devices']:.0f} GPUs, {row['processes']:.0f} processes){goal}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
