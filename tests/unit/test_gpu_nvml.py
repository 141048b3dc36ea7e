"""NVML's answers become readings. No NVIDIA card is at hand: a stand-in answers in the shapes of `pynvml`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.gpu.source import SourceError
from core.gpu.sources.nvml import NvmlSource, read_nvml


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818 - the name that pynvml gives it
    pass


CARD = {
    "nvmlDeviceGetName": "Stand-in 4242",
    "nvmlDeviceGetPciInfo": SimpleNamespace(busId="00000000:5E:00.0"),
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=48_000_000_000, used=9_500_000_000, free=38_500_000_000),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=71, memory=38),
    "nvmlDeviceGetPowerUsage": 215_400,
    "nvmlDeviceGetEnforcedPowerLimit": 300_000,
    "nvmlDeviceGetTemperature": 63,
    "nvmlDeviceGetClockInfo": {0: 1830, 2: 8750},
    "nvmlDeviceGetFanSpeed": 44,
    "nvmlDeviceGetFanSpeedRPM": 1720,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x20,
    "nvmlDeviceGetCudaComputeCapability": (8, 9),
    "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=311, usedGpuMemory=8_000_000_000)],
    "nvmlDeviceGetGraphicsRunningProcesses": [
        SimpleNamespace(pid=311, usedGpuMemory=None),
        SimpleNamespace(pid=12, usedGpuMemory=None),
    ],
}
OPTIONAL = {
    "nvmlDeviceGetFanSpeedRPM",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetCudaComputeCapability",
}
NAMES = {311: "/opt/env/bin/python3", 12: b"/usr/lib/Xorg"}


class StandInForNvml:
    """It is not NVML: it answers each call from a table. A value that is an exception is raised."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_GRAPHICS = 0
    NVML_CLOCK_MEM = 2

    def __init__(self, *cards: dict[str, Any], start: Exception | None = None) -> None:
        self.cards, self.start = cards, start

    def nvmlInit(self) -> None:
        if self.start:
            raise self.start

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if "lost" in self.cards[index]:
            raise NVMLError("GPU is lost")
        return self.cards[index]

    def nvmlSystemGetProcessName(self, pid: int) -> str | bytes:
        return NAMES[pid]

    def __getattr__(self, name: str) -> Any:
        # A version of the package may lack an optional call; the others are there, and raise `Not Supported`.
        lacking = name in OPTIONAL and not any(name in card for card in self.cards)
        if lacking or name not in {*CARD, *OPTIONAL}:
            raise AttributeError(name)

        def answer(card: dict[str, Any], *arguments: int) -> Any:
            value = card.get(name, NVMLError("Not Supported"))
            if isinstance(value, Exception):
                raise value
            return value[arguments[0]] if isinstance(value, dict) else value

        return answer


def test_a_card_gives_all_its_figures_in_the_units_of_their_names() -> None:
    (device,), _ = read_nvml(StandInForNvml(CARD))
    assert device.to_json() == {
        "index": 0,
        "name": "Stand-in 4242",
        "vendor": "nvidia",
        "pci": "0000:5e:00.0",
        "vram_total_bytes": 48_000_000_000,
        "vram_used_bytes": 9_500_000_000,
        "busy_percent": 71,
        "memory_busy_percent": 38,
        "power_watts": 215.4,
        "power_limit_watts": 300.0,
        "temperature_edge_c": 63,
        "clock_mhz": 1830,
        "memory_clock_mhz": 8750,
        "fan_percent": 44,
        "fan_rpm": 1720,
        "throttling": ("thermal", "power"),
        "architecture": "8.9",
    }


def test_a_process_in_both_lists_is_counted_once_and_an_unknown_use_is_none() -> None:
    _, processes = read_nvml(StandInForNvml(CARD))
    assert [(item.pid, item.name, item.vram_bytes, item.pci) for item in processes] == [
        (311, "python3", 8_000_000_000, "0000:5e:00.0"),
        (12, "Xorg", None, "0000:5e:00.0"),
    ]


@pytest.mark.parametrize("call", sorted(set(CARD) - {"nvmlDeviceGetName"}))
def test_what_a_card_does_not_support_is_none(call: str) -> None:
    full, _ = read_nvml(StandInForNvml(CARD))
    (device,), _ = read_nvml(StandInForNvml({name: value for name, value in CARD.items() if name != call}))
    lost = set(full[0].to_json()) - set(device.to_json())
    assert bool(lost) != call.endswith("RunningProcesses")
    assert "vram_used_bytes" in device.to_json() or call == "nvmlDeviceGetMemoryInfo"


