"""NVIDIA cards through NVML (`nvidia-ml-py`). Units in NVML: bytes, percent, mW, °C, MHz."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.kernel_file import NAME_CHARACTERS
from core.gpu.sources.nvidia_faults import NvidiaFault, nvml_fault, source_error
from core.text import printable

_Value = TypeVar("_Value")
_PCI = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
# NVML says "not available" by a number with all bits set. No card comes near these limits.
_BYTES_LIMIT = 2**60
_MILLIWATTS_LIMIT = 10_000_000
_MHZ_LIMIT = 100_000
_RPM_LIMIT = 30_000

# Bits of nvmlClocksEventReasons (nvml.h). Idleness, a clock that a person set and waiting for another card are no throttling.
_REASONS = (
    # Software and hardware thermal slowdown.
    ("thermal", 0x20 | 0x40),
    # The power cap, and the brake of the power supply.
    ("power", 0x4 | 0x80),
)
# Slowdown by hardware; older drivers do not say whether for heat or for power.
_HARDWARE_SLOWDOWN = 0x8


# Called event reasons since driver 535; earlier versions of the package have the other name alone.
_REASON_CALLS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


class Nvml(Protocol):
    """What is used of the module `pynvml`, but for the calls that not every version of it has (`_newer`)."""

    NVMLError: type[Exception]
    NVML_TEMPERATURE_GPU: int
    NVML_CLOCK_GRAPHICS: int
    NVML_CLOCK_MEM: int

    def nvmlInit(self) -> None: ...  # noqa: N802 - NVML's names
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any: ...  # noqa: N802
    def nvmlDeviceGetName(self, handle: Any, /) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetPciInfo(self, handle: Any, /) -> Any: ...  # noqa: N802
    def nvmlDeviceGetMemoryInfo(self, handle: Any, /) -> Any: ...  # noqa: N802
    def nvmlDeviceGetUtilizationRates(self, handle: Any, /) -> Any: ...  # noqa: N802
    def nvmlDeviceGetPowerUsage(self, handle: Any, /) -> int: ...  # noqa: N802
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, /) -> int: ...  # noqa: N802
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int, /) -> int: ...  # noqa: N802
    def nvmlDeviceGetClockInfo(self, handle: Any, clock: int, /) -> int: ...  # noqa: N802
    def nvmlDeviceGetFanSpeed(self, handle: Any, /) -> int: ...  # noqa: N802
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any, /) -> list[Any]: ...  # noqa: N802
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any, /) -> list[Any]: ...  # noqa: N802
    def nvmlSystemGetProcessName(self, pid: int, /) -> str | bytes: ...  # noqa: N802


class NvmlSource:
    """Reads every NVIDIA card. Without the package or the driver it is not available; a broken driver is a fault."""

    name = "nvml"

    def __init__(self, library: Nvml | None = None) -> None:
        self._library = library
        self._started = False
        self.warning: str | None = None
        """What was wrong with a card at the last reading, while others answered."""
        self.absence: NvidiaFault | None = None
        """Why it is not available, where NVML said so."""

    def available(self) -> bool:
        library = self._library or _import()
        if library is None:
            return False
        try:
            library.nvmlInit()
        except library.NVMLError as error:
            fault = nvml_fault(error)
            if fault is not None and fault.absent:
                self.absence = fault
                return False
            raise source_error("NVML", fault, str(error)) from error
        self._library, self._started = library, True
        try:
            return library.nvmlDeviceGetCount() > 0
        except library.NVMLError as error:
            raise source_error("NVML", nvml_fault(error), str(error)) from error

    def read(self) -> tuple[list[DeviceReading], list[ProcessReading]]:
        if not self._started or self._library is None:
            raise SourceError("NVML was not started")
        faults: list[SourceError] = []
        found = read_nvml(self._library, faults)
        self.warning = "; ".join(dict.fromkeys(map(str, faults))) or None
        return found


def read_nvml(
    library: Nvml, faults: list[SourceError] | None = None
) -> tuple[list[DeviceReading], list[ProcessReading]]:
    """Every card and its processes; what is wrong with a card beside others that answer goes to `faults`.

    Raises `SourceError` when not even one card answers.
    """
    faults = [] if faults is None else faults
    devices, processes = [], []
    try:
        count = library.nvmlDeviceGetCount()
    except library.NVMLError as error:
        raise source_error("NVML", nvml_fault(error), str(error)) from error
    for index in range(count):
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
        except library.NVMLError as error:
            # One lost card ("GPU is lost") must not hide the others.
            faults.append(source_error(f"NVML, card {index}", nvml_fault(error), str(error)))
            continue
        device = _read_device(library, handle, index)
        if device.vram_used_bytes is None and (fault := _fault_of(library, handle, device)):
            faults.append(fault)
        devices.append(device)
        processes += _read_processes(library, handle, device.pci)
    if faults and not devices:
        raise faults[0]
    return devices, sorted(processes, key=lambda process: (-(process.vram_bytes or 0), process.pid))


def _fault_of(library: Nvml, handle: Any, device: DeviceReading) -> SourceError | None:
    """Why a card that can be named does not say what it holds, where that is a fault and no lack of support."""
    try:
        library.nvmlDeviceGetMemoryInfo(handle)
    except library.NVMLError as error:
        fault = nvml_fault(error)
        return None if fault is None else source_error(f"NVML, {device.name}", fault, f"{error}, {device.pci or ''}")
    return None


def _read_device(library: Nvml, handle: Any, index: int) -> DeviceReading:
    def get(call: Callable[..., _Value], *arguments: Any) -> _Value | None:
        return _optional(library, call, handle, *arguments)

    memory = get(library.nvmlDeviceGetMemoryInfo)
    rates = get(library.nvmlDeviceGetUtilizationRates)
    power, limit = get(library.nvmlDeviceGetPowerUsage), get(library.nvmlDeviceGetEnforcedPowerLimit)
    return DeviceReading(
        index=index,
        name=_text(get(library.nvmlDeviceGetName)) or "NVIDIA GPU",
        vendor="nvidia",
        pci=_pci(get(library.nvmlDeviceGetPciInfo)),
        vram_total_bytes=_number(getattr(memory, "total", None)) or None,
        vram_used_bytes=_number(getattr(memory, "used", None)),
        busy_percent=_number(getattr(rates, "gpu", None), high=100),
        memory_busy_percent=_number(getattr(rates, "memory", None), high=100),
        power_watts=_watts(power),
        power_limit_watts=_watts(limit),
        temperature_edge_c=_number(get(library.nvmlDeviceGetTemperature, library.NVML_TEMPERATURE_GPU), high=200),
        clock_mhz=_number(get(library.nvmlDeviceGetClockInfo, library.NVML_CLOCK_GRAPHICS), high=_MHZ_LIMIT),
        memory_clock_mhz=_number(get(library.nvmlDeviceGetClockInfo, library.NVML_CLOCK_MEM), high=_MHZ_LIMIT),
        fan_percent=_number(get(library.nvmlDeviceGetFanSpeed), high=100),
        fan_rpm=_fan_rpm(_newer(library, ("nvmlDeviceGetFanSpeedRPM",), handle)),
        throttling=_throttling(_newer(library, _REASON_CALLS, handle)),
        architecture=_capability(_newer(library, ("nvmlDeviceGetCudaComputeCapability",), handle)),
        uuid=_text(_newer(library, ("nvmlDeviceGetUUID",), handle)),
    )


def _read_processes(library: Nvml, handle: Any, pci: str | None) -> list[ProcessReading]:
    """A process that computes and draws stands in both of NVML's lists with the same bytes: it is counted once.

    Under MIG a process has an entry in a list for each instance that it uses: these are summed.
    """
    found: dict[int, int | None] = {}
    for call in (library.nvmlDeviceGetComputeRunningProcesses, library.nvmlDeviceGetGraphicsRunningProcesses):
        listed: dict[int, dict[Any, int | None]] = {}
        for item in _optional(library, call, handle) or []:
            pid = _number(getattr(item, "pid", None))
            if pid is not None:
                instance = getattr(item, "gpuInstanceId", None), getattr(item, "computeInstanceId", None)
                listed.setdefault(pid, {})[instance] = _number(getattr(item, "usedGpuMemory", None))
        for pid, instances in listed.items():
            known = [used for used in instances.values() if used is not None]
            if found.get(pid) is None:
                found[pid] = sum(known) if known else None
    processes = []
    for pid, used in found.items():
        name = _text(_optional(library, library.nvmlSystemGetProcessName, pid))
        shown = name and printable(name.rpartition("/")[2], limit=NAME_CHARACTERS, instead="?")
        processes.append(ProcessReading(pid, shown, used, pci=pci))
    return processes


def _newer(library: Nvml, calls: Sequence[str], handle: Any) -> Any:
    """What the first of the calls gives that the package has and the driver answers, or None."""
    for name in calls:
        if callable(call := getattr(library, name, None)) and (answer := _optional(library, call, handle)) is not None:
            return answer
    return None


def _throttling(reasons: Any) -> tuple[str, ...] | None:
    """Why the card is throttled now, in the words of `DeviceReading.throttling`."""
    mask = _number(reasons)
    if mask is None:
        return None
    said = [name for name, bits in _REASONS if mask & bits]
    if mask & _HARDWARE_SLOWDOWN and not said:
        said.append("other")
    return tuple(said)


def _fan_rpm(answer: Any) -> int | None:
    """The package gives a number, or NVML's structure with one in it."""
    return _number(getattr(answer, "speed", answer), high=_RPM_LIMIT)


