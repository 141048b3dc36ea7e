"""The guard of the runs, on real files and real processes: what it writes, what it remembers, what a successor does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.attempt.launcher import Activity
from core.attempt.local import activity_of
from core.config.settings import WatchSettings
from core.events import EventWriter
from core.files import append_line, read_lines, write_json
from core.gpu.devices import Gpu
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity
from core.watchdog.run_monitor import RunMonitor
from core.watchdog.run_watch import Finding
from tests.support.attempts import begin_attempt, home_with_kernel_log, row
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

PCI, OTHER = "0000:2b:00.0", "0000:2f:00.0"
CARD = Gpu(PCI, "amd", "Stand-in", False, 0)
GB = 1_000_000_000
QUICK = {"hang_steps": 1, "hang_seconds": 2}

Start = Callable[[str], ProcessIdentity]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program as the leader of a group of its own, as the shim does."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str) -> ProcessIdentity:
        process = subprocess.Popen(
            [sys.executable, "-c", f"print(1, flush=True)\n{code}"], stdout=subprocess.PIPE, process_group=0
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        identity = ProcessIdentity.of(process.pid)
        assert identity is not None
        return identity

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return home_with_kernel_log(tmp_path, monkeypatch)


@pytest.fixture
def attempt(home: Home) -> AttemptDir:
    return begin_attempt(home)


def sample(moment: float, **figures: Any) -> Sample:
    read = {"vram_total_bytes": 16 * GB, "vram_used_bytes": 8 * GB, "gtt_used_bytes": GB // 4, "power_watts": 90.0}
    device = DeviceReading(0, "Stand-in", "amd", **({"pci": PCI} | read | figures))
    return Sample(moment, "sysfs", HostReading(), (device,), (ProcessReading(9, "python", GB, True, PCI),))


def tell_steps(guard: RunMonitor | None, attempt: AttemptDir, count: int, loss: float = 1.0) -> None:
    """Write steps as a job does, ten a second until now, and tell the guard of each as the runner does."""
    writer = EventWriter(attempt.events)
    first, began = writer.seq + 1, time.time() - count / 10
    for number in range(count):
        event = {"seq": first + number, "time": began + number / 10, "kind": "step"}
        event |= {"step": first + number, "total": 10_000, "loss": loss}
        append_line(attempt.events, event, durable=False)
        if guard is not None:
            guard.on_event(row(), attempt, event)


def watch_for(guard: RunMonitor, count: int = 1) -> list[Finding]:
    """Tick as the runner does, until so much is found."""
    found: list[Finding] = []

    def ticked() -> bool:
        found.extend(finding for _, finding in guard.tick())
        return len(found) >= count

    wait_until(ticked, what=f"{count} findings, found: {found}")
    return found


def look_until(process: ProcessIdentity, state: str) -> Activity:
    """What is seen of the process once it is in this state."""

    def seen() -> Activity | None:
        look = activity_of(process)
        return look if look is not None and look.state == state else None

    look = wait_until(seen, what=f"state {state}")
    assert look is not None
    return look


def told(attempt: AttemptDir) -> list[tuple[str, bool]]:
    return [(line["code"], line["stop"]) for line, _ in read_lines(attempt.watch)]


@pytest.mark.process
def test_a_look_at_a_process_tells_its_state_and_the_cpu_time_of_its_group(start: Start) -> None:
    sleeper = start("import time; time.sleep(600)")
    before = look_until(sleeper, "S")
    os.kill(sleeper.pid, signal.SIGSTOP)
    stopped = look_until(sleeper, "T")
    assert 0 <= stopped.cpu_seconds - before.cpu_seconds < 0.1

    worker = "while True: pass"
    parent = start(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {worker!r}]).wait()")
    first = look_until(parent, "S")
    wait_until(
        lambda: (now := activity_of(parent)) is not None and now.cpu_seconds - first.cpu_seconds > 0.5,
        what="the worker's time, which is the job's",
    )


@pytest.mark.process
def test_a_process_that_is_gone_or_another_one_is_not_looked_at(start: Start) -> None:
    process = start("import time; time.sleep(600)")
    assert activity_of(ProcessIdentity(process.boot_id, process.pid, process.start_ticks + 1)) is None
    os.kill(process.pid, signal.SIGKILL)
    look_until(process, "Z")  # it is not reaped yet
    os.waitpid(process.pid, 0)
    assert activity_of(process) is None


@pytest.mark.process
def test_a_process_that_sleeps_is_found_written_down_and_given_as_the_reason(
    home: Home, attempt: AttemptDir, start: Start
) -> None:
    write_json(attempt.run_json, {"job": start("import time; time.sleep(600)").to_json()})
    clock = FakeClock(time.time())
    guard = RunMonitor(home, WatchSettings(**QUICK), None, clock=clock)
    tell_steps(guard, attempt, 20)

    found: list[Finding] = []
    while not found:
        clock.pass_time(0.5)
        found = [finding for _, finding in guard.tick()]
    (finding,) = found

    assert finding.stop and "its process uses no CPU time" in finding.message
    assert told(attempt) == [("hang", True)]
    (line,) = [line for line, _ in read_lines(attempt.watch)]
    assert line["message"] == finding.message
    assert (line["seq"], line["kind"]) == (1, "warning")
    clock.pass_time(60)
    assert guard.tick() == [], "told once"


@pytest.mark.process
def test_with_the_shipped_settings_it_is_found_within_five_usual_steps_and_a_minute(
    home: Home, attempt: AttemptDir, start: Start
) -> None:
    """The seconds are played; a real run under them is a test of the soak (tests/process/test_watch.py)."""
    write_json(attempt.run_json, {"job": start("import time; time.sleep(600)").to_json()})
    clock = FakeClock(time.time())
    guard = RunMonitor(home, WatchSettings(), None, clock=clock)
    tell_steps(guard, attempt, 20)

    seconds = 0
    while not guard.tick():
        clock.pass_time(1)
        seconds += 1
        assert seconds < 600

    assert told(attempt) == [("hang", True)]
    assert 50 < seconds <= 5 * 0.1 + 60


@pytest.mark.process
def test_one_that_burns_cpu_time_is_a_warning_first_and_a_reason_to_stop_at_last(
    home: Home, attempt: AttemptDir, start: Start
) -> None:
    write_json(attempt.run_json, {"job": start("while True: pass").to_json()})
    guard = RunMonitor(home, WatchSettings(**QUICK), None)
    tell_steps(guard, attempt, 20)

    found = watch_for(guard, 2)

    assert [finding.stop for finding in found] == [False, True]
    assert told(attempt) == [("hang", False), ("hang", True)]


@pytest.mark.process
def test_a_successor_finds_the_hang_of_a_run_that_tells_nothing_more(
    home: Home, attempt: AttemptDir, start: Start
) -> None:
    """It begins with the files alone: no event comes to it."""
    write_json(attempt.run_json, {"job": start("import time; time.sleep(600)").to_json()})
    tell_steps(None, attempt, 20)
    guard = RunMonitor(home, WatchSettings(**QUICK), None)
    guard.follow(row(created_at=time.time() - 600), attempt)

    (finding,) = watch_for(guard)

    assert finding.message.startswith("no step for ") and "after step 20 (usual: 0.1 s a step)" in finding.message


def test_a_successor_does_not_tell_again_what_was_told_unless_it_is_a_reason_to_stop(
    home: Home, attempt: AttemptDir
) -> None:
    def guard(policy: str) -> RunMonitor:
        made = RunMonitor(home, WatchSettings(nan=policy), None)
        made.follow(row(), attempt)
        return made

    tell_steps(None, attempt, 3, loss=float("nan"))
    assert [finding.code for _, finding in guard("warn").tick()] == ["nan"]
    assert guard("warn").tick() == []
    assert [finding.stop for _, finding in guard("stop").tick()] == [True]
    assert [finding.stop for _, finding in guard("stop").tick()] == [True], "nobody has asked for the stop yet"
    write_json(attempt.stop_request, {"why": "watch"})
    assert guard("stop").tick() == []
    assert told(attempt) == [("nan", False), ("nan", True), ("nan", True)]


def test_an_event_that_is_read_from_the_file_and_told_as_well_counts_once(home: Home, attempt: AttemptDir) -> None:
    tell_steps(None, attempt, 4, loss=0.0)
    guard = RunMonitor(home, WatchSettings(), None)
    for event, _ in read_lines(attempt.events):
        guard.on_event(row(), attempt, event)
    assert guard.tick() == []
    tell_steps(guard, attempt, 1, loss=0.0)
    assert [finding.code for _, finding in guard.tick()] == ["zero_loss"], "at its fifth step"


def test_samples_are_written_for_the_attempt_that_holds_the_gpu_and_its_summary_is_given_at_the_end(
    home: Home, attempt: AttemptDir
) -> None:
    guard = RunMonitor(home, WatchSettings(), CARD)
    for second in range(11):
        guard.on_sample(sample(100.0 + second), attempt)
    guard.on_sample(sample(111.0), None)
    guard.on_sample(sample(111.0, pci=OTHER), attempt)
    guard.on_sample(sample(111.0, suspended=True), attempt)
    summary = guard.finish(7, attempt)
    assert summary is not None
    assert (summary.seconds, summary.peak_job_vram_bytes, summary.energy_joules) == (10.0, GB, 900.0)
    guard.on_sample(sample(112.0), attempt)
    assert len(attempt.telemetry.read_bytes().splitlines()) == 11, "whoever is late does not bring it back"
    assert guard.tick() == []


def test_without_a_gpu_there_is_no_record_and_no_summary(home: Home, attempt: AttemptDir) -> None:
    guard = RunMonitor(home, WatchSettings(), None)
    guard.on_sample(sample(100.0), attempt)
    guard.on_sample(Sample(101.0, "none", HostReading()), attempt)
    assert guard.finish(7, attempt) is None
    assert not attempt.telemetry.exists()


def test_a_spill_that_began_before_this_runner_is_counted_from_where_the_run_began(
    home: Home, attempt: AttemptDir
) -> None:
    full = {"vram_used_bytes": 15 * GB, "gtt_used_bytes": 3 * GB}
    first = RunMonitor(home, WatchSettings(spill="stop"), CARD)
    now = time.time()
    first.on_sample(sample(now), attempt)
    second = RunMonitor(home, WatchSettings(spill="stop"), CARD)
    second.on_sample(sample(now + 1, **full), attempt)
    assert second.tick() == []
    second.on_sample(sample(now + 2, **full), attempt)
    assert [(job, finding.code, finding.stop) for job, finding in second.tick()] == [(7, "spill", True)]


@pytest.mark.process
def test_only_what_the_kernel_says_of_this_gpu_speaks_against_the_run(
    home: Home, attempt: AttemptDir, tmp_path: Path, start: Start
) -> None:
    write_json(attempt.run_json, {"job": start("while True: pass").to_json()})
    guard = RunMonitor(home, WatchSettings(hang_steps=1, hang_seconds=4), CARD)
    tell_steps(guard, attempt, 20)
    guard.tick()
    seconds = time.clock_gettime(time.CLOCK_MONOTONIC)
    with (tmp_path / "kmsg").open("a") as file:
        file.write(f"[{seconds:.6f}] amdgpu {OTHER}: amdgpu: ring gfx_0.1.0 timeout, signaled seq=3\n")
    (warning,) = watch_for(guard)
    assert not warning.stop
    with (tmp_path / "kmsg").open("a") as file:
        file.write(f"[{seconds:.6f}] amdgpu {PCI}: amdgpu: GPU reset begin!\n")
    (finding,) = watch_for(guard)
    assert finding.stop and "GPU reset begin!" in finding.message


def test_a_disk_that_takes_nothing_stops_neither_the_watching_nor_the_runner(
    home: Home, attempt: AttemptDir, caplog: pytest.LogCaptureFixture
) -> None:
    guard = RunMonitor(home, WatchSettings(vram="stop"), CARD)
    now = time.time()
    guard.on_sample(sample(now), attempt)
    attempt.telemetry.unlink()
    attempt.telemetry.mkdir()  # as good as full: it refuses every line
    for second in range(3):
        guard.on_sample(sample(now + 1 + second, vram_used_bytes=int(15.9 * GB)), attempt)
    assert [finding.code for _, finding in guard.tick()] == ["vram"]
    assert caplog.text.count("its telemetry is not written") == 1
