"""AMD cards are read from a tree of files; whatever lies in it, reading never raises and never invents a value."""

from __future__ import annotations

import shutil
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gpu.sources.gpu_metrics import throttling
from core.gpu.sources.kfd import architecture
from tests.support.amd_tree import CARD, KFD, device_folder, plant, source, write
from tests.support.depth import example_count

SAMPLES = Path(__file__).parents[3] / "shared/telemetry"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path)


def test_a_card_gives_all_its_figures_in_the_units_of_their_names(tree: Path) -> None:
    (card,), _ = source(tree).read()
    assert card.to_json() == {
        "index": 0,
        "name": "Test Card 24G",
        "vendor": "amd",
        "pci": "0000:2b:00.0",
        "vram_total_bytes": 25753026560,
        "vram_used_bytes": 7340032000,
        "gtt_total_bytes": 33600000000,
        "gtt_used_bytes": 48000000,
        "busy_percent": 93,
        "memory_busy_percent": 41,
        "power_watts": 231.5,
        "power_limit_watts": 327.0,
        "temperature_edge_c": 58.0,
        "temperature_hotspot_c": 76.0,
        "temperature_memory_c": 82.0,
        "clock_mhz": 2590,
        "memory_clock_mhz": 772,
        "fan_percent": 40.0,
        "fan_rpm": 1430,
        "throttling": ("thermal", "power"),
        "architecture": "gfx1201",
        "integrated": False,
        "suspended": False,
    }


def test_a_gpu_inside_the_processor_has_no_fan_of_its_own(tree: Path) -> None:
    write(device_folder(tree), {"hwmon/hwmon3/in1_input": "900\n", "hwmon/hwmon3/pwm1": "0\n"})
    (card,), _ = source(tree).read()
    assert (card.integrated, card.fan_percent) == (True, None)


def test_a_clock_with_all_bits_set_is_none(tree: Path) -> None:
    write(device_folder(tree), {"pp_dpm_sclk": "0: 65535Mhz *\n", "pp_dpm_mclk": "S: 12Mhz *\n0: 65535Mhz\n"})
    (card,), _ = source(tree).read()
    assert (card.clock_mhz, card.memory_clock_mhz) == (None, 12)


def test_compute_processes_come_from_kfd_with_their_card_and_name(tree: Path) -> None:
    _, processes = source(tree).read()
    assert [(item.pid, item.name, item.vram_bytes, item.pci) for item in processes] == [
        (7001, "python3", 6100000000, "0000:2b:00.0"),
        (7002, "rocminfo", 0, "0000:2b:00.0"),
    ]


def test_a_process_whose_pid_is_not_of_this_container_has_no_name(tree: Path) -> None:
    shutil.rmtree(tree / "proc")
    _, processes = source(tree).read()
    assert [item.name for item in processes] == [None, None]


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("mem_info_vram_used", "vram_used_bytes"),
        ("mem_info_gtt_used", "gtt_used_bytes"),
        ("gpu_busy_percent", "busy_percent"),
        ("mem_busy_percent", "memory_busy_percent"),
        ("hwmon/hwmon3/power1_average", "power_watts"),
        ("hwmon/hwmon3/temp3_input", "temperature_memory_c"),
        ("pp_dpm_sclk", "clock_mhz"),
        ("pp_dpm_mclk", "memory_clock_mhz"),
        ("hwmon/hwmon3/fan1_input", "fan_rpm"),
        ("gpu_metrics", "throttling"),
        ("hwmon/hwmon3/pwm1", "fan_percent"),
    ],
)
@pytest.mark.parametrize("content", [None, "", "N/A", "12abc", "-5000000", "9" * 40, "٣"])
def test_a_missing_or_mistyped_value_is_none_and_the_others_stay(
    tree: Path, file: str, field: str, content: str | None
) -> None:
    path = device_folder(tree) / file
    path.unlink() if content is None else path.write_text(content)
    (card,), _ = source(tree).read()
    assert getattr(card, field) is None
    assert card.vram_total_bytes == 25753026560


def test_power_is_read_from_the_other_file_where_the_card_has_only_that(tree: Path) -> None:
    hwmon = device_folder(tree) / "hwmon/hwmon3"
    (hwmon / "power1_average").rename(hwmon / "power1_input")
    (card,), _ = source(tree).read()
    assert card.power_watts == 231.5


def test_the_clock_of_deep_sleep_is_a_clock(tree: Path) -> None:
    (device_folder(tree) / "pp_dpm_sclk").write_text("S: 24Mhz *\n0: 500Mhz\n1: 2590Mhz\n")
    (card,), _ = source(tree).read()
    assert card.clock_mhz == 24


def test_the_clock_between_two_levels_is_hwmon_s(tree: Path) -> None:
    device = device_folder(tree)
    write(device, {"pp_dpm_sclk": "0: 500Mhz\n1: 2590Mhz\n", "pp_dpm_mclk": "0: 96Mhz\n1: 1375Mhz\n"})
    write(device / "hwmon/hwmon3", {"freq1_label": "sclk\n", "freq1_input": "1804000000\n"})
    write(device / "hwmon/hwmon3", {"freq2_label": "mclk\n", "freq2_input": "1124000000\n"})
    (card,), _ = source(tree).read()
    assert (card.clock_mhz, card.memory_clock_mhz) == (1804, 1124)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, ()),
        (1 << 0, ("power",)),  # PPT0
        (1 << 7, ("power",)),  # SPPT of the processor
        (1 << 16 | 1 << 22, ("current",)),  # TDC and EDC of the shaders
        (1 << 34, ("thermal",)),  # memory
        (1 << 36 | 1 << 3, ("thermal", "power")),
        (1 << 44, ("thermal",)),  # a hot regulator
        (1 << 47, ("thermal",)),  # PROCHOT
        (1 << 57, ("other",)),  # reliability
        (2**64 - 1, None),  # what the firmware does not fill
    ],
)
@pytest.mark.parametrize(
    ("version", "before"), [((1, 3), 108), ((2, 2), 116), ((2, 3), 116), ((2, 4), 116)], ids=lambda value: str(value)
)
def test_the_reasons_of_throttling_are_read_from_each_known_table(
    status: int, said: tuple[str, ...] | None, version: tuple[int, int], before: int
) -> None:
    table = struct.pack(f"<HBB{before}xQ", before + 12, *version, status)
    assert throttling(table) == said
    assert throttling(table[:-1]) is None, "cut"
    assert throttling(struct.pack("<H", 40) + table[2:]) is None, "shorter by its own word"


