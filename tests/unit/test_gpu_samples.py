"""What real outputs of the tools hold: each sample of the folder `telemetry`, and the reading it must give.

The samples are other people's data and lie outside the project; where they are not, these tests are left out, and the
formats are covered by those of each source, with numbers of the project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.rocm_smi import parse_rocm_smi
from core.gpu.sources.tool import ToolOutput
from tests.support.othertools import parse_amdgpu_top, parse_nvtop
from tests.support.tool_samples import Parsed, read_amd_smi, read_nvidia_smi

TELEMETRY = Path(__file__).parents[2].parent / "shared/telemetry"
# Files of the kernel: their table is that of test_gpu_samples_kernel.py.
KERNEL_FOLDERS = ("sysfs", "kfd", "fdinfo", "dmesg")
# Forms that Bakehouse asks no tool for: amd-smi without --json, CSV of nvidia-smi without its header.
NEVER_ASKED_FOR = {
    "amd-smi/monitor_and_process_rocm6.4.0.txt",
    "amd-smi/monitor_q_rocm6.2.txt",
    "amd-smi/monitor_watch_rocm6.3_EXCERPT.txt",
    "nvidia/RECONSTRUCTED_query-compute-apps_noheader_nounits.csv",
    "nvidia/query-gpu_noheader_nounits_4xA10.csv",
    "nvidia/query-gpu_noheader_nounits_NA.csv",
}
MIB, GIB = 2**20, 2**30

pytestmark = pytest.mark.skipif(not TELEMETRY.is_dir(), reason="the samples are not at hand")


@dataclass(frozen=True)
class Row:
    """What a sample holds. `fault`: words of the error that takes a reading's place; `said`: of what its stderr tells."""

    devices: tuple[DeviceReading, ...] = ()
    processes: tuple[ProcessReading, ...] = ()
    fault: str | None = None
    said: str | None = None


def amd(name: str, index: int = 0, **figures: Any) -> DeviceReading:
    return DeviceReading(index, name, "amd", **figures)


def nvidia(name: str, index: int = 0, **figures: Any) -> DeviceReading:
    return DeviceReading(index, name, "nvidia", **figures)


def temperatures(edge: float | None, hotspot: float | None = None, memory: float | None = None) -> dict[str, Any]:
    figures = {"temperature_edge_c": edge, "temperature_hotspot_c": hotspot, "temperature_memory_c": memory}
    # Only a card has the hotspot's sensor, not a GPU inside the processor.
    return figures if hotspot is None else figures | {"integrated": False}


def memory(used: int, total: int, gtt_used: int | None = None, gtt_total: int | None = None) -> dict[str, Any]:
    figures = {"vram_used_bytes": used, "vram_total_bytes": total}
    return figures | ({} if gtt_total is None else {"gtt_used_bytes": gtt_used, "gtt_total_bytes": gtt_total})


# rocm-smi --json, --csv, and its tables.

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

# amd-smi metric, monitor and process.

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

# nvidia-smi, CSV and XML.

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

# amdgpu_top and nvtop, for comparison.


def clients(pci: str, *rows: tuple[int, str, int, int]) -> tuple[ProcessReading, ...]:
    return tuple(ProcessReading(pid, name, vram * MIB, pci=pci, gtt_bytes=gtt * MIB) for pid, name, vram, gtt in rows)


def raphael(index: int, used: int, gtt: tuple[int, int], edge: float, clock: int) -> DeviceReading:
    return amd(
        "AMD Radeon Graphics",
        index,
        pci="0000:13:00.0",
        **memory(used, 512 * MIB, *gtt),
        busy_percent=0,
        **temperatures(edge),
        clock_mhz=clock,
        memory_clock_mhz=3000,
        throttling=(),
        architecture="gfx1036",
        integrated=True,
        suspended=False,
    )


