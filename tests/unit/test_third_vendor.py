"""A GPU of a vendor that has no record here, as a newer version's files or a torch's name can tell of one, fails nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.doctor import driver
from core.errors import InputError
from core.gpu.devices import Gpu, GpuChoice, device_environment
from core.gpu.reading import DeviceReading, HostReading, Sample
from core.gpu.vendors import strands_memory, vendor_label
from core.gpu_lease.admission import remedy_for_unowned
from core.home import Home
from core.runner.commands.of_jobs import explain_kill
from core.submission.python_environment import require
from tests.support.doctorbench import PCI, Bench, one
from tests.tui.scene import job
from tui.model.gpu_facts import gpu, gpu_name

VENDORS = ["intel", "mthreads", "none", ""]


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_is_asked_of_a_vendor_has_an_answer(vendor: str) -> None:
    assert isinstance(vendor_label(vendor), str)
    assert strands_memory(vendor), "the careful answer"
    assert remedy_for_unowned(vendor).code == "restart_after_driver_death"
    assert explain_kill(job(1, "stopping", "train judge · Qwen3-4B"), vendor)
    assert device_environment(Gpu(PCI, vendor, "Arc", False, 0), {}) == {
        "CUDA_VISIBLE_DEVICES": "-1",
        "HIP_VISIBLE_DEVICES": "-1",
    }


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_reading_of_it_is_shown(vendor: str) -> None:
    device = DeviceReading(0, "Arc B580", vendor, PCI, vram_total_bytes=12_000_000_000, for_jobs=True)
    sample = Sample.from_json(json.loads(json.dumps(Sample(1.0, "x", HostReading(), (device,)).to_json())))
    assert sample.job_gpu == device == gpu(sample)
    assert gpu_name(sample) == "Arc B580"


@pytest.mark.parametrize("vendor", ["intel", "mthreads", "none"])
def test_the_doctor_examines_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str) -> None:
    box = Bench.of_its_own(tmp_path, monkeypatch).box()
    box.__dict__["choice"] = GpuChoice(Gpu(PCI, vendor, "Arc B580", False, 0))
    lines = driver.examine(box)
    assert one(lines, "GPU").message.startswith("Arc B580")


@pytest.mark.process
@pytest.mark.parametrize(
    ("vendor", "torch"), [("intel", "2.9.0+cu128"), ("mthreads", "2.9.0+rocm6.4"), ("none", "2.9.0+xpu")]
)
def test_a_torch_of_another_vendor_is_refused_with_its_name(tmp_path: Path, vendor: str, torch: str) -> None:
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho '{json.dumps({'bakehouse': '1', 'torch': torch})}'\n")
    python.chmod(0o755)
    with pytest.raises(InputError, match=f"not built for the {vendor_label(vendor)} GPU"):
        require(Home(tmp_path / "home").create(), str(python), ("torch",), vendor)
