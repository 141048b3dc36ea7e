"""Runs that go wrong, under a real runner: found in time, told, ended in order, and good for a retry."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.files import read_lines
from core.store.jobs import JobRow
from tests.process.conftest import GRACE_SECONDS
from tests.support.cardsim import GpuSim
from tests.support.cardsim_tree import GIB, SimGpu
from tests.support.depth import at_most
from tests.support.queueing import Queue
from tests.support.waiting import wait_until

SAMPLE_SECONDS = 1.0
SLACK_SECONDS = 1.5
HANG_SECONDS = 3


@pytest.fixture
def quick(machine: Path) -> None:
    """A run may be silent for five usual steps and three seconds."""
    configure(machine, f"{{hang_seconds: {HANG_SECONDS}}}", GRACE_SECONDS)


def configure(machine: Path, watch: str, grace_seconds: int = 60) -> None:
    settings = machine / "config/bakehouse/settings.yaml"
    settings.write_text(f"queue: {{stop_grace_seconds: {grace_seconds}}}\nwatch: {watch}\n")


def findings(queue: Queue, job: int, number: int = 1) -> list[dict[str, Any]]:
    return [line for line, _ in read_lines(queue.home.run_dir(job).attempt(number).watch)]


def last_event(queue: Queue, job: int, kind: str = "step") -> dict[str, Any]:
    events = [line for line, _ in read_lines(queue.home.run_dir(job).attempt(1).events)]
    return [event for event in events if event["kind"] == kind][-1]


def wait_for_finding(queue: Queue, job: int, code: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [finding for finding in findings(queue, job) if finding["code"] == code]

    return wait_until(found, what=f"a finding: {code}")[-1]


def failed_for(queue: Queue, job: int, code: str) -> JobRow:
    """The job once it has ended, which is `failed` for what the watchdog found last."""
    ended = queue.wait_for(job)
    finding = findings(queue, job)[-1]
    assert (finding["code"], finding["stop"]) == (code, True)
    assert ended.state == "failed", ended
    assert ended.reason.code == "watchdog"
    assert (ended.reason.values["finding"], ended.reason.values["message"]) == (code, finding["message"])
    return ended


def retried(queue: Queue, job: int) -> None:
    """What was wrong is mended, and a retry brings the job to its end, each step done once."""
    (queue.home.run_dir(job).path / "mended").touch()
    total = last_event(queue, job)["total"]
    queue.ask("retry", job)
    queue.wait_for(job, "done")
    assert queue.seen(job) == list(range(1, total + 1))
    assert [attempt.outcome for attempt in queue.attempts(job)] == ["failed", "done"]
    assert findings(queue, job, 2) == []


@pytest.mark.timed
@pytest.mark.usefixtures("quick")
def test_a_job_that_hangs_is_found_asked_to_stop_interrupted_and_told_to_end_each_after_its_grace(
    queue: Queue,
) -> None:
    job = queue.submit("steps=60 pause=0.1 hang=30")
    queue.wait_for_reason(job, "signal_sent", signal="SIGINT", after_seconds=GRACE_SECONDS)
    queue.wait_for_reason(job, "signal_sent", signal="SIGTERM", after_seconds=2 * GRACE_SECONDS)
    failed = failed_for(queue, job, "hang")

    message = str(failed.reason.values["message"])
    assert "no step for" in message
    usual = re.search(r"after step 29 \(usual: (\d+\.\d) s a step\)", message)
    assert usual and float(usual[1]) >= 0.1, message
    assert "its process uses no CPU time" in message
    assert queue.states(job)[-3:] == ["running", "stopping", "failed"]
    stopping, ended = queue.history(job)[-2:]
    assert (stopping.reason.code, stopping.author) == ("stopping_for_watchdog", "runner")
    assert stopping.reason.values["finding"] == "hang"
    silent = stopping.time - last_event(queue, job)["time"]
    allowed = 5 * 0.1 + HANG_SECONDS
    assert allowed <= silent <= at_most(allowed + 2 * SAMPLE_SECONDS + SLACK_SECONDS)
    graces = 2 * GRACE_SECONDS
    assert graces <= ended.time - stopping.time <= at_most(graces + SLACK_SECONDS), "of the request, of SIGINT"
    assert json.loads(queue.attempt(job).stop_request.read_bytes())["why"] == "watchdog"
    assert queue.attempts(job)[0].exit_code == 75
    retried(queue, job)


@pytest.mark.soak
@pytest.mark.usefixtures("short_grace")  # of what happens once it is found
def test_with_the_shipped_settings_a_hang_is_found_within_five_usual_steps_and_a_minute(queue: Queue) -> None:
    job = queue.submit("steps=100 pause=0.4 hang=20")
    queue.wait_for(job, "stopping", "failed")
    step = last_event(queue, job)
    failed_for(queue, job, "hang")
    stopping = next(change for change in queue.history(job) if change.to_state == "stopping")
    assert step["step"] == 19
    assert 50.0 < stopping.time - step["time"] <= at_most(5 * 0.45 + 60.0)


@pytest.mark.usefixtures("quick")
def test_a_job_that_burns_cpu_time_without_stepping_is_warned_of_and_stopped_later(queue: Queue) -> None:
    job = queue.submit("steps=60 pause=0.1 spin=30")
    failed_for(queue, job, "hang")
    first, second = findings(queue, job)
    assert (first["stop"], second["stop"]) == (False, True)
    assert "nothing else shows yet" in first["message"]
    step = last_event(queue, job)["time"]
    assert second["time"] - step > 3 * (5 * 0.1 + HANG_SECONDS)
    retried(queue, job)


@pytest.mark.usefixtures("quick")
def test_a_stopped_process_is_told_apart_from_one_that_computes(queue: Queue) -> None:
    job = queue.submit("steps=60 pause=0.1 stopped=30")
    finding = wait_for_finding(queue, job, "hang")
    assert "its process is stopped (state T)" in finding["message"]
    failed_for(queue, job, "hang")


@pytest.mark.usefixtures("quick")
def test_an_evaluation_and_a_slow_start_are_no_hang(queue: Queue) -> None:
    job = queue.submit("steps=10 pause=0.1 evaluate=8")
    slow = queue.submit("steps=2 pause=5", "cpu")
    assert queue.wait_for(job).state == "done"
    assert queue.wait_for(slow).state == "done"
    assert findings(queue, job) == findings(queue, slow) == []


@pytest.mark.usefixtures("quick")
def test_a_runner_that_takes_over_finds_the_hang_of_a_job_that_tells_it_nothing(queue: Queue) -> None:
    job = queue.submit("steps=60 pause=0.1 hang=30")
    queue.wait_for_step(job, 29)
    queue.kill_runner()
    queue.start_runner()
    failed_for(queue, job, "hang")


@pytest.mark.timed
def test_a_loss_that_is_no_number_is_found_and_the_job_stopped_within_two_samples(queue: Queue) -> None:
    job = queue.submit("steps=400 pause=0.1 nan=20 waits=41")
    assert "the loss is nan at step 20" in str(failed_for(queue, job, "nan").reason.values["message"])
    events = [line for line, _ in read_lines(queue.attempt(job).events)]
    first = next(event for event in events if event.get("step") == 20)
    stopping, ended = queue.history(job)[-2:]
    assert stopping.to_state == "stopping"
    assert stopping.time - first["time"] <= at_most(2 * SAMPLE_SECONDS)
    assert ended.time - stopping.time < at_most(1.0)
    assert not queue.attempt(job).signals.exists(), "it stopped at a step, before its grace was over"
    (queue.home.run_dir(job).path / "mended").touch()
    queue.ask("retry", job)
    queue.wait_for_step(job, 40)
    queue.ask("cancel", job)
    assert queue.wait_for(job).state == "cancelled", "a stop that a person asks for is not the watchdog's"


def test_what_is_only_warned_of_is_told_and_lets_the_job_run_on(queue: Queue) -> None:
    wild = queue.submit("steps=40 pause=0.05 explode=30 waits=40")
    stuck = queue.submit("steps=40 pause=0.05 zero waits=40", "cpu")
    for job, code in ((wild, "exploding"), (stuck, "zero_loss")):
        wait_for_finding(queue, job, code)
        queue.go_on(job)
    assert queue.wait_for(wild).state == queue.wait_for(stuck).state == "done"
    assert [(finding["code"], finding["stop"]) for finding in findings(queue, wild)] == [("exploding", False)]
    assert [(finding["code"], finding["stop"]) for finding in findings(queue, stuck)] == [("zero_loss", False)]


def test_what_is_turned_off_is_not_looked_for(machine: Path, queue: Queue) -> None:
    configure(machine, "{nan: off, hang: off, hang_seconds: 1}")
    job = queue.submit("steps=30 pause=0.1 nan=5 evaluate=1")
    assert queue.wait_for(job).state == "done"
    assert findings(queue, job) == []


@pytest.fixture
def played(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuSim]:
    """A machine with a GPU of 16 GiB that the stand-in jobs use."""
    with GpuSim(machine / "gpu", SimGpu(total_bytes=16 * GIB)) as made:
        made.use(monkeypatch)
        yield made


@pytest.mark.timed
def test_a_run_whose_memory_spills_is_found_within_two_samples(machine: Path, played: GpuSim, queue: Queue) -> None:
    configure(machine, "{spill: stop}")
    job = queue.submit("steps=400 pause=0.3 vram=15.6e9 spill=20 waits=20")
    telemetry = queue.home.run_dir(job).attempt(1).telemetry
    wait_until(lambda: list(read_lines(telemetry)), what="a sample from before the spill")
    queue.go_on(job)
    failed = failed_for(queue, job, "spill")
    assert "system memory" in str(failed.reason.values["message"])
    attempt = queue.attempt(job)
    lines = [line for line, _ in read_lines(attempt.telemetry)]
    start = lines[0]["gtt_used_bytes"]
    spilled = next(line["time"] for line in lines if line["gtt_used_bytes"] > start + 256_000_000)
    assert findings(queue, job)[-1]["time"] - spilled <= at_most(2 * SAMPLE_SECONDS)
    summary = json.loads(queue.attempts(job)[0].telemetry or "null")
    assert summary["peak_gtt_bytes"] > start + 500_000_000
    assert summary["peak_job_vram_bytes"] == pytest.approx(15.6e9, rel=0.01)
    assert summary["energy_joules"] > 0 and summary["mean_busy_percent"] > 50


@pytest.mark.timed
def test_the_record_of_the_gpu_goes_on_when_the_runner_is_killed(played: GpuSim, queue: Queue) -> None:
    job = queue.submit("steps=9 waits=5 vram=4e9 busy=80")
    telemetry = queue.home.run_dir(job).attempt(1).telemetry
    wait_until(lambda: len(list(read_lines(telemetry))) >= 4, what="four samples")
    queue.kill_runner()
    before = len(list(read_lines(telemetry)))
    queue.start_runner()
    wait_until(lambda: len(list(read_lines(telemetry))) >= before + 4, what="four more")
    queue.go_on(job)
    queue.wait_for(job, "done")

    lines = [line for line, _ in read_lines(telemetry)]
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < at_most(5.0)
    energies = [line.get("energy_joules", 0.0) for line in lines]
    assert energies == sorted(energies), "what the first runner counted is not lost"
    summary = json.loads(queue.attempts(job)[0].telemetry or "null")
    assert summary["seconds"] == pytest.approx(times[-1] - times[0], abs=0.1)
    assert summary["peak_job_vram_bytes"] == pytest.approx(4e9, rel=0.01)
