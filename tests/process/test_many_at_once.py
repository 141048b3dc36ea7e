"""Several runners, several homes, several consoles: who comes second steps back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.events import EventReader
from core.files import read_lines
from core.gpu_lease.lock import acquire, lease_path
from core.reasons import Reason
from core.store.database import open_database, runner_lives, transaction
from core.store.jobs import change_state, count_states, insert_job
from tests.support.queueing import CHECKOUT, Queue, kill
from tests.support.waiting import PATIENCE_SECONDS, wait_until

CARD = "0000:2b:00.0"


@pytest.fixture
def two_homes(machine: Path) -> Iterator[tuple[Queue, Queue]]:
    queues = Queue.create(machine, "anna"), Queue.create(machine, "ben")
    yield queues
    for queue in queues:
        queue.close()


def test_four_hundred_jobs_are_claimed_by_four_contenders_each_exactly_once(queue: Queue) -> None:
    with queue.database() as connection:
        with transaction(connection):
            jobs = [
                insert_job(
                    connection,
                    kind="pull",
                    title=f"job {number}",
                    project_id="p",
                    task=None,
                    lane="cpu",
                    host_memory_bytes=0,
                    on_restart="hold",
                    needs=(),
                    author="tester",
                )
                for number in range(400)
            ]
            for job in jobs:
                change_state(connection, job, "ready", Reason("a_test"), "tester")
        start = queue.home.root / "start"
        with start.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            contenders = [
                subprocess.Popen(
                    [sys.executable, "-m", "tests.support.contender", str(queue.home.root), str(start)],
                    cwd=CHECKOUT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(4)
            ]
            for contender in contenders:
                assert contender.stdout is not None
                assert contender.stdout.readline() == "here\n"
        for contender in contenders:
            assert contender.stdout is not None and contender.stdout.readline() == "took one\n"
        for contender in contenders:
            assert contender.stdin is not None
            print(file=contender.stdin, flush=True)
        taken = [json.loads(contender.communicate(timeout=PATIENCE_SECONDS)[0]) for contender in contenders]

        times = Counter(job for each in taken for job in each)
        assert times == Counter(jobs), "none twice and none left out"
        assert all(taken), "they did contend"
        assert all(each == sorted(each) for each in taken), "in the order of the queue"
        assert count_states(connection) == {"starting": 400}
        claims = connection.execute(
            "SELECT count(*), count(DISTINCT job_id) FROM transitions WHERE to_state = 'starting'"
        )
        assert tuple(claims.fetchone()) == (400, 400)
        assert connection.execute("SELECT count(*) FROM attempts WHERE number = 1").fetchone()[0] == 400


def daemons_of(queue: Queue) -> list[int]:
    """The processes that are, or want to be, this home's runner."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().split(b"\0")[3:5] == [
                b"core.runner.daemon",
                bytes(queue.home.root),
            ]:
                found.append(int(folder.name))
    return found


def test_of_eight_runners_started_at_once_one_lives(queue: Queue) -> None:
    """Meanwhile somebody looks all the time whether one lives, which takes the lock for a moment."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.001):
            runner_lives(queue.home)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        command = [sys.executable, "-P", "-m", "core.runner.daemon", str(queue.home.root)]
        starters = [subprocess.Popen(command, cwd="/", start_new_session=True) for _ in range(8)]
        for starter in starters:
            starter.wait(PATIENCE_SECONDS)
        wait_until(lambda: len(daemons_of(queue)) <= 1, what="seven of eight to leave")
    finally:
        ended.set()
        watcher.join()

    assert daemons_of(queue) == [queue.runner_pid()]
    job = queue.submit("steps=2")
    queue.wait_for(job, "done")
    assert queue.seen(job) == [1, 2]


def fake_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose kernel shows one AMD GPU."""
    device = folder / "sys/class/drm/card1/device"
    device.mkdir(parents=True)
    for name, content in {
        "vendor": "0x1002",
        "uevent": f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:7FFF\nPCI_SLOT_NAME={CARD}",
        "mem_info_vram_total": "25753026560",
        "mem_info_vram_used": "7340032",
    }.items():
        (device / name).write_text(content + "\n")
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "sysfs")
    monkeypatch.setenv("BAKEHOUSE_SYSFS", str(folder / "sys"))


