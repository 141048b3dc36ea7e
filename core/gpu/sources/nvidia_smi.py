"""NVIDIA cards through `nvidia-smi`, where NVML's library cannot be loaded. A call takes from 26 ms to seconds.

CSV is asked for: fields are parted by ", ", figures are MiB, percent, W, °C and MHz, and `[N/A]` or `[Insufficient
Permissions]` stands where there is none, as for the use of a card in MIG parts. Where the driver does not know a field
that is asked for, the XML of `-q -x` is read (`core.gpu.sources.nvidia_xml`).
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Mapping, Sequence

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources import values
from core.gpu.sources.nvidia_faults import NvidiaFault, fault_in, source_error
from core.gpu.sources.nvidia_xml import parse_nvidia_smi_xml
from core.gpu.sources.tool import TOOL_SECONDS, Tool, ToolOutput

GPU_FIELDS = (
    "index",
    "pci.bus_id",
    "name",
    "memory.total",
    "memory.used",
    "utilization.gpu",
    "utilization.memory",
    "power.draw",
    "power.limit",
    "temperature.gpu",
    "temperature.memory",
    "clocks.current.graphics",
    "clocks.current.memory",
    "fan.speed",
    "compute_cap",
    "clocks_throttle_reasons.active",
    "uuid",
)
APP_FIELDS = ("gpu_bus_id", "pid", "process_name", "used_gpu_memory")
# `nvmlClocksEventReason…` in nvml.h. Idle, application clocks, sync boost and display clocks are no throttling.
_REASONS = (("power", 0x4 | 0x80), ("thermal", 0x20 | 0x40), ("unknown", 0x8))
_UUID = re.compile(r"GPU-[0-9a-fA-F-]{36}")
WSL_FOLDER = "/usr/lib/wsl/lib"
"""Where Windows puts nvidia-smi into WSL2; a service's PATH often lacks it."""
_COMPUTE = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}")
_ALIASES = {
    "used_memory": "used_gpu_memory",
    "clocks.gr": "clocks.current.graphics",
    "clocks.mem": "clocks.current.memory",
}
_ALIASES |= {
    "gpu_name": "name",
    "gpu_bus_id": "pci.bus_id",
    "gpu_uuid": "uuid",
    "clocks_event_reasons.active": "clocks_throttle_reasons.active",
}
# More than one of them may be asked for; a card may have only one.
_DRAWS = ("power.draw", "power.draw.average", "power.draw.instant")
_LIMITS = ("power.limit", "enforced.power.limit")


def nvidia_smi(environ: Mapping[str, str] | None = None) -> Tool:
    return Tool("nvidia-smi", environ, (WSL_FOLDER,))


