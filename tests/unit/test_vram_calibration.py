"""Finished runs correct the estimate, and say how far it may be off."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.recipe import Recipe
from core.doctor.machine import Machine
from core.doctor.recommend import recommend
from core.home import Home
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.store.database import transaction
from core.vram.budget import Budget
from core.vram.calibration import (
    RUNS_FOR_A_SPREAD,
    SPREAD,
    Run,
    calibrate,
    calibration_of,
    measured,
    same_gpu,
    uncalibrated,
)
from core.vram.estimate import Step, estimate
from core.vram.forecast import forecast
from tests.support.job_files import job_file
from tests.support.stored import add_job, fresh, path_to, step

CARD = "AMD Radeon RX 9070 XT"


def runs(*ratios: float) -> list[Run]:
    """Runs whose peak was so many times the estimate, newest first."""
    return [
        Run(number, "Qwen3-4B", "lora", CARD, 10**10, round(ratio * 10**10), -number)
        for number, ratio in enumerate(ratios)
    ]


def test_without_runs_the_estimate_stands_with_a_stated_error() -> None:
    assert calibrate([]) == uncalibrated()
    assert (uncalibrated().factor, uncalibrated().spread) == (1.0, 0.05)
    assert uncalibrated("cpu").spread > uncalibrated("gpu").spread
    assert "not calibrated" in uncalibrated().words


@pytest.mark.parametrize(
    ("ratios", "factor", "spread", "last_error"),
    [
        ((1.03,), 1.03, 0.05, None),
        ((1.04, 1.02), 1.03, 0.05, 1.04 / 1.02 - 1),
        ((0.90, 1.00, 1.00, 1.00), 1.00, 0.01, -0.10),
        ((1.00, 1.00, 1.00, 1.00, 3.00), 1.00, 0.01, 0.0),  # one strange run moves neither
        ((1.02, 0.98, 1.01, 0.99, 1.00), 1.00, 2 * 1.4826 * 0.01, 1.02 / 0.995 - 1),
    ],
)
def test_the_factor_is_a_median_and_the_spread_robust(
    ratios: tuple[float, ...], factor: float, spread: float, last_error: float | None
) -> None:
    calibration = calibrate(runs(*ratios))
    assert calibration.runs == len(ratios)
    assert calibration.factor == pytest.approx(factor)
    assert calibration.spread == pytest.approx(spread)
    assert calibration.last_error == (None if last_error is None else pytest.approx(last_error))


def test_it_says_in_words_how_many_runs_and_how_wrong_the_last_was() -> None:
    assert calibrate(runs(0.98, *[1.0] * 8)).words == "calibrated by 9 runs on this device, last error 2 %"
    assert calibrate(runs(1.1)).words == "calibrated by 1 run on this device"


def sized(*pairs: tuple[float, float]) -> list[Run]:
    """Runs of so many estimated GB with their ratios."""
    return [
        Run(number, "Qwen3-4B", "lora", CARD, round(size * 1e9), round(size * ratio * 1e9), -number)
        for number, (size, ratio) in enumerate(pairs)
    ]


def test_a_fixed_overhead_of_small_runs_does_not_scale_a_large_forecast() -> None:
    """60 MB are a tenth of a small model's training; the forecast of a large one stays as it is."""
    model, recipe, gpu = shipped().model("Qwen3-4B"), shipped().recipe("lora-bf16"), Budget(2**34, 0, "a GPU", "gpu")
    small = calibrate(sized(*[(0.6, 1.10)] * 5))
    plain, after = (forecast(model, recipe, gpu, known) for known in (uncalibrated(), small))
    assert after.allocated_bytes == plain.allocated_bytes
    assert after.calibration.words == "not calibrated: none of 5 runs on this device is of comparable size"
    assert (after.calibration.runs, after.calibration.spread) == (0, SPREAD)
    large = calibrate(sized(*[(0.6, 1.10)] * 5, *[(plain.allocated_bytes / 1e9, 1.02)] * 4))
    both = forecast(model, recipe, gpu, large)
    assert both.allocated_bytes == pytest.approx(1.02 * plain.allocated_bytes, rel=1e-6)
    assert both.calibration.words == "calibrated by 4 runs of comparable size on this device, last error 0 %"
    assert both.to_json()["calibrated_by"] == 4


