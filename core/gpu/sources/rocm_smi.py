"""AMD cards through `rocm-smi`, for machines whose sysfs is not to be had. A call takes about 250 ms.

AMD has replaced the tool by amd-smi; what it prints, and under which keys, changed with almost every version of ROCm
(`core.gpu.sources.rocm_smi_keys`). It prints JSON; its tables (`rocm_smi_text`) are read where a version prints them instead.
"""

from __future__ import annotations

import re
import time

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.json_output import documents
from core.gpu.sources.rocm_smi_keys import Parsed, card_number, device_of, parsed
from core.gpu.sources.rocm_smi_text import json_process, parse_rocm_smi_csv, parse_rocm_smi_text
from core.gpu.sources.tool import TOOL_SECONDS, Tool, ToolOutput

_MEMORY = ("--showmeminfo", "vram", "gtt")
# What to ask for. Each flag can end the tool before it prints anything, where a driver lacks what it asks; then less is
# asked for. --showmemuse, which does so since 6.1.2, is in none.
_ASKS = (
    (
        "--showproductname",
        "--showbus",
        "--showuse",
        *_MEMORY,
        "--showpower",
        "--showmaxpower",
        "--showtemp",
        "--showclocks",
        "--showfan",
        "--showpids",
        "--json",
    ),
    ("--showbus", "--showuse", *_MEMORY, "--showpids", "--json"),
    (*_MEMORY, "--json"),
)
# After this time all is asked for again: what ended the tool may have passed.
_LESS_SECONDS = 60.0
_NO_DRIVER = re.compile(r"driver not initialized|amdgpu not found|no amd gpu|initstate: no such file", re.I)


class RocmSmiSource:
    """Reads every card that rocm-smi lists. Without the tool, or without the driver, it is not available."""

    name = "rocm-smi"

    def __init__(self, tool: Tool | None = None, limit_seconds: float = TOOL_SECONDS) -> None:
        self._tool = tool or Tool("rocm-smi")
        self._limit_seconds = limit_seconds
        self._ask = 0
        self._asks_all_at = 0.0

    def available(self) -> bool:
        if self._tool.path() is None:
            return False
        output = self._tool.run("--showbus", "--json", limit_seconds=self._limit_seconds)
        return not _NO_DRIVER.search(output.stderr + output.stdout[:4096])

    def read(self) -> tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]:
        """Raises `SourceError` when the tool hangs, fails or prints no card."""
        deadline = time.monotonic() + self._limit_seconds
        if time.monotonic() >= self._asks_all_at:
            self._ask = 0
        fault = SourceError("rocm-smi was not asked")
        for ask in range(self._ask, len(_ASKS)):
            left = deadline - time.monotonic()
            if left < 0.1 * self._limit_seconds:
                break
            # Should the tool hang over this, the next reading asks for less.
            self._ask = (ask + 1) % len(_ASKS)
            if ask == 0:
                self._asks_all_at = time.monotonic() + _LESS_SECONDS
            output = self._tool.run(*_ASKS[ask], limit_seconds=left)
            try:
                found = _cards(output)
            except SourceError as error:
                fault = error
                if _NO_DRIVER.search(output.stderr):
                    break
                continue
            self._ask = ask
            return found
        raise fault


def _cards(output: ToolOutput) -> Parsed:
    try:
        found = parse_rocm_smi(output.stdout, strict=True)
    except SourceError as error:
        code = f" (exit code {output.returncode})" if output.returncode else ""
        raise SourceError(f"{error.message}{code}{f': {output.said}' if output.said else ''}") from error
    if not found[0]:
        raise SourceError("rocm-smi printed processes, but no card")
    return found


def parse_rocm_smi(output: str, *, strict: bool = False) -> Parsed:
    """The cards and processes of any output of rocm-smi: JSON, CSV, or its tables, with lines before and after.

    Raises `SourceError` when it holds neither, and when `strict` also for JSON that is cut.
    """
    if not output.strip():
        raise SourceError("rocm-smi printed nothing")
    if any(isinstance(document.value, dict) for document in documents(output)):
        return parse_rocm_smi_json(output, strict=strict)
    if re.search(r"^(device,|name,\s*value)", output, re.M | re.I):
        return parse_rocm_smi_csv(output)
    return parse_rocm_smi_text(output)


def parse_rocm_smi_json(output: str, *, strict: bool = False) -> Parsed:
    """The cards (`cardN`) and processes (`system`: `PIDn`) of `--json`. Raises `SourceError`, see `parse_rocm_smi`."""
    devices: dict[int, DeviceReading] = {}
    processes: list[ProcessReading] = []
    for document in documents(output):
        if not isinstance(document.value, dict):
            continue
        if strict and not document.whole:
            raise SourceError("rocm-smi printed JSON that is cut or broken")
        for key, value in document.value.items():
            if not isinstance(value, dict):
                continue
            number = card_number(key)
            if number is not None:
                devices.setdefault(number, device_of(number, value))
            elif key.strip().lower() == "system":
                rows = (json_process(name, row) for name, row in value.items())
                processes += [row for row in rows if row is not None]
    return parsed(devices.values(), processes, "no card in its JSON")
