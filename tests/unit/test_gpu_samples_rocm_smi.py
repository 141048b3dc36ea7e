"""Real outputs of rocm-smi: JSON, CSV and tables, and the reading that each must give."""

from __future__ import annotations

from typing import Any

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.sources.rocm_smi import parse_rocm_smi
from tests.support.telemetry_samples import (
    Row,
    amd,
    check_sample,
    memory,
    names_in,
    needs_samples,
    temperatures,
)

pytestmark = needs_samples

XT_7900 = amd(
    "Radeon RX 7900 XT", **memory(27_856_896, 21_458_059_264), busy_percent=0, architecture="gfx1100", integrated=False
)
STUBBED_MEMORY = memory(1_574_707_200, 17_095_983_104)
STUBBED = amd(
    "AMD GPU", **STUBBED_MEMORY, busy_percent=3, memory_busy_percent=1, power_watts=55, **temperatures(42, 45, 68)
)
STUBBED_PROCESSES = (
    ProcessReading(412345, "python3", 13_421_772_800),
    ProcessReading(398112, "llama-server", 734_003_200),
)
NOTHING = Row(fault="rocm-smi printed nothing")
NOT_INITIALISED = Row(said="Driver not initialized")
NOT_A_NUMBER = Row(said="ValueError: ")


def xt_6700(name: str, vram_used: int, gtt_used: int, **figures: Any) -> DeviceReading:
    usual: dict[str, Any] = {"power_watts": 6, "clock_mhz": 500}
    return amd(
        name,
        pci="0000:07:00.0",
        **memory(vram_used, 12_868_124_672, gtt_used, 16_792_432_640),
        busy_percent=0,
        memory_busy_percent=0,
        power_limit_watts=211,
        **temperatures(45, 47, 46),
        memory_clock_mhz=96,
        **usual | figures,
    )


def mi100(index: int, pci: str, gtt_used: int, watts: float, *degrees: float) -> DeviceReading:
    return amd(
        "Arcturus GL-XL [Instinct MI100]",
        index,
        pci=pci,
        **memory(6_782_976, 34_342_961_152, gtt_used, 135_048_462_336),
        busy_percent=0,
        memory_busy_percent=0,
        power_watts=watts,
        power_limit_watts=290,
        **temperatures(*degrees),
        clock_mhz=300,
        memory_clock_mhz=1200,
    )


