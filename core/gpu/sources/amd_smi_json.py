"""What `amd-smi … --json` prints, of ROCm 6 (a bare list) and 7 (`{"gpu_data": […]}`).

A figure is `{"value", "unit"}`, a bare number, or `"N/A"`. The names of what is asked for moved with the versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources import values
from core.gpu.sources.json_output import documents
from core.text import one_line

_Value = TypeVar("_Value")
_HEX = re.compile(r"0x[0-9a-f]{4}", re.I)
_ERROR_TEXT = re.compile(
    r"^.{0,200}(?:error code:|can ?not |unable to |exception|permission denied|traceback).*$", re.I | re.M
)
# What `metric` and `monitor` tell of a card; one of them makes an entry a reading.
_OF_METRIC = ("mem_usage", "usage", "power", "clock", "temperature", "fan", "throttle")
_OF_MONITOR = (
    "power_usage",
    "hotspot_temperature",
    "memory_temperature",
    "gfx",
    "gfx_clk",
    "gfx_clock",
    "mem",
    "pviol",
)
_FIGURES = frozenset((*_OF_METRIC, *_OF_MONITOR, "mem_clock", "vram_used", "vram_total"))
_POWER_VIOLATIONS = ("ppt_violation_status", "pviol")
_THERMAL_VIOLATIONS = (
    "prochot_violation_status",
    "socket_thermal_violation_status",
    "vr_thermal_violation_status",
    "hbm_thermal_violation_status",
    "tviol",
    "phot_tviol",
    "vr_tviol",
    "hbm_tviol",
)


@dataclass(frozen=True)
class Identity:
    """What `amd-smi static` tells of a card and does not change while it runs."""

    name: str | None = None
    pci: str | None = None
    architecture: str | None = None
    power_limit_watts: float | None = None


def error_of(output: str) -> str | None:
    """The tool's own words for what went wrong, of any of its forms; None where it printed none. One line."""
    for item in (item for document in documents(output) for item in _entries_of(document.value)):
        if "error" in item:
            said, code = values.text(item["error"]), item.get("code")
            shown = f" (code {code})" if isinstance(code, int) and abs(code) < 10**6 else ""
            return f"{said or 'an error without words'}{shown}"
    match = _ERROR_TEXT.search(output[:65_536])
    return (one_line(match[0], limit=200) or None) if match else None


def parse_amd_smi_metric(
    output: str, identities: Mapping[int, Identity] | None = None, *, strict: bool = False
) -> tuple[DeviceReading, ...]:
    """The cards of `metric --json` or `monitor --json`, by their number.

    Raises `SourceError` when there is none, and when `strict` also for JSON that is cut.
    """
    identities = identities or {}
    devices: dict[int, DeviceReading] = {}
    for place, item in enumerate(_items(output, strict)):
        number = values.whole(item.get("gpu", place), 0, 9999)
        if (
            number is not None
            and "pid" not in item
            and not _FIGURES.isdisjoint(item)
            and len(devices) < values.CARDS_LIMIT
        ):
            # Of a card in partitions the first one has the card's figures.
            devices.setdefault(number, _device(number, item, identities.get(number, Identity())))
    if not devices:
        raise _none("card", output)
    return tuple(devices[number] for number in sorted(devices))


