"""`bakehouse gpu`, the real command in a process of its own, on machines of files: the table and the document."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.cli.gpu_table import table
from core.cli.readings import Reading
from core.gpu.reading import DeviceReading, HostReading, Sample
from core.gpu_lease.lock import lease_path, take
from core.gpu_lease.notes import Note
from core.gpu_lease.state import Intruder, LeaseState, ResidentModel, write_lease_state
from core.reasons import Reason
from core.telemetry.ring import TelemetryRing
from core.text import cell_width
from core.wording.gpu import gpu_words
from tests.support.depth import at_most
from tests.support.gpu_command import CARD, GpuCommand, living_runner
from tests.support.machines import write
from tests.support.queueing import Queue
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

SECOND = "0000:13:00.0"
HOSTILE = "\x1b[2J\x1b]52;c;aGFjaw==\x07\x9bpy\u202ethon"


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuCommand:
    return GpuCommand(tmp_path, monkeypatch)


def row_of(shown: str, label: str) -> str:
    (line,) = [line for line in shown.splitlines() if line.strip().startswith(label)]
    return line


def test_the_table_has_every_figure_of_the_gpu(box: GpuCommand) -> None:
    box.full_gpu().on_gpu(4123, "llama-server", 5_200_000_000, "/usr/bin/llama-server", "--port", "8090")
    shown = box.shown()
    assert row_of(shown, "GPU 0").endswith(f" AMD GPU of a test  gfx1201  {CARD}")
    for label, words in {
        "VRAM": "11.6 GB of 17.1 GB, 68 %",
        "GTT": "210 MB of 33.0 GB, 1 %",
        "busy": "97 %   memory 45 %",
        "power": "238 W of 304 W",
        "temperature": "edge 61 °C   hotspot 78 °C   memory 84 °C",
        "clock": "2970 MHz",
        "fan": "20 %   1240 rpm",
        "lease": "the GPU: free",
        "read": "now, sysfs",
    }.items():
        assert row_of(shown, label).endswith(words), shown
    process = row_of(shown, "4123").split()
    assert "5.2" in process and process[-3:] == ["/usr/bin/llama-server", "--port", "8090"]
    assert row_of(shown, "whose").endswith("served models 5.2 GB   not told 6.4 GB   free 5.5 GB")
    assert row_of(shown, "memory").count("GB") == 2 and "CPU" in shown


def test_what_a_gpu_does_not_give_is_left_out(box: GpuCommand) -> None:
    box.machine.amd(CARD, name="bare")
    shown = box.shown()
    assert "7.3 MB of 25.8 GB" in row_of(shown, "VRAM")
    assert not {"GTT", "busy", "clock", "fan", "throttling"} & {line.split()[0] for line in shown.splitlines() if line}
    assert "None" not in shown
    (device,) = box.document()["sample"]["devices"]
    assert "gtt_used_bytes" not in device and "busy_percent" not in device


def test_several_gpus_are_shown_and_which_one_jobs_run_on(box: GpuCommand) -> None:
    box.machine.amd(SECOND, integrated=True, name="the processor's")
    box.machine.amd(CARD, name="the GPU")
    write(box.machine.sysfs / "class/drm/card0/device", {"power/runtime_status": "suspended"})
    shown = box.shown()
    assert "the GPU" in row_of(shown, "GPU 0") and row_of(shown, "GPU 0").endswith("jobs run here")
    assert row_of(shown, "GPU 1").endswith("integrated") and "asleep: reading it would wake it" in shown
    found = box.document()
    assert found["gpu"] == CARD
    assert [device["pci"] for device in found["sample"]["devices"]] == [CARD, SECOND]


def test_without_a_gpu_the_machine_itself_is_shown(box: GpuCommand) -> None:
    shown = box.shown()
    assert "none found" in row_of(shown, "GPU") and row_of(shown, "lease").endswith("the CPU, the one slot: free")
    found = box.document()
    assert (found["gpu"], found["lease"], found["taken_by"], found["runner_alive"]) == (None, None, "command", False)
    assert found["sample"]["host"]["cpu_percent"] >= 0, (
        "the share of the CPU is measured, though only one look is shown"
    )


def test_a_source_that_does_not_exist_is_told(box: GpuCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "cuda")
    assert "▲ BAKEHOUSE_GPU_SOURCE: there is no GPU source 'cuda'" in box.shown()


def test_text_of_others_is_only_text(box: GpuCommand) -> None:
    box.full_gpu().on_gpu(77, HOSTILE, 900_000_000, HOSTILE, "--name=\x1b[31m")
    box.home.create()
    write_lease_state(
        box.home,
        LeaseState(
            time.time(),
            CARD,
            "clearing",
            3,
            status=Reason("unloading_models", {"models": [HOSTILE]}),
            server=HOSTILE,
            server_fault=Reason(HOSTILE, {HOSTILE: HOSTILE}),
            residents=(ResidentModel(HOSTILE + "\ud800", 5_000_000_000),),
            evicted=(HOSTILE,),
            served=(ResidentModel(HOSTILE, 2_000_000_000),),
            served_away=(HOSTILE,),
            intruders=(Intruder(HOSTILE, time.time(), 2),),
            notes=(Note(time.time(), Reason("model_given_up", {"model": HOSTILE, "tries": 12}), "bad"),),
        ),
    )
    for words in ((), ("--json",), ("--prometheus",)):
        shown = box.shown(*words)
        assert all(letter == "\n" or letter.isprintable() for letter in shown), shown
        assert "thon" in shown


def test_a_job_that_asks_the_model_server_is_told_as_one(box: GpuCommand) -> None:
    box.full_gpu()
    box.home.create()
    now = time.time()
    state = LeaseState(now, CARD, "held", 42, now - 60, mode="serving", server="Ollama 0.24.0", evicted=("judge:v1",))
    write_lease_state(box.home, state)
    shown = box.shown()
    assert "in use by job 42 through the model server" in shown
    assert re.search(r"before +judge:v1: will be restored after the job", shown), shown


def test_served_models_are_told_and_that_they_are_away(box: GpuCommand) -> None:
    box.full_gpu()
    box.home.create()
    now = time.time()
    state = LeaseState(now, CARD, "held", 42, now - 60, served_away=("note-title",))
    write_lease_state(box.home, state)
    shown = box.shown()
    assert re.search(r"away +note-title: will be started again after the job", shown), shown
    write_lease_state(box.home, replace(state, served=(ResidentModel("note-title", 2_000_000_000),), served_away=()))
    assert re.search(r"served +llama-server: note-title 2.0 GB", box.shown())


def test_the_lease_and_what_the_runner_left_are_shown(box: GpuCommand) -> None:
    box.full_gpu()
    box.home.create()
    now = time.time()
    state = LeaseState(
        now,
        CARD,
        "verifying",
        42,
        now - 60,
        status=Reason("job_memory_returning", {"job_id": 42, "left_bytes": 11_400_000_000}),
        server="Ollama 0.24.0",
        residents=(ResidentModel("judge:v1", 5_200_000_000),),
        evicted=("planner:v1", "judge:v1"),
        intruders=(Intruder("chat:v2", now - 30, 3),),
        baseline_bytes=310_000_000,
        unowned_bytes=11_400_000_000,
        unowned_since=now - 20,
        remedy=Reason("restart_after_driver_death"),
        notes=(
            Note(now, Reason("models_returned", {"count": 3}), "ok"),
            Note(now, Reason("memory_unknown"), "warn"),
        ),
    )
    write_lease_state(box.home, state)
    lease = take(lease_path(box.home, CARD))
    assert lease is not None
    lease.note_holder(box.home, 42)
    try:
        shown, found, metrics = box.shown(), box.document(), box.shown("--prometheus")
    finally:
        lease.release()
    assert f"the GPU: in use by job 42 of {box.home.root}, since" in row_of(shown, "lease")
    said = row_of(shown, "gpu")
    assert "being checked after job 42" in said and "Waiting for 11.4 GB of job 42 to be freed" in said
    assert "as the runner left it" in said
    assert row_of(shown, "models").endswith("Ollama 0.24.0: judge:v1 5.2 GB")
    assert "planner:v1, judge:v1" in row_of(shown, "unloaded")
    assert "chat:v2" in shown and "3 times" in shown
    assert row_of(shown, "idle use").endswith("310 MB")
    assert "11.4 GB that no process holds" in row_of(shown, "unowned")
    assert gpu_words(Reason("restart_after_driver_death")) in row_of(shown, "unowned")
    assert "✓ 3 served models restored" in shown and "▲ GPU memory usage is unavailable" in shown
    assert found["lease"]["job"] == 42 and LeaseState.from_json(found["state"]) == state
    told = found["state"]
    assert told["status"] == {"code": "job_memory_returning", "values": {"job_id": 42, "left_bytes": 11_400_000_000}}
    assert told["message"] == "Waiting for 11.4 GB of job 42 to be freed"
    assert told["remedy"]["code"] == "restart_after_driver_death" and "restart the machine" in told["advice"]
    assert (told["server_fault"], told["server_problem"]) == (None, None)
    assert told["notes"][0]["code"] == "models_returned" and told["notes"][0]["message"] == "3 served models restored"
    assert 'bakehouse_lease_info{job="42"' in metrics
    assert "bakehouse_lease_phase" not in metrics, "what a runner that is gone said is no metric of now"


def test_a_long_line_is_cut_at_the_width_of_the_terminal() -> None:
    device = DeviceReading(0, "名" * 30 + " GPU", "amd", CARD, vram_used_bytes=5)
    sample = Sample(time.time(), "sysfs", HostReading(), (device,), problem="a long story " * 20 + "to its end")
    reading = Reading(sample, "command", 0.0, CARD, None, None, False)
    lines = table(reading, 60)
    assert max(cell_width(line) for line in lines) <= 60
    assert [line for line in lines if line.endswith("…")]
    assert any(line.endswith("to its end") for line in table(reading))


@pytest.mark.timed
def test_while_a_runner_lives_its_readings_are_shown(box: GpuCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real runner. The GPU's file is changed to what nobody has sampled yet: the command does not read it itself."""
    monkeypatch.setenv("PATH", os.defpath)
    box.full_gpu()
    queue = Queue.create(box.folder)
    queue.ask("pause")
    queue.submit("steps=1")
    try:
        queue.start_runner()
        ring = TelemetryRing(box.home.telemetry)
        wait_until(ring.latest, what="a sample of the runner")
        found = box.document()
        assert (found["taken_by"], found["stale"], found["runner_alive"]) == ("runner", False, True)
        assert found["age_seconds"] < at_most(5)
        assert found["sample"] in [sample.to_json() for sample in ring.history(100)]
        assert "by the runner, " in row_of(box.shown(), "read")
        os.kill(queue.runner_pid(), signal.SIGSTOP)
        write(box.machine.sysfs / "class/drm/card0/device", {"mem_info_vram_used": "123"})
        assert box.document()["sample"]["devices"][0]["vram_used_bytes"] == 11_600_000_123
    finally:
        queue.close()


