"""Real outputs of amd-smi's metric, monitor and process as JSON, and the reading that each must give."""

from __future__ import annotations

import pytest

from core.gpu.reading import ProcessReading
from tests.support.telemetry_samples import (
    GIB,
    MIB,
    Row,
    amd,
    check_sample,
    memory,
    names_in,
    needs_samples,
    temperatures,
)
from tests.support.tool_samples import read_amd_smi

pytestmark = needs_samples

# Bakehouse asks amd-smi for nothing without --json.
NEVER_ASKED_FOR = {
    "monitor_and_process_rocm6.4.0.txt",
    "monitor_q_rocm6.2.txt",
    "monitor_watch_rocm6.3_EXCERPT.txt",
}

MEASURED = Row((amd("AMD GPU", **memory(1501 * MIB, 16304 * MIB, 61 * MIB, 31833 * MIB)),))
AMD_SMI = {
    "RECONSTRUCTED_error_device_not_found.json": Row(fault="Can not find a device: GPU '123123' (code -3)"),
    "RECONSTRUCTED_error_permission.json": Row(fault="Permission Denied' (code -1010)"),
    "RECONSTRUCTED_error_rocm7plus_prefixed.txt": Row(fault="Can not find a device: GPU '123123' (code -3)"),
    "RECONSTRUCTED_metric_mem-usage_rocm6.json": MEASURED,
    "RECONSTRUCTED_metric_mem-usage_rocm7.json": MEASURED,
    "RECONSTRUCTED_monitor_default_rocm7.json": Row(
        (
            amd(
                "AMD GPU",
                **memory(round(1.5 * GIB), round(15.9 * GIB)),
                busy_percent=3,
                memory_busy_percent=1,
                power_watts=55,
                **temperatures(None, 45, 68),
                clock_mhz=41,
            ),
        )
    ),
    "RECONSTRUCTED_monitor_v_rocm7.json": Row((amd("AMD GPU", **memory(1501 * MIB, 16304 * MIB)),)),
    "device_not_found_rocm6.2.txt": Row(fault="Can not find a device: GPU '123123' Error code: -3"),
    "import_error_pypi_7.0.2_no_rocm.txt": Row(fault="libamd_smi.so: cannot open shared object file"),
    "metric_power_rocm6.1.json": Row((amd("AMD GPU", power_watts=10, throttling=()),)),
    # Cut in the middle: what stands before the cut is read.
    "metric_usage_w7700_2025-04_EXCERPT.txt": Row((amd("AMD GPU", busy_percent=42, memory_busy_percent=1),)),
    # `mem_usage` alone is not VRAM: `monitor -q` of ROCm 6.4 shows 0 B of it beside 1.9 GB of VRAM.
    "process_multi_rocm6.2.json": Row((), (ProcessReading(420157, "TransferBench"), ProcessReading(420315, "rvs"))),
    "process_sort_by_pid_2026_EXCERPT.json.txt": Row(
        (),
        (
            ProcessReading(2168274, "python3.12", 48_000, gtt_bytes=6_180_000),
            ProcessReading(2168274, "python3.12", 65_588_000, gtt_bytes=6_180_000),
        ),
    ),
}


@pytest.mark.parametrize("name", AMD_SMI)
def test_a_sample_is_read_as_what_it_holds(name: str) -> None:
    check_sample(f"amd-smi/{name}", read_amd_smi, AMD_SMI[name])


def test_every_sample_has_its_row() -> None:
    assert names_in("amd-smi") == set(AMD_SMI) | NEVER_ASKED_FOR
