"""The page faults of LoRA on RDNA 4: told from the versions alone, whatever a probe of single products found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.settings import GpuSettings, Settings
from core.doctor.findings import findings
from core.doctor.lora_faults import RocmVersions, lora_faults, rocm_versions
from core.doctor.recommend import recommend
from core.doctor.results import Diagnostic
from tests.support.doctorbench import PCI, Bench, one
from tests.support.machines import write

CACHING = "PYTORCH_NO_HIP_MEMORY_CACHING"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.of_its_own(tmp_path, monkeypatch)


@pytest.mark.parametrize("gfx", [120000, 120001])
@pytest.mark.parametrize(
    ("torch", "figures", "told"),
    [
        ("2.13.0+rocm7.2", {"built_for": "rocm 7.2.53150-a1b2c3"}, "ROCm 7.2, HIP 7.2.53150"),
        ("2.14.0+rocm10.0", {"built_for": "rocm 7.15.26302", "hip": "7.15.26302"}, "ROCm 10.0, HIP 7.15.26302"),
        ("2.14.0", {"built_for": "rocm 7.15.1", "rocm": "10.0.1"}, "ROCm 10.0.1, HIP 7.15.1"),
        ("2.10.0a0+rocm7.10.0a20251120", {}, "ROCm 7.10.0"),
        ("2.11.0a0+rocmsdk20251207", {"built_for": "rocm 7.11.1"}, "HIP 7.11.1"),
        ("2.12.0+git1a2b3c", {"built_for": "rocm 7.2.1"}, "HIP 7.2.1"),
    ],
)
def test_versions_with_the_fault_are_warned_of_with_both_numbers(
    bench: Bench, gfx: int, torch: str, figures: dict[str, Any], told: str
) -> None:
    bench.machine.amd(PCI, gfx=gfx)
    found = one(lora_faults(bench.box(), torch, figures), "hipBLASLt")
    assert found.state == "warning"
    assert found.message.startswith(f"{told}: ")
    assert "Which builds have the fix is not known" in found.message
    for way_out in (CACHING, "data order", "ROCm 7.1", "doctor --stress"):
        assert way_out in found.remedy


@pytest.mark.parametrize(
    ("torch", "figures"),
    [
        ("2.12.0+rocm6.4", {}),
        ("2.13.0+rocm7.1", {"built_for": "rocm 7.1.52802-26aae437f6"}),
        ("2.9.1+rocm7.1.1", {"built_for": "rocm 7.1.1", "rocm": "7.1.1"}),
        ("2.13.0+cpu", {"built_for": "cpu"}),
        ("2.13.0+cu128", {"built_for": "cuda 12.8"}),
    ],
)
def test_older_versions_and_builds_without_rocm_are_not(bench: Bench, torch: str, figures: dict[str, Any]) -> None:
    bench.machine.amd(PCI, gfx=120001)
    assert lora_faults(bench.box(), torch, figures) == []


def test_other_gpus_are_not_and_one_whose_driver_names_no_architecture_is_known_by_torch(bench: Bench) -> None:
    assert lora_faults(bench.box(), "2.13.0+rocm7.2", {}) == []
    bench.machine.amd(PCI, gfx=110000)
    assert lora_faults(bench.box(), "2.13.0+rocm7.2", {"architecture": "gfx1201"}) == []
    (bench.folder / "other").mkdir()
    unnamed = Bench(bench.folder / "other")
    unnamed.machine.amd(PCI)  # KFD gives no `gfx_target_version`
    assert lora_faults(unnamed.box(), "2.13.0+rocm7.2", {}) == []
    assert lora_faults(unnamed.box(), "2.13.0+rocm7.2", {"architecture": "gfx1200"})


def test_the_system_s_rocm_counts_where_torch_tells_none_and_no_version_at_all_is_no_all_clear(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    unknown = one(lora_faults(bench.box(), "2.13.0", {}), "hipBLASLt")
    assert (unknown.state, "is not known" in unknown.message) == ("warning", True)
    write(bench.opt, {"rocm/.info/version": "10.0.0-41"})
    assert one(lora_faults(bench.box(), "2.13.0", {}), "hipBLASLt").message.startswith("ROCm 10.0.0 of the system: ")
    write(bench.opt, {"rocm/.info/version": "7.1.1-38"})
    assert lora_faults(bench.box(), "2.13.0", {}) == []
    assert lora_faults(bench.box(), "2.13.0+rocm7.2", {}), "a wheel brings its own libraries"


def test_with_the_cache_off_it_is_still_a_warning_which_says_what_that_is_worth(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    bench.settings = Settings(gpu=GpuSettings(environment={CACHING: "1"}))
    found = one(lora_faults(bench.box(), "2.13.0+rocm7.2", {}), "hipBLASLt")
    assert found.state == "warning"
    assert "3 of 3 runs came through with it, which is no proof" in found.message
    assert "settings.yaml" not in found.remedy, "what is done already is not asked for"


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), max_size=4))
def test_versions_are_compared_as_numbers(rocm: list[int], hip: list[int]) -> None:
    versions = RocmVersions(tuple(rocm), tuple(hip))
    in_range = [[*version, 0][:2] >= [7, 2] for version in (rocm, hip) if version]
    assert versions.faulty == any(in_range)


def test_the_rocm_of_torch_is_read_from_its_name_and_its_probe(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    read = rocm_versions(bench.box(), "2.14.0+rocm10.0", {"built_for": "rocm 7.15.0", "hip": "7.15.0", "rocm": None})
    assert read == RocmVersions((10, 0), (7, 15, 0))
    assert rocm_versions(bench.box(), "2.14.0+xpu", {}) is None


LORA = {"errors": {"1": 0.002, "64": 0.003}, "largest_error": 0.003, "rounds": 20}


def test_products_that_were_right_are_told_with_what_they_cannot_show(bench: Bench) -> None:
    document = {"probes": [{"name": "lora", "status": "ok", "seconds": 1.0, "figures": LORA}]}
    (found,) = findings(document, bench.box())
    assert found.state == "ok"
    assert "come through," not in found.message
    for part in (
        "single products of rank 1 to 64, 20 times each",
        "0.3 %",
        "does not show that a training comes through",
    ):
        assert part in found.message
    (doubted,) = findings(document, bench.box(), lora_is_doubtful=True)
    assert (doubted.state, "hipBLASLt" in doubted.remedy) == ("warning", True)


def test_what_is_recommended_there_says_that_it_can_fault(bench: Bench) -> None:
    bench.machine.amd(PCI, gfx=120001)
    warned = recommend(bench.sampled(), [Diagnostic("hipBLASLt", "warning", "", section="torch")])
    assert "LoRA can fault here" in warned.why
    assert "LoRA can fault" not in recommend(bench.sampled(), []).why
