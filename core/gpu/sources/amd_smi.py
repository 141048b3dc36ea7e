"""AMD cards through `amd-smi`, for machines whose sysfs is not to be had. A call takes up to half a second.

Its JSON was a bare list up to ROCm 6 and is `{"gpu_data": […]}` since; its "MB" is 2^20 bytes. Errors come as JSON with
exit code 0, as `ClassName: {…}`, or as text. The Python package of the same name is not used: it breaks other imports.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.amd_smi_json import (
    Identity,
    error_of,
    parse_amd_smi_metric,
    parse_amd_smi_processes,
    parse_amd_smi_static,
)
from core.gpu.sources.tool import TOOL_SECONDS, Tool, ToolOutput

# A guest, and a version that lacks one of the flags, refuses the whole call; -m is everywhere.
_METRICS = (
    ("metric", "-m", "-u", "-p", "-c", "-t", "-f", "--json"),
    ("metric", "-m", "-u", "--json"),
    ("metric", "-m", "--json"),
)
_STATICS = (("static", "--asic", "--bus", "--limit", "--json"), ("static", "--asic", "--bus", "--json"))
# After this time all is asked for again: what ended the tool may have passed.
_LESS_SECONDS = 60.0
_NO_DRIVER = re.compile(
    r"libamd_smi\.so|driver.{0,20}not (loaded|found|initiali[sz]ed)|not (loaded|found).{0,20}driver|NO_DRV"
    r"|no (supported )?(amd )?(gpus?|devices?) (found|detected)|amdgpu.{0,40}not found|unable to detect any",
    re.I,
)
_Found = TypeVar("_Found")


class AmdSmiSource:
    """Reads every card that amd-smi lists. Without the tool, or without the driver, it is not available."""

    name = "amd-smi"

    def __init__(self, tool: Tool | None = None, limit_seconds: float = TOOL_SECONDS) -> None:
        self._tool = tool or Tool("amd-smi")
        self._limit_seconds = limit_seconds
        self._metric = 0
        self._asks_all_at = 0.0
        self._identities: dict[int, Identity] = {}

    def available(self) -> bool:
        """Asks who the cards are, too, so that a reading need not."""
        if self._tool.path() is None:
            return False
        deadline = time.monotonic() + self._limit_seconds
        self._identities = {}
        for arguments in _STATICS:
            output = self._run(arguments, deadline)
            if _NO_DRIVER.search(output.stderr + output.stdout[:4096]):
                return False
            self._identities = parse_amd_smi_static(output.stdout)
            if self._identities:
                break
        # A card whose name cannot be had can still be read.
        return True

    def read(self) -> tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]:
        """Raises `SourceError` when the tool hangs, fails or prints no card."""
        deadline = time.monotonic() + self._limit_seconds
        devices = self._devices(deadline)
        pcis = {device.index: device.pci for device in devices}
        output = self._run(("process", "--json"), deadline)
        try:
            return devices, parse_amd_smi_processes(output.stdout, pcis, strict=True)
        except SourceError:
            # A person who may not see the processes still sees the card.
            return devices, ()

    def _devices(self, deadline: float) -> tuple[DeviceReading, ...]:
        fault: SourceError | None = None
        if time.monotonic() >= self._asks_all_at:
            self._metric = 0
        for number in range(self._metric, len(_METRICS)):
            # Should the tool hang over this, the next reading asks for less.
            self._metric = (number + 1) % len(_METRICS)
            if number == 0:
                self._asks_all_at = time.monotonic() + _LESS_SECONDS
            output = self._run(_METRICS[number], deadline)
            try:
                found = _whole(output, lambda text: parse_amd_smi_metric(text, self._identities, strict=True))
            except SourceError as error:
                fault = fault or error
                continue
            self._metric = number
            return found
        raise fault or SourceError("amd-smi was not asked")

    def _run(self, arguments: Sequence[str], deadline: float) -> ToolOutput:
        left = deadline - time.monotonic()
        if left <= 0:
            raise SourceError(f"amd-smi has not ended after {self._limit_seconds:.2g} s")
        return self._tool.run(*arguments, limit_seconds=left)


def _whole(output: ToolOutput, parse: Callable[[str], _Found]) -> _Found:
    try:
        return parse(output.stdout)
    except SourceError as error:
        code = f" (exit code {output.returncode})" if output.returncode else ""
        said = error_of(output.stderr) or output.said
        raise SourceError(
            f"{error.message}{code}{f': {said}' if said and said not in error.message else ''}"
        ) from error
