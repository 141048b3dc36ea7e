"""`dtype: auto` on a CPU: decided by a measurement, said in the log, and kept for every later attempt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.config.project import shipped
from core.events import EventWriter
from core.files import read_json
from core.home import RunDir
from jobs import cpu_dtype
from jobs.context import JobContext
from jobs.cpu_dtype import CpuDtype, CpuSpeed, dtype_for, measure

pytestmark = pytest.mark.train

CPU, CUDA = SimpleNamespace(type="cpu"), SimpleNamespace(type="cuda")


def context_of(folder: Path, number: int) -> JobContext:
    run = RunDir(folder)
    attempt = run.attempt(number)
    attempt.path.mkdir(parents=True)
    unused: Any = None
    return JobContext(run, attempt, unused, EventWriter(attempt.events), unused)


def in_auto(context: JobContext, device: Any = CPU, model: ModelEntry | None = None) -> CpuDtype:
    return dtype_for(context, "auto", device, model or shipped().model("SmolLM2-135M"), rows=256)


def machine(monkeypatch: pytest.MonkeyPatch, fp32_seconds: float, bf16_seconds: float) -> list[tuple[int, int, int]]:
    """Makes the CPU one that is so fast; returns what was measured on it."""
    asked: list[tuple[int, int, int]] = []

    def measured(rows: int, hidden: int, ffn: int) -> CpuSpeed:
        asked.append((rows, hidden, ffn))
        return CpuSpeed(rows, hidden, ffn, fp32_seconds, bf16_seconds)

    monkeypatch.setattr(cpu_dtype, "measure", measured)
    return asked


@pytest.mark.parametrize(
    ("fp32_ms", "bf16_ms", "expected"),
    [
        (14.5, 59.0, "fp32"),  # two cores without AVX512-BF16
        (36.0, 5.0, "bf16"),  # two cores with it
        (10.0, 8.0, "fp32"),  # faster by little: fp32 rounds less
    ],
)
def test_the_faster_one_is_taken_once_said_and_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fp32_ms: float,
    bf16_ms: float,
    expected: CpuDtype,
) -> None:
    asked = machine(monkeypatch, fp32_ms / 1000, bf16_ms / 1000)
    assert in_auto(context_of(tmp_path, 1)) == expected
    said = capsys.readouterr().out
    assert f"Computing in {expected}" in said and f"{fp32_ms:.2f} ms in fp32 and {bf16_ms:.2f} ms in bf16" in said
    assert read_json(tmp_path / cpu_dtype.FILE)["dtype"] == expected

    # The machine is another one when the job resumes: the dtype is not.
    machine(monkeypatch, bf16_ms / 1000, fp32_ms / 1000)
    assert in_auto(context_of(tmp_path, 2)) == expected
    assert f"Computing in {expected}, as the first attempt did." in capsys.readouterr().out
    assert asked == [(256, 576, 1536)], "at the size of the model's own layers, and once"


def test_what_is_asked_for_and_what_a_gpu_computes_in_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine(monkeypatch, 1.0, 1.0)
    context = context_of(tmp_path, 1)
    assert in_auto(context, CUDA) == "bf16"
    assert dtype_for(context, "bf16", CPU, shipped().model("SmolLM2-135M"), rows=256) == "bf16"
    assert asked == [] and not (tmp_path / cpu_dtype.FILE).exists()


def test_layers_of_a_large_model_are_measured_at_a_size_that_takes_no_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine(monkeypatch, 1.0, 1.0)
    in_auto(context_of(tmp_path / "large", 1), model=shipped().model("Qwen3-8B"))
    in_auto(context_of(tmp_path / "unknown", 1), model=ModelEntry(name="mine", path="/models/mine"))
    assert asked == [(256, 1024, 4096)] * 2


def test_a_real_measurement_times_both() -> None:
    speed = measure(16, 64, 128)
    assert speed.fp32_seconds > 0 and speed.bf16_seconds > 0
    assert speed.faster in ("fp32", "bf16")
