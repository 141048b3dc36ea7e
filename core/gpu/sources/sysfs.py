"""AMD cards through the files of the amdgpu driver: `/sys/class/drm` and its hwmon; their processes from KFD and fdinfo.

`cardN` says nothing: a BMC or the processor's own GPU may be card0. Cards are found by vendor and driver, named by
their PCI address, and listed discrete ones first. Units in sysfs: bytes, percent, µW, m°C, Hz.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import procfs_root, sysfs_root
from core.gpu.sources.amd_processes import merge
from core.gpu.sources.fdinfo import FdinfoScanner
from core.gpu.sources.gpu_metrics import throttling
from core.gpu.sources.kernel_file import names, read_bytes, read_int, read_line, read_text, read_uevent
from core.gpu.sources.kfd import kfd_nodes, read_kfd_processes

AMD_VENDOR = "0x1002"
_CARD = re.compile(r"card[0-9]{1,4}")
_ACTIVE_CLOCK = re.compile(r"^\s*[0-9A-Z]+:\s*([0-9]{1,6})\s*mhz\s*\*", re.MULTILINE | re.IGNORECASE)
_PCI_SLOT = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_MARKETING_NAMES = Path("/usr/share/libdrm/amdgpu.ids")
# A sensor that is not there may answer with absolute zero; no card lives above 200 °C.
_TEMPERATURE_RANGE = (-60_000, 200_000)
_MHZ_LIMIT = 60_000
_RPM_LIMIT = 30_000


@dataclass(frozen=True)
class CardFiles:
    """Where one card's files lie, and what it is."""

    device: Path
    hwmon: Path | None
    pci: str | None
    name: str
    integrated: bool | None


class SysfsSource:
    """Reads every amdgpu card. A file that is missing, cut or mistyped makes its value None and nothing else."""

    name = "sysfs"

    def __init__(self, sysfs: Path | None = None, procfs: Path | None = None) -> None:
        self.sysfs = sysfs_root() if sysfs is None else sysfs
        self.procfs = procfs_root() if procfs is None else procfs
        self._vram_totals: dict[str, int] = {}
        self._clients = FdinfoScanner(self.procfs)

    def available(self) -> bool:
        return bool(find_cards(self.sysfs))

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        nodes = kfd_nodes(self.sysfs)
        architectures = {node.pci: node.architecture for node in nodes if node.pci is not None}
        devices = [
            self._read_card(index, card, architectures.get(card.pci or ""))
            for index, card in enumerate(find_cards(self.sysfs))
        ]
        compute = read_kfd_processes(self.sysfs, self.procfs, nodes)
        clients = self._clients.read({process.pid for process in compute}) if devices else []
        return devices, merge(compute, clients, self.sysfs, self.procfs)

    def _read_card(self, index: int, card: CardFiles, architecture: str | None) -> DeviceReading:
        # First of all: reading anything else of a card in runtime suspend would wake it.
        if read_text(card.device / "power/runtime_status") in ("suspended", "suspending"):
            return DeviceReading(
                index=index,
                name=card.name,
                vendor="amd",
                pci=card.pci,
                vram_total_bytes=self._vram_totals.get(str(card.device)),
                architecture=architecture,
                integrated=card.integrated,
                suspended=True,
            )
        reading = read_card(index, card, architecture)
        if reading.vram_total_bytes is not None:
            self._vram_totals[str(card.device)] = reading.vram_total_bytes
        return reading


def read_card(index: int, card: CardFiles, architecture: str | None = None) -> DeviceReading:
    """All figures of a card that is awake."""
    device, hwmon = str(card.device), card.hwmon
    return DeviceReading(
        index=index,
        name=card.name,
        vendor="amd",
        pci=card.pci,
        vram_total_bytes=read_int(f"{device}/mem_info_vram_total", low=1),
        vram_used_bytes=read_int(f"{device}/mem_info_vram_used"),
        gtt_total_bytes=read_int(f"{device}/mem_info_gtt_total", low=1),
        gtt_used_bytes=read_int(f"{device}/mem_info_gtt_used"),
        busy_percent=read_int(f"{device}/gpu_busy_percent", high=100),
        memory_busy_percent=read_int(f"{device}/mem_busy_percent", high=100),
        power_watts=_first(hwmon, ("power1_average", "power1_input"), 1e-6),
        # A card without a settable limit says 0.
        power_limit_watts=_first(hwmon, ("power1_cap",), 1e-6, low=1),
        temperature_edge_c=_temperature(hwmon, 1),
        temperature_hotspot_c=_temperature(hwmon, 2),
        temperature_memory_c=_temperature(hwmon, 3),
        clock_mhz=_clock(device, hwmon, "pp_dpm_sclk", "sclk"),
        memory_clock_mhz=_clock(device, hwmon, "pp_dpm_mclk", "mclk"),
        # Older kernels offer the duty of a fan that is none of the processor's GPU, as 0.
        fan_percent=None if card.integrated else _fan(hwmon),
        fan_rpm=None if hwmon is None else read_int(f"{hwmon}/fan1_input", high=_RPM_LIMIT),
        throttling=throttling(read_bytes(f"{device}/gpu_metrics") or b""),
        architecture=architecture,
        integrated=card.integrated,
        suspended=False,
    )


