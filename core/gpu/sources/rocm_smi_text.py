"""What rocm-smi prints without `--json`: CSV, the table of processes, the short table, and `GPU[0] : key: value`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.sources import values
from core.gpu.sources.rocm_smi_keys import Parsed, card_number, device_of, parsed, process_row

_SAID = re.compile(r"GPU\[([0-9]{1,4})\](?:\s*XCP\[[0-9]{1,4}\])?\s*:\s*(.{1,512})", re.I)
_PROCESS_HEADER = re.compile(r"\s*PID\s+PROCESS NAME\s+GPU", re.I)
# A name can hold blanks: the last fields are GPU(s), VRAM, SDMA and, in all but old versions, CU occupancy.
_PROCESS = re.compile(r"\s*([0-9]{1,10})\s+(\S.{0,500}?)\s+(\S{1,32})\s+(\S{1,32})\s+(\S{1,32})\s+(\S{1,32})\s*")
_OLD_PROCESS = re.compile(r"\s*([0-9]{1,10})\s+(\S.{0,500}?)\s+(\S{1,32})\s+(\S{1,32})\s+(\S{1,32})\s*")
_NO_PROCESS = re.compile(r"no kfd pids currently running", re.I)
_SHORT_HEADER = re.compile(r"\s*(?:GPU|Device)\b.*\bSCLK\b.*\bMCLK\b", re.I)
_TEMPERATURE = re.compile(r"-?[0-9.]{1,8}\s*°?c", re.I)
_SENSOR = re.compile(r"\((?:Die)?(edge|junction|memory|HBM [0-9])\)", re.I)
_WATTS = re.compile(r"[0-9.]{1,8}\s*w", re.I)
_IDENTITY = re.compile(r"0x([0-9a-f]{4}),?", re.I)


def parse_rocm_smi_csv(output: str) -> Parsed:
    """`device,GPU use (%),…` with a row a card, and `name, value` with a row a process.

    A row that has not as many fields as its header is left out: which figure is which cannot be told.
    """
    header: list[str] = []
    devices: list[DeviceReading] = []
    processes: list[ProcessReading] = []
    for row in _rows(output):
        if not row or not any(row):
            header = []
        elif row[0].lower() in ("device", "name") and len(row) > 1:
            header = row
        elif header and header[0].lower() == "device" and len(row) == len(header):
            number = card_number(row[0])
            if number is not None:
                devices.append(device_of(number, dict(zip(header[1:], row[1:], strict=True))))
        elif header and header[0].lower() == "name":
            process = json_process(row[0], ", ".join(row[1:]))
            processes += [process] if process else []
    return parsed(devices, processes, "no row of its CSV")


def _rows(output: str) -> Iterator[list[str]]:
    for line in values.lines(output):
        try:
            yield [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True), [])]
        except csv.Error:
            continue


def json_process(key: str, value: object) -> ProcessReading | None:
    """`PID412`, `name, GPUs, VRAM, SDMA, CU occupancy`. A name may hold commas: the last four fields are the figures.

    Old versions leave out the occupancy.
    """
    if not isinstance(value, str) or key[:3].upper() != "PID":
        return None
    fields = [field.strip() for field in value[:2048].rsplit(",", 4)]
    return process_row(key[3:].strip(), fields[0], fields[2]) if len(fields) in (4, 5) else None


def parse_rocm_smi_text(output: str) -> Parsed:
    """Every table and `GPU[0] : key: value` line that is found in the text."""
    said: dict[int, dict[str, str]] = {}
    short: dict[int, DeviceReading] = {}
    processes: list[ProcessReading] = []
    header: str | None = None
    listed = False
    row_form = _PROCESS
    columns: list[str] = []
    sensor = "edge"
    for line in values.lines(output):
        if match := _SAID.match(line):
            # A value can hold colons (an address), but none with a blank behind it.
            key, colon, value = match[2].rpartition(": ")
            if colon and len(said) <= values.CARDS_LIMIT:
                said.setdefault(int(match[1]), {}).setdefault(key, value)
        elif _PROCESS_HEADER.match(line):
            listed = True
            header, row_form = "processes", _PROCESS if "OCCUPANCY" in line.upper() else _OLD_PROCESS
        elif _SHORT_HEADER.match(line):
            header, sensor = "cards", _sensor(line) or "edge"
            # Older versions have two columns of two words, `SCLK OD` and `MCLK OD`.
            columns = line[line.upper().index("SCLK") :].replace("CLK OD", "CLK_OD").split()
        elif line.lstrip().startswith("==="):
            # A rule ends the table of processes; in the short table it stands between the header and the rows.
            header = None if header == "processes" else header
        elif header == "processes" and (match := row_form.fullmatch(line)):
            process = process_row(match[1], match[2], match[4])
            processes += [process] if process else []
        elif header == "cards" and (device := _short_row(line, columns, sensor)):
            short.setdefault(device.index, device)
        elif header == "cards" and (told := _sensor(line)):
            sensor = told
        elif _NO_PROCESS.search(line):
            listed = True
    devices = [device_of(number, keys) for number, keys in said.items()]
    found = {device.index for device in devices}
    cards = [*devices, *(short[number] for number in short if number not in found)]
    return parsed(cards, processes, "no table of it", listed=listed)


def _sensor(line: str) -> str | None:
    """Which of the sensors the short table shows: the first that its first card has."""
    match = _SENSOR.search(line)
    return None if match is None else match[1].lower()


def _short_row(line: str, columns: list[str], sensor: str) -> DeviceReading | None:
    """A row of the short table. The columns before SCLK hold blanks and differ between versions: they are told by form."""
    words = line.split()
    if len(words) <= len(columns) + 1 or not (words[0].isascii() and words[0].isdigit() and len(words[0]) < 5):
        return None
    before, last = words[1 : -len(columns)], dict(zip(map(str.lower, columns), words[-len(columns) :], strict=True))
    temperature = values.celsius(next((word for word in before if _TEMPERATURE.fullmatch(word)), None))
    hotspot = temperature if sensor == "junction" else None
    identity = next((match for word in before if (match := _IDENTITY.fullmatch(word))), None)
    return DeviceReading(
        index=int(words[0]),
        name=f"AMD GPU {identity[1].upper()}" if identity else "AMD GPU",
        vendor="amd",
        busy_percent=values.percent(last.get("gpu%")),
        power_watts=values.watts(next((word for word in before if _WATTS.fullmatch(word)), None)),
        power_limit_watts=values.watt_limit(last.get("pwrcap")),
        temperature_edge_c=temperature if sensor == "edge" else None,
        temperature_hotspot_c=hotspot,
        temperature_memory_c=temperature if sensor == "memory" else None,
        integrated=values.integrated(None, hotspot),
        clock_mhz=values.mhz(last.get("sclk")),
        memory_clock_mhz=values.mhz(last.get("mclk")),
        fan_percent=values.percent(last.get("fan")),
    )
