"""AMD cards through the files of the amdgpu driver: `/sys/class/drm`, its hwmon, and KFD's list of compute processes.

`cardN` says nothing: a BMC or the processor's own GPU may be card0. Cards are found by vendor and driver, named by
their PCI address, and listed discrete ones first. Units in sysfs: bytes, percent, µW, m°C, Hz.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.gpu.kernelfile import names, read_int, read_line, read_text, read_uevent
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import procfs_root, sysfs_root

AMD_VENDOR = "0x1002"
_CARD = re.compile(r"card[0-9]{1,4}")
_ACTIVE_CLOCK = re.compile(r"^\s*[0-9A-Z]+:\s*([0-9]{1,6})\s*mhz\s*\*", re.MULTILINE | re.IGNORECASE)
_VRAM_FILE = re.compile(r"vram_([0-9]{1,10})")
_PCI_SLOT = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_MARKETING_NAMES = Path("/usr/share/libdrm/amdgpu.ids")
# A sensor that is not there may answer with absolute zero; no card lives above 200 °C.
_TEMPERATURE_RANGE = (-60_000, 200_000)


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

    def available(self) -> bool:
        return bool(find_cards(self.sysfs))

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        devices = [self._read_card(index, card) for index, card in enumerate(find_cards(self.sysfs))]
        return devices, read_kfd_processes(self.sysfs, self.procfs)

    def _read_card(self, index: int, card: CardFiles) -> DeviceReading:
        # First of all: reading anything else of a card in runtime suspend would wake it.
        if read_text(card.device / "power/runtime_status") in ("suspended", "suspending"):
            return DeviceReading(
                index=index,
                name=card.name,
                vendor="amd",
                pci=card.pci,
                vram_total_bytes=self._vram_totals.get(str(card.device)),
                integrated=card.integrated,
                suspended=True,
            )
        reading = read_card(index, card)
        if reading.vram_total_bytes is not None:
            self._vram_totals[str(card.device)] = reading.vram_total_bytes
        return reading


def read_card(index: int, card: CardFiles) -> DeviceReading:
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
        clock_mhz=_clock(device, hwmon),
        fan_percent=_fan(hwmon),
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
        slot = uevent.get("PCI_SLOT_NAME", "").lower()
        pci = slot if _PCI_SLOT.fullmatch(slot) else None
        cards.append(CardFiles(device, hwmon, pci, _card_name(device, uevent), _is_integrated(device, hwmon)))
    return sorted(cards, key=lambda card: (card.integrated is True, card.pci or "~", str(card.device)))


def read_kfd_processes(sysfs: Path, procfs: Path) -> list[ProcessReading]:
    """The ROCm processes with their VRAM on each card, largest first.

    The pids are the host's, also inside a container. A process that holds nothing anywhere is listed once, with 0.
    """
    folder = sysfs / "class/kfd/kfd/proc"
    addresses: Mapping[int, str] | None = None
    found = []
    for entry in names(folder):
        if not entry.isascii() or not entry.isdigit() or len(entry) > 10:
            continue
        held: list[tuple[int, int]] = []
        for file in names(folder / entry):
            if (match := _VRAM_FILE.fullmatch(file)) and (used := read_int(folder / entry / file)) is not None:
                held.append((int(match[1]), used))
        held = [item for item in held if item[1] > 0] or held[:1]
        if addresses is None:
            addresses = {gpu: pci for gpu, pci in kfd_nodes(sysfs) if pci is not None}
        pid, name = int(entry), read_line(procfs / entry / "comm")
        found += [ProcessReading(pid, name, used, pci=addresses.get(gpu)) for gpu, used in held]
    return sorted(found, key=lambda process: (-(process.vram_bytes or 0), process.pid))


def kfd_nodes(sysfs: Path) -> list[tuple[int, str | None]]:
    """KFD's GPUs (its id, the PCI address) in the order of its nodes, by which ROCm counts its devices.

    `location_id` is bus << 8 | device << 3 | function. A GPU that this container may not use cannot be read and is left out.
    """
    nodes = sysfs / "class/kfd/kfd/topology/nodes"
    found: list[tuple[int, str | None]] = []
    for number in sorted(int(node) for node in names(nodes) if node.isascii() and node.isdigit() and len(node) < 6):
        gpu = read_int(nodes / str(number) / "gpu_id", low=1)
        if gpu is None:
            continue
        lines = (read_text(nodes / str(number) / "properties") or "").splitlines()
        properties = dict(words for line in lines if len(words := line.split()) == 2)
        location, domain = properties.get("location_id", ""), properties.get("domain", "0")
        address = None
        if location.isascii() and location.isdigit() and domain.isascii() and domain.isdigit():
            where = int(location[:10])
            address = f"{int(domain[:10]):04x}:{where >> 8 & 0xFF:02x}:{where >> 3 & 0x1F:02x}.{where & 7}"
        found.append((gpu, address))
    return found


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


def _clock(device: str, hwmon: Path | None) -> int | None:
    """MHz of the shader clock; `S: 19Mhz *` is the state of deep sleep."""
    if match := _ACTIVE_CLOCK.search(read_text(f"{device}/pp_dpm_sclk") or ""):
        return int(match[1])
    if hwmon is None or read_text(hwmon / "freq1_label") != "sclk":
        return None
    hertz = read_int(hwmon / "freq1_input")
    return None if hertz is None else hertz // 1_000_000


def _fan(hwmon: Path | None) -> float | None:
    if hwmon is None:
        return None
    duty, full = read_int(hwmon / "pwm1"), read_int(hwmon / "pwm1_max", low=1) or 255
    return None if duty is None or duty > full else round(100 * duty / full, 1)
