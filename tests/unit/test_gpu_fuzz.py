"""Whatever a tool prints: a source gives readings that can be, or one error, and soon."""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.gpu.reading import DeviceReading, ProcessReading
from core.gpu.source import Source, SourceError
from core.gpu.sources.amd_smi import AmdSmiSource
from core.gpu.sources.amd_smi_json import parse_amd_smi_metric, parse_amd_smi_processes, parse_amd_smi_static
from core.gpu.sources.json_output import documents
from core.gpu.sources.nvidia_smi import NvidiaSmiSource, parse_query_compute_apps, parse_query_gpu
from core.gpu.sources.nvidia_xml import parse_nvidia_smi_xml
from core.gpu.sources.rocm_smi import RocmSmiSource, parse_rocm_smi
from core.gpu.sources.tool import Tool
from tests.support import tooloutputs as outputs
from tests.support.depth import at_most, example_count
from tests.support.tooloutputs import printing, standin
from tests.support.waiting import PATIENCE_SECONDS

# Each gives cards and processes, as `check` takes them.
JSON_PARSERS: tuple[Callable[[str], Any], ...] = (
    parse_rocm_smi,
    lambda output: (parse_amd_smi_metric(output), ()),
    lambda output: ((), parse_amd_smi_processes(output)),
)
PARSERS = (
    *JSON_PARSERS,
    lambda output: (parse_query_gpu(output), parse_query_compute_apps(output)),
    parse_nvidia_smi_xml,
)
SOURCES: dict[str, Callable[[Tool, float], Source]] = {
    "rocm-smi": RocmSmiSource,
    "amd-smi": AmdSmiSource,
    "nvidia-smi": NvidiaSmiSource,
}
DOCUMENTS: tuple[Any, ...] = (
    outputs.ROCM_SMI,
    outputs.AMD_SMI_METRIC_6,
    outputs.AMD_SMI_METRIC_7,
    outputs.AMD_SMI_STATIC,
    outputs.AMD_SMI_PROCESSES,
    outputs.AMD_SMI_IDLE,
)
TEXTS = (
    *map(json.dumps, DOCUMENTS),
    outputs.ROCM_SMI_CSV,
    outputs.ROCM_SMI_PIDS,
    outputs.ROCM_SMI_SHORT,
    outputs.ROCM_SMI_LINES,
    outputs.NVIDIA_CSV,
    outputs.NVIDIA_APPS,
    outputs.NVIDIA_XML,
)
# What stands where a figure or a name should.
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    -0.0,
    2**63,
    10**400,
    1e308,
    -1e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "N/A",
    "-1",
    "1e99",
    "NaN",
    "Infinity",
    "18446744073709551615",
    "9" * 5000,
    "12,5",
    "0x10",
    "٣",
    "\x1b]0;title\x07\x1b[2J",
    "\ud800",
    "a\x00b",
    "\u202eevil",
    "a, b, 1, 2, 3, 4",
    "PID7",
    [],
    [1, "2", None],
    {},
    {"value": {"value": 1}, "unit": "GB"},
    {"value": -5, "unit": "MB"},
    {"value": 1, "unit": ["GB"]},
    {"value": 1e300, "unit": "TB"},
    {"gpu": {"gpu": {}}},
)
PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
LIMITS = {"percent": (0, 100), "watts": (0, 10_000), "c": (-60, 200), "mhz": (0, 100_000), "rpm": (0, 100_000)}
LIMITS["bytes"] = (0, 2**50)
quick = settings(
    max_examples=example_count(80), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def check(devices: tuple[DeviceReading, ...], processes: tuple[ProcessReading, ...]) -> None:
    """Every figure is a number within what can be, every text can be shown, and no card uses more than it has."""
    for reading in (*devices, *processes):
        for field in fields(reading):
            value, limits = getattr(reading, field.name), LIMITS.get(field.name.rpartition("_")[2])
            if value is None:
                continue
            if limits is not None:
                assert type(value) in (int, float), (field.name, value)
                assert limits[0] <= value <= limits[1], (field.name, value)
            elif isinstance(value, str):
                assert value.isprintable(), (field.name, value)
                assert 0 < len(value) <= 128
        json.dumps(reading.to_json(), allow_nan=False).encode()
        assert reading.pci is None or PCI.fullmatch(reading.pci)
    for device in devices:
        assert device.index >= 0
        for used, total in (
            (device.vram_used_bytes, device.vram_total_bytes),
            (device.gtt_used_bytes, device.gtt_total_bytes),
        ):
            assert total != 0
            assert used is None or total is None or used <= total
        assert device.throttling is None or set(device.throttling) <= {"power", "thermal", "current", "unknown"}
    assert all(0 < process.pid < 2**31 for process in processes)
    assert len(devices) <= 256
    assert len(processes) <= 4096


def feed(output: str) -> None:
    """To every parser, its own output or another's; only `SourceError` may come out."""
    for parse in PARSERS:
        try:
            check(*parse(output))
        except SourceError as error:
            assert error.message.isprintable(), error.message
            assert len(error.message) < 500
    for parse in (parse_amd_smi_metric, parse_amd_smi_processes):
        try:
            parse(output, strict=True)
        except SourceError as error:
            assert error.message
    parse_amd_smi_static(output)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with `value` at that place."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = with_value(document[path[0]], path[1:], value)
    return copy


# Truncated, reordered, mistyped.


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_truncated(text: str, data: st.DataObject) -> None:
    feed(text[: data.draw(st.integers(0, len(text)))])
    feed(text[data.draw(st.integers(0, len(text))) :])


@quick
@given(st.sampled_from(TEXTS), st.randoms(use_true_random=False))
def test_reordered(text: str, random: Any) -> None:
    for parts, joint in ((text.splitlines(), "\n"), (text.split(","), ","), (text.split("  "), "  ")):
        shuffled = list(parts)
        random.shuffle(shuffled)
        feed(joint.join(shuffled))
        feed(joint.join(shuffled[: len(shuffled) // 2] * 2))


@quick
@given(st.sampled_from(DOCUMENTS), st.data())
def test_mistyped(document: Any, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(list(places(document))))
        document = with_value(document, path, data.draw(st.sampled_from(HOSTILE)))
    feed(json.dumps(document))


def test_every_figure_mistyped_in_every_way() -> None:
    for document, value in itertools.product(DOCUMENTS, HOSTILE):
        for path in places(document):
            output = json.dumps(with_value(document, path, value))
            for parse in JSON_PARSERS:
                try:
                    check(*parse(output))
                except SourceError:
                    continue


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_words_replaced(text: str, data: st.DataObject) -> None:
    hostile = st.sampled_from([str(value) for value in HOSTILE])
    words = re.split(r"(\s+|[<>,:\"])", text)
    for _ in range(data.draw(st.integers(1, 6))):
        words[data.draw(st.integers(0, len(words) - 1))] = data.draw(hostile | st.text(max_size=12))
    feed("".join(words))


@quick
@given(st.sampled_from(TEXTS), st.data())
def test_wrong_encodings(text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))))
    for _ in range(data.draw(st.integers(0, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    feed(raw.decode("utf-8", errors="replace"))
    feed(raw.decode("latin-1"))


@quick
@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", errors="replace")))
def test_anything(text: str) -> None:
    feed(text)


@quick
@given(
    st.recursive(st.sampled_from(HOSTILE), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), st.data()
)
def test_what_is_read_of_json_that_is_cut_is_a_part_of_the_whole(document: Any, data: st.DataObject) -> None:
    text = json.dumps([document])
    for found in documents(text[: data.draw(st.integers(1, len(text)))])[:1]:
        assert part_of(found.value, json.loads(text))


def part_of(some: Any, whole: Any) -> bool:
    if isinstance(some, list) and isinstance(whole, list):
        return len(some) <= len(whole) and all(map(part_of, some, whole))
    if isinstance(some, dict) and isinstance(whole, dict):
        return all(key in whole and part_of(inner, whole[key]) for key, inner in some.items())
    return some == whole or (isinstance(some, float) and math.isnan(some))


# Large and deep.

LARGE = 10 * 2**20


@pytest.mark.parametrize(
    "output",
    [
        "[" * LARGE,
        "{" * LARGE,
        '{"a":' * (LARGE // 5),
        "[\n" * (LARGE // 2),
        '{"a":\n' * (LARGE // 6),
        '"' * LARGE,
        '{"' + "a" * LARGE,
        '{"card0": {"GPU use (%)": "' + "9" * LARGE,
        '{"card0": {"GPU use (%)": ' + "9" * LARGE + "}}",
        '[{"gpu": 0, "usage": ' + "[" * 100_000 + "]" * 100_000 + "}]",
        "[" + "1," * (LARGE // 2),
        "[" + '{"gpu":0},' * (LARGE // 10),
        "[1,\n" + "[],\n" * (LARGE // 4),
        json.dumps({f"card{number}": outputs.ROCM_SMI_CARD for number in range(9000)}),
        "\n" * LARGE,
        " " * LARGE,
        "\x00" * LARGE,
        "GPU[0]\t\t: a: 1\n" * (LARGE // 16),
        "PID PROCESS NAME GPU(s) VRAM USED\n" + "1 a 1 1 1 1\n" * (LARGE // 12),
        "PID PROCESS NAME GPU(s) VRAM USED\n1 " + "a " * (LARGE // 2),
        "device,a\n" + "card0,1\n" * (LARGE // 8),
        "device,a\ncard0," + '"a' * (LARGE // 2),
        "pid, used_memory\n" + "1, 2\n" * (LARGE // 5),
        "name, memory.total\n" + "a, 1\n" * (LARGE // 5),
        "<nvidia_smi_log>" + "<gpu>" * (LARGE // 5),
        "<nvidia_smi_log>" + "<gpu/>" * (LARGE // 6) + "</nvidia_smi_log>",
        outputs.NVIDIA_XML.replace("Stand-in", "&#65;" * (LARGE // 5)),
    ],
    ids=lambda output: repr(output[:24]),
)
def test_ten_megabytes_of_one_thing_are_done_with_soon(output: str) -> None:
    for parse in PARSERS:
        start = time.process_time()
        try:
            check(*parse(output))
        except SourceError as error:
            assert len(error.message) < 500
        assert time.process_time() - start < 4


# Through a real executable on PATH.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tools")


@pytest.mark.process
@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=example_count(15), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_source_raises_nothing_but_its_error(folder: Path, name: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    raw = bytearray(text[: data.draw(st.integers(0, len(text)))].encode())
    for _ in range(data.draw(st.integers(0, 4)) if raw else 0):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    stderr = data.draw(st.sampled_from(["", "WARNING: something", "Traceback\x1b[31m", '{"error": "x", "code": 1}']))
    tool = printing(folder / name, name, bytes(raw), stderr=stderr, code=data.draw(st.sampled_from([0, 0, 1, 3, 255])))
    source = SOURCES[name](tool, PATIENCE_SECONDS)
    try:
        assert source.available() in (True, False)
        check(*source.read())
    except SourceError as error:
        assert name in error.message
        assert error.message.isprintable()


@pytest.mark.process
@pytest.mark.timed
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sleep 600", "has not ended"),
        ("trap '' TERM INT HUP; while :; do sleep 1; done", "has not ended"),
        ("exec yes rubbish", "printed more than 4 MiB"),
        ("exec yes rubbish >&2", "printed more than 4 MiB"),
        ("exit 3", r"printed no.*\(exit code 3\)"),
        ("kill -SEGV $$", r"printed no.*\(exit code -11\)"),
        ("echo 'the card is gone' >&2; exit 1", r"printed no.*\(exit code 1\): the card is gone"),
        # Without what could look like the beginning of JSON.
        ("head -c 100000 /dev/urandom | tr -d '[{'", "printed no"),
    ],
)
def test_a_tool_gone_wrong_is_dropped_with_a_message(tmp_path: Path, name: str, script: str, message: str) -> None:
    # What does not end by itself has a short time, what does has all it needs.
    limit = 0.6 if message == "has not ended" else PATIENCE_SECONDS
    source = SOURCES[name](standin(tmp_path, name, script), limit)
    start = time.monotonic()
    with pytest.raises(SourceError, match=message) as fault:
        source.read()
    assert fault.value.message.startswith(name)
    assert time.monotonic() - start < at_most(2)