@pytest.mark.parametrize("version", [(0, 0), (1, 0), (1, 1), (1, 4), (1, 8), (2, 1), (3, 0), (9, 9)])
def test_of_a_table_of_another_version_nothing_is_guessed(version: tuple[int, int]) -> None:
    assert throttling(struct.pack("<HBB4096s", 4100, *version, b"\xff" * 4096)) is None


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (120001, "gfx1201"),
        (120000, "gfx1200"),
        (110501, "gfx1151"),
        (110003, "gfx1103"),
        (100306, "gfx1036"),
        (90010, "gfx90a"),
        (90402, "gfx942"),
        (90006, "gfx906"),
        (80003, "gfx803"),
        (0, None),
        (7, None),
        (10**19, None),
    ],
)
def test_the_architecture_has_llvm_s_name(target: int, name: str | None) -> None:
    assert architecture(target) == name


FILES = [*(f"sys/class/drm/card1/device/{name}" for name in CARD), *(f"sys/class/kfd/kfd/{name}" for name in KFD)]
hostile = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(lambda text: text.encode()),
    st.integers(-(2**70), 2**70).map(lambda number: f"{number}\n".encode()),
    st.sampled_from(
        [
            struct.pack("<HBB", 120, 1, 3),
            b"\n",
            b"\0" * 50,
            b"=\n==\n=",
            b"PCI_SLOT_NAME=\n",
            b"location_id x\n",
            b"S: Mhz *",
            b"nan",
            b"1e9",
        ]
    ),
)


@settings(max_examples=example_count(200))
@given(
    changes=st.dictionaries(st.sampled_from(FILES), st.one_of(hostile, st.just("cut"), st.just("folder")), max_size=8)
)
def test_no_content_of_the_files_makes_reading_raise(changes: dict[str, bytes | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        write(tree / "sys/class/drm/card1/device", CARD)
        write(tree / "sys/class/kfd/kfd", KFD)
        for name, change in changes.items():
            path = tree / name
            if change == "cut":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            elif change == "folder":
                path.unlink()
                path.mkdir()
            else:
                path.write_bytes(change if isinstance(change, bytes) else change.encode())
        reader = source(tree)
        reader.available()
        devices, processes = reader.read()
        for device in devices:
            assert device.busy_percent is None or 0 <= device.busy_percent <= 100
            assert device.vram_used_bytes is None or device.vram_used_bytes >= 0
            assert device.temperature_edge_c is None or -60 <= device.temperature_edge_c <= 200
        assert all(process.vram_bytes is not None and process.vram_bytes >= 0 for process in processes)


needs_samples = pytest.mark.skipif(
    not (SAMPLES / "sysfs/rx9070xt/card1").is_dir(), reason="the telemetry samples are not beside this checkout"
)


@needs_samples
def test_the_sample_of_an_rx_9070_xt_is_read_to_the_values_it_holds(tmp_path: Path) -> None:
    card = tmp_path / "sys/class/drm/card1"
    shutil.copytree(SAMPLES / "sysfs/rx9070xt/card1", card, symlinks=True)
    shutil.copytree(SAMPLES / "sysfs/RECONSTRUCTED_rx9070xt_meminfo", card / "device", dirs_exist_ok=True)
    (device,), processes = source(tmp_path).read()
    assert device.to_json() | {"name": ""} == {
        "index": 0,
        "name": "",
        "vendor": "amd",
        "pci": "0000:0f:00.0",
        "vram_total_bytes": 17095983104,
        "vram_used_bytes": 1574707200,
        "gtt_total_bytes": 33379352576,
        "gtt_used_bytes": 64163840,
        "busy_percent": 3,
        "memory_busy_percent": 1,
        "power_watts": 55.0,
        "power_limit_watts": 120.0,
        "temperature_edge_c": 42.0,
        "temperature_hotspot_c": 45.0,
        "temperature_memory_c": 68.0,
        "clock_mhz": 19,
        "memory_clock_mhz": 1258,
        "fan_percent": 31.8,
        "fan_rpm": 896,
        "integrated": False,
        "suspended": False,
    }
    assert processes == []


@needs_samples
def test_the_sample_of_that_card_without_its_memory_files_leaves_them_unknown(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "sysfs/rx9070xt/card1", tmp_path / "sys/class/drm/card1", symlinks=True)
    (device,), _ = source(tmp_path).read()
    assert (device.vram_total_bytes, device.vram_used_bytes, device.gtt_used_bytes) == (None, None, None)
    assert device.busy_percent == 3


@needs_samples
def test_the_sample_of_kfd_gives_the_process_and_its_bytes(tree: Path) -> None:
    shutil.rmtree(tree / "sys/class/kfd/kfd/proc")
    shutil.copytree(SAMPLES / "kfd/RECONSTRUCTED_proc", tree / "sys/class/kfd/kfd/proc")
    _, (process,) = source(tree).read()
    assert (process.pid, process.vram_bytes, process.pci) == (412345, 13421772800, None)