NAVI_22 = "Navi 22 [Radeon RX 6700/6700 XT / 6800M]"
ROCM_SMI = {
    "7900xt_product_use_vram.csv": Row((XT_7900,)),
    "7900xt_product_use_vram.json": Row((XT_7900,)),
    **{
        f"RECONSTRUCTED_{version}_{kind}.json": Row((STUBBED,), STUBBED_PROCESSES if kind == "normal" else ())
        for version in ("rocm-5.0.0", "rocm-5.7.1", "rocm-6.0.2", "rocm-6.1.2", "rocm-6.2.2", "rsmi-4.0-202508")
        for kind in ("normal", "nopids")
    },
    **{
        f"RECONSTRUCTED_{version}_{file}": row
        for version in ("rocm-6.2.2", "rsmi-4.0-202508")
        for file, row in {
            "normal.csv": Row((STUBBED,)),
            "lowpower.json": Row((amd("AMD GPU", **STUBBED_MEMORY),)),
            "nodata.json": NOTHING,
            "nodata.stderr": NOT_A_NUMBER,
            "nodriver.json": NOTHING,
            "nodriver.stderr": NOT_INITIALISED,
        }.items()
    },
    "RECONSTRUCTED_rsmi-4.0-202508_lowpower.stderr": Row(said="data is inaccessible"),
    "RECONSTRUCTED_rocm-6.2.2_showpids_only.csv": Row((), STUBBED_PROCESSES),
    "RECONSTRUCTED_rocm-6.2.2_showpids_only.json": Row((), STUBBED_PROCESSES),
    "RECONSTRUCTED_rocm-6.2.2_weird.json": Row(
        (STUBBED,),
        (
            ProcessReading(4242, "web, content", 0),
            ProcessReading(4343, "tmux:, server", 0),
            ProcessReading(4444, "vllm::enginecor", 114_151_137_280),
            ProcessReading(4545, "python3", None),
        ),
    ),
    # The short table gives VRAM only as a share, so its bytes stay absent.
    "concise_rocm7.1.1_gfx1201_lowpower.txt": Row(
        (
            amd(
                "AMD GPU 7550",
                busy_percent=33,
                power_watts=41,
                power_limit_watts=330,
                **temperatures(54),
                clock_mhz=1626,
                memory_clock_mhz=1124,
                fan_percent=0,
            ),
            amd(
                "AMD GPU 7551",
                1,
                busy_percent=3,
                power_watts=48,
                power_limit_watts=300,
                **temperatures(45),
                clock_mhz=41,
                memory_clock_mhz=1124,
                fan_percent=24.71,
            ),
        )
    ),
    "device_range_error_rocm7.2.stderr": Row(said="invalid int value"),
    "driver_missing.stderr": NOT_INITIALISED,
    "no_json_data.stderr": Row(said="No JSON data"),
    "rx9070series_rocm-smi-a_EXCERPT.txt": Row(
        (
            amd(
                "AMD GPU",
                busy_percent=3,
                memory_busy_percent=2,
                power_watts=20,
                **temperatures(41, 43, 62),
                clock_mhz=41,
                memory_clock_mhz=96,
                fan_rpm=0,
                throttling=(),
            ),
        )
    ),
    "showpids_UNKNOWN_5.x.txt": Row(
        (), (ProcessReading(1304, "gunicorn"), ProcessReading(1423, "python"), ProcessReading(964, "flask"))
    ),
    # A row for each of its cards; the column GPU is their count, so which card it is stays absent.
    "showpids_details_rocm6.4.2_wrong_gpu_column.txt": Row(
        (),
        (
            ProcessReading(132174, "llama-server", 15_053_770_752),
            ProcessReading(132174, "llama-server", 16_869_904_384),
        ),
    ),
    "showpids_mi300_2025.txt": Row(
        (),
        (
            ProcessReading(3722222, "test_ref", 0),
            ProcessReading(3814512, "test_ref", 0),
            ProcessReading(1168514, "pt_main_thread", 177_386_942_464),
            ProcessReading(3714485, "test_ref", 0),
        ),
    ),
    "telegraf_mi100_rocm571.json": Row(
        (
            mi100(0, "0000:1e:00.0", 11_399_168, 39, 31, 34, 30),
            mi100(1, "0000:22:00.0", 11_366_400, 37, 30, 33, 38),
            mi100(2, "0000:3f:00.0", 11_366_400, 35, 31, 34, 31),
            mi100(3, "0000:43:00.0", 11_366_400, 39, 33, 35, 36),
            mi100(4, "0000:46:00.0", 11_366_400, 39, 32, 34, 38),
            mi100(5, "0000:49:00.0", 11_366_400, 40, 33, 35, 38),
        ),
        (ProcessReading(104225, "mlir-cpu-runner", 0),),
    ),
    # 4.3 prints numbers for the card's names.
    "telegraf_rx6700xt_rocm430.json": Row((xt_6700("AMD GPU 73DF", 1_622_728_704, 244_150_272),)),
    "telegraf_rx6700xt_rocm571.json": Row((xt_6700(NAVI_22, 1_564_491_776, 248_328_192),)),
    "telegraf_rx6700xt_rocm602.json": Row((xt_6700(NAVI_22, 1_572_757_504, 242_049_024, power_watts=None),)),
    "telegraf_rx6700xt_rocm612.json": Row(
        (xt_6700(NAVI_22, 1_572_745_216, 242_036_736, clock_mhz=0, architecture="gfx1031"),)
    ),
}


@pytest.mark.parametrize("name", ROCM_SMI)
def test_a_sample_is_read_as_what_it_holds(name: str) -> None:
    check_sample(f"rocm-smi/{name}", parse_rocm_smi, ROCM_SMI[name])


def test_every_sample_has_its_row() -> None:
    assert names_in("rocm-smi") == set(ROCM_SMI)
