"""A sample of a tool's output, read by the functions that the tool's source in `core.gpu.sources` calls for it."""

from __future__ import annotations

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.amd_smi_json import parse_amd_smi_metric, parse_amd_smi_processes
from core.gpu.sources.nvidia_smi import parse_query_compute_apps, parse_query_gpu
from core.gpu.sources.nvidia_xml import parse_nvidia_smi_xml

Parsed = tuple[tuple[DeviceReading, ...], tuple[ProcessReading, ...]]


def read_amd_smi(output: str) -> Parsed:
    """The cards of `metric --json` or the processes of `process --json`.

    Raises `SourceError` where the sample has neither, not even an empty list of processes.
    """
    try:
        return parse_amd_smi_metric(output), ()
    except SourceError as fault:
        try:
            return (), parse_amd_smi_processes(output)
        except SourceError:
            raise fault from None


def read_nvidia_smi(output: str) -> Parsed:
    """The cards and processes of `-q -x`, the cards of `--query-gpu`, or the processes of `--query-compute-apps`."""
    if "<nvidia_smi_log" in output:
        return parse_nvidia_smi_xml(output)
    return parse_query_gpu(output), parse_query_compute_apps(output)
