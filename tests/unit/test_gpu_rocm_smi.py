"""rocm-smi: what every version prints, and a real executable on PATH that prints it, fails and recovers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.gpu.devices import Gpu, find_gpu
from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.rocm_smi import RocmSmiSource, parse_rocm_smi, parse_rocm_smi_json
from core.gpu.sources.tool import Tool
from tests.support.tooloutputs import (
    ROCM_SMI,
    ROCM_SMI_CARD,
    printing,
    standin,
)
from tests.support.waiting import PATIENCE_SECONDS

READING = DeviceReading(
    0,
    "AMD Radeon Stand-in XT",
    "amd",
    pci="0000:2c:00.0",
    vram_total_bytes=17_163_091_968,
    vram_used_bytes=9_126_805_504,
    gtt_total_bytes=33_285_996_544,
    gtt_used_bytes=88_080_384,
    busy_percent=94,
    memory_busy_percent=41,
    power_watts=187,
    power_limit_watts=245,
    temperature_edge_c=48,
    temperature_hotspot_c=61,
    temperature_memory_c=72,
    clock_mhz=2710,
    memory_clock_mhz=1258,
    fan_percent=32,
    fan_rpm=1340,
    architecture="gfx1201",
    integrated=False,
)


def card(**changes: Any) -> DeviceReading:
    """The reading of the card with some keys of its JSON changed, or left out where they are None."""
    said = {key: value for key, value in {**ROCM_SMI_CARD, **changes}.items() if value is not None}
    (device,), _ = parse_rocm_smi(json.dumps({"card0": said}))
    return device


# JSON.


def test_a_card_and_its_processes() -> None:
    processes = (
        ProcessReading(31337, "python3", 8_589_934_592, pci="0000:2c:00.0"),
        # A name may hold commas: the figures are the last four fields.
        ProcessReading(2718, "tool, with, commas", 268_435_456, pci="0000:2c:00.0"),
    )
    assert parse_rocm_smi(json.dumps(ROCM_SMI)) == ((READING,), processes)
    assert parse_rocm_smi(json.dumps(ROCM_SMI, indent=4)) == ((READING,), processes)


@pytest.mark.parametrize(
    "before",
    [
        "WARNING: a line\n",
        "[WARNING] one\n[ERROR] two\n",
        "\ufeff",
        "\x1b[0m",
        "get_x, Not supported on the given system\n\n",
    ],
)
def test_lines_before_and_behind_the_json(before: str) -> None:
    devices, processes = parse_rocm_smi(before + json.dumps(ROCM_SMI) + "\nWARNING: afterwards\n")
    assert devices == (READING,)
    assert len(processes) == 2


def test_keys_of_older_and_newer_versions() -> None:
    assert card(**{"GPU Memory Read/Write Activity (%)": None, "GPU memory use (%)": "7"}).memory_busy_percent == 7
    # What is allocated is no activity.
    allocated = {"GPU Memory Read/Write Activity (%)": None, "GPU Memory Allocated (VRAM%)": "53"}
    assert card(**allocated).memory_busy_percent is None
    assert (
        card(**{"Temperature (Sensor memory) (C)": None, "Temperature (Sensor mem) (c)": "66.0"}).temperature_memory_c
        == 66
    )
    now = {"Average Graphics Package Power (W)": None, "Current Socket Graphics Package Power (W)": "166.0"}
    assert card(**now).power_watts == 166
    assert card(**{"sclk clock speed:": None, "sclk clock level": "1 (1800Mhz)"}).clock_mhz == 1800
    older = {"Card Series": None, "Device Name": None, "Card series": "0x1002", "Card model": "0x7a11"}
    assert card(**older, **{"Device ID": None, "GPU ID": "0x7a11"}).name == "AMD GPU 7A11"
    assert card(**{"Card Series": "N/A"}).name == "AMD Radeon Stand-in"


def test_drift_of_case_colons_and_blanks() -> None:
    document = {"Card0": {f" {key.upper()}: ": f" {value} " for key, value in ROCM_SMI_CARD.items()}}
    assert parse_rocm_smi(json.dumps(document))[0] == (READING,)


def test_what_the_card_does_not_give_is_absent_never_0() -> None:
    for nothing in ("N/A", "N/A (Secondary die)", "unknown", "", "-100", "nan", "18446744073709551615", [], {}, True):
        dark = card(**dict.fromkeys(ROCM_SMI_CARD, nothing))
        assert dark == DeviceReading(0, "AMD GPU", "amd"), nothing
    assert card(**dict.fromkeys(ROCM_SMI_CARD)) == DeviceReading(0, "AMD GPU", "amd")
    # And what it gives as 0 is 0.
    idle = card(**{"GPU use (%)": "0", "VRAM Total Used Memory (B)": 0, "Fan RPM": 0})
    assert (idle.busy_percent, idle.vram_used_bytes, idle.fan_rpm) == (0, 0, 0)


def test_figures_that_cannot_be() -> None:
    assert card(**{"GPU use (%)": "250"}).busy_percent is None
    assert card(**{"Temperature (Sensor edge) (C)": "-273.0"}).temperature_edge_c is None
    assert card(**{"Max Graphics Package Power (W)": "0.0"}).power_limit_watts is None
    more = card(**{"VRAM Total Used Memory (B)": "17163091969"})
    assert (more.vram_used_bytes, more.vram_total_bytes) == (None, 17_163_091_968), "more than there is: not believed"
    none = card(**{"VRAM Total Memory (B)": "0", "VRAM Total Used Memory (B)": "0"})
    assert (none.vram_used_bytes, none.vram_total_bytes) == (None, None), "of no memory there is no use"


@pytest.mark.parametrize(
    ("architecture", "hotspot", "inside"),
    [
        ("gfx1036", None, True),
        ("gfx1151", "55.0", True),
        ("gfx1170", None, True),
        ("gfx801", None, True),
        ("gfx1200", None, False),
        (None, "55.0", False),
        (None, None, None),
    ],
)
def test_a_gpu_inside_the_processor_is_told_apart(
    architecture: str | None, hotspot: str | None, inside: bool | None
) -> None:
    assert card(**{"GFX Version": architecture, "Temperature (Sensor junction) (C)": hotspot}).integrated is inside


@pytest.mark.parametrize(
    ("said", "architecture", "inside"),
    [
        ("gfx9006", "gfx906", False),
        ("gfx9010", "gfx90a", False),
        ("gfx9012", "gfx90c", True),
        ("gfx11000", "gfx1100", False),
        ("gfx11003", "gfx1103", True),
        ("gfx12001", "gfx1201", False),
        ("gfx1030", "gfx1030", False),
        ("gfx90a", "gfx90a", False),
        ("gfxffffffffffffffff", None, False),
    ],
)
def test_an_architecture_that_the_tool_added_up_of_decimals(said: str, architecture: str | None, inside: bool) -> None:
    device = card(**{"GFX Version": said})
    assert (device.architecture, device.integrated) == (architecture, inside)


def test_several_cards_in_their_order_and_whose_processes_they_are_is_not_told() -> None:
    document = {
        "card10": ROCM_SMI_CARD,
        "card2": {**ROCM_SMI_CARD, "PCI Bus": "0000:61:00.0"},
        "system": ROCM_SMI["system"],
    }
    devices, processes = parse_rocm_smi(json.dumps(document))
    assert [(device.index, device.pci) for device in devices] == [(2, "0000:61:00.0"), (10, "0000:2c:00.0")]
    assert {process.pci for process in processes} == {None}


@pytest.mark.parametrize(
    ("row", "process"),
    [
        ("python3, 1, 4096, 0, unknown", ProcessReading(7, "python3", 4096)),
        ("python3, 1, unknown, unknown, unknown", ProcessReading(7, "python3", None)),
        ("python3, 0, 0, 0, 4294967295", ProcessReading(7, "python3", 0)),
        ("python3, 1, 4096, 0", ProcessReading(7, "python3", 4096)),
        ("UNKNOWN, 1, 4096, 0, 0", ProcessReading(7, None, 4096)),
        ("evil\x1b[2J, 1, -5, 0, 0", ProcessReading(7, "evil?", None)),
    ],
)
def test_rows_of_processes(row: str, process: ProcessReading) -> None:
    assert parse_rocm_smi(json.dumps({"system": {"Driver version": "6.9", "PID7": row}})) == ((), (process,))


@pytest.mark.parametrize(
    "rows", [{"PID0": "a, 1, 2, 3, 4"}, {"PIDx": "a, 1, 2, 3, 4"}, {"PID7": ["a"]}, {"PID7": "a"}, []]
)
def test_rows_that_are_none(rows: Any) -> None:
    with pytest.raises(SourceError, match="printed no card"):
        parse_rocm_smi(json.dumps({"system": rows}))


def test_json_that_is_cut_gives_what_stands_before_the_cut_but_never_half_a_figure() -> None:
    whole = json.dumps({"card0": {"GPU use (%)": 12, "VRAM Total Memory (B)": 17163091968}})
    cut = whole[: whole.index("91968")]
    (device,), _ = parse_rocm_smi_json(cut)
    assert (device.busy_percent, device.vram_total_bytes) == (12, None)
    with pytest.raises(SourceError, match="cut or broken"):
        parse_rocm_smi_json(cut, strict=True)


# The source: a real executable.


@pytest.mark.process
def test_a_reading_through_the_tool(tmp_path: Path) -> None:
    source = RocmSmiSource(printing(tmp_path, "rocm-smi", json.dumps(ROCM_SMI), stderr="WARNING: not merged {"))
    assert source.available()
    devices, processes = source.read()
    assert devices == (READING,)
    assert [process.pid for process in processes] == [31337, 2718]


@pytest.mark.process
def test_without_the_tool_or_its_driver_it_is_not_available(tmp_path: Path) -> None:
    assert not RocmSmiSource(Tool("rocm-smi", {"PATH": str(tmp_path)})).available()
    message = "ERROR:root:Driver not initialized (amdgpu not found in modules)"
    source = RocmSmiSource(printing(tmp_path, "rocm-smi", "", stderr=message))
    assert not source.available()
    with pytest.raises(SourceError, match=r"rocm-smi printed nothing: ERROR:root:Driver not initialized"):
        source.read()


@pytest.mark.process
@pytest.mark.parametrize(
    ("output", "stderr", "code", "message"),
    [
        ("", "", 0, r"^rocm-smi printed nothing$"),
        ("", "Traceback (most recent call last):\nValueError: 'N/A'", 1, r"nothing \(exit code 1\): ValueError: 'N/A'"),
        ("\x00\x01\xff rubbish [[[{{{", "", 0, "printed no card"),
        ('{"card0": {"GPU use (%)": "1', "", 0, "cut or broken"),
        ('{"system": {"PID7": "a, 1, 2, 3, 4"}}', "", 0, "processes, but no card"),
        ("[]", "", 0, "printed no card"),
    ],
)
def test_rubbish_is_a_fault_with_a_message(tmp_path: Path, output: str, stderr: str, code: int, message: str) -> None:
    source = RocmSmiSource(printing(tmp_path, "rocm-smi", output, stderr=stderr, code=code))
    with pytest.raises(SourceError, match=message):
        source.read()


@pytest.mark.process
def test_a_reading_counts_whatever_the_exit_code_says(tmp_path: Path) -> None:
    assert RocmSmiSource(printing(tmp_path, "rocm-smi", json.dumps(ROCM_SMI), code=2)).read()[0] == (READING,)


@pytest.mark.process
def test_a_tool_that_breaks_over_one_flag_is_asked_for_less(tmp_path: Path) -> None:
    script = (
        f'echo "$*" >> "{tmp_path}/asked"\n'
        'case "$*" in *--showfan*) echo "Traceback" >&2; exit 1;; esac\n'
        f"cat <<'E'\n{json.dumps(ROCM_SMI)}\nE"
    )
    source = RocmSmiSource(standin(tmp_path, "rocm-smi", script))
    assert source.read()[0] == (READING,)
    assert source.read()[0] == (READING,)
    asked = (tmp_path / "asked").read_text().splitlines()
    # The second reading does not try again what failed; none ever asks for what is known to crash.
    assert ["--showfan" in line for line in asked] == [True, False, False]
    assert not any("--showmemuse" in line for line in asked)


@pytest.mark.process
def test_a_tool_that_hangs_over_one_flag_is_asked_for_less_the_next_time(tmp_path: Path) -> None:
    script = f"case \"$*\" in *--showfan*) sleep 600;; esac\ncat <<'E'\n{json.dumps(ROCM_SMI)}\nE"
    source = RocmSmiSource(standin(tmp_path, "rocm-smi", script), limit_seconds=0.5)
    with pytest.raises(SourceError, match=r"rocm-smi has not ended after 0\.5 s"):
        source.read()
    source._limit_seconds = PATIENCE_SECONDS
    assert source.read()[0] == (READING,)


# The card that jobs run on, where only the tool tells.
PROCESSOR = {
    "PCI Bus": "0000:0E:00.0",
    "VRAM Total Memory (B)": "536870912",
    "VRAM Total Used Memory (B)": "104857600",
    "GFX Version": "gfx1036",
    "Card Series": "AMD Radeon Graphics",
}


@pytest.mark.process
@pytest.mark.parametrize("name", ["rocm-smi", None])
def test_jobs_run_on_a_card_never_on_a_part_of_the_processor(tmp_path: Path, name: str | None) -> None:
    def found(folder: str, document: Any) -> Gpu | None:
        printing(tmp_path / folder, "rocm-smi", json.dumps(document))
        roots = {"BAKEHOUSE_SYSFS": str(tmp_path / "sys"), "BAKEHOUSE_PROCFS": str(tmp_path / "proc")}
        environ = {"PATH": f"{tmp_path / folder}:/usr/bin:/bin", **roots}
        return find_gpu(environ if name is None else {**environ, "BAKEHOUSE_GPU_SOURCE": name})

    assert found("alone", {"card0": PROCESSOR}) is None
    card = found("both", {"card0": PROCESSOR, "card1": ROCM_SMI_CARD})
    assert card is not None
    assert (card.pci, card.architecture, card.integrated, card.ordinal) == ("0000:2c:00.0", "gfx1201", False, 1)
