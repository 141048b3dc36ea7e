"""amd-smi of ROCm 6 and 7: JSON, errors in all their forms, and a real executable on PATH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.amd_smi import AmdSmiSource
from core.gpu.sources.amd_smi_json import (
    Identity,
    error_of,
    parse_amd_smi_metric,
    parse_amd_smi_processes,
    parse_amd_smi_static,
)
from core.gpu.sources.tool import Tool
from tests.support.tooloutputs import (
    AMD_SMI_CARD,
    AMD_SMI_IDLE,
    AMD_SMI_METRIC_6,
    AMD_SMI_METRIC_7,
    AMD_SMI_PROCESSES,
    AMD_SMI_STATIC,
    MIB,
    figure,
    printing,
    standin,
)

IDENTITY = Identity("AMD Radeon Stand-in XT", "0000:2c:00.0", "gfx1201", 245)
READING = DeviceReading(
    0,
    "AMD Radeon Stand-in XT",
    "amd",
    pci="0000:2c:00.0",
    vram_total_bytes=16368 * MIB,
    vram_used_bytes=9001 * MIB,
    gtt_total_bytes=31744 * MIB,
    gtt_used_bytes=75 * MIB,
    busy_percent=88,
    memory_busy_percent=37,
    power_watts=201,
    power_limit_watts=245,
    temperature_edge_c=50,
    temperature_hotspot_c=66,
    temperature_memory_c=74,
    clock_mhz=2655,
    memory_clock_mhz=1258,
    fan_percent=32.94,
    fan_rpm=1410,
    throttling=(),
    architecture="gfx1201",
    integrated=False,
)


def card(**changes: Any) -> DeviceReading:
    (device,) = parse_amd_smi_metric(json.dumps([{**AMD_SMI_CARD, **changes}]))
    return device


# JSON.


@pytest.mark.parametrize("document", [AMD_SMI_METRIC_6, AMD_SMI_METRIC_7])
def test_the_figures_of_a_card(document: Any) -> None:
    assert parse_amd_smi_metric(json.dumps(document), {0: IDENTITY}) == (READING,)
    warned = "WARNING: User is missing the following required groups: render\n" + json.dumps(document, indent=4)
    assert parse_amd_smi_metric(warned, {0: IDENTITY}) == (READING,)


def test_who_a_card_is() -> None:
    assert parse_amd_smi_static(json.dumps(AMD_SMI_STATIC)) == {0: IDENTITY}
    assert parse_amd_smi_static(json.dumps({"gpu_data": AMD_SMI_STATIC})) == {0: IDENTITY}
    newer = [{**AMD_SMI_STATIC[0], "limit": {"ppt0": {"socket_power_limit": figure(245, "W")}, "ppt1": "N/A"}}]
    assert parse_amd_smi_static(json.dumps(newer)) == {0: IDENTITY}
    assert parse_amd_smi_static("rubbish") == {}
    assert parse_amd_smi_static('[{"gpu": 0, "asic": "N/A", "bus": "N/A"}]') == {0: Identity()}


@pytest.mark.parametrize(
    ("asic", "board", "name"),
    [
        (
            {"market_name": "0x7a11", "device_id": "0x7a11"},
            {"product_name": "AMD Radeon Stand-in"},
            "AMD Radeon Stand-in",
        ),
        ({"market_name": "0x7a11", "device_id": "0x7a11"}, "N/A", "AMD GPU 7A11"),
        ({"market_name": "N/A", "device_id": "N/A"}, {"product_name": ""}, None),
    ],
)
def test_a_number_is_no_name(asic: Any, board: Any, name: str | None) -> None:
    assert parse_amd_smi_static(json.dumps([{"gpu": 0, "asic": asic, "board": board}]))[0].name == name


def test_a_number_with_all_16_bits_set_is_none() -> None:
    nothing = {"clk": 65535, "min_clk": 65535}
    device = card(clock={"gfx_0": nothing, "mem_0": nothing}, fan={"rpm": 65535}, temperature={"edge": 65535})
    assert (device.clock_mhz, device.memory_clock_mhz, device.fan_rpm, device.temperature_edge_c) == (None,) * 4


def test_what_the_card_does_not_give_is_absent_never_0() -> None:
    dark = DeviceReading(0, "AMD GPU", "amd")
    assert card(**dict.fromkeys(set(AMD_SMI_CARD) - {"gpu"}, "N/A")) == dark
    nothing = {group: dict.fromkeys(AMD_SMI_CARD[group], "N/A") for group in AMD_SMI_CARD if group != "gpu"}
    assert card(**nothing) == dark
    assert card(**dict.fromkeys(nothing)) == dark


def test_units_are_obeyed_and_mb_is_2_to_the_20() -> None:
    sizes = {"total_vram": figure(16, "GB"), "used_vram": figure(512, "MB"), "total_gtt": 100, "used_gtt": "7 MB"}
    device = card(mem_usage=sizes)
    assert (device.vram_total_bytes, device.vram_used_bytes) == (16 * 1024 * MIB, 512 * MIB)
    assert (device.gtt_total_bytes, device.gtt_used_bytes) == (100 * MIB, 7 * MIB)
    assert card(mem_usage={"total_vram": figure(16, "furlongs")}).vram_total_bytes is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"power": {"throttle_status": "THROTTLED"}}, ("unknown",)),
        ({"power": {"throttle_status": "N/A"}}, None),
        ({"throttle": {"ppt_violation_status": "ACTIVE", "prochot_violation_status": "NOT ACTIVE"}}, ("power",)),
        ({"throttle": {"hbm_thermal_violation_status": "ACTIVE", "ppt_violation_status": "N/A"}}, ("thermal",)),
        ({"throttle": {"socket_thermal_violation_status": "NOT ACTIVE"}}, ()),
        ({"pviol": figure(9, "%"), "tviol": figure(0, "%"), "tviol_active": True}, ("power",)),
        ({"pviol": figure(0, "%"), "phot_tviol": figure(2, "%")}, ("thermal",)),
        ({"pviol": "N/A", "tviol": "N/A", "power": "N/A"}, None),
    ],
)
def test_throttling(changes: dict[str, Any], why: tuple[str, ...] | None) -> None:
    assert card(**changes).throttling == why


def test_several_cards_partitions_and_entries_of_a_cpu() -> None:
    entries = [
        {"gpu": 1, "power": {"socket_power": figure(90, "W")}},
        {"gpu": 0, "power": {"socket_power": figure(80, "W")}},
        {"gpu": 0, "xcp": 1, "power": {"socket_power": "N/A"}},
        {"cpu": 0, "power_metrics": {"socket power": "N/A"}},
    ]
    devices = parse_amd_smi_metric(json.dumps({"GPU_DATA": entries, "cpu_data": []}), {1: IDENTITY})
    assert [(device.index, device.power_watts, device.pci) for device in devices] == [
        (0, 80, None),
        (1, 90, "0000:2c:00.0"),
    ]


@pytest.mark.parametrize("wrap", [lambda entries: entries, lambda entries: {"gpu_data": entries}])
def test_processes_by_card(wrap: Any) -> None:
    process = ProcessReading(31337, "python3", 8_589_934_592, pci="0000:2c:00.0", gtt_bytes=2_097_152)
    assert parse_amd_smi_processes(json.dumps(wrap(AMD_SMI_PROCESSES)), {0: "0000:2c:00.0"}) == (process,)
    assert parse_amd_smi_processes(json.dumps(wrap(AMD_SMI_IDLE))) == ()
    assert parse_amd_smi_processes('[{"gpu": 0, "process_list": "No running processes detected"}]') == ()
    assert parse_amd_smi_processes("No running processes detected") == ()


def test_processes_by_process_with_a_row_for_each_card() -> None:
    held = [
        {"gpu_index": 0, "memory_usage": {"vram_mem": figure(5, "B"), "gtt_mem": figure(6, "B")}},
        {"gpu_index": 1, "memory_usage": {"vram_mem": figure(7, "B")}},
    ]
    document = [{"pid": 7, "name": "/usr/bin/tool", "gpus": held}, {"pid": "N/A", "name": "x", "gpus": held}]
    assert parse_amd_smi_processes(json.dumps(document), {0: "0000:2c:00.0"}) == (
        ProcessReading(7, "tool", 5, pci="0000:2c:00.0", gtt_bytes=6),
        ProcessReading(7, "tool", 7),
    )


@pytest.mark.parametrize(
    "output",
    [
        json.dumps(AMD_SMI_IDLE),
        '[{"pid": "N/A", "name": "N/A", "gpus": [], "message": "No running processes detected"}]',
        "GPU: 0\n    PROCESS_INFO: No running processes detected\n",
        "No running processes detected\n",
    ],
)
def test_that_no_process_runs_is_an_answer(output: str) -> None:
    assert parse_amd_smi_processes(output) == ()


def test_the_memory_of_a_process_that_is_not_told_apart_is_absent() -> None:
    info = {"pid": 7, "name": "N/A", "mem_usage": figure(0, "B")}
    document = [{"gpu": 0, "process_list": [{"process_info": info}]}]
    assert parse_amd_smi_processes(json.dumps(document)) == (ProcessReading(7),)


@pytest.mark.parametrize(
    "output",
    [
        '{"error": "Device busy", "code": -30}',
        '[{"error": "Device busy", "code": -30}]',
        'amdsmi_cli_exceptions.AmdSmiLibraryException: {"error": "Device busy", "code": -30}',
        "WARNING: something else\n" + json.dumps({"error": "Device busy", "code": -30}, indent=4),
    ],
)
def test_an_error_in_json_is_told(output: str) -> None:
    assert error_of(output) == "Device busy (code -30)"
    for parse in (parse_amd_smi_metric, parse_amd_smi_processes):
        with pytest.raises(SourceError, match=r"amd-smi.*: Device busy \(code -30\)"):
            parse(output)


@pytest.mark.parametrize(
    "output", ["", "  \n", "[]", "{}", "[[]]", '["x"]', '[{"gpu": 0}]', '{"gpu_data": {}}', "rubbish"]
)
def test_what_holds_no_card_is_a_fault(output: str) -> None:
    with pytest.raises(SourceError, match="amd-smi printed no"):
        parse_amd_smi_metric(output)


def test_monitor_as_json_has_the_power_cap_and_the_state_of_throttling() -> None:
    entry = {"gpu": 0, "power_usage": figure(90, "W"), "max_power": figure(245, "W"), "throttle_status": "THROTTLED"}
    (device,) = parse_amd_smi_metric(json.dumps([entry]))
    assert (device.power_watts, device.power_limit_watts, device.throttling) == (90, 245, ("unknown",))


# The source: a real executable.


def answers(folder: Path, **said: Any) -> Tool:
    """An amd-smi that answers each of its commands; a string as it is, any other thing as JSON."""
    cases = ""
    for command, document in said.items():
        output = document if isinstance(document, str) else json.dumps(document)
        (folder / command).write_text(output)
        cases += f'{command}) cat "{folder}/{command}";;\n'
    return standin(folder, "amd-smi", f'echo "$*" >> "{folder}/asked"\ncase "$1" in\n{cases}esac')


@pytest.mark.process
def test_a_reading_through_the_tool(tmp_path: Path) -> None:
    said = {"static": AMD_SMI_STATIC, "metric": AMD_SMI_METRIC_7, "process": AMD_SMI_PROCESSES}
    source = AmdSmiSource(answers(tmp_path, **said))
    assert source.available()
    devices, processes = source.read()
    assert devices == (READING,)
    assert [(process.pid, process.pci) for process in processes] == [(31337, "0000:2c:00.0")]
    # Who the cards are is asked for once.
    source.read()
    asked = (tmp_path / "asked").read_text().split("\n")
    assert sum(line.startswith("static") for line in asked) == 1


@pytest.mark.process
def test_a_process_list_that_fails_does_not_hide_the_card(tmp_path: Path) -> None:
    said = {"static": AMD_SMI_STATIC, "metric": AMD_SMI_METRIC_6, "process": '{"error": "no permission", "code": -10}'}
    source = AmdSmiSource(answers(tmp_path, **said))
    assert source.available()
    assert source.read() == ((READING,), ())


@pytest.mark.process
def test_a_version_that_lacks_a_flag_is_asked_for_less(tmp_path: Path) -> None:
    script = (
        f'echo "$*" >> "{tmp_path}/asked"\n'
        'case "$*" in *-f*|*--limit*) echo "amd-smi: error: unrecognized arguments: -f" >&2; exit 2;;\n'
        f"metric*) cat <<'E'\n{json.dumps(AMD_SMI_METRIC_6)}\nE\n;;\n"
        f"static*) cat <<'E'\n{json.dumps(AMD_SMI_STATIC)}\nE\n;;\nesac"
    )
    source = AmdSmiSource(standin(tmp_path, "amd-smi", script))
    assert source.available()
    assert source.read()[0] == (READING,)
    assert source.read()[0] == (READING,)
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("metric")]
    assert asked == ["metric -m -u -p -c -t -f --json", "metric -m -u --json", "metric -m -u --json"]


@pytest.mark.process
@pytest.mark.parametrize(
    "message",
    [
        "/opt/rocm/lib/libamd_smi.so: cannot open shared object file: No such file or directory",
        "amdsmi_exception.AmdSmiLibraryException: Driver not loaded",
        "ERROR:root:Unable to detect any GPU devices, check amdgpu version and module status",
    ],
)
def test_without_the_tool_or_its_driver_it_is_not_available(tmp_path: Path, message: str) -> None:
    assert not AmdSmiSource(Tool("amd-smi", {"PATH": str(tmp_path / "nowhere")})).available()
    assert not AmdSmiSource(printing(tmp_path, "amd-smi", "", stderr=message, code=1)).available()


@pytest.mark.process
@pytest.mark.parametrize(
    ("output", "stderr", "code", "message"),
    [
        ("", "", 0, "^amd-smi printed nothing"),
        ('{"error": "Device busy", "code": -30}', "", 0, r"^amd-smi: Device busy \(code -30\)"),
        ("", 'x.AmdSmiLibraryException: {"error": "Device busy", "code": -30}', 1, r"\(exit code 1\): Device busy"),
        ('[{"gpu": 0, "mem_usage": {"total_vram": {"value": 163', "", 0, "cut or broken"),
        ("\x00\xff rubbish", "", 3, r"printed no card \(exit code 3\)"),
    ],
)
def test_rubbish_is_a_fault_with_a_message(tmp_path: Path, output: str, stderr: str, code: int, message: str) -> None:
    source = AmdSmiSource(printing(tmp_path, "amd-smi", output, stderr=stderr, code=code))
    with pytest.raises(SourceError, match=message):
        source.read()


@pytest.mark.process
def test_a_tool_that_hangs_is_a_fault_in_time(tmp_path: Path) -> None:
    source = AmdSmiSource(standin(tmp_path, "amd-smi", "sleep 60"), limit_seconds=0.4)
    for call in (source.available, source.read):
        with pytest.raises(SourceError, match="amd-smi has not ended"):
            call()