@pytest.mark.parametrize(("size", "counted"), [(4.1, 1), (3.9, 0), (24.9, 1), (25.1, 0)])
def test_runs_of_up_to_two_and_a_half_times_the_size_are_comparable(size: float, counted: int) -> None:
    assert calibrate(sized((size, 1.2))).at(10**10).runs == counted


def test_fewer_than_four_runs_reach_to_each_of_them_and_to_the_estimate() -> None:
    assert calibrate(sized((10, 1.25))).at(10**10).spread == pytest.approx(0.2)
    two = calibrate(sized((10, 1.3), (10, 0.9))).at(10**10)
    assert (two.factor, two.spread) == (pytest.approx(1.1), pytest.approx(0.2 / 1.1))
    assert calibrate(sized(*[(10, 1.25)] * 4)).at(10**10).spread == 0.01


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=20), st.floats(0.8, 1.25))
def test_peaks_that_are_all_larger_by_a_factor_scale_the_factor_alone(ratios: list[float], by: float) -> None:
    before, after = calibrate(runs(*ratios)), calibrate(runs(*(ratio * by for ratio in ratios)))
    assert after.factor == pytest.approx(before.factor * by, rel=1e-6)
    if len(ratios) >= RUNS_FOR_A_SPREAD:
        assert after.spread == pytest.approx(before.spread, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("torch_name", "driver_name", "same"),
    [
        ("AMD Radeon RX 9070 XT", "Navi 48 [Radeon RX 9070 XT]", True),
        ("NVIDIA H200", "H200", True),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090", False),
        ("AMD Radeon RX 9070 XT", "AMD GPU 0x7550", True),  # libdrm's list of names is not installed
        ("", "NVIDIA H200", True),
    ],
)
def test_torch_and_driver_mean_the_same_gpu_by_other_words(torch_name: str, driver_name: str, same: bool) -> None:
    assert same_gpu(torch_name, driver_name) is same


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Home, sqlite3.Connection]]:
    home, connection = fresh(tmp_path)
    with contextlib.closing(connection):
        yield home, connection


def finished(
    store: tuple[Home, sqlite3.Connection], recipe: Recipe, model: ModelEntry | None = None, **summary: Any
) -> int:
    """A training that is done, with its job file and what its result says."""
    home, connection = store
    project = shipped()
    job_id = add_job(connection)
    for state in path_to(connection, "done"):
        step(connection, job_id, state)
    home.run_dir(job_id).path.mkdir(parents=True)
    nothing = InputFile(path="/x", sha256="0" * 64, source="/x")
    spec = TrainSpec(task=project.task("judge"), model=model or project.model("Qwen3-4B"), recipe=recipe, train=nothing)
    job_file(home, spec, job_id).save(home.run_dir(job_id))
    document = {"summary": {"device": {"type": "cuda", "name": CARD}, **summary}}
    with transaction(connection):
        connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps(document), job_id])
    return job_id


def test_a_run_is_held_against_the_estimate_at_its_longest_example_and_the_recipe_it_ended_with(store) -> None:
    home, connection = store
    recipe = shipped().recipe("lora-bf16")
    used = {**recipe.model_dump(mode="json"), "optimizer": "adamw-8bit"}
    job_id = finished(store, recipe, peak_memory_bytes=9 * 10**9, longest_tokens=700, recipe_used=used)
    (run,) = measured(connection, home, CARD)
    ended = recipe.model_copy(update={"optimizer": "adamw-8bit", "max_length": 700})
    assert run.predicted_bytes == estimate(shipped().model("Qwen3-4B"), Step.of(ended)).allocated_bytes
    assert (run.job_id, run.model, run.method, run.peak_bytes) == (job_id, "Qwen3-4B", "lora", 9 * 10**9)