def test_a_runner_that_writes_no_more_is_told(box: GpuCommand) -> None:
    box.full_gpu()
    box.home.create()
    old = Sample(time.time() - 42, "sysfs", HostReading(), (DeviceReading(0, "as it was", "amd", CARD),))
    TelemetryRing(box.home.telemetry).append(old)
    with living_runner(box.home):
        shown, found = box.shown(), box.document()
        page = box.shown("--prometheus")
    assert "as it was" in shown and "▲ the figures are 4" in shown and "s old: a runner lives" in shown
    assert found["stale"] and found["sample"] == old.to_json()
    assert "bakehouse_sample_timestamp_seconds" in page and "bakehouse_runner_up 1" in page
    assert "bakehouse_gpu" not in page, "old figures are no metric of now"
    now = box.document()
    assert now["taken_by"] == "command" and not now["stale"], "without a runner the command reads the GPU itself"


def test_a_runner_without_any_reading_leaves_the_command_to_its_own(box: GpuCommand) -> None:
    box.full_gpu()
    with living_runner(box.home):
        shown = box.shown()
    assert "AMD GPU of a test" in shown and "▲ a runner lives and has written no readings" in shown


@pytest.mark.parametrize(
    "words", [("--json", "--prometheus"), ("--watch", "--prometheus"), ("--watch", "--interval", "0")]
)
def test_what_makes_no_sense_together_is_wrong_usage(box: GpuCommand, words: tuple[str, ...]) -> None:
    done = box.run(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
