"""Which AMD cards the tree of files has: several, integrated, suspended, gone, and what is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.gpu.sources.sysfs import SysfsSource, find_cards
from tests.support.amd_tree import CARD, device_folder, plant, source, write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path)


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
