"""The sampler writes what the GPU and the machine say, once a second, and nothing ends it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from core.gpu.own_processes import mark_ours
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.gpu.sources.none import HostReader, NoGpuSource
from core.home import Home
from core.telemetry.ring import TelemetryRing
from core.telemetry.sampler import Sampler
from tests.support.depth import at_most
from tests.support.waiting import PATIENCE_SECONDS, wait_until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@contextmanager
def running(sampler: Sampler, interval_seconds: float) -> Iterator[None]:
    """The loop, in a thread of its own."""
    stop = threading.Event()
    thread = threading.Thread(target=sampler.run, args=(stop, interval_seconds))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_without_a_gpu_the_machine_itself_is_shown(home: Home) -> None:
    sample = Sampler(home, NoGpuSource()).sample()
    assert (sample.source, sample.devices, sample.processes, sample.problem) == ("none", (), (), None)
    assert sample.host.memory_total_bytes == psutil.virtual_memory().total
    assert 0 < (sample.host.memory_available_bytes or 0) < (sample.host.memory_total_bytes or 0)
    assert sample.host.cpu_count == psutil.cpu_count()
    assert TelemetryRing(home.telemetry).latest() == sample


def test_the_share_of_the_cpu_is_unknown_until_there_is_a_span_to_measure() -> None:
    reader = HostReader()
    assert reader.read().cpu_percent is None
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        pass
    busy = reader.read().cpu_percent
    assert busy is not None and busy > 0
    other_thread: list[HostReading] = []
    thread = threading.Thread(target=lambda: other_thread.append(reader.read()))
    thread.start()
    thread.join()
    assert other_thread[0].cpu_percent is None


def test_reading_for_a_command_writes_nothing(home: Home) -> None:
    assert Sampler(home, NoGpuSource()).read().source == "none"
    assert not home.telemetry.exists()


def test_a_wrong_name_of_a_source_is_told_in_the_sample(home: Home) -> None:
    sample = Sampler(home, environ={"BAKEHOUSE_GPU_SOURCE": "cuda"}).sample()
    assert sample.source == "none"
    assert "'cuda'" in (sample.problem or "")


@pytest.mark.timed
def test_the_loop_keeps_its_pace_and_counts_its_cost(home: Home) -> None:
    sampler = Sampler(home, NoGpuSource())
    began = time.time()
    with running(sampler, 0.05):
        wait_until(lambda: sampler.cost.samples >= 10, what="ten samples")
    times = [sample.time for sample in TelemetryRing(home.telemetry).history(100)]
    assert times == sorted(times)
    assert sampler.cost.samples == len(times)
    assert 0.05 * 9 - 0.02 <= times[9] - began <= at_most(0.05 * 18), "one each interval, none more often"
    assert 0 < (sampler.cost.mean_seconds or 0) < at_most(0.05)


def test_the_loop_outlives_a_home_that_goes_away_and_comes_back(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    sampler = Sampler(home, NoGpuSource())
    with running(sampler, 0.02):
        wait_until(lambda: sampler.cost.samples > 0)
        away = home.root.with_name("away")
        home.root.rename(away)
        wait_until(lambda: sampler.cost.failures > 2)
        away.rename(home.root)
        before = sampler.cost.samples
        wait_until(lambda: sampler.cost.samples > before)
    told = [record for record in caplog.records if "telemetry is not written" in record.getMessage()]
    assert len(told) == 1, "told once, not with every sample"


def test_a_fault_of_ours_is_logged_whole_and_the_loop_goes_on(
    home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(home, NoGpuSource())

    def fail(sample: Sample) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(sampler.ring, "append", fail)
    with running(sampler, 0.02):
        wait_until(lambda: sampler.cost.failures > 2)
    assert [record.exc_info is not None for record in caplog.records if record.message == "sampling failed"] == [True]


@pytest.mark.process
def test_a_job_of_this_home_and_what_it_started_are_ours(home: Home) -> None:
    """Real processes: one runs with a job's command line and starts a child; another home's job runs beside it."""
    starts_child = "import subprocess, sys; c = subprocess.Popen(['sleep', '600']); print(c.pid, flush=True); c.wait()"
    # The words behind the code are arguments that Python passes by: the command line is that of a job.
    mine = [sys.executable, "-c", starts_child, "-m", "jobs", str(home.run_dir(7).path)]
    other = [sys.executable, "-c", starts_child, "-m", "jobs", "/elsewhere/runs/7"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in (mine, other)]
    children = [int(process.stdout.readline()) for process in started if process.stdout]
    try:
        readings = [
            ProcessReading(pid) for pid in (started[0].pid, children[0], started[1].pid, children[1], 2**22 + 5)
        ]
        marked = mark_ours(readings, home.runs, Path("/proc"))
        assert [process.ours for process in marked] == [True, True, False, False, False]
    finally:
        for process, child in zip(started, children, strict=True):
            psutil.Process(child).kill()
            process.wait(timeout=PATIENCE_SECONDS)


def test_a_process_name_with_brackets_does_not_hide_its_parent(tmp_path: Path) -> None:
    procfs = tmp_path / "proc"
    for pid, parent, cmdline in ((500, 400, "sh"), (400, 1, f"python\0-P\0-m\0jobs\0{tmp_path}/runs/3\0")):
        (procfs / str(pid)).mkdir(parents=True)
        (procfs / str(pid) / "stat").write_text(f"{pid} (a) b) (c) S {parent} {pid} {'0 ' * 47}\n")
        (procfs / str(pid) / "cmdline").write_text(cmdline)
    (process,) = mark_ours([ProcessReading(500)], tmp_path / "runs", procfs)
    assert process.ours


def test_the_llama_server_of_a_served_model_is_known_by_its_shim(tmp_path: Path) -> None:
    """By its name; one of another home is a server as any other."""
    procfs = tmp_path / "proc"
    shim = "python\0-P\0-m\0core.served.shim\0"
    for pid, parent, cmdline in (
        (500, 400, "llama-server"), (400, 1, f"{shim}{tmp_path}/served/note\0"),
        (502, 402, "llama-server"), (402, 1, f"{shim}--foreground\0{tmp_path}/served/other\0"),
        (501, 401, "llama-server"), (401, 1, f"{shim}/elsewhere/served/note\0"),
    ):  # fmt: skip
        (procfs / str(pid)).mkdir(parents=True)
        (procfs / str(pid) / "stat").write_text(f"{pid} (llama-server) S {parent} {pid} {'0 ' * 47}\n")
        (procfs / str(pid) / "cmdline").write_text(cmdline)
    readings = [ProcessReading(500), ProcessReading(502), ProcessReading(501)]
    marked = mark_ours(readings, tmp_path / "runs", procfs, tmp_path / "served")
    assert [(one.ours, one.served) for one in marked] == [(False, "note"), (False, "other"), (False, None)]
    assert ProcessReading.from_json(marked[0].to_json()) == marked[0]


def test_a_reading_survives_json_and_ignores_keys_it_does_not_know() -> None:
    sample = Sample(
        12.5, "sysfs", HostReading(8, 4, 0.5, None, 2), (DeviceReading(0, "A", "amd", busy_percent=0),), (), "why"
    )
    document = sample.to_json()
    assert document["devices"][0] == {"index": 0, "name": "A", "vendor": "amd", "busy_percent": 0}, "0 is a value"
    document["host"]["of_the_future"] = 1
    assert Sample.from_json(document) == sample


@pytest.mark.parametrize(
    "document", [{}, {"time": 1, "source": "x", "host": {}, "devices": [{}], "processes": []}, {"time": "x"}]
)
def test_what_is_no_sample_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a|could not|missing"):
        Sample.from_json(document)