def parse_amd_smi_processes(
    output: str, pcis: Mapping[int, str | None] | None = None, *, strict: bool = False
) -> tuple[ProcessReading, ...]:
    """The processes of `process --json`, by card or by process; a row for each card of a process.

    `mem_usage` is not VRAM alone, so without `memory_usage` a process's VRAM is None. Raises `SourceError` when there is
    not even an empty list.
    """
    found: list[ProcessReading] = []
    listed = False
    for item in _items(output, strict):
        rows: list[tuple[Any, Any, Any]] = []
        if isinstance(item.get("gpus"), list):
            rows = [(item, held, _at(held, "gpu_index")) for held in item["gpus"]]
        else:
            entries = item.get("process_list", [item] if "process_info" in item or "pid" in item else None)
            if isinstance(entries, dict | str):
                entries = [entries]
            for entry in entries if isinstance(entries, list) else []:
                info = _at(entry, "process_info") if _at(entry, "process_info") is not None else entry
                rows.append((info, info, item.get("gpu")))
        listed |= bool(rows) or "process_list" in item or "gpus" in item
        for info, held, gpu in rows[: values.PROCESSES_LIMIT]:
            # The list of an idle card holds a sentence.
            pid = values.pid(_at(info, "pid"))
            if pid is not None and len(found) < values.PROCESSES_LIMIT:
                number = values.whole(gpu, 0, 9999)
                found.append(
                    ProcessReading(
                        pid,
                        values.program(_at(info, "name")),
                        _first(held, values.size, "memory_usage.vram_mem", "vram_mem"),
                        pci=None if number is None else (pcis or {}).get(number),
                        gtt_bytes=_first(held, values.size, "memory_usage.gtt_mem", "gtt_mem"),
                    )
                )
    if not listed and "no running process" not in output.lower():
        raise _none("list of processes", output)
    return tuple(found)


def parse_amd_smi_static(output: str) -> dict[int, Identity]:
    """Who the cards are, by their number, of `static --asic --bus --limit --json`. Nothing raises."""
    found: dict[int, Identity] = {}
    for document in documents(output):
        for item in _entries_of(document.value):
            number = values.whole(item.get("gpu"), 0, 9999)
            if number is not None and len(found) < values.CARDS_LIMIT:
                found.setdefault(
                    number,
                    Identity(
                        _first(item, values.product, "asic.market_name", "board.product_name") or _number(item),
                        _first(item, values.pci, "bus.bdf", "bdf"),
                        _first(item, values.architecture, "asic.target_graphics_version"),
                        _first(
                            item,
                            values.watt_limit,
                            "limit.socket_power",
                            "limit.socket_power_limit",
                            "limit.ppt0.socket_power_limit",
                            "limit.current_power",
                            "limit.power",
                        ),
                    ),
                )
    return found


def _number(item: Mapping[str, Any]) -> str | None:
    """A name of the card's number, for one that the tool has no name for."""
    identity = _first(item, values.text, "asic.device_id")
    return f"AMD GPU {identity[2:].upper()}" if identity is not None and _HEX.fullmatch(identity) else None