def test_the_number_that_means_not_available_is_no_measurement() -> None:
    odd = {
        **CARD,
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=2**32 - 1, memory=250),
        "nvmlDeviceGetPowerUsage": 2**32 - 1,
        "nvmlDeviceGetClockInfo": {0: 2**32 - 1, 2: 2**32 - 1},
        "nvmlDeviceGetCurrentClocksEventReasons": 2**64 - 1,
        "nvmlDeviceGetFanSpeedRPM": 2**32 - 1,
        "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=311, usedGpuMemory=2**64 - 1)],
        "nvmlDeviceGetGraphicsRunningProcesses": [],
    }
    (device,), (process,) = read_nvml(StandInForNvml(odd))
    assert (device.busy_percent, device.memory_busy_percent, process.vram_bytes) == (None, None, None)
    assert (device.power_watts, device.clock_mhz, device.memory_clock_mhz) == (None, None, None)
    assert (device.throttling, device.fan_rpm) == (None, None)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (0x0, ()),
        (0x1, ()),  # idle
        (0x2 | 0x10 | 0x100, ()),  # a clock that a person set, another card waited for, the display's
        (0x4, ("power",)),
        (0x80, ("power",)),
        (0x8 | 0x40, ("thermal",)),
        (0x20, ("thermal",)),
        (0x8, ("other",)),
    ],
)
def test_the_driver_s_reasons_for_its_clocks_become_words(mask: int, said: tuple[str, ...]) -> None:
    (device,), _ = read_nvml(StandInForNvml({**CARD, "nvmlDeviceGetCurrentClocksEventReasons": mask}))
    assert device.throttling == said


def test_an_older_driver_or_package_that_knows_only_the_former_name_is_asked_by_it() -> None:
    card = {**CARD, "nvmlDeviceGetCurrentClocksEventReasons": NVMLError("Function Not Found")}
    (device,), _ = read_nvml(StandInForNvml({**card, "nvmlDeviceGetCurrentClocksThrottleReasons": 0x40}))
    assert device.throttling == ("thermal",)
    del card["nvmlDeviceGetCurrentClocksEventReasons"]
    (device,), _ = read_nvml(StandInForNvml(card))
    assert device.throttling is None


def test_under_mig_utilisation_is_unknown_and_the_instances_of_a_process_are_summed() -> None:
    def entry(instance: int, used: int) -> SimpleNamespace:
        return SimpleNamespace(pid=311, usedGpuMemory=used, gpuInstanceId=instance, computeInstanceId=0)

    card = {
        **CARD,
        "nvmlDeviceGetComputeRunningProcesses": [entry(1, 3_000_000), entry(2, 4_000_000), entry(2, 4_000_000)],
    }
    card["nvmlDeviceGetUtilizationRates"] = NVMLError("Not Supported")
    card["nvmlDeviceGetGraphicsRunningProcesses"] = []
    (device,), (process,) = read_nvml(StandInForNvml(card))
    assert (device.busy_percent, device.memory_busy_percent) == (None, None)
    assert device.vram_used_bytes == 9_500_000_000
    assert process.vram_bytes == 7_000_000


def test_a_lost_card_does_not_hide_the_other() -> None:
    devices, _ = read_nvml(StandInForNvml({"lost": True}, CARD))
    assert [device.index for device in devices] == [1]


def test_when_all_cards_are_lost_the_source_says_so() -> None:
    with pytest.raises(SourceError, match="GPU is lost"):
        read_nvml(StandInForNvml({"lost": True}))


def test_without_a_driver_it_is_not_available() -> None:
    assert not NvmlSource(StandInForNvml(CARD, start=NVMLError_LibraryNotFound("no library"))).available()


def test_a_driver_that_does_not_start_is_a_fault_with_its_message() -> None:
    with pytest.raises(SourceError, match="version mismatch"):
        NvmlSource(StandInForNvml(CARD, start=NVMLError("Driver/library version mismatch"))).available()


def test_the_real_package_says_without_raising_whether_there_is_a_card() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert NvmlSource().available() is False
    else:
        source = NvmlSource()
        assert source.available() is (pynvml.nvmlDeviceGetCount() > 0)
        devices, _ = source.read()
        assert [device.vendor for device in devices] == ["nvidia"] * pynvml.nvmlDeviceGetCount()


def test_every_name_of_the_protocol_exists_in_the_real_package() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    names = [
        *CARD,
        *OPTIONAL,
        "NVMLError",
        "NVML_TEMPERATURE_GPU",
        "NVML_CLOCK_MEM",
        "NVML_CLOCK_GRAPHICS",
        "nvmlSystemGetProcessName",
    ]
    assert [name for name in names if not hasattr(pynvml, name)] == []
    assert issubclass(pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError)
