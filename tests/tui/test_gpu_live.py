"""The console on a played GPU with a real runner: what processes do to the GPU is seen, and a person can end what is deaf."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cardsim import GpuSim, SimGpu
from tests.support.queueing import Queue
from tests.tui.conftest import keys_of, seen, text_of
from tests.tui.live import opened
from tui.screens.confirm import Confirm

pytestmark = pytest.mark.process


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuSim]:
    settings = tmp_path / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        "queue: {stop_grace_seconds: 3}\nollama: {managed: false}\n"
        "gpu: {settle_seconds: 0.2, return_seconds: 2, retry_seconds: 1, reload_seconds: 1,"
        " clients_quiet_seconds: 1}\n"
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
    (tmp_path / "kernel").mkdir()
    with GpuSim(tmp_path / "kernel", SimGpu(name="AMD Radeon RX 9070 XT", idle_bytes=300_003_328)) as sim:
        sim.use(monkeypatch)
        yield sim


@pytest.fixture
def queue(sim: GpuSim, tmp_path: Path) -> Iterator[Queue]:
    made = Queue.create(tmp_path)
    yield made
    made.close()


async def test_what_a_run_does_to_the_gpu_is_seen_as_it_happens(queue: Queue) -> None:
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: "0.3/17.2 GB" in text_of(pilot, "#gpu"), "the idle GPU")
        await seen(pilot, lambda: "lease free" in text_of(pilot, "#gpu"), "that it is free")
        await seen(pilot, lambda: "idle 0.3" in text_of(pilot, "#gpu"), "its idle use")
        job = await asyncio.to_thread(queue.submit, "steps=9000 pause=.05 vram=15.6e9 spill=9")
        await seen(pilot, lambda: f"█ job {job} 15.6" in text_of(pilot, "#gpu"), "whose memory it is")
        await seen(pilot, lambda: "15.9/17.2 GB" in text_of(pilot, "#gpu"), "how much it is")
        await seen(pilot, lambda: f"lease exclusive, job {job}" in text_of(pilot, "#gpu"), "who holds it")
        await seen(pilot, lambda: "GPU peak 15.9" in text_of(pilot, "#gpu"), "the run's peak of the GPU")
        await seen(pilot, lambda: "▲ " in text_of(pilot, "#gpu"), "that it spills")
        await seen(pilot, lambda: "▲ 1 warning" in text_of(pilot, "#header"), "the count of warnings")
        await pilot.press("2", "z")
        assert f"job {job}  " in text_of(pilot, "#gpu") and "python" in text_of(pilot, "#gpu")
        await pilot.press("z", "3", "enter", "tab", "tab")
        await seen(
            pilot, lambda: "noticed by the runner" in text_of(pilot, "#file"), "what was noticed, beside its events"
        )
        await pilot.press("x", "y")
        await seen(pilot, lambda: "cancelled" in text_of(pilot, "#facts"), "the end of the run")
        await seen(
            pilot, lambda: "GPU: peak 15.9 GB, 15.6 GB of it this run's" in text_of(pilot, "#facts"), "its telemetry"
        )
        await pilot.press("escape")
        await seen(pilot, lambda: "0.3/17.2 GB" in text_of(pilot, "#gpu"), "the GPU as it was")


async def test_a_deaf_job_is_ended_by_force_only_when_a_person_says_so(queue: Queue) -> None:
    job = await asyncio.to_thread(queue.submit, "steps=3000 waits=6 vram=6.2e9 deaf=all")
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: re.search(r"step \d+/3000", text_of(pilot, "#detail")), "the log")
        await pilot.press("x", "y")
        await seen(pilot, lambda: "SIGTERM" in text_of(pilot, "#detail"), "the last signal that the runner sends")
        await seen(pilot, lambda: "X kill" in keys_of(pilot), "the way on")
        await asyncio.sleep(3)
        assert queue.job(job).state == "stopping", "nobody ended it by force"
        await pilot.press("X")
        assert isinstance(pilot.app.screen, Confirm) and "no process owns" in pilot.app.screen.explanation
        await pilot.press("tab", "enter")
        await seen(pilot, lambda: "Cancelled" in text_of(pilot, "#queue"), "its end")
