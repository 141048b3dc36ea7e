"""What looking for the processes on a GPU costs on a box with 500 processes, and one reading of sysfs. Takes 20 s.

The processes and `/proc` are real, the seconds between two readings are left out: CPU time is counted, not waited for. The
GPU's files are those of a fake tree, so the time that a driver takes to answer is not in the figure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.gpu.sources.fdinfo import FdinfoScanner
from core.gpu.sources.sysfs import SysfsSource
from tests.bench.command_line import parser
from tests.support.machines import FakeMachine, write

PROCESSES = 500
DESCRIPTORS = (20, 60)


@contextmanager
def crowd(descriptors: int) -> Iterator[None]:
    """500 processes with so many files open."""
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(descriptors - 3)]
    children = [subprocess.Popen(["sleep", "300"], pass_fds=files) for _ in range(PROCESSES)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()
        for file in files:
            os.close(file)


def scan(descriptors: int) -> None:
    """Print the share of a core over the first minute at one reading a second, and over a later one."""
    now = [0.0]
    with crowd(descriptors):
        scanner = FdinfoScanner(Path("/proc"), lambda: now[0])
        shares, longest = [], 0.0
        for _ in range(3):
            begun = time.process_time()
            for _ in range(60):
                before = time.process_time()
                scanner.read()
                longest = max(longest, time.process_time() - before)
                now[0] += 1
            shares.append((time.process_time() - begun) / 60)
    print(
        f"{PROCESSES} processes with {descriptors} descriptors: {shares[0]:.2%} of a core in the first minute, "
        f"{shares[-1]:.2%} in the third; longest {longest * 1e3:.0f} ms"
    )


def reading(count: int = 1000) -> None:
    """Print the CPU time of one reading of a GPU, its processes included."""
    with tempfile.TemporaryDirectory() as folder:
        machine = FakeMachine(Path(folder)).amd("0000:2b:00.0", gfx=120001)
        device = machine.sysfs / "class/drm/card0/device"
        levels = "\n".join(f"{number}: {400 * (number + 1)}Mhz {'*' if number == 3 else ''}" for number in range(4))
        write(device, dict.fromkeys(("gpu_busy_percent", "mem_busy_percent", "mem_info_gtt_used"), "7"))
        write(device, {"pp_dpm_sclk": levels, "pp_dpm_mclk": levels})
        write(device / "hwmon/hwmon2", {f"temp{number}_input": "51000" for number in (1, 2, 3)})
        write(device / "hwmon/hwmon2", {"power1_average": "98000000", "fan1_input": "1200", "pwm1": "90"})
        (device / "gpu_metrics").write_bytes(b"\x78\x00\x01\x03" + bytes(116))
        write(machine.sysfs / "class/kfd/kfd/proc/310", {"vram_40001": "6000000000"})
        machine.process(310, "python3", opened={4: "/dev/dri/renderD128"}, fdinfo={4: "drm-driver:\tamdgpu"})
        source = SysfsSource(machine.sysfs, machine.procfs)
        source.read()
        begun = time.process_time()
        for _ in range(count):
            source.read()
        print(f"one reading of a GPU by sysfs: {(time.process_time() - begun) / count * 1e6:.0f} µs of a core")


def main(arguments: Sequence[str] = ()) -> None:
    parser("scan", __doc__).parse_args(arguments)
    reading()
    for descriptors in DESCRIPTORS:
        scan(descriptors)


if __name__ == "__main__":
    main(sys.argv[1:])
