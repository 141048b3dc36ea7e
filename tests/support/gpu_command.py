"""`bakehouse gpu`, the real command in a process of its own, on a machine of files and with a home of its own."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.home import Home
from tests.support.machines import FakeMachine, write
from tests.support.waiting import PATIENCE_SECONDS

CARD = "0000:0f:00.0"
BAKEHOUSE = [sys.executable, "-c", "import sys; from core.cli.main import main; sys.exit(main())", "gpu"]


class GpuCommand:
    """A machine of files, an empty home, and the command on both."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.machine = FakeMachine(folder)
        self.machine.use(monkeypatch)
        self.home = Home(folder / "home")
        for name, value in {
            "BAKEHOUSE_HOME": str(self.home.root),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "BAKEHOUSE_LEASE_DIR": str(folder),
            # No tool of this machine is asked.
            "PATH": str(folder / "bin"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }.items():
            monkeypatch.setenv(name, value)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*BAKEHOUSE, *words], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )

    def shown(self, *words: str) -> str:
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.shown("--json"))
        assert found["schema"] == 1
        return found

    @contextmanager
    def watching(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        # Whoever runs the tests in the background of a shell has them, and what they start, ignore a ctrl+c.
        with subprocess.Popen(
            [*BAKEHOUSE, "--watch", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def full_gpu(self) -> GpuCommand:
        self.machine.amd(CARD, name="AMD GPU of a test", gfx=120001)
        device = self.machine.sysfs / "class/drm/card0/device"
        figures = {
            "mem_info_vram_total": "17095983104",
            "mem_info_vram_used": "11600000123",
            "mem_info_gtt_total": "33000000000",
            "mem_info_gtt_used": "210000000",
            "gpu_busy_percent": "97",
            "mem_busy_percent": "45",
            "pp_dpm_sclk": "0: 500Mhz\n1: 2970Mhz *",
        }
        sensors = {
            "power1_average": "238500000",
            "power1_cap": "304000000",
            "temp1_input": "61000",
            "temp2_input": "78000",
            "temp3_input": "84000",
            "pwm1": "51",
            "pwm1_max": "255",
            "fan1_input": "1240",
        }
        write(device, figures | {f"hwmon/hwmon2/{name}": value for name, value in sensors.items()})
        return self

    def on_gpu(self, pid: int, name: str, vram: int, *command: str) -> GpuCommand:
        """A process that holds memory of the first GPU, as KFD tells it."""
        self.machine.process(pid, "stand-in", command=command)
        (self.machine.procfs / str(pid) / "comm").write_text(name + "\n")
        write(self.machine.sysfs / f"class/kfd/kfd/proc/{pid}", {"vram_40001": str(vram)})
        return self


@contextmanager
def living_runner(home: Home) -> Iterator[None]:
    """The lock of a runner, held by this process."""
    home.create()
    with home.runner_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
