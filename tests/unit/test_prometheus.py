"""What `bakehouse gpu --prometheus` prints, read back by Prometheus' own parser for Python."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from core.gpu.reading import DeviceReading, HostReading, ProcessReading, Sample
from core.gpu_lease.state import Intruder, LeaseState, ResidentModel
from core.reasons import Reason
from core.telemetry.prometheus import text
from tests.support.depth import example_count

NOW = 1_780_000_000.0
CARD = DeviceReading(
    0,
    "AMD GPU of a test",
    "amd",
    "0000:0f:00.0",
    vram_total_bytes=17_095_983_104,
    vram_used_bytes=11_600_000_123,
    gtt_total_bytes=33_000_000_000,
    gtt_used_bytes=210_000_000,
    busy_percent=97,
    memory_busy_percent=45,
    power_watts=238.5,
    power_limit_watts=304.0,
    temperature_edge_c=61.0,
    temperature_hotspot_c=78.5,
    temperature_memory_c=-3.0,
    clock_mhz=2970,
    memory_clock_mhz=1258,
    fan_percent=34.5,
    fan_rpm=1240,
    throttling=("thermal", "power"),
    architecture="gfx1201",
    integrated=False,
    suspended=False,
)
HOST = HostReading(67_000_000_000, 41_000_000_000, 2.25, 12.5, 16)
SAMPLE = Sample(NOW - 0.5, "sysfs", HOST, (CARD,))
GPU = {"gpu": "0", "pci": "0000:0f:00.0"}

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(page: str) -> Series:
    """All series by name and labels; fails on what Prometheus or promtool would refuse."""
    assert page.endswith("\n") and "\n\n" not in page
    found: Series = {}
    families: list[str] = []
    for family in text_string_to_metric_families(page):
        assert family.type == "gauge" and family.documentation, family
        assert family.name not in families, "the lines of a family stand together"
        families.append(family.name)
        for series in family.samples:
            assert series.name == family.name
            key = (series.name, frozenset(series.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = series.value
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert len(lines) == len(found)
    return found


def value(series: Series, metric: str, /, **labels: str) -> float | None:
    return series.get((f"bakehouse_{metric}", frozenset(labels.items())))


def names(series: Series) -> set[str]:
    return {name for name, _ in series}


def test_each_figure_stands_there_in_base_units() -> None:
    series = parsed(text(SAMPLE, now=NOW, runner_alive=True))
    expected = {
        "vram_size_bytes": 17_095_983_104,
        "vram_used_bytes": 11_600_000_123,
        "gtt_size_bytes": 33_000_000_000,
        "gtt_used_bytes": 210_000_000,
        "busy_ratio": 0.97,
        "memory_busy_ratio": 0.45,
        "power_watts": 238.5,
        "power_limit_watts": 304.0,
        "fan_ratio": 0.345,
        "fan_rpm": 1240,
        "throttled": 1,
        "asleep": 0,
    }
    assert {name: value(series, f"gpu_{name}", **GPU) for name in expected} == expected
    degrees = {sensor: value(series, "gpu_temperature_celsius", **GPU, sensor=sensor) for sensor in ("edge", "memory")}
    assert degrees == {"edge": 61.0, "memory": -3.0}
    assert value(series, "gpu_temperature_celsius", **GPU, sensor="hotspot") == 78.5
    assert value(series, "gpu_clock_hertz", **GPU, domain="core") == 2.97e9
    assert value(series, "gpu_clock_hertz", **GPU, domain="memory") == 1.258e9
    assert value(series, "gpu_throttling", **GPU, reason="thermal") == 1
    assert value(series, "gpu_throttling", **GPU, reason="power") == 1
    about = {"name": CARD.name, "vendor": "amd", "architecture": "gfx1201", "integrated": "false"}
    assert value(series, "gpu_info", **GPU, **about) == 1
    host = ("memory_size_bytes", "memory_available_bytes", "load1", "cpu_busy_ratio", "cpus")
    assert [value(series, f"host_{name}") for name in host] == [67e9, 41e9, 2.25, 0.125, 16]
    assert value(series, "source_info", source="sysfs") == 1
    assert value(series, "sample_timestamp_seconds") == NOW - 0.5
    assert (value(series, "sample_problem"), value(series, "runner_up")) == (0, 1)


def test_bytes_keep_every_digit() -> None:
    assert "bakehouse_gpu_vram_used_bytes{" in (page := text(SAMPLE, now=NOW))
    assert " 11600000123\n" in page


# Which GPU it is and what it is for; no figures.
NAMES = {"index", "name", "vendor", "pci", "integrated", "uuid", "for_jobs", "passed_over"}


@pytest.mark.parametrize("field", sorted(set(vars(CARD)) - NAMES))
def test_what_is_not_known_has_no_line(field: str) -> None:
    whole = parsed(text(SAMPLE, now=NOW))
    series = parsed(text(replace(SAMPLE, devices=(replace(CARD, **{field: None}),)), now=NOW))
    lost = set(whole) - set(series)
    assert lost, "its line is gone"
    if field != "architecture":  # a label of the info
        assert not set(series) - set(whole), "and no 0 stands in its place"


def test_a_figure_that_is_no_number_has_no_line() -> None:
    odd = replace(CARD, power_watts=math.nan, temperature_edge_c=math.inf)
    series = parsed(text(replace(SAMPLE, devices=(odd,)), now=NOW))
    assert value(series, "gpu_power_watts", **GPU) is None
    assert value(series, "gpu_temperature_celsius", **GPU, sensor="edge") is None


def test_names_follow_prometheus_conventions() -> None:
    """What `promtool check metrics` complains about: reserved suffixes, units that are no base units, types in names."""
    state = LeaseState(NOW, phase="held", baseline_bytes=1, unowned_bytes=1, server="Ollama 0.24.0")
    for name in names(parsed(text(SAMPLE, state, {"job": 1, "home": "/h", "since": 1.0}, now=NOW))):
        assert re.fullmatch(r"bakehouse(_[a-z0-9]+)+", name), name
        assert not re.search(r"_(total|count|sum|bucket|gauge|percent|mhz|megahertz|mb|gb|milliwatts|ms)(_|$)", name), (
            name
        )


def test_several_gpus_are_told_apart_and_a_sleeping_one_says_only_that() -> None:
    asleep = DeviceReading(1, "second", "amd", "0000:13:00.0", integrated=True, suspended=True)
    nameless = DeviceReading(2, "third", "nvidia", None, vram_used_bytes=5)
    series = parsed(text(replace(SAMPLE, devices=(CARD, asleep, nameless)), now=NOW))
    assert value(series, "gpu_asleep", gpu="1", pci="0000:13:00.0") == 1
    mine = {name for name, labels in series if ("gpu", "1") in labels}
    assert mine == {"bakehouse_gpu_info", "bakehouse_gpu_asleep"}
    assert value(series, "gpu_vram_used_bytes", gpu="2") == 5, "an address that is not known is no label"


def test_of_a_stale_sample_only_its_time_is_given() -> None:
    series = parsed(text(SAMPLE, now=NOW + 60, runner_alive=True))
    assert names(series) == {
        "bakehouse_runner_up",
        "bakehouse_sample_timestamp_seconds",
        "bakehouse_sample_problem",
        "bakehouse_lease_held",
    }
    assert names(parsed(text(None))) == {"bakehouse_runner_up", "bakehouse_lease_held"}


def test_processes_are_counted_by_program_and_user() -> None:
    """A label with the pid would make a new series with every process that ever was."""
    processes = (
        ProcessReading(10, "python3", 8_000_000_000, True, CARD.pci, user="kim"),
        ProcessReading(11, "ollama", 1_000_000_000, False, CARD.pci, user="ollama"),
        ProcessReading(12, "ollama", 500_000_000, False, CARD.pci, user="ollama"),
        ProcessReading(13, "Xorg", None, False, CARD.pci, user="root"),
        ProcessReading(14, None, 7, False, None),
    )
    series = parsed(text(replace(SAMPLE, processes=processes), now=NOW))
    kim = {**GPU, "name": "python3", "user": "kim", "ours": "true"}
    assert value(series, "gpu_process_vram_bytes", **kim) == 8e9
    ollama = {**GPU, "name": "ollama", "user": "ollama", "ours": "false"}
    assert value(series, "gpu_process_vram_bytes", **ollama) == 1.5e9
    assert value(series, "gpu_processes", **ollama) == 2
    xorg = {**GPU, "name": "Xorg", "user": "root", "ours": "false"}
    assert (value(series, "gpu_processes", **xorg), value(series, "gpu_process_vram_bytes", **xorg)) == (1, None)
    assert value(series, "gpu_process_vram_bytes", **GPU, ours="false") == 7, "on the only GPU there is"


def test_the_lease_and_what_the_runner_says_of_the_gpu() -> None:
    state = LeaseState(
        NOW,
        phase="verifying",
        server="Ollama 0.24.0",
        residents=(ResidentModel("judge:v1", 5_000_000_000), ResidentModel("planner:v1", 3_000_000_000)),
        evicted=("judge:v1",),
        intruders=(Intruder("chat:v2", NOW),),
        baseline_bytes=310_000_000,
        unowned_bytes=0,
    )
    series = parsed(text(SAMPLE, state, {"job": 42, "home": "/home/kim/b", "since": NOW - 90}, now=NOW))
    assert value(series, "lease_held") == 1
    assert value(series, "lease_info", job="42", home="/home/kim/b") == 1
    assert value(series, "lease_since_timestamp_seconds") == NOW - 90
    phases = {dict(labels)["phase"]: on for (name, labels), on in series.items() if name == "bakehouse_lease_phase"}
    assert phases == dict.fromkeys(("free", "clearing", "held", "restoring", "blocked"), 0.0) | {"verifying": 1.0}
    assert value(series, "model_vram_bytes", model="planner:v1") == 3e9
    counts = ("lease_idle_bytes", "lease_unowned_bytes", "model_server_up", "models_evicted", "models_intruding")
    assert [value(series, name) for name in counts] == [310e6, 0, 1, 1, 1]
    down = parsed(text(SAMPLE, LeaseState(NOW, server_fault=Reason("server_down", {"url": "http://box"})), now=NOW))
    assert value(down, "model_server_up") == 0
    assert value(parsed(text(SAMPLE, LeaseState(NOW), now=NOW)), "model_server_up") is None


@pytest.mark.parametrize("lease", [None, {"problem": "its lock is a link"}])
def test_a_lease_that_is_free_or_cannot_be_used_is_not_held(lease: dict[str, Any] | None) -> None:
    assert value(parsed(text(SAMPLE, None, lease, now=NOW)), "lease_held") == 0


def test_a_lease_of_which_nobody_said_whose_it_is() -> None:
    series = parsed(text(SAMPLE, None, {}, now=NOW))
    assert value(series, "lease_held") == 1 and value(series, "lease_info") == 1


HOSTILE = 'a"} 1\nbakehouse_runner_up 7\n# TYPE x counter\\ \x1b]52;c;aGFjaw==\x07 \u202e'


def test_names_of_others_cannot_leave_their_label() -> None:
    processes = (ProcessReading(1, HOSTILE, 5, False, CARD.pci, user=HOSTILE),)
    state = LeaseState(NOW, residents=(ResidentModel(HOSTILE, 5),), server=HOSTILE)
    device = replace(CARD, name=HOSTILE, throttling=(HOSTILE,))
    sample = replace(SAMPLE, source=HOSTILE, devices=(device,), processes=processes)
    page = text(sample, state, {"job": 1, "home": HOSTILE}, now=NOW)
    series = parsed(page)
    assert value(series, "runner_up") == 0
    assert all(letter == "\n" or letter.isprintable() for letter in page)
    (shown,) = {dict(labels)["model"] for name, labels in series if name == "bakehouse_model_vram_bytes"}
    assert shown == 'a"} 1 bakehouse_runner_up 7 # TYPE x counter\\  '


ANY = st.text(st.characters(), max_size=200) | st.sampled_from(["\\", '"', "\\n", '\\"', "\r", "\ud800", ""])


@settings(max_examples=example_count(150))
@given(st.lists(st.tuples(ANY, ANY, st.booleans()), max_size=6), st.lists(ANY, max_size=4), ANY)
def test_whatever_the_names_are_the_page_parses_and_counts_every_process(
    programs: list[tuple[str, str, bool]], models: list[str], home: str
) -> None:
    processes = tuple(
        ProcessReading(pid, name, 10, ours, CARD.pci, user=user) for pid, (name, user, ours) in enumerate(programs)
    )
    state = LeaseState(NOW, residents=tuple(ResidentModel(name, 3) for name in models))
    page = text(replace(SAMPLE, processes=processes), state, {"job": 1, "home": home}, now=NOW)
    page.encode()
    series = parsed(page)
    held = [count for (name, _), count in series.items() if name == "bakehouse_gpu_process_vram_bytes"]
    assert sum(held) == 10 * len(programs)
    served = [count for (name, _), count in series.items() if name == "bakehouse_model_vram_bytes"]
    assert sum(served) == 3 * len(models)