def _capability(answer: Any) -> str | None:
    """(9, 0) → `9.0`."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return None
    major, minor = (_number(part, high=99) for part in answer)
    return None if major is None or minor is None else f"{major}.{minor}"


def _optional(library: Nvml, call: Callable[..., _Value], *arguments: Any) -> _Value | None:
    """What the call gives, or None where this card or driver does not support it."""
    try:
        return call(*arguments)
    except library.NVMLError:
        return None


def _import() -> Nvml | None:
    try:
        import pynvml
    except ImportError:
        return None
    library: Nvml = pynvml
    return library


def _number(value: Any, *, high: int = _BYTES_LIMIT) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= high else None


def _watts(milliwatts: Any) -> float | None:
    number = _number(milliwatts, high=_MILLIWATTS_LIMIT)
    return None if number is None else number / 1000


def _text(value: Any) -> str | None:
    """Older versions of the package give bytes."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return value.strip() or None if isinstance(value, str) else None


def _pci(info: Any) -> str | None:
    """`00000000:0F:00.0` → `0000:0f:00.0`, as the kernel writes it."""
    match = _PCI.fullmatch((_text(getattr(info, "busId", None)) or "").lower())
    return f"{int(match[1], 16):04x}:{match[2]}:{match[3]}.{match[4]}" if match else None
