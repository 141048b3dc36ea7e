"""`telemetry.jsonl` of an attempt: its lines, its totals, and how they go on after a runner's death."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.files import read_lines
from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.home import AttemptDir
from core.telemetry.run_record import Summary, TelemetryRecord, read_summary

PCI = "0000:2b:00.0"
GB = 1_000_000_000


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    return AttemptDir(tmp_path)


def sample(time: float, processes: tuple[ProcessReading, ...] = (), **figures: Any) -> Sample:
    return Sample(time, "sysfs", HostReading(), (DeviceReading(0, "Stand-in", "amd", PCI, **figures),), processes)


def lines(attempt: AttemptDir) -> list[dict[str, Any]]:
    return [line for line, _ in read_lines(attempt.telemetry)]


def test_each_sample_is_a_line_with_its_figures_and_what_is_not_known_is_absent(attempt: AttemptDir) -> None:
    record = TelemetryRecord(attempt)
    ours = ProcessReading(41, "python", 9 * GB, ours=True, pci=PCI)
    worker = ProcessReading(42, "python", GB, ours=True)
    elsewhere = ProcessReading(43, "python", GB, ours=True, pci="0000:2f:00.0")
    other = ProcessReading(44, "ollama", 2 * GB, pci=PCI)
    record.add(sample(100.0, (ours, worker, elsewhere, other), vram_used_bytes=12 * GB, busy_percent=50.0))
    assert lines(attempt) == [
        {
            "time": 100.0,
            "vram_used_bytes": 12 * GB,
            "job_vram_bytes": 10 * GB,
            "busy_percent": 50.0,
            "peak_vram_bytes": 12 * GB,
            "peak_job_vram_bytes": 10 * GB,
            "busy_covered_seconds": 0.0,
            "seconds": 0.0,
        }
    ]


def test_peaks_energy_and_mean_busy_of_an_hour(attempt: AttemptDir) -> None:
    record = TelemetryRecord(attempt)
    assert record.summary() is None
    for second in range(3601):
        busy, watts = (100.0, 250.0) if second < 1800 else (50.0, 150.0)
        used = 14 * GB if second == 700 else 11 * GB
        record.add(sample(1000.0 + second, vram_used_bytes=used, busy_percent=busy, power_watts=watts))
    summary = record.summary()
    assert summary is not None
    assert summary.peak_vram_bytes == 14 * GB
    assert summary.seconds == 3600
    assert summary.energy_wh == pytest.approx(200.0, rel=1e-3)
    assert summary.mean_busy_percent == pytest.approx(75.0, rel=1e-3)
    assert summary.peak_job_vram_bytes is None and summary.peak_gtt_bytes is None
    assert read_summary(attempt) == summary
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_over_a_gap_nothing_is_integrated_and_the_clock_going_back_takes_nothing_away(attempt: AttemptDir) -> None:
    record = TelemetryRecord(attempt)
    for time in (0.0, 1.0, 601.0, 602.0, 300.0, 301.0):
        record.add(sample(time, power_watts=100.0))
    summary = record.summary()
    assert summary is not None
    assert summary.seconds == 3.0
    assert summary.energy_joules == pytest.approx(300.0)


def test_power_that_is_missing_for_a_while_is_not_taken_for_zero(attempt: AttemptDir) -> None:
    record = TelemetryRecord(attempt)
    for second, watts in enumerate([100.0, 100.0, None, None, 100.0, 100.0]):
        record.add(sample(float(second), power_watts=watts, busy_percent=None if watts is None else 80.0))
    summary = record.summary()
    assert summary is not None
    assert (summary.seconds, summary.energy_joules, summary.mean_busy_percent) == (5.0, pytest.approx(200.0), 80.0)


def test_the_next_runner_goes_on_from_the_last_whole_line(attempt: AttemptDir) -> None:
    first = TelemetryRecord(attempt)
    for second in range(11):
        first.add(sample(float(second), vram_used_bytes=9 * GB - second, power_watts=60.0))
    with attempt.telemetry.open("ab") as file:
        file.write(b'{"time":11.0,"vram_used_bytes":99999999999,"peak_vr')

    second_runner = TelemetryRecord(attempt)
    second_runner.add(sample(12.0, vram_used_bytes=4 * GB, power_watts=60.0))

    summary = read_summary(attempt)
    assert summary is not None
    assert summary.peak_vram_bytes == 9 * GB
    assert summary.energy_joules == pytest.approx(12 * 60.0)
    assert [line["time"] for line in lines(attempt)] == [*map(float, range(11)), 12.0]


def test_a_file_of_something_else_or_none_is_no_fault(attempt: AttemptDir) -> None:
    assert read_summary(attempt) is None
    attempt.telemetry.write_text('[1]\n{"no": "time"}\nnonsense\n\n{"time": NaN}\n')
    assert read_summary(attempt) is None
    attempt.telemetry.write_text('{"time": 5.0, "peak_vram_bytes": "much", "energy_joules": true, "seconds": 4}\n')
    assert read_summary(attempt) == Summary(seconds=4)


def test_without_a_gpu_or_while_it_sleeps_nothing_is_written(attempt: AttemptDir) -> None:
    record = TelemetryRecord(attempt)
    record.add(Sample(1.0, "none", HostReading()))
    record.add(sample(2.0, suspended=True))
    assert not attempt.telemetry.exists() and record.summary() is None


def test_a_line_is_short_enough_for_a_night(attempt: AttemptDir) -> None:
    record = TelemetryRecord(attempt)
    everything = {
        "vram_used_bytes": 15 * GB,
        "gtt_used_bytes": GB,
        "busy_percent": 98.0,
        "memory_busy_percent": 61.0,
        "power_watts": 263.125,
        "temperature_edge_c": 61.0,
        "temperature_hotspot_c": 83.0,
        "temperature_memory_c": 78.0,
        "clock_mhz": 2310,
    }
    for second in range(100):
        record.add(sample(1.7e9 + second, (ProcessReading(7, "python", 14 * GB, True, PCI),), **everything))
    assert attempt.telemetry.stat().st_size / 100 * 12 * 3600 < 25_000_000