def find_cards(sysfs: Path) -> list[CardFiles]:
    """The amdgpu cards, discrete ones first, then by PCI address. Wakes none of them."""
    drm = sysfs / "class/drm"
    cards = []
    for entry in names(drm):
        # Connectors (card1-DP-1) and render nodes lie in the same folder.
        if not _CARD.fullmatch(entry):
            continue
        device = drm / entry / "device"
        uevent = read_uevent(device)
        if read_text(device / "vendor") != AMD_VENDOR or uevent.get("DRIVER", "amdgpu") != "amdgpu":
            continue
        hwmon = _find_hwmon(device)
        cards.append(
            CardFiles(
                device, hwmon, _address(device, uevent), _card_name(device, uevent), _is_integrated(device, hwmon)
            )
        )
    return sorted(cards, key=lambda card: (card.integrated is True, card.pci or "~", str(card.device)))


def _address(device: Path, uevent: Mapping[str, str]) -> str | None:
    """The PCI address, by the device's own word, else by the folder that `device` is a link to."""
    slot = uevent.get("PCI_SLOT_NAME", "").lower()
    if not slot:
        try:
            slot = device.readlink().name.lower()
        except OSError:
            return None
    return slot if _PCI_SLOT.fullmatch(slot) else None


def _find_hwmon(device: Path) -> Path | None:
    folders = [device / "hwmon" / entry for entry in names(device / "hwmon") if entry.startswith("hwmon")]
    return next((folder for folder in folders if read_text(folder / "name") == "amdgpu"), None)


def _is_integrated(device: Path, hwmon: Path | None) -> bool | None:
    """Told by which sensors the driver offers (`amdgpu_pm.c`, hwmon_attributes_visible), none of which is read.

    Only APUs have the voltage of the north bridge (in1); hotspot temperature and a settable power cap belong to
    discrete cards.
    """
    if hwmon is None:
        return None
    if (hwmon / "in1_input").exists():
        return True
    if any((hwmon / file).exists() for file in ("temp2_input", "power1_cap", "fan1_input")):
        return False
    return None


def _card_name(device: Path, uevent: Mapping[str, str]) -> str:
    if product := read_line(device / "product_name"):
        return product
    identity = uevent.get("PCI_ID", "").partition(":")[2].upper()
    revision = (read_text(device / "revision") or "").removeprefix("0x").upper()
    return _marketing_names().get((identity, revision)) or f"AMD GPU {identity}".strip()


@lru_cache(maxsize=1)
def _marketing_names() -> dict[tuple[str, str], str]:
    """(device id, revision) → name, from libdrm's list where it is installed: lines `7550,\tC0,\tAMD Radeon …`."""
    try:
        text = _MARKETING_NAMES.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    rows = (line.split(",", 2) for line in text.splitlines() if not line.startswith("#"))
    return {(row[0].strip().upper(), row[1].strip().upper()): row[2].strip() for row in rows if len(row) == 3}


def _first(hwmon: Path | None, files: tuple[str, ...], unit: float, *, low: int = 0) -> float | None:
    if hwmon is None:
        return None
    values = (read_int(hwmon / file, low=low) for file in files)
    return next((round(value * unit, 3) for value in values if value is not None), None)


def _temperature(hwmon: Path | None, number: int) -> float | None:
    if hwmon is None:
        return None
    low, high = _TEMPERATURE_RANGE
    value = read_int(hwmon / f"temp{number}_input", low=low, high=high)
    return None if value is None else value / 1000


def _clock(device: str, hwmon: Path | None, file: str, label: str) -> int | None:
    """MHz of the active level, a line that ends in `*`; `S: 19Mhz *` is the state of deep sleep.

    Where no level is marked, as between two of them, hwmon's frequency of that label.
    """
    match = _ACTIVE_CLOCK.search(read_text(f"{device}/{file}") or "")
    if match is not None and int(match[1]) <= _MHZ_LIMIT:
        return int(match[1])
    if hwmon is None:
        return None
    # hwmon's first frequency is the shader's, its second the memory's.
    number = 1 if label == "sclk" else 2
    if read_text(f"{hwmon}/freq{number}_label") != label:
        return None
    hertz = read_int(f"{hwmon}/freq{number}_input", high=_MHZ_LIMIT * 1_000_000)
    return None if hertz is None else hertz // 1_000_000


def _fan(hwmon: Path | None) -> float | None:
    if hwmon is None:
        return None
    duty, full = read_int(hwmon / "pwm1"), read_int(hwmon / "pwm1_max", low=1) or 255
    return None if duty is None or duty > full else round(100 * duty / full, 1)
