"""From tool to eye: what a `rocm-smi` on PATH prints is seen changing in the console's GPU pane, with a real runner between."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.telemetry.run_record import read_summary
from tests.support.depth import at_most
from tests.support.machines import FakeMachine
from tests.support.queueing import CHECKOUT, Queue
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.tui.terminal import Terminal

CONSOLE = [sys.executable, "-c", "import sys; from core.cli.main import main; sys.exit(main())"]
WITHIN_SECONDS = 2.0
# The tool reads its sensors, and then takes as long as the real one does.
ROCM_SMI = """#!/bin/sh
said=$(cat "{figures}")
sleep 0.25
printf '%s\\n' "$said"
"""


class Gpu:
    """The figures that the stand-in tool prints, in the shape of ROCm 6.2's `rocm-smi --json`."""

    total_bytes = 17_163_091_968

    def __init__(self, folder: Path) -> None:
        self.figures = folder / "figures.json"
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.say(312_000_000, 0, 21)
        tool = self.programs / "rocm-smi"
        tool.write_text(ROCM_SMI.format(figures=self.figures))
        tool.chmod(0o755)

    def say(self, used_bytes: int, busy: int, watts: int, **processes: int) -> None:
        """From now on it prints these; `processes`: `PIDn` → bytes."""
        document: dict[str, dict[str, str]] = {
            "card0": {
                "Device Name": "Stand-in XT",
                "Device ID": "0x7a11",
                "Temperature (Sensor edge) (C)": "47.0",
                "Temperature (Sensor junction) (C)": "59.0",
                "Temperature (Sensor memory) (C)": "70.0",
                "Average Graphics Package Power (W)": str(float(watts)),
                "Max Graphics Package Power (W)": "245.0",
                "GPU use (%)": str(busy),
                "GPU Memory Read/Write Activity (%)": str(busy // 2),
                "PCI Bus": "0000:2C:00.0",
                "VRAM Total Memory (B)": str(self.total_bytes),
                "VRAM Total Used Memory (B)": str(used_bytes),
                "GTT Total Memory (B)": "33285996544",
                "GTT Total Used Memory (B)": "88080384",
                "Card Series": "Stand-in XT",
                "GFX Version": "gfx1201",
            }
        }
        if processes:
            document["system"] = {pid: f"python3, 1, {held}, 0, unknown" for pid, held in processes.items()}
        written = self.figures.with_suffix(".new")
        written.write_text(json.dumps(document))
        written.replace(self.figures)


@pytest.fixture
def gpu(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A machine whose GPU only `rocm-smi` knows, and no model server on it."""
    found = Gpu(machine)
    settings = machine / "config/bakehouse/settings.yaml"
    settings.write_text("ollama: {managed: false}\ngpu: {settle_seconds: 0}\n")
    tree = FakeMachine(machine / "tree")
    monkeypatch.setenv("BAKEHOUSE_SYSFS", str(tree.sysfs))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "rocm-smi")
    monkeypatch.setenv("PATH", f"{found.programs}:/usr/bin:/bin")
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "BAKEHOUSE_PROCFS"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def queue(gpu: Gpu, machine: Path) -> Iterator[Queue]:
    made = Queue.create(machine)
    yield made
    made.close()


@pytest.mark.timed
def test_a_figure_that_the_tool_prints_is_on_the_screen_within_two_seconds(gpu: Gpu, queue: Queue) -> None:
    job = queue.submit("steps=2 waits=2")
    queue.wait_for(job, "running")
    pid = f"PID{queue.process(job)}"
    environment = {"BAKEHOUSE_HOME": str(queue.home.root), "PYTHONPATH": str(CHECKOUT)}
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("0.3/17.2 GB", PATIENCE_SECONDS), terminal.text
        assert terminal.shows("rocm-smi", PATIENCE_SECONDS), terminal.text
        took = []
        for number in range(9):
            # Neither in step with the sampling nor always growing.
            terminal.watch(1.3 + 0.17 * number)
            held = 4_100_000_000 + (number * 5 % 9) * 1_100_000_000
            shown = f"{(held + 312_000_000) / 1e9:.1f}/17.2 GB"
            assert shown not in terminal.text
            gpu.say(held + 312_000_000, 40 + number, 100 + number, **{pid: held})
            changed = time.monotonic()
            assert terminal.shows(shown, PATIENCE_SECONDS), terminal.text
            took.append(time.monotonic() - changed)
            assert terminal.shows(f"job {job} {held / 1e9:.1f}", PATIENCE_SECONDS), terminal.text
        print("seconds from the tool to the screen:", *(f"{seconds:.2f}" for seconds in sorted(took)))
        # The peak stays what it was after the memory has come back.
        gpu.say(4_412_000_000, 35, 99, **{pid: 4_100_000_000})
        assert terminal.shows("4.4/17.2 GB", PATIENCE_SECONDS), terminal.text
        assert terminal.shows("peak 13.2", PATIENCE_SECONDS), terminal.text
    summary = wait_until(lambda: read_summary(queue.attempt(job)), what="the record of the attempt")
    assert (summary.peak_vram_bytes, summary.peak_job_vram_bytes) == (13_212_000_000, 12_900_000_000)
    # A busy machine delays one or the other; most are not.
    assert statistics.median(took) <= at_most(WITHIN_SECONDS), took
    assert sorted(took)[-2] <= at_most(2 * WITHIN_SECONDS), took


def test_a_tool_that_fails_leaves_its_reason_on_the_screen_until_it_answers_again(gpu: Gpu, queue: Queue) -> None:
    queue.ask("pause")
    queue.submit("steps=1")
    queue.start_runner()
    environment = {"BAKEHOUSE_HOME": str(queue.home.root), "PYTHONPATH": str(CHECKOUT)}
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("0.3/17.2 GB", PATIENCE_SECONDS), terminal.text
        good = gpu.figures.read_text()
        gpu.figures.write_text(good[:300] + "\x1b[2J")
        assert terminal.shows("JSON that is cut or broken", PATIENCE_SECONDS), terminal.text
        gpu.say(312_000_000, 0, 21)
        assert terminal.watch(PATIENCE_SECONDS, lambda: "0.3/17.2 GB" in terminal.text and "cut" not in terminal.text)