def test_a_run_counts_with_the_dtype_that_its_cpu_was_faster_in(store) -> None:
    home, connection = store
    recipe = shipped().recipe("lora-bf16").model_copy(update={"dtype": "auto"})
    for dtype in ("bf16", "fp32"):
        used = {**recipe.model_dump(mode="json"), "dtype": dtype}
        cpu = {"type": "cpu", "name": "x86_64"}
        finished(store, recipe, peak_memory_bytes=9 * 10**9, longest_tokens=700, recipe_used=used, device=cpu)
    predicted = {run.predicted_bytes for run in measured(connection, home, None, "cpu")}
    ended = [recipe.model_copy(update={"dtype": dtype, "max_length": 700}) for dtype in ("bf16", "fp32")]
    model = shipped().model("Qwen3-4B")
    assert predicted == {estimate(model, Step.of(one, "cpu")).allocated_bytes for one in ended} and len(predicted) == 2


def test_only_runs_on_the_device_that_say_their_length_and_whose_files_are_there_count(store) -> None:
    home, connection = store
    recipe = shipped().recipe("lora-bf16")
    finished(store, recipe, peak_memory_bytes=9 * 10**9, longest_tokens=2048, device={"type": "cpu", "name": "x86_64"})
    finished(
        store, recipe, peak_memory_bytes=9 * 10**9, longest_tokens=2048, device={"type": "cuda", "name": "RTX 4090"}
    )
    finished(store, recipe, peak_memory_bytes=9 * 10**9)
    gone = finished(store, recipe, peak_memory_bytes=9 * 10**9, longest_tokens=2048)
    home.run_dir(gone).job_file.unlink()
    counted = finished(store, recipe, peak_memory_bytes=9 * 10**9, longest_tokens=2048)
    assert [run.job_id for run in measured(connection, home, CARD)] == [counted]
    assert len(measured(connection, home, None)) == 2
    assert len(measured(connection, home, None, "cpu")) == 1


def test_a_named_gpu_is_calibrated_by_the_runs_of_this_machine(store) -> None:
    home, connection = store
    predicted = estimate(shipped().model("Qwen3-4B"), Step.of(shipped().recipe("lora-bf16"))).allocated_bytes
    for ratio in (1.10, 1.12, 1.08):
        peak = round(predicted * ratio)
        finished(store, shipped().recipe("lora-bf16"), peak_memory_bytes=peak, longest_tokens=2048)
    calibration = calibration_of(connection, home, Budget(2**34, 0, "--vram 16", "gpu"))
    assert calibration.runs == 3
    assert calibration.factor == pytest.approx(1.10, rel=1e-6)


def test_runs_of_an_own_model_count_although_its_entry_says_no_shape(store, tmp_path: Path) -> None:
    home, connection = store
    shape = shipped().model("SmolLM2-135M").shape
    assert shape is not None
    (tmp_path / "mine").mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": True,
    }
    (tmp_path / "mine/config.json").write_text(json.dumps(config))
    mine = ModelEntry(name="mine", path=str(tmp_path / "mine"))
    recipe = shipped().recipe("lora-bf16")
    finished(store, recipe, mine, peak_memory_bytes=2 * 10**9, longest_tokens=2048)
    (run,) = measured(connection, home, CARD)
    shaped = mine.model_copy(update={"shape": shape})
    used = recipe.model_copy(update={"max_length": min(2048, recipe.max_length)})
    assert (run.model, run.predicted_bytes) == ("mine", estimate(shaped, Step.of(used)).allocated_bytes)


@pytest.mark.parametrize(
    ("speed", "preferred"), [(10.0, "SmolLM2-135M"), (150.0, "Qwen3-4B"), (None, None), (0.0, None)]
)
def test_the_doctor_s_recommendation_without_a_gpu_is_the_plan_s_once_a_training_has_run(
    store: tuple[Home, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch, speed: float | None, preferred: str | None
) -> None:
    home, _ = store
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    memory = SimpleNamespace(total=256 * 10**9, available=255 * 10**9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    finished(
        store,
        shipped().recipe("lora-bf16"),
        shipped().model("SmolLM2-135M"),
        device={"type": "cpu", "name": "CPU"},
        peak_memory_bytes=4_000_000_000,
        longest_tokens=500,
        tokens_per_second=speed,
    )
    box = Machine(home, {"BAKEHOUSE_GPU_SOURCE": "none", "PATH": ""})
    said = recommend(box, [])
    if preferred is None:
        assert "trains in minutes" in said.why
    else:
        assert preferred in said.method and "on this CPU" in said.why