def _violations(said: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Why the card is slowed down, of `…_violation_status` (ACTIVE) or the percentages PVIOL, TVIOL, …; None if not told."""
    told = {key: _violated(said.get(key)) for key in (*_POWER_VIOLATIONS, *_THERMAL_VIOLATIONS)}
    if all(value is None for value in told.values()):
        return None
    kinds = (("power", _POWER_VIOLATIONS), ("thermal", _THERMAL_VIOLATIONS))
    return tuple(why for why, keys in kinds if any(told[key] for key in keys))


def _violated(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().upper() in ("ACTIVE", "NOT ACTIVE", "TRUE", "FALSE"):
        return value.strip().upper() in ("ACTIVE", "TRUE")
    share = values.percent(value)
    return None if share is None else share > 0


def _throttle_status(value: Any) -> tuple[str, ...] | None:
    """That the card is slowed down, or is not; the word does not say why."""
    word = value.strip().upper() if isinstance(value, str) else ""
    return {"UNTHROTTLED": (), "THROTTLED": ("unknown",)}.get(word)


def _device(number: int, item: Mapping[str, Any], identity: Identity) -> DeviceReading:
    used, total = values.memory(
        _first(item, _mib, "mem_usage.used_vram", "vram_used"), _first(item, _mib, "mem_usage.total_vram", "vram_total")
    )
    gtt_used, gtt_total = values.memory(
        _first(item, _mib, "mem_usage.used_gtt"), _first(item, _mib, "mem_usage.total_gtt")
    )
    hotspot = _first(item, values.celsius, "temperature.hotspot", "hotspot_temperature")
    throttle = item.get("throttle")
    throttling = _violations(throttle if isinstance(throttle, dict) else item)
    return DeviceReading(
        index=number,
        name=identity.name or "AMD GPU",
        vendor="amd",
        pci=identity.pci or _first(item, values.pci, "bus.bdf", "bdf"),
        vram_total_bytes=total,
        vram_used_bytes=used,
        gtt_total_bytes=gtt_total,
        gtt_used_bytes=gtt_used,
        busy_percent=_first(item, values.percent, "usage.gfx_activity", "usage.gfx_usage", "gfx", "gfx_util"),
        memory_busy_percent=_first(item, values.percent, "usage.umc_activity", "usage.mem_usage", "mem", "mem_util"),
        power_watts=_first(
            item,
            values.watts,
            "power.socket_power",
            "power.current_socket_power",
            "power.average_socket_power",
            "power.current_power",
            "power_usage",
        ),
        power_limit_watts=_first(item, values.watt_limit, "power.power_limit", "power_cap", "max_power")
        or identity.power_limit_watts,
        temperature_edge_c=_first(item, values.celsius, "temperature.edge", "edge_temperature"),
        temperature_hotspot_c=hotspot,
        temperature_memory_c=_first(item, values.celsius, "temperature.mem", "temperature.vram", "memory_temperature"),
        clock_mhz=_first(
            item, values.mhz, "clock.gfx_0.clk", "clock.gfx.clk", "clock.gfx.cur_clk", "gfx_clk", "gfx_clock"
        ),
        memory_clock_mhz=_first(item, values.mhz, "clock.mem_0.clk", "clock.mem.clk", "clock.mem.cur_clk", "mem_clock"),
        fan_percent=_first(item, values.percent, "fan.usage"),
        fan_rpm=_first(item, values.rpm, "fan.rpm"),
        throttling=_first(item, _throttle_status, "power.throttle_status", "throttle_status")
        if throttling is None
        else throttling,
        architecture=identity.architecture,
        integrated=values.integrated(identity.architecture, hotspot),
    )


def _mib(value: Any) -> int | None:
    return values.size(value, "MiB")


def _items(output: str, strict: bool) -> Iterator[dict[str, Any]]:
    """The entries of all documents. Raises `SourceError` with what the tool says went wrong."""
    if not output.strip():
        raise SourceError("amd-smi printed nothing")
    for document in documents(output):
        if strict and not document.whole:
            raise SourceError("amd-smi printed JSON that is cut or broken")
        if isinstance(document.value, dict) and any(key.lower() == "error" for key in document.value):
            raise SourceError(f"amd-smi: {error_of(output)}")
        yield from _entries_of(document.value)


def _entries_of(value: Any) -> list[dict[str, Any]]:
    """The entries of a document, with keys in small letters."""
    if isinstance(value, dict):
        keys = {key.lower(): inner for key, inner in value.items()}
        return _entries_of(keys["gpu_data"]) if isinstance(keys.get("gpu_data"), list) else [keys]
    return [{key.lower(): inner for key, inner in item.items()} for item in value if isinstance(item, dict)]


def _at(value: Any, path: str) -> Any:
    """What lies under `a.b.c`, whatever the case of the keys; None where there is nothing."""
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = (
            value[key] if key in value else next((inner for name, inner in value.items() if name.lower() == key), None)
        )
    return value


def _first(value: Any, read: Callable[[Any], _Value | None], *paths: str) -> _Value | None:
    found = (read(_at(value, path)) for path in paths)
    return next((figure for figure in found if figure is not None), None)


def _none(what: str, output: str) -> SourceError:
    said = error_of(output)
    return SourceError(f"amd-smi printed no {what}{f': {said}' if said else ''}")
