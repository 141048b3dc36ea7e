"""Real outputs of nvidia-smi, CSV and XML, and the reading that each must give."""

from __future__ import annotations

import pytest

from core.gpu.reading import ProcessReading
from tests.support.telemetry_samples import (
    MIB,
    Row,
    check_sample,
    memory,
    names_in,
    needs_samples,
    nvidia,
    temperatures,
)
from tests.support.tool_samples import read_nvidia_smi

pytestmark = needs_samples

# Bakehouse asks nvidia-smi for no CSV without its header.
NEVER_ASKED_FOR = {
    "RECONSTRUCTED_query-compute-apps_noheader_nounits.csv",
    "query-gpu_noheader_nounits_4xA10.csv",
    "query-gpu_noheader_nounits_NA.csv",
}

NVIDIA = {
    "RECONSTRUCTED_query-compute-apps_header.csv": Row((), (ProcessReading(412345, None, 12800 * MIB),)),
    "query-gpu_header_units.csv": Row(
        (
            nvidia(
                "GeForce GTX 1080 Ti",
                **memory(10356 * MIB, 11175 * MIB),
                **temperatures(67),
                busy_percent=100,
                power_watts=280.72,
                clock_mhz=1885,
                memory_clock_mhz=5508,
                fan_percent=37,
            ),
            nvidia(
                "GeForce GTX 1060 6GB",
                1,
                **memory(5479 * MIB, 6078 * MIB),
                **temperatures(64),
                busy_percent=100,
                power_watts=121.51,
                clock_mhz=1746,
                memory_clock_mhz=3802,
                fan_percent=40,
            ),
        )
    ),
    # In MIG parts: no utilisation, and the memory is that of the whole card.
    "telegraf_a100-sxm4-v12.xml": Row(
        (
            nvidia(
                "NVIDIA A100-SXM4-80GB",
                pci="0000:01:00.0",
                **memory(50 * MIB, 81920 * MIB),
                **temperatures(27, None, 44),
                power_watts=67.03,
                power_limit_watts=500,
                clock_mhz=1275,
                memory_clock_mhz=1593,
                throttling=(),
            ),
        )
    ),
    "telegraf_rtx-3080-v13.xml": Row(
        (
            nvidia(
                "NVIDIA GeForce RTX 3080",
                pci="0000:0c:00.0",
                **memory(9184 * MIB, 10240 * MIB),
                **temperatures(27),
                busy_percent=65,
                memory_busy_percent=9,
                power_watts=139.62,
                power_limit_watts=320,
                clock_mhz=1950,
                memory_clock_mhz=9251,
                fan_percent=0,
                throttling=(),
            ),
        )
    ),
}


@pytest.mark.parametrize("name", NVIDIA)
def test_a_sample_is_read_as_what_it_holds(name: str) -> None:
    check_sample(f"nvidia/{name}", read_nvidia_smi, NVIDIA[name])


def test_every_sample_has_its_row() -> None:
    assert names_in("nvidia") == set(NVIDIA) | NEVER_ASKED_FOR