def ran(queue: Queue, job: int) -> tuple[float, float]:
    """From when to when a stand-in counted, by its own events."""
    times = [event["time"] for event in EventReader(queue.attempt(job).events)]
    return times[0], times[-1]


def test_two_homes_share_one_gpu_one_job_at_a_time(
    two_homes: tuple[Queue, Queue], machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu(machine, monkeypatch)
    anna, ben = two_homes
    first = anna.submit("steps=2 waits=2")
    anna.wait_for_step(first, 1)
    second = ben.submit("steps=10 pause=0.03")
    assert lease_path(anna.home, CARD) == lease_path(ben.home, CARD)
    told = ben.wait_for_lease(second, "held_by_other_home").values
    assert (told["job_id"], told["home"]) == (first, str(anna.home.root))

    anna.kill_runner()
    anna.home.runner_stopped.touch()
    kill(anna.shim_pid(first))
    assert acquire(lease_path(ben.home, CARD)) is None, "the job itself has inherited the lock"
    assert ben.job(second).state == "waiting"

    kill(anna.process(first))
    ben.wait_for(second, "done")
    anna.start_runner()
    assert anna.wait_for(first).state == "lost"
    assert ran(anna, first)[1] <= ran(ben, second)[0]


def test_light_jobs_of_both_homes_run_beside_the_gpu_s(
    two_homes: tuple[Queue, Queue], machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpu(machine, monkeypatch)
    anna, ben = two_homes
    on_the_gpu = anna.submit("steps=2 waits=2")
    anna.wait_for_step(on_the_gpu, 1)
    ben.wait_for(ben.submit("steps=2", "cpu"), "done")
    anna.wait_for(anna.submit("steps=2", "cpu"), "done")
    assert anna.job(on_the_gpu).state == "running"


def test_a_deaf_job_on_a_gpu_is_left_to_the_person(
    queue: Queue, machine: Path, short_grace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL could leave the GPU's memory without an owner; a light job holds none, so it gets one."""
    fake_gpu(machine, monkeypatch)
    on_the_gpu = queue.submit("steps=2 waits=2 deaf=all")
    light = queue.submit("steps=2 waits=2 deaf=all", "cpu")
    for job in (on_the_gpu, light):
        queue.wait_for_step(job, 1)
        queue.ask("cancel", job)

    assert queue.wait_for(light).state == "cancelled"
    assert queue.attempts(light)[0].signal == signal.SIGKILL
    assert queue.job(on_the_gpu).state == "stopping"
    assert queue.job(on_the_gpu).reason.values["signal"] == "SIGTERM"
    queue.wait_for_reason(on_the_gpu, "still_running", signal="SIGTERM", job=on_the_gpu)
    queue.ask("kill", on_the_gpu)
    assert queue.wait_for(on_the_gpu).state == "cancelled"
    sent = [(line["signal"], line["by"]) for line, _ in read_lines(queue.attempt(on_the_gpu).signals)]
    assert sent == [("SIGINT", "runner"), ("SIGTERM", "runner"), ("SIGKILL", "tester")]


@contextlib.contextmanager
def console(queue: Queue) -> Iterator[None]:
    """What an open console holds: a connection and its share of the lock."""
    with contextlib.closing(open_database(queue.home)), queue.home.console_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def test_the_runner_lives_while_one_of_two_consoles_is_open_and_ends_when_idle(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "0.3")

    def lives_for(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and queue.runner_alive():
            time.sleep(0.05)
        return queue.runner_alive()

    with console(queue):
        with console(queue):
            queue.start_runner()
            queue.runner_pid()
            job = queue.submit("steps=2")
            queue.wait_for(job, "done")
            assert lives_for(1.0)
        assert lives_for(1.0)
    wait_until(lambda: not queue.runner_alive(), what="the idle runner's end")


def test_a_job_submitted_while_the_runner_leaves_is_not_left_lying(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one comes a little later after the former, so that some hit the moment in which an idle runner leaves."""
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "0.05")
    for number in range(6):
        job = queue.submit("steps=1 pause=0")
        assert queue.wait_for(job, "done").attempt == 1
        time.sleep(0.15 + number * 0.03)
