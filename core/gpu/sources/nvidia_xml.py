"""What `nvidia-smi -q -x` prints. Its DTD is never loaded, entities are refused, and depth and size have a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources import values
from core.gpu.sources.tool import OUTPUT_BYTES

_PIECE_CHARACTERS = 65_536
_NESTING_LIMIT = 64
_END = "</nvidia_smi_log>"
_ELEMENTS_LIMIT = 200_000
# Idle, application clocks, sync boost and display clocks are no throttling.
_REASONS = (
    ("power", ("sw_power_cap", "hw_power_brake_slowdown")),
    ("thermal", ("hw_thermal_slowdown", "sw_thermal_slowdown")),
    ("unknown", ("hw_slowdown",)),
)


def parse_nvidia_smi_xml(output: str) -> tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]:
    """The cards and their processes. Raises `SourceError` for XML that is cut, broken or hostile."""
    start = output.find("<nvidia_smi_log")
    if start < 0:
        raise SourceError("nvidia-smi printed no XML of its own")
    # From the beginning of its root to the end: around it stand warnings, and the declaration of its DTD.
    end = output.rfind(_END)
    root = _parse(output[start : end + len(_END)] if end > start else output[start:])
    gpus = root.findall("gpu")[: values.CARDS_LIMIT]
    devices = tuple(_device(index, gpu) for index, gpu in enumerate(gpus))
    processes = [row for gpu, device in zip(gpus, devices, strict=True) for row in _processes(gpu, device.pci)]
    return devices, tuple(processes[: values.PROCESSES_LIMIT])


def _parse(document: str) -> Element:
    if len(document) > OUTPUT_BYTES:
        raise SourceError(f"nvidia-smi printed more than {OUTPUT_BYTES // 2**20} MiB")
    if "<!" in document.replace("<!--", ""):
        raise SourceError("nvidia-smi printed XML with declarations of its own")
    parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
    root: Element | None = None
    depth = count = 0
    try:
        for place in range(0, len(document), _PIECE_CHARACTERS):
            parser.feed(document[place : place + _PIECE_CHARACTERS])
            events: Iterator[Any] = parser.read_events()
            for event, element in events:
                root = element if root is None else root
                depth += 1 if event == "start" else -1
                count += 1
                if depth > _NESTING_LIMIT or count > _ELEMENTS_LIMIT:
                    raise SourceError("nvidia-smi printed XML that is nested too deep or too long")
        parser.close()
    except (ParseError, ValueError) as error:
        raise SourceError(f"nvidia-smi printed XML that is cut or broken: {error}") from error
    if root is None:
        raise SourceError("nvidia-smi printed no XML of its own")
    return root


def _device(index: int, gpu: Element) -> DeviceReading:
    used, total = values.memory(
        values.size(_text(gpu, "fb_memory_usage/used"), "MiB"), values.size(_text(gpu, "fb_memory_usage/total"), "MiB")
    )
    return DeviceReading(
        index=index,
        name=values.text(_text(gpu, "product_name")) or "NVIDIA GPU",
        vendor="nvidia",
        pci=values.pci(gpu.get("id")) or values.pci(_text(gpu, "pci/pci_bus_id")),
        vram_total_bytes=total,
        vram_used_bytes=used,
        busy_percent=values.percent(_text(gpu, "utilization/gpu_util")),
        memory_busy_percent=values.percent(_text(gpu, "utilization/memory_util")),
        # The mean of a second, where both are given: it is what `power.draw` and NVML give, too.
        power_watts=_power(gpu, values.watts, "power_draw", "average_power_draw", "instant_power_draw"),
        power_limit_watts=_power(gpu, values.watt_limit, "current_power_limit", "enforced_power_limit", "power_limit"),
        temperature_edge_c=values.celsius(_text(gpu, "temperature/gpu_temp")),
        temperature_memory_c=values.celsius(_text(gpu, "temperature/memory_temp")),
        clock_mhz=values.mhz(_text(gpu, "clocks/graphics_clock")),
        memory_clock_mhz=values.mhz(_text(gpu, "clocks/mem_clock")),
        fan_percent=values.percent(_text(gpu, "fan_speed")),
        throttling=_throttling(gpu),
    )


def _power(gpu: Element, read: Callable[[str | None], float | None], *names: str) -> float | None:
    found = (
        read(_text(gpu, f"{folder}/{name}")) for folder in ("gpu_power_readings", "power_readings") for name in names
    )
    return next((figure for figure in found if figure is not None), None)


def _processes(gpu: Element, pci: str | None) -> list[ProcessReading]:
    """A process that computes and draws may stand there twice with the same bytes; one in several MIG parts has each."""
    rows: dict[tuple[int, str, str], ProcessReading] = {}
    for info in gpu.findall("processes/process_info"):
        pid = values.pid(_text(info, "pid"))
        if pid is not None:
            part = (pid, _text(info, "gpu_instance_id") or "", _text(info, "compute_instance_id") or "")
            used = values.size(_text(info, "used_memory"), "MiB")
            rows.setdefault(part, ProcessReading(pid, values.program(_text(info, "process_name")), used, pci=pci))
    return list(rows.values())


def _throttling(gpu: Element) -> tuple[str, ...] | None:
    """`clocks_throttle_reasons` until driver 535, `clocks_event_reasons` since."""
    told: dict[str, bool] = {}
    for kind in ("event", "throttle"):
        element = gpu.find(f"clocks_{kind}_reasons")
        for reason in element if element is not None else ():
            word = (reason.text or "").strip().lower()
            if word in ("active", "not active"):
                told[reason.tag.removeprefix(f"clocks_{kind}_reason_")] = word == "active"
    if not told:
        return None
    return tuple(why for why, names in _REASONS if any(told.get(name) for name in names))


def _text(element: Element, path: str) -> str | None:
    return element.findtext(path)
