"""AMD cards are read from a tree of files; whatever lies in it, reading never raises and never invents a value."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gpu.sources.gpu_metrics import throttling
from core.gpu.sources.kfd import architecture
from core.gpu.sources.sysfs import SysfsSource, find_cards
from tests.support.depth import example_count

SAMPLES = Path(__file__).parents[3] / "shared/telemetry"

CARD: dict[str, Any] = {
    "vendor": "0x1002\n",
    "revision": "0xc8\n",
    "uevent": "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:7FFF\nPCI_SLOT_NAME=0000:2b:00.0\n",
    "product_name": "Test Card 24G\n",
    "power/runtime_status": "active\n",
    "mem_info_vram_total": "25753026560\n",
    "mem_info_vram_used": "7340032000\n",
    "mem_info_gtt_total": "33600000000\n",
    "mem_info_gtt_used": "48000000\n",
    "gpu_busy_percent": "93\n",
    "mem_busy_percent": "41\n",
    "pp_dpm_sclk": "0: 500Mhz \n1: 1310Mhz \n2: 2590Mhz *\n",
    "pp_dpm_mclk": "0: 96Mhz \n1: 772Mhz *\n2: 1375Mhz \n",
    # Version 1.3; the last word says why the card is throttled: here its package power and its hotspot.
    "gpu_metrics": struct.pack("<HBB108xQ", 120, 1, 3, 1 << 0 | 1 << 36),
    "hwmon/hwmon3/name": "amdgpu\n",
    "hwmon/hwmon3/power1_average": "231500000\n",
    "hwmon/hwmon3/power1_cap": "327000000\n",
    "hwmon/hwmon3/temp1_input": "58000\n",
    "hwmon/hwmon3/temp2_input": "76000\n",
    "hwmon/hwmon3/temp3_input": "82000\n",
    "hwmon/hwmon3/fan1_input": "1430\n",
    "hwmon/hwmon3/pwm1": "102\n",
    "hwmon/hwmon3/pwm1_max": "255\n",
}
KFD = {
    "topology/nodes/0/gpu_id": "0\n",
    "topology/nodes/1/gpu_id": "55123\n",
    "topology/nodes/1/properties": "cpu_cores_count 0\nsimd_count 96\ngfx_target_version 120001\nlocation_id 11008\ndomain 0\n",
    "proc/7001/vram_55123": "6100000000\n",
    "proc/7001/pasid": "32770\n",
    "proc/7002/vram_55123": "0\n",
}


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path / "sys/class/drm/card1/device", CARD)
    write(tmp_path / "sys/class/kfd/kfd", KFD)
    write(tmp_path / "proc", {"7001/comm": "python3\n", "7002/comm": "rocminfo\n"})
    return tmp_path


def source(tree: Path) -> SysfsSource:
    return SysfsSource(tree / "sys", tree / "proc")


def device_folder(tree: Path) -> Path:
    return tree / "sys/class/drm/card1/device"


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


def test_each_of_two_cards_has_its_own_architecture(tree: Path) -> None:
    second = {**CARD, "uevent": CARD["uevent"].replace("2b", "03")}
    write(tree / "sys/class/drm/card2/device", second)
    properties = "gfx_target_version 110000\nlocation_id 768\ndomain 0\n"
    write(tree / "sys/class/kfd/kfd/topology/nodes/2", {"gpu_id": "777\n", "properties": properties})
    devices, _ = source(tree).read()
    assert [(device.pci, device.architecture) for device in devices] == [
        ("0000:03:00.0", "gfx1100"),
        ("0000:2b:00.0", "gfx1201"),
    ]


def test_a_card_that_vanishes_between_two_readings_is_gone_and_the_other_is_read(tree: Path) -> None:
    reader = source(tree)
    write(tree / "sys/class/drm/card2/device", {**CARD, "uevent": CARD["uevent"].replace("2b", "03")})
    assert len(reader.read()[0]) == 2
    shutil.rmtree(device_folder(tree).parent)
    assert [device.pci for device in reader.read()[0]] == ["0000:03:00.0"]


def test_of_a_suspended_card_only_its_identity_and_the_total_seen_before_are_known(tree: Path) -> None:
    reader = source(tree)
    reader.read()
    (device_folder(tree) / "power/runtime_status").write_text("suspended\n")
    (card,), _ = reader.read()
    assert card.to_json() == {
        "index": 0,
        "name": "Test Card 24G",
        "vendor": "amd",
        "pci": "0000:2b:00.0",
        "vram_total_bytes": 25753026560,
        "architecture": "gfx1201",
        "integrated": False,
        "suspended": True,
    }


def test_a_suspended_card_is_not_opened_beyond_its_status(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (device_folder(tree) / "power/runtime_status").write_text("suspended\n")
    opened: list[str] = []
    real_open = os.open

    def spy(path: str | Path, *arguments: int, **options: int) -> int:
        opened.append(str(path))
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", spy)
    source(tree).read()
    read_of_card = {path.rpartition("card1/device/")[2] for path in opened if "card1/device" in path}
    assert read_of_card == {
        "vendor",
        "uevent",
        "product_name",
        "hwmon/hwmon3/name",
        "power/runtime_status",
    }


def test_a_bmc_a_connector_and_another_vendor_are_no_cards(tree: Path) -> None:
    drm = tree / "sys/class/drm"
    write(drm / "card0/device", {"vendor": "0x1a03\n", "uevent": "DRIVER=ast\nPCI_SLOT_NAME=0000:05:00.0\n"})
    write(drm / "card2/device", {"vendor": "0x10de\n", "uevent": "DRIVER=nvidia\nPCI_SLOT_NAME=0000:41:00.0\n"})
    write(drm / "card1-DP-1/device", CARD)
    write(drm / "renderD128/device", CARD)
    write(drm / "card3/device", {"vendor": "0x1002\n", "uevent": "DRIVER=radeon\nPCI_SLOT_NAME=0000:06:00.0\n"})
    assert [card.pci for card in find_cards(tree / "sys")] == ["0000:2b:00.0"]


def test_a_card_that_does_not_say_its_address_has_that_of_its_folder(tree: Path) -> None:
    folder = tree / "sys/devices/pci0000:00/0000:00:03.1/0000:2b:00.0"
    folder.parent.mkdir(parents=True)
    device_folder(tree).rename(folder)
    device_folder(tree).symlink_to(folder)
    (folder / "uevent").write_text("DRIVER=amdgpu\n")
    assert [card.pci for card in find_cards(tree / "sys")] == ["0000:2b:00.0"]


def test_the_integrated_gpu_comes_after_the_discrete_one_and_is_told_apart(tree: Path) -> None:
    integrated = {
        "vendor": "0x1002\n",
        "uevent": "DRIVER=amdgpu\nPCI_ID=1002:15ZZ\nPCI_SLOT_NAME=0000:0a:00.0\n",
        "mem_info_vram_total": "536870912\n",
        "mem_info_vram_used": "61000000\n",
        "hwmon/hwmon2/name": "amdgpu\n",
        "hwmon/hwmon2/in0_input": "900\n",
        "hwmon/hwmon2/in1_input": "800\n",
        "hwmon/hwmon2/temp1_input": "44000\n",
    }
    write(tree / "sys/class/drm/card0/device", integrated)
    devices, _ = source(tree).read()
    assert [(device.index, device.pci, device.integrated) for device in devices] == [
        (0, "0000:2b:00.0", False),
        (1, "0000:0a:00.0", True),
    ]
    assert [device.vram_total_bytes for device in devices] == [25753026560, 536870912]


def test_a_process_on_two_cards_is_listed_for_each(tree: Path) -> None:
    second = {**CARD, "uevent": CARD["uevent"].replace("2b", "03"), "product_name": "Second\n"}
    write(tree / "sys/class/drm/card2/device", second)
    write(
        tree / "sys/class/kfd/kfd",
        {
            "topology/nodes/2/gpu_id": "777\n",
            "topology/nodes/2/properties": "location_id 768\ndomain 0\n",
            "proc/7001/vram_777": "1000\n",
            "proc/7002/vram_777": "0\n",
        },
    )
    devices, processes = source(tree).read()
    assert [device.pci for device in devices] == ["0000:03:00.0", "0000:2b:00.0"]
    assert {(item.pid, item.pci, item.vram_bytes) for item in processes if item.vram_bytes} == {
        (7001, "0000:2b:00.0", 6100000000),
        (7001, "0000:03:00.0", 1000),
    }
    assert len([item for item in processes if item.pid == 7002]) == 1


def test_without_the_driver_it_is_not_available(tmp_path: Path) -> None:
    assert not SysfsSource(tmp_path / "sys", tmp_path / "proc").available()
    assert SysfsSource(tmp_path / "sys", tmp_path / "proc").read() == ([], [])


def test_the_roots_are_moved_by_the_environment(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_SYSFS", str(tree / "sys"))
    monkeypatch.setenv("BAKEHOUSE_PROCFS", str(tree / "proc"))
    devices, processes = SysfsSource().read()
    assert devices[0].name == "Test Card 24G"
    assert processes[0].name == "python3"


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
