"""What is wrong with an NVIDIA GPU has a remedy of its own, by NVML and by nvidia-smi, in readings and in the doctor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.doctor import driver
from core.gpu.source import SourceError
from core.gpu.source_choice import ChosenSource
from core.gpu.sources.nvidia_faults import FAULTS, fault_in, nvml_fault
from core.gpu.sources.nvidia_smi import NvidiaSmiSource
from core.gpu.sources.nvml import NvmlSource, read_nvml
from core.gpu.sources.tool import Tool
from tests.support.doctorbench import Bench, one
from tests.support.tooloutputs import NVIDIA_CSV, printing
from tests.unit.test_gpu_nvml import CARD, NVMLError, StandInForNvml

PCI = "0000:3d:00.0"

SAID = [
    ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.133", "version_mismatch"),
    ("RM has detected an NVML/RM version mismatch.", "version_mismatch"),
    ("Failed to initialize NVML: API version mismatch", "version_mismatch"),
    (
        "Unable to determine the device handle for GPU0000:3D:00.0: GPU is lost.  Reboot the system to recover this GPU",
        "gpu_lost",
    ),
    ("Unable to determine the device handle for GPU 0000:3D:00.0: Unknown Error", "gpu_lost"),
    ("Unable to determine the device handle for GPU 0000:3D:00.0: GPU is in recovery", "reset_required"),
    ("Unable to determine the device handle for GPU 0000:3D:00.0: No Permission", "no_permission"),
    (
        "Unable to determine the device handle for GPU 0000:3D:00.0: Unable to communicate with GPU because it is "
        "insufficiently powered.\nThis may be because not all required external power cables are attached.",
        "no_power",
    ),
    ("Failed to initialize NVML: GPU not found", "gpu_lost"),
    ("Failed to initialize NVML: Reset Required", "reset_required"),
    ("API mismatch: the client has the version 570.133.07, but this kernel module has 570.124.06.", "version_mismatch"),
    ("nvidia-smi: libnvidia-ml.so.1: cannot open shared object file: No such file or directory", "no_library"),
    ("No devices found.", "no_devices"),
    ("NVRM: Xid (PCI:0000:3d:00): 79, pid='<unknown>', GPU has fallen off the bus.", "gpu_lost"),
    ("GPU requires reset", "reset_required"),
    ("GPU requires restart", "reset_required"),
    ("Failed to initialize NVML: Insufficient Permissions", "no_permission"),
    ("Failed to initialize NVML: GPU access blocked by the operating system", "blocked"),
    (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
        "driver is installed and running.",
        "driver_not_loaded",
    ),
    ("Failed to initialize NVML: Driver Not Loaded", "driver_not_loaded"),
    ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", "no_library"),
    ("No devices were found", "no_devices"),
    ("Failed to initialize NVML: Unknown Error", "unknown_error"),
]


@pytest.mark.parametrize(("said", "code"), SAID)
def test_what_a_tool_says_is_one_fault_with_a_remedy_of_its_own(said: str, code: str) -> None:
    fault = fault_in(said)
    assert fault is not None
    assert fault.code == f"nvidia_{code}"
    assert sum(other.remedy == fault.remedy for other in FAULTS) == 1


def test_no_remedy_does_harm_or_installs_a_package_of_python() -> None:
    for fault in FAULTS:
        for word in ("nvidia-ml-py", "pip ", "gpu-reset", "rmmod", "kill"):
            assert word not in fault.remedy


@pytest.mark.parametrize("cell", ["[Unknown Error]", "[Insufficient Permissions]", "[GPU is lost]", "[N/A]"])
def test_a_cell_without_a_figure_is_no_fault_of_the_driver(cell: str) -> None:
    assert fault_in(f"0, RTX, {cell}, 300 MiB") is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("LibRmVersionMismatch", "version_mismatch"),
        ("GpuIsLost", "gpu_lost"),
        ("ResetRequired", "reset_required"),
        ("NoPermission", "no_permission"),
        ("OperatingSystem", "blocked"),
        ("DriverNotLoaded", "driver_not_loaded"),
        ("LibraryNotFound", "no_library"),
        ("Unknown", "unknown_error"),
        ("InsufficientPower", "no_power"),
    ],
)
def test_an_error_of_nvml_is_told_by_its_class(name: str, code: str) -> None:
    """The real package's errors: their words are another library's, and can change."""
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    error = next(
        error for number in range(1000) if type(error := pynvml.NVMLError(number)).__name__ == f"NVMLError_{name}"
    )
    fault = nvml_fault(error)
    assert fault is not None and fault.code == f"nvidia_{code}"


@pytest.mark.parametrize("words", ["Unknown Error", "Insufficient Permissions", "GPU is lost"])
def test_nvml_that_does_not_start_says_what_to_do(words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        NvmlSource(StandInForNvml(CARD, start=NVMLError(words))).available()
    fault = fault_in(words)
    assert fault is not None and caught.value.remedy == fault.remedy


def test_one_lost_card_of_two_is_told_and_the_other_is_read() -> None:
    source = NvmlSource(StandInForNvml({"lost": True}, CARD))
    chosen = ChosenSource([source])
    readout = chosen.read()
    chosen.close()
    assert [device.pci for device in readout.devices] == ["0000:5e:00.0"]
    assert "card 0" in (readout.problem or "") and "power supply" in (readout.problem or "")


@pytest.mark.parametrize("words", ["GPU is lost", "Unknown Error", "GPU requires reset"])
def test_a_card_that_has_a_name_and_no_figures_any_more_is_told(words: str) -> None:
    """As after a start that went well: NVML still knows the card, and each question about it fails."""
    broken = {key: NVMLError(words) for key in CARD} | {
        "nvmlDeviceGetName": "RTX",
        "nvmlDeviceGetPciInfo": CARD["nvmlDeviceGetPciInfo"],
    }
    faults: list[SourceError] = []
    devices, _ = read_nvml(StandInForNvml(broken), faults)
    fault = fault_in(words)
    assert [device.name for device in devices] == ["RTX"]
    assert fault is not None and [error.remedy for error in faults] == [fault.remedy]


def test_a_figure_that_a_card_does_not_support_is_no_fault() -> None:
    faults: list[SourceError] = []
    read_nvml(StandInForNvml({key: value for key, value in CARD.items() if "Memory" not in key}), faults)
    assert faults == []


# nvidia-smi, a real process.


@pytest.mark.process
@pytest.mark.parametrize(("said", "code"), [case for case in SAID if "RM has" not in case[0] and "NVRM" not in case[0]])
def test_a_tool_that_fails_is_absent_or_says_what_to_do(tmp_path: Path, said: str, code: str) -> None:
    source = NvidiaSmiSource(printing(tmp_path, "nvidia-smi", said, code=9))
    fault = fault_in(said)
    assert fault is not None
    assert source.available() is not fault.absent
    assert source.absence is (fault if fault.absent else None)
    if not fault.absent:
        with pytest.raises(SourceError) as caught:
            source.read()
        assert caught.value.remedy == fault.remedy
        assert said.splitlines()[0].strip(".")[:60] in caught.value.message


@pytest.mark.process
@pytest.mark.parametrize(
    "lost",
    [
        "1, [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]\n",
        "Unable to determine the device handle for GPU0000:04:00.0: GPU is lost.  Reboot the system to recover this GPU\n",
        "Unable to determine the device handle for GPU 0000:04:00.0: Unknown Error\n",
    ],
)
def test_of_two_cards_of_the_tool_the_lost_one_is_told(tmp_path: Path, lost: str) -> None:
    header = "index, name, pci.bus_id, memory.total [MiB], memory.used [MiB]\n"
    table = f"{header}0, RTX, 00000000:3D:00.0, 24564 MiB, 300 MiB\n{lost}"
    source = NvidiaSmiSource(printing(tmp_path, "nvidia-smi", table, code=15))
    devices, _ = source.read()
    assert [device.pci for device in devices] == [PCI]
    assert "power supply" in (source.warning or "")


# The doctor.


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    return Bench.of_its_own(tmp_path, monkeypatch)


@pytest.mark.process
@pytest.mark.parametrize(("said", "code"), [case for case in SAID if "RM has" not in case[0] and "NVRM" not in case[0]])
def test_the_doctor_gives_the_fault_s_own_remedy(bench: Bench, said: str, code: str) -> None:
    bench.machine.nvidia(PCI)
    bench.tool("nvidia-smi", f"/bin/echo {said!r}; exit 9" if "'" not in said else f'/bin/echo "{said}"; exit 9')
    found = one(driver.examine(bench.box()), "NVIDIA")
    fault = fault_in(said)
    assert fault is not None
    assert (found.state, found.remedy) == ("fault", fault.remedy)


@pytest.mark.process
def test_a_card_without_its_driver_is_not_told_to_install_what_is_installed(bench: Bench) -> None:
    bench.machine.nvidia(PCI, driver=None, listed=False)
    bench.tool(
        "nvidia-smi",
        '/bin/echo "NVIDIA-SMI has failed because it couldn\'t communicate with the NVIDIA driver."; exit 9',
    )
    lines = driver.examine(bench.box())
    assert "modprobe nvidia" in one(lines, "driver").remedy
    assert "modprobe nvidia" in one(lines, "NVIDIA").remedy
    assert one(lines, "GPU").state == "absent"


@pytest.mark.process
def test_a_driver_in_order_is_no_line(bench: Bench) -> None:
    bench.machine.nvidia(PCI)
    (bench.folder / "table").write_text(NVIDIA_CSV)
    bench.tool("nvidia-smi", f"/bin/cat {bench.folder / 'table'}")
    assert "NVIDIA" not in {line.subject for line in driver.examine(bench.box())}
    assert NvidiaSmiSource(Tool("nvidia-smi", bench.box().environ)).available()
