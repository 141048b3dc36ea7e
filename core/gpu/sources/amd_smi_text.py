"""What `amd-smi metric`, `monitor` and `process` print without `--json`. `monitor` rounds VRAM to 0.1 GB (2^30)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources import values
from core.gpu.sources.amd_smi_json import Parsed, devices_of, error_of, throttle_status, violations

_MONITOR_HEADER = re.compile(
    r"\s*(?:TIMESTAMP\s+)?GPU\s+(?:XCP\s+)?(?:[A-Z_]+%?\s+)*(?:POWER|VRAM_|GTT_|GFX|MEM|PVIOL)"
)
_PROCESS_HEADER = re.compile(r"\s*(?:TIMESTAMP\s+)?GPU\s+NAME\s+PID\b")
# A cell is a word with at most one more behind one blank: `305 W`, `49 °C`, `N/A Mb/s`, `N/A`, `UNTHROTTLED`; the use of
# memory may have blanks inside, `2.0/ 15.9 GB`, and so has a list of what each part says, `[0 %, N/A]`.
_UNIT = r"(?: ?(?:°?C|[KMG]?Hz|[KMGT]?B|%|mV|V|W|[munμ]?s|[KMG]b/s))?"
_CELL = re.compile(
    rf"(?<!\S)(?:-?[0-9][0-9.]{{0,15}}/ {{0,4}}[0-9.]{{1,15}}{_UNIT}|(?:N/A|-?[0-9][0-9./]{{0,30}}){_UNIT}"
    r"|\[[^\[\]]{0,400}\]|True|False|(?:UN)?THROTTLED)(?=\s|$)"
)
_PROCESS_ROW = re.compile(r"\s*(?:[0-9]{9,11}\s+)?([0-9]{1,4})\s+(\S.{0,200}?)\s{2,}([0-9]{1,10})\s+(.{1,300})")
_FIELD = re.compile(r"\s*([A-Z_]{2,30})\s*:\s*(.{0,300})")
_NESTING_LIMIT = 16
# `metric` prints keys and values, and what belongs to a key that has none with more blanks before it.
_ENTRY = re.compile(r"([ \t]*)([A-Z][A-Z0-9_]{1,60}):[ \t]*(.{0,300}?)\s*")


def parse_amd_smi_text(output: str) -> Parsed:
    """The cards and processes of its tables. Raises `SourceError` when it holds neither, nor says that there is none."""
    devices = {device.index: device for device in devices_of(_entries(output), {})}
    processes: list[ProcessReading] = []
    header: list[str] = []
    fields: dict[str, str] = {}
    for line in values.lines(output):
        if _PROCESS_HEADER.match(line) or _MONITOR_HEADER.match(line):
            header = line.split()
        elif "PID" in header and (match := _PROCESS_ROW.fullmatch(line)):
            columns, cells = header[header.index("PID") + 1 :], [cell[0] for cell in _CELL.finditer(match[4])]
            # Which figure is which cannot be told where there are more or less.
            row = dict(zip(columns, cells, strict=True)) if len(cells) == len(columns) else {}
            processes += _process(match[3], match[2], row)
        elif "GPU" in header and "PID" not in header and (device := _monitor_row(line, header)):
            # `--watch` prints the cards again and again: the last row of each counts, its first partition in one go.
            devices[device.index] = device
        elif match := _FIELD.fullmatch(line):
            if match[1] in ("PROCESS_INFO", "GPU"):
                processes += _process(fields.pop("PID", None), fields.get("NAME"), fields)
                fields = {}
            else:
                fields.setdefault(match[1], match[2].strip())
    processes += _process(fields.pop("PID", None), fields.get("NAME"), fields)
    if not devices and not processes and "no running process" not in output.lower():
        said = error_of(output)
        raise SourceError(f"amd-smi printed no card{f': {said}' if said else ''}")
    cards = tuple(devices[number] for number in sorted(devices))
    return cards[: values.CARDS_LIMIT], tuple(processes[: values.PROCESSES_LIMIT])


def _entries(output: str) -> Iterator[dict[str, Any]]:
    """What stands under each `GPU: N`, as `metric --json` has it."""
    # The entries that are open, each with the blanks before its key.
    stack: list[tuple[int, dict[str, Any]]] = []
    for line in values.lines(output):
        match = _ENTRY.fullmatch(line)
        if match is None:
            continue
        blanks, key, value = len(match[1].expandtabs()), match[2].lower(), match[3]
        if key == "gpu" and value:
            yield from (entry for _, entry in stack[:1])
            stack = [(blanks, {"gpu": value})]
            continue
        while stack and stack[-1][0] >= blanks and len(stack) > 1:
            stack.pop()
        if not stack or stack[-1][0] >= blanks:
            continue
        within = stack[-1][1]
        if value:
            within.setdefault(key, value)
        elif len(stack) < _NESTING_LIMIT:
            inner = within.setdefault(key, {})
            stack.append((blanks, inner if isinstance(inner, dict) else {}))
    yield from (entry for _, entry in stack[:1])


def _process(pid: str | None, name: str | None, row: dict[str, str]) -> list[ProcessReading]:
    number = values.pid(pid)
    if number is None:
        return []
    vram, gtt = values.size(row.get("VRAM_MEM")), values.size(row.get("GTT_MEM"))
    return [ProcessReading(number, values.program(name), vram, gtt_bytes=gtt)]


def _monitor_row(line: str, header: list[str]) -> DeviceReading | None:
    cells = [match[0] for match in _CELL.finditer(line)]
    if len(cells) != len(header):
        return None
    row = dict(zip(header, cells, strict=True))
    number = values.whole(row["GPU"], 0, 9999)
    # Further partitions of a card have only a part of its figures.
    if number is None or row.get("XCP", "0") != "0":
        return None
    used, total = _memory(row, "VRAM")
    gtt_used, gtt_total = _memory(row, "GTT")
    throttling = violations({key.lower(): cell for key, cell in row.items()})
    hotspot = values.celsius(row.get("GPU_TEMP", row.get("GPU_T")))
    return DeviceReading(
        index=number,
        name="AMD GPU",
        vendor="amd",
        vram_total_bytes=total,
        vram_used_bytes=used,
        gtt_total_bytes=gtt_total,
        gtt_used_bytes=gtt_used,
        busy_percent=values.percent(row.get("GFX_UTIL", row.get("GFX%"))),
        memory_busy_percent=values.percent(row.get("MEM_UTIL", row.get("MEM%"))),
        power_watts=values.watts(row.get("POWER")),
        power_limit_watts=values.watt_limit(row.get("PWR_CAP")),
        temperature_hotspot_c=hotspot,
        temperature_memory_c=values.celsius(row.get("MEM_TEMP", row.get("MEM_T"))),
        clock_mhz=values.mhz(row.get("GFX_CLOCK", row.get("GFX_CLK"))),
        memory_clock_mhz=values.mhz(row.get("MEM_CLOCK", row.get("MEM_CLK"))),
        throttling=throttle_status(row.get("THROTTLE")) if throttling is None else throttling,
        integrated=values.integrated(None, hotspot),
    )


def _memory(row: dict[str, str], kind: str) -> tuple[int | None, int | None]:
    """(used, total). Of a GPU inside the processor it is GTT that newer versions show."""
    if f"{kind}_USAGE" not in row:
        return values.memory(values.size(row.get(f"{kind}_USED"), "MiB"), values.size(row.get(f"{kind}_TOTAL"), "MiB"))
    used, _, total = row[f"{kind}_USAGE"].partition("/")
    return values.memory(values.size(used, total.rpartition(" ")[2]), values.size(total))
