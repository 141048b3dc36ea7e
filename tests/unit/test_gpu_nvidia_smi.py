"""nvidia-smi: CSV, XML, and a real executable on PATH."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import SourceError
from core.gpu.sources.nvidia_smi import NvidiaSmiSource, parse_query_compute_apps, parse_query_gpu
from core.gpu.sources.nvidia_xml import parse_nvidia_smi_xml
from core.gpu.sources.tool import Tool
from tests.support.tooloutputs import MIB, NVIDIA_APPS, NVIDIA_CSV, NVIDIA_XML, printing, standin

READING = DeviceReading(
    0,
    "NVIDIA Stand-in 24GB",
    "nvidia",
    pci="0000:3d:00.0",
    vram_total_bytes=24564 * MIB,
    vram_used_bytes=11203 * MIB,
    busy_percent=97,
    memory_busy_percent=44,
    power_watts=312.55,
    power_limit_watts=350,
    temperature_edge_c=68,
    clock_mhz=2520,
    memory_clock_mhz=10251,
    fan_percent=51,
    throttling=("power", "thermal"),
    architecture="8.9",
)
TRAINER = ProcessReading(31337, "python3", 10110 * MIB, pci="0000:3d:00.0")

# CSV.


def test_a_card_of_the_query() -> None:
    assert parse_query_gpu(NVIDIA_CSV) == (READING,)
    assert parse_query_gpu("WARNING: infoROM is corrupted\n\n" + NVIDIA_CSV.replace("\n", "\r\n")) == (READING,)


def test_without_units_memory_is_in_mib() -> None:
    header = "index, name, memory.used, memory.total, utilization.gpu, fan.speed"
    rows = "0, NVIDIA Stand-in, 100, 8192, 3, 40\n1, NVIDIA Stand-in, 200, 8192, [N/A], [N/A]\n"
    first, second = parse_query_gpu(f"{header}\n{rows}")
    assert (first.index, first.vram_used_bytes, first.busy_percent, first.fan_percent) == (0, 100 * MIB, 3, 40)
    assert (second.index, second.vram_used_bytes, second.busy_percent, second.fan_percent) == (1, 200 * MIB, None, None)


@pytest.mark.parametrize(
    "nothing", ["[N/A]", "N/A", "[Not Supported]", "[Insufficient Permissions]", "[Unknown Error]", "[GPU is lost]", ""]
)
def test_what_the_card_does_not_give_is_absent_never_0(nothing: str) -> None:
    header = NVIDIA_CSV.splitlines()[0]
    row = ", ".join([nothing] * len(header.split(", ")))
    assert parse_query_gpu(f"{header}\n{row}\n") == (DeviceReading(0, "NVIDIA GPU", "nvidia"),)


def test_fields_by_their_other_names_in_another_order() -> None:
    header = "gpu_name, enforced.power.limit [W], gpu_bus_id, clocks.gr [MHz]"
    output = f"{header}\nNVIDIA Stand-in, 200.00 W, 00000000:3D:00.0, 900 MHz\n"
    (device,) = parse_query_gpu(output)
    assert (device.name, device.power_limit_watts, device.pci, device.clock_mhz) == (
        "NVIDIA Stand-in",
        200,
        "0000:3d:00.0",
        900,
    )


def test_a_name_that_holds_the_separator_and_a_row_that_is_cut() -> None:
    output = "index, name, memory.total [MiB]\n0, Card, a kind of, 8192 MiB\n1, Card\n"
    assert [device.name for device in parse_query_gpu(output)] == ["Card, a kind of"]


def test_processes() -> None:
    assert parse_query_compute_apps(NVIDIA_APPS) == (TRAINER, ProcessReading(2718, pci="0000:3d:00.0"))
    assert parse_query_compute_apps("pid, used_memory\n31337, 512\n") == (ProcessReading(31337, None, 512 * MIB),)
    assert parse_query_compute_apps(NVIDIA_APPS.splitlines()[0] + "\n") == ()


@pytest.mark.parametrize(
    ("bits", "why"),
    [("0x0000000000000001", ()), ("0x8", ("unknown",)), ("0x40", ("thermal",)), ("Active", None), ("[N/A]", None)],
)
def test_throttling(bits: str, why: tuple[str, ...] | None) -> None:
    (device,) = parse_query_gpu(NVIDIA_CSV.replace("0x0000000000000024", bits))
    assert device.throttling == why


# XML.


def test_xml_gives_the_same_but_for_the_compute_capability() -> None:
    assert parse_nvidia_smi_xml(NVIDIA_XML) == ((dataclasses.replace(READING, architecture=None),), (TRAINER,))
    warned = "WARNING: something\n" + NVIDIA_XML + "WARNING: infoROM is corrupted\n"
    assert parse_nvidia_smi_xml(warned) == parse_nvidia_smi_xml(NVIDIA_XML)


def test_xml_of_a_card_in_mig_parts() -> None:
    parts = "<mig_devices><mig_device><fb_memory_usage><used>1 MiB</used></fb_memory_usage></mig_device></mig_devices>"
    process = "<process_info><gpu_instance_id>{}</gpu_instance_id><pid>7</pid><used_memory>{} MiB</used_memory></process_info>"
    xml = NVIDIA_XML.replace("<product_name>", parts + "<product_name>").replace("97 %", "N/A").replace("44 %", "N/A")
    xml = xml.replace(
        "</processes>", process.format(1, 10) + process.format(2, 20) + process.format(2, 20) + "</processes>"
    )
    (device,), processes = parse_nvidia_smi_xml(xml)
    assert (device.vram_used_bytes, device.busy_percent, device.memory_busy_percent) == (11203 * MIB, None, None)
    assert [(row.pid, row.vram_bytes) for row in processes[1:]] == [(7, 10 * MIB), (7, 20 * MIB)]


def test_xml_of_older_and_newer_drivers() -> None:
    old = NVIDIA_XML.replace("clocks_event_reason", "clocks_throttle_reason").replace(
        "gpu_power_readings", "power_readings"
    )
    old = old.replace("current_power_limit", "power_limit")
    assert parse_nvidia_smi_xml(old) == parse_nvidia_smi_xml(NVIDIA_XML)
    new = NVIDIA_XML.replace("<power_draw>312.55 W</power_draw>", "<instant_power_draw>9 W</instant_power_draw>")
    assert parse_nvidia_smi_xml(new)[0][0].power_watts == 9
    mean = new.replace("<instant", "<average_power_draw>8 W</average_power_draw><instant")
    assert parse_nvidia_smi_xml(mean)[0][0].power_watts == 8


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (NVIDIA_XML[: len(NVIDIA_XML) // 2], "cut or broken"),
        (NVIDIA_XML.replace("</gpu>", "</gup>"), "cut or broken"),
        ("<nvidia_smi_log>" + "<a>" * 100_000, "nested too deep"),
        ("<nvidia_smi_log>" + "<a/>" * 300_000 + "</nvidia_smi_log>", "too long"),
        ("<nvidia_smi_log>" + " " * 5 * 2**20 + "</nvidia_smi_log>", "more than 4 MiB"),
        ('<nvidia_smi_log><!DOCTYPE a [<!ENTITY b "c">]>&b;</nvidia_smi_log>', "declarations of its own"),
        ("<nvidia_smi_log>&lol;</nvidia_smi_log>", "cut or broken"),
        ("<html>", "no XML of its own"),
    ],
)
def test_xml_that_is_cut_or_hostile(xml: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_nvidia_smi_xml(xml)


def test_entities_of_a_declaration_before_the_log_are_never_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("what nobody shall read")
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    for declaration in (f'<!ENTITY l SYSTEM "file://{secret}">', f'<!ENTITY l0 "lol">{bomb}<!ENTITY l "&l11;">'):
        xml = NVIDIA_XML.replace('SYSTEM "nvsmi_device_v12.dtd"', f"[{declaration}]").replace("Stand-in 24GB", "&l;")
        with pytest.raises(SourceError, match="cut or broken"):
            parse_nvidia_smi_xml(xml)


# The source: a real executable.


def answering(folder: Path, gpu: str, apps: str, log: str = "exit 1") -> Tool:
    cases = f"--query-gpu*) {gpu};;\n--query-compute-apps*) {apps};;\n-q) {log};;"
    return standin(folder, "nvidia-smi", f'echo "$*" >> "{folder}/asked"\ncase "$1" in\n{cases}\nesac')


def said(folder: Path, name: str, output: str) -> str:
    (folder / name).write_text(output)
    return f'cat "{folder}/{name}"'


@pytest.mark.process
def test_a_reading_through_the_tool(tmp_path: Path) -> None:
    tool = answering(tmp_path, said(tmp_path, "gpu", NVIDIA_CSV), said(tmp_path, "apps", NVIDIA_APPS))
    source = NvidiaSmiSource(tool)
    assert source.available()
    assert source.read() == ((READING,), parse_query_compute_apps(NVIDIA_APPS))


@pytest.mark.process
def test_a_driver_that_does_not_know_a_field_is_asked_for_xml(tmp_path: Path) -> None:
    refusal = "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2"
    source = NvidiaSmiSource(answering(tmp_path, refusal, "exit 2", said(tmp_path, "log", NVIDIA_XML)))
    for _ in range(2):
        assert source.read() == parse_nvidia_smi_xml(NVIDIA_XML)
    assert [line.split("=")[0] for line in (tmp_path / "asked").read_text().splitlines()] == [
        "--query-gpu",
        "-q -x",
        "-q -x",
    ]


@pytest.mark.process
@pytest.mark.parametrize(
    "message",
    [
        "No devices were found",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that it is running.",
    ],
)
def test_without_tool_driver_or_card_it_is_not_available(tmp_path: Path, message: str) -> None:
    assert not NvidiaSmiSource(Tool("nvidia-smi", {"PATH": str(tmp_path / "nowhere")})).available()
    assert not NvidiaSmiSource(printing(tmp_path, "nvidia-smi", message, code=9)).available()


def test_a_power_that_the_card_lacks_hides_none_that_it_has() -> None:
    header = (
        "index, name, power.draw, power.draw.average, power.draw.instant, power.limit [W], enforced.power.limit [W]"
    )
    rows = "0, A, 71.25 W, [N/A], 88.50 W, 210.00 W, [N/A]\n1, B, [N/A], [N/A], 64.75 W, [N/A], 180.00 W"
    devices = parse_query_gpu(f"{header}\n{rows}")
    assert [(device.power_watts, device.power_limit_watts) for device in devices] == [(71.25, 210.0), (64.75, 180.0)]


@pytest.mark.process
@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        ("", 0, "^nvidia-smi printed no card$"),
        ("index, name, memory.total [MiB]\n", 0, "^nvidia-smi printed no card: index, name"),
        (
            "Failed to initialize NVML: Driver/library version mismatch",
            18,
            r"different versions \(Failed to initialize NVML: Driver/library version mismatch\); reboot",
        ),
        ("\x00\xff\xfe rubbish, rubbish", 0, "printed no card"),
    ],
)
def test_rubbish_is_a_fault_with_a_message(tmp_path: Path, output: str, code: int, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        NvidiaSmiSource(printing(tmp_path, "nvidia-smi", output, code=code)).read()


@pytest.mark.process
def test_a_tool_that_hangs_is_a_fault_in_time_and_says_what_is_quicker(tmp_path: Path) -> None:
    source = NvidiaSmiSource(answering(tmp_path, said(tmp_path, "gpu", NVIDIA_CSV), "sleep 60"), limit_seconds=0.5)
    with pytest.raises(SourceError, match=r"nvidia-smi has not ended.*; persistence mode is quicker"):
        source.read()
