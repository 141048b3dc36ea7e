"""The ring keeps the newest samples, and a reader in another process never sees a torn one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BakehouseError
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.telemetry.ring import TelemetryRing
from tests.support.depth import example_count

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from pathlib import Path
from core.gpu.reading import DeviceReading, HostReading, Sample
from core.telemetry.ring import TelemetryRing
ring = TelemetryRing(Path(sys.argv[1]), slots=8, slot_bytes=2048)
number = 0
while number < int(sys.argv[2]):
    number += 1
    text = chr(97 + number % 26) * (number * 37 % 1200)
    ring.append(Sample(float(number), "test", HostReading(cpu_count=number), (DeviceReading(number, text, "none"),)))
    if number == 1:
        print("writing", flush=True)
"""


def sample(number: int, **fields: object) -> Sample:
    return Sample(time=float(number), source="test", host=HostReading(cpu_count=number), **fields)  # type: ignore[arg-type]


def start_writer(path: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.ring"


def test_what_was_appended_comes_back_equal(path: Path) -> None:
    full = sample(
        3,
        devices=(DeviceReading(0, "GPU »é«", "amd", "0000:0f:00.0", 16, 8, busy_percent=12.5, suspended=False),),
        processes=(ProcessReading(77, "python3", None, True), ProcessReading(78, None, 0)),
        problem="one source is silent",
    )
    TelemetryRing(path).append(full)
    assert TelemetryRing(path).latest() == full


def test_the_newest_samples_are_kept_oldest_first(path: Path) -> None:
    writer, reader = TelemetryRing(path, slots=5), TelemetryRing(path)
    for number in range(1, 13):
        writer.append(sample(number))
        assert reader.latest() == sample(number)
    assert [item.time for item in reader.history(100)] == [8, 9, 10, 11, 12]
    assert [item.time for item in reader.history(2)] == [11, 12]
    assert reader.history(0) == []


def test_the_file_never_grows(path: Path) -> None:
    writer = TelemetryRing(path, slots=4, slot_bytes=512)
    writer.append(sample(1))
    size = path.stat().st_size
    for number in range(2, 40):
        writer.append(sample(number))
    assert path.stat().st_size == size == 4096 + 4 * 512


def test_a_later_writer_goes_on_where_the_former_stopped(path: Path) -> None:
    first = TelemetryRing(path, slots=6)
    first.append(sample(1))
    first.append(sample(2))
    first.close()
    TelemetryRing(path, slots=6).append(sample(3))
    assert [item.time for item in TelemetryRing(path).history(6)] == [1, 2, 3]


def test_a_sample_knows_its_age() -> None:
    assert sample(100).age_seconds(now=107.5) == 7.5
    assert sample(100).age_seconds(now=90) == 0.0
    assert Sample(time.time() - 60, "none", HostReading()).age_seconds() == pytest.approx(60, abs=5)


def test_without_a_file_there_are_no_samples(path: Path) -> None:
    assert TelemetryRing(path).latest() is None
    assert TelemetryRing(path).history(10) == []
    assert not path.exists(), "a reader creates nothing"


@pytest.mark.parametrize("content", [b"", b"x", b"{}" * 9000, b"BAKERING", b"\0" * 20000])
def test_a_foreign_file_is_empty_to_a_reader_and_replaced_by_the_writer(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert TelemetryRing(path).latest() is None
    TelemetryRing(path).append(sample(1))
    assert TelemetryRing(path).latest() == sample(1)


def test_a_file_of_another_version_is_empty_to_a_reader_and_replaced(path: Path) -> None:
    first = TelemetryRing(path, slots=4)
    first.append(sample(1))
    first.close()
    data = bytearray(path.read_bytes())
    data[8] += 1
    path.write_bytes(data)
    assert TelemetryRing(path).latest() is None
    TelemetryRing(path, slots=4).append(sample(9))
    assert TelemetryRing(path).history(4) == [sample(9)]


def test_a_path_that_is_no_file_is_empty_to_a_reader(path: Path) -> None:
    path.mkdir()
    assert TelemetryRing(path).latest() is None
    with pytest.raises(OSError, match="directory"):
        TelemetryRing(path).append(sample(1))


def test_a_torn_newest_slot_leaves_the_one_before(path: Path) -> None:
    writer = TelemetryRing(path, slots=4, slot_bytes=512)
    for number in (1, 2, 3):
        writer.append(sample(number))
    data = bytearray(path.read_bytes())
    data[4096 + 3 * 512 + 30] ^= 0xFF
    path.write_bytes(data)
    assert TelemetryRing(path).latest() == sample(2)


@settings(max_examples=example_count(150))
@given(st.lists(st.tuples(st.integers(0, 4096 + 4 * 512 - 1), st.integers(0, 255)), max_size=40), st.integers(0, 6200))
def test_no_damage_makes_a_reader_raise_or_see_what_was_not_written(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int
) -> None:
    path = tmp_path_factory.mktemp("ring") / "telemetry.ring"
    writer = TelemetryRing(path, slots=4, slot_bytes=512)
    written = [sample(number) for number in range(1, 7)]
    for item in written:
        writer.append(item)
    writer.close()
    data = bytearray(path.read_bytes())
    for offset, value in changes:
        data[offset] = value
    path.write_bytes(data[:length])
    assert all(item in written for item in TelemetryRing(path).history(10))
    TelemetryRing(path, slots=4, slot_bytes=512).append(sample(50))
    assert TelemetryRing(path).latest() == sample(50)


def test_a_reader_sees_a_file_that_was_replaced(path: Path) -> None:
    reader = TelemetryRing(path)
    first = TelemetryRing(path, slots=4)
    first.append(sample(1))
    assert reader.latest() == sample(1)
    path.unlink()
    assert reader.latest() is None
    first.append(sample(2))
    assert reader.history(4) == [sample(2)], "the writer noticed that its file is gone, and made another"


def test_a_file_cut_short_under_its_writer_is_made_anew(path: Path) -> None:
    writer = TelemetryRing(path, slots=4)
    writer.append(sample(1))
    os.truncate(path, 5000)
    assert TelemetryRing(path).latest() is None
    writer.append(sample(2))
    assert TelemetryRing(path).latest() == sample(2)


def test_there_is_one_writer(path: Path) -> None:
    first = TelemetryRing(path)
    first.append(sample(1))
    with pytest.raises(BakehouseError) as caught:
        TelemetryRing(path).append(sample(2))
    assert caught.value.code == "ring_busy"
    first.close()
    TelemetryRing(path).append(sample(3))


def test_of_a_sample_too_large_for_a_slot_the_largest_holders_and_ours_stay(path: Path) -> None:
    crowd = tuple(ProcessReading(pid, "p" * 30, pid * 1000) for pid in range(1, 300))
    mine = ProcessReading(9999, "python3", 1, ours=True)
    TelemetryRing(path).append(sample(1, devices=(DeviceReading(0, "GPU", "amd"),), processes=(*crowd, mine)))
    latest = TelemetryRing(path).latest()
    assert latest is not None
    assert latest.processes[:2] == (mine, crowd[-1])
    assert len(latest.devices) == 1


def test_a_desktop_s_many_processes_fit_told_by_less(path: Path) -> None:
    crowd = tuple(
        ProcessReading(
            pid,
            "browser",
            pid * 1000,
            pci="0000:2b:00.0",
            gtt_bytes=4096,
            user="somebody",
            command="x" * 80,
            since=1.7e9,
        )
        for pid in range(4000, 4024)
    )
    sample = Sample(time=1.0, source="sysfs", host=HostReading(), processes=crowd)
    ring = TelemetryRing(path, slots=4)
    ring.append(sample)
    kept = ring.latest()
    assert kept is not None
    assert {process.pid for process in kept.processes} == {process.pid for process in crowd}
    assert [process.pid for process in kept.processes if process.command] == [4023, 4022, 4021, 4020]
    ring.close()


@pytest.mark.process
def test_a_reader_beside_a_racing_writer_never_sees_a_torn_sample(path: Path) -> None:
    """8 slots written as fast as it goes: the reader is lapped all the time, which is when slots tear."""
    writer = start_writer(path, 10**9)
    try:
        reader = TelemetryRing(path)
        seen: set[float] = set()
        while len(seen) < example_count(1000):
            history = reader.history(8)
            times = [item.time for item in history]
            assert times == sorted(set(times))
            for item in history:
                number = item.host.cpu_count
                assert number == item.time == item.devices[0].index
                assert item.devices[0].name == chr(97 + number % 26) * (number * 37 % 1200)
            seen.update(times)
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.process
def test_a_writer_killed_at_any_moment_leaves_whole_samples_and_the_next_goes_on(path: Path) -> None:
    last = 0.0
    for attempt in range(4):
        writer = start_writer(path, 10**9)
        time.sleep(0.03 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        latest = TelemetryRing(path).latest()
        assert latest is not None
        assert latest.devices[0].index == latest.time
        history = TelemetryRing(path, slots=8).history(8)
        assert latest == history[-1]
        last = latest.time
    following = TelemetryRing(path, slots=8, slot_bytes=2048)
    following.append(sample(int(last) + 1))
    assert [item.time for item in TelemetryRing(path).history(2)] == [last, last + 1]