class NvidiaSmiSource:
    """Reads every card that nvidia-smi lists. Without the tool, the driver or a card it is not available."""

    name = "nvidia-smi"

    def __init__(self, tool: Tool | None = None, limit_seconds: float = TOOL_SECONDS) -> None:
        self._tool = tool or nvidia_smi()
        self._limit_seconds = limit_seconds
        self._xml = False
        self.warning: str | None = None
        """What was wrong with a card at the last reading, while others answered."""
        self.absence: NvidiaFault | None = None
        """Why it is not available, where the tool said so."""

    def available(self) -> bool:
        self._xml = False
        if self._tool.path() is None:
            return False
        output = self._tool.run("--query-gpu=index", "--format=csv,noheader", limit_seconds=self._limit_seconds)
        fault = _fault(output)
        self.absence = fault if fault is not None and fault.absent else None
        return self.absence is None

    def read(self) -> tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]:
        """Raises `SourceError` when the tool hangs, fails or prints no card."""
        deadline = time.monotonic() + self._limit_seconds
        if not self._xml:
            output = self._run(deadline, f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv")
            if "not a valid field" not in (output.stdout[:4096] + output.stderr).lower():
                devices = self._checked(output, parse_query_gpu(output.stdout))
                apps = self._run(deadline, f"--query-compute-apps={','.join(APP_FIELDS)}", "--format=csv")
                return devices, parse_query_compute_apps(apps.stdout)
            self._xml = True
        output = self._run(deadline, "-q", "-x")
        devices, processes = parse_nvidia_smi_xml(output.stdout)
        return self._checked(output, devices), processes

    def _checked(self, output: ToolOutput, devices: tuple[DeviceReading, ...]) -> tuple[DeviceReading, ...]:
        """The cards that answer; `warning` tells of one that does not. Raises `SourceError` when none does."""
        fault = _fault(output)
        answering = tuple(device for device in devices if _tells_something(device))
        lost = fault is None and len(answering) < len(devices) and "gpu is lost" in output.stdout.lower()
        error = source_error(
            "nvidia-smi", fault_in("GPU is lost") if lost else fault, f"{output.stderr}\n{output.stdout}"
        )
        if not answering and (fault is not None or lost):
            raise error
        if not devices:
            code = f" (exit code {output.returncode})" if output.returncode else ""
            raise SourceError(f"nvidia-smi printed no card{code}{f': {output.said}' if output.said else ''}")
        self.warning = str(error) if fault is not None or lost else None
        return devices if not lost and fault is None else answering

    def _run(self, deadline: float, *arguments: str) -> ToolOutput:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SourceError(f"nvidia-smi has not ended after {self._limit_seconds:.2g} s")
        try:
            return self._tool.run(*arguments, limit_seconds=left)
        except SourceError as error:
            # Without persistence mode each call starts the driver anew, which takes seconds.
            remedy = error.remedy or "persistence mode is quicker: nvidia-smi -pm 1"
            raise SourceError(error.message, remedy=remedy) from error


def _fault(output: ToolOutput) -> NvidiaFault | None:
    return fault_in(f"{output.stderr[-8192:]}\n{output.stdout[:8192]}")


def _tells_something(device: DeviceReading) -> bool:
    return device.pci is not None or device.vram_total_bytes is not None or device.vram_used_bytes is not None


def parse_query_gpu(output: str) -> tuple[DeviceReading, ...]:
    """The cards of `--query-gpu=… --format=csv`; empty when there are none."""
    devices = []
    for place, row in enumerate(_rows(output)):
        if "pid" in row or not {"name", "memory.total", "memory.used", "utilization.gpu"} & set(row):
            continue
        number = values.whole(row.get("index"), 0, 9999)
        used, total = values.memory(
            values.size(row.get("memory.used"), "MiB"), values.size(row.get("memory.total"), "MiB")
        )
        compute = row.get("compute_cap", "")
        devices.append(
            DeviceReading(
                index=place if number is None else number,
                name=values.text(row.get("name")) or "NVIDIA GPU",
                vendor="nvidia",
                pci=values.pci(row.get("pci.bus_id")),
                vram_total_bytes=total,
                vram_used_bytes=used,
                busy_percent=values.percent(row.get("utilization.gpu")),
                memory_busy_percent=values.percent(row.get("utilization.memory")),
                power_watts=_power(row, values.watts, _DRAWS),
                power_limit_watts=_power(row, values.watt_limit, _LIMITS),
                temperature_edge_c=values.celsius(row.get("temperature.gpu")),
                temperature_memory_c=values.celsius(row.get("temperature.memory")),
                clock_mhz=values.mhz(row.get("clocks.current.graphics")),
                memory_clock_mhz=values.mhz(row.get("clocks.current.memory")),
                fan_percent=values.percent(row.get("fan.speed")),
                throttling=_throttling(row.get("clocks_throttle_reasons.active", "")),
                architecture=compute if _COMPUTE.fullmatch(compute) else None,
                uuid=row["uuid"] if _UUID.fullmatch(row.get("uuid", "")) else None,
            )
        )
    return tuple(devices[: values.CARDS_LIMIT])


def parse_query_compute_apps(output: str) -> tuple[ProcessReading, ...]:
    """The processes of `--query-compute-apps=… --format=csv`; none is what an idle card has."""
    found = []
    for row in _rows(output):
        pid = values.pid(row.get("pid"))
        if pid is not None:
            used = values.size(row.get("used_gpu_memory"), "MiB")
            name = values.program(row.get("process_name"))
            found.append(ProcessReading(pid, name, used, pci=values.pci(row.get("pci.bus_id"))))
    return tuple(found[: values.PROCESSES_LIMIT])


def _power(row: Mapping[str, str], read: Callable[[str | None], float | None], columns: Sequence[str]) -> float | None:
    return next((watts for column in columns if (watts := read(row.get(column))) is not None), None)


def _rows(output: str) -> list[Mapping[str, str]]:
    """The rows by the names of their columns. Where there are more cells than columns, a name holds the separator."""
    header: list[str] = []
    found: list[Mapping[str, str]] = []
    for line in values.lines(output):
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True), [])]
        except csv.Error:
            continue
        if _is_header(cells):
            header = [_column(cell) for cell in cells]
            continue
        if not header:
            continue
        surplus = len(cells) - len(header)
        name = next((header.index(key) for key in ("name", "process_name") if key in header), None)
        if surplus > 0 and name is not None:
            cells[name : name + surplus + 1] = [", ".join(cells[name : name + surplus + 1])]
        if len(cells) == len(header):
            found.append(dict(zip(header, cells, strict=True)))
    return found


def _is_header(cells: Sequence[str]) -> bool:
    return any(_column(cell) in ("name", "index", "pid", "memory.total", "memory.used", "pci.bus_id") for cell in cells)


def _column(cell: str) -> str:
    """`memory.total [MiB]` → `memory.total`."""
    name = cell.partition("[")[0].strip().lower()
    return _ALIASES.get(name, name)


def _throttling(value: str) -> tuple[str, ...] | None:
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}", value):
        return None
    bits = int(value, 16)
    return tuple(why for why, mask in _REASONS if bits & mask)
