"""Real outputs of the vendors' tools, and what a table says that each holds.

The samples are other people's data and lie outside the project. Where they are not at hand, their tests are left out; the
formats are covered by the tests of each source, with numbers of the project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.tool import ToolOutput
from tests.support.tool_samples import Parsed

TELEMETRY = Path(__file__).parents[2].parent / "shared/telemetry"
MIB = 2**20
GIB = 2**30
needs_samples = pytest.mark.skipif(not TELEMETRY.is_dir(), reason="the samples are not at hand")


@dataclass(frozen=True)
class Row:
    """What a sample holds. `fault`: words of the error that takes a reading's place; `said`: of what its stderr tells."""

    devices: tuple[DeviceReading, ...] = ()
    processes: tuple[ProcessReading, ...] = ()
    fault: str | None = None
    said: str | None = None


def amd(name: str, index: int = 0, **figures: Any) -> DeviceReading:
    return DeviceReading(index, name, "amd", **figures)


def nvidia(name: str, index: int = 0, **figures: Any) -> DeviceReading:
    return DeviceReading(index, name, "nvidia", **figures)


def temperatures(edge: float | None, hotspot: float | None = None, memory: float | None = None) -> dict[str, Any]:
    figures = {"temperature_edge_c": edge, "temperature_hotspot_c": hotspot, "temperature_memory_c": memory}
    # Only a card has the hotspot's sensor, not a GPU inside the processor.
    return figures if hotspot is None else figures | {"integrated": False}


def memory(used: int, total: int, gtt_used: int | None = None, gtt_total: int | None = None) -> dict[str, Any]:
    figures = {"vram_used_bytes": used, "vram_total_bytes": total}
    return figures | ({} if gtt_total is None else {"gtt_used_bytes": gtt_used, "gtt_total_bytes": gtt_total})


def check_sample(file: str, parse: Callable[[str], Parsed], row: Row) -> None:
    """That the sample is read as what it holds."""
    output = (TELEMETRY / file).read_text(encoding="utf-8")
    if row.fault is not None or row.said is not None:
        with pytest.raises(SourceError, match=r"printed no|amd-smi: ") as fault:
            parse(output)
        assert row.fault is None or row.fault in str(fault.value), fault.value
        said = ToolOutput("", output, 0).said
        assert row.said is None or row.said in said, said
        return
    devices, processes = parse(output)
    assert devices == row.devices, devices
    assert processes == row.processes, processes


def names_in(folder: str) -> set[str]:
    """The samples in a folder, by their path in it."""
    return {str(path.relative_to(TELEMETRY / folder)) for path in (TELEMETRY / folder).rglob("*") if path.is_file()}