OTHER = {
    "amdgpu_top_0.11.5_sample.json": Row(
        (
            raphael(0, 482_959_360, (975_273_984, 16_360_796_160), 43, 600),
            amd("AMD Radeon RX 9060 XT", 1, pci="0000:03:00.0", suspended=True),
        ),
        clients(
            "0000:13:00.0",
            (13180, "python3", 0, 4),
            (20083, "konsole", 0, 8),
            (23404, "amdgpu_top", 0, 2),
            (2892, "Xwayland", 18, 37),
            (3011, "ksmserver", 6, 6),
            (3013, "kded6", 4, 4),
            (3065, "plasmashell", 160, 75),
            (3140, "kaccess", 6, 6),
            (3325, "DiscoverNotifie", 4, 4),
            (3326, "kalendarac", 4, 4),
            (3331, "kup-daemon", 4, 4),
            (3624, "kdeconnectd", 4, 4),
            (5177, "firefox-esr", 73, 736),
            (5426, "RDD Process", 9, 18),
            (5652, "plasma-browser-", 4, 4),
        ),
    ),
    "amdgpu_top_dump_gfx1200.json": Row(
        (
            amd(
                "AMD Radeon RX 9060 XT",
                pci="0000:03:00.0",
                **memory(8_908_738_560, 17_095_983_104, 36_769_792, 16_360_906_752),
                busy_percent=100,
                memory_busy_percent=38,
                power_watts=155,
                power_limit_watts=164,
                **temperatures(50, 71, 75),
                clock_mhz=2996,
                memory_clock_mhz=1258,
                fan_rpm=1755,
                throttling=("power",),
                architecture="gfx1200",
                suspended=False,
            ),
            raphael(1, 487_604_224, (1_627_893_760, 16_360_906_752), 51, 2200),
        )
    ),
    "nvtop_snapshot_beszel.json": Row(
        (
            nvidia(
                "NVIDIA GeForce RTX 3050 Ti Laptop GPU",
                **memory(349_372_416, 4096 * MIB),
                **temperatures(48),
                busy_percent=5,
                power_watts=13,
                clock_mhz=1485,
                memory_clock_mhz=6001,
            ),
            amd(
                "AMD Radeon 680M",
                1,
                **memory(1_213_784_064, 16_929_173_504),
                **temperatures(48),
                busy_percent=12,
                power_watts=9,
                clock_mhz=2200,
                memory_clock_mhz=2400,
            ),
        )
    ),
}

TABLES = {"rocm-smi": ROCM_SMI, "amd-smi": AMD_SMI, "nvidia": NVIDIA, "other": OTHER}
ROWS = {f"{folder}/{name}": row for folder, table in TABLES.items() for name, row in table.items()}


def parser(file: str) -> Callable[[str], Parsed]:
    folder, _, name = file.partition("/")
    if folder == "other":
        return parse_nvtop if name.startswith("nvtop") else parse_amdgpu_top
    return {"rocm-smi": parse_rocm_smi, "amd-smi": read_amd_smi, "nvidia": read_nvidia_smi}[folder]


@pytest.mark.parametrize("file", ROWS)
def test_a_sample_is_read_as_what_it_holds(file: str) -> None:
    output, row = (TELEMETRY / file).read_text(encoding="utf-8"), ROWS[file]
    if row.fault is not None or row.said is not None:
        with pytest.raises(SourceError, match=r"printed no|amd-smi: ") as fault:
            parser(file)(output)
        assert row.fault is None or row.fault in str(fault.value)
        assert row.said is None or row.said in ToolOutput("", output, 0).said
        return
    devices, processes = parser(file)(output)
    assert devices == row.devices
    assert processes == row.processes


def test_every_sample_has_its_row() -> None:
    files = {str(path.relative_to(TELEMETRY)) for path in TELEMETRY.rglob("*") if path.is_file()}
    ours = {file for file in files if file.partition("/")[0] not in KERNEL_FOLDERS and file != "README.md"}
    assert ours == set(ROWS) | NEVER_ASKED_FOR
