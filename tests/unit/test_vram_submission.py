"""A training's memory as its submission sees it: forecast, `fit: auto`, what is refused, what the host must have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core.config.model import ModelEntry
from core.config.project import shipped
from core.errors import InputError
from core.home import Home
from core.queue.enqueue import WORKING_BYTES, host_memory
from core.queue.interpreter import TRAINING, TRAINING_HQQ, require
from core.queue.modelfiles import SHARD_BYTES
from core.queue.planning import plan_training
from core.queue.spec import JobFile, TrainSpec
from core.queue.submit import submit_train
from core.store.jobs import JobRow
from tests.support.machines import FakeMachine, write

CARD = "0000:03:00.0"
GIB = 2**30


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("core.queue.enqueue.ensure_runner", lambda home: None)
    return Home(tmp_path / "home").create()


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes the machine one with a card of so many GiB."""

    def card(gibibytes: float) -> None:
        machine = FakeMachine(tmp_path / "machine").amd(CARD, name="AMD Radeon RX 9070 XT")
        machine.use(monkeypatch)
        total = str(int(gibibytes * GIB))
        write(machine.sysfs / "class/drm/card0/device", {"mem_info_vram_total": total, "mem_info_vram_used": "0"})

    return card


@pytest.fixture
def no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeMachine(tmp_path / "machine").use(monkeypatch)


def submit(home: Home, model: str, recipe: str, **overrides: object) -> tuple[JobRow, TrainSpec]:
    row = submit_train(home, shipped(), "judge", model, recipe, overrides, author="tester")
    spec = JobFile.load(home.run_dir(row.id)).spec
    assert isinstance(spec, TrainSpec)
    return row, spec


def test_the_forecast_of_a_training_stands_in_its_job_file(home: Home, card) -> None:
    card(16)
    row, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=2048)
    assert spec.forecast is not None
    assert (spec.forecast.fits, spec.forecast.budget_name) == (True, "AMD Radeon RX 9070 XT")
    assert sum(spec.forecast.components.values()) == spec.forecast.allocated_bytes
    assert spec.forecast.allocated_bytes < spec.forecast.device_bytes < spec.forecast.limit_bytes
    assert (spec.not_predicted, spec.fitted) == (None, [])
    assert row.host_memory_bytes == SHARD_BYTES + WORKING_BYTES  # its weights pass through, one file at a time


def test_fit_auto_is_settled_when_it_is_submitted(home: Home, card) -> None:
    card(24)
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=1024, fit="auto", batch_size=2, accumulation=4)
    changed = {one.key: (one.before, one.after) for one in spec.fitted}
    assert changed["activation_checkpointing"] == (True, False) or changed["every_n_layers"][1] > 1
    assert all(getattr(spec.recipe, key) == after for key, (_, after) in changed.items())
    assert spec.recipe.batch_size * spec.recipe.accumulation == 8
    assert spec.forecast is not None
    assert spec.forecast.fits


def test_what_cannot_fit_is_refused_before_anything_is_queued(home: Home, card) -> None:
    card(16)
    with pytest.raises(InputError, match=r"Qwen3-8B with rank 32 at 2048 tokens takes at least") as refused:
        submit(home, "Qwen3-8B", "lora-bf16", max_length=2048)
    assert (refused.value.code, refused.value.exit_code) == ("too_large", 2)
    assert "bakehouse plan" in str(refused.value)
    assert list(home.runs.iterdir()) == []


def test_what_only_a_rung_of_the_ladder_makes_fit_is_queued_and_says_so(home: Home, card) -> None:
    card(16)
    settings = {"max_length": 2048, "batch_size": 8, "accumulation": 1, "activation_checkpointing": False}
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", **settings)
    assert spec.forecast is not None
    assert not spec.forecast.fits
    assert "the ladder will step down" in spec.forecast.ladder
    assert "batch_size 8 → 1" in spec.forecast.ladder
    assert spec.recipe.batch_size == 8
    with pytest.raises(InputError) as refused:
        submit(home, "Qwen3-4B", "lora-bf16", **settings, out_of_memory="fail")
    assert refused.value.code == "too_large"


def test_a_shorter_length_is_the_person_s_to_choose(home: Home, card) -> None:
    card(16)
    with pytest.raises(InputError, match="takes at least") as refused:
        submit(home, "Qwen3-4B", "lora-bf16", max_length=65_536)
    remedy = refused.value.remedy or ""
    longest = int(remedy.partition("max_length ")[2].split()[0])
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=longest, optimizer="adamw-8bit")
    assert spec.forecast is not None
    assert spec.forecast.fits


@pytest.mark.parametrize("model", ["Qwen3.5-9B", "Gemma3-12B"])
def test_what_is_not_predicted_is_trained_as_written(home: Home, card, model: str) -> None:
    card(80)
    _, spec = submit(home, model, "lora-bf16", fit="auto")
    assert spec.forecast is None
    assert "fit: auto leaves the recipe as it is" in (spec.not_predicted or "")
    assert spec.fitted == []


def test_without_a_card_the_host_s_memory_is_the_budget_and_the_claim(home: Home, no_card: None) -> None:
    row, spec = submit(home, "SmolLM2-135M", "demo")
    assert spec.forecast is not None
    assert spec.forecast.budget_name == "host memory"
    assert row.host_memory_bytes == spec.forecast.allocated_bytes == spec.forecast.device_bytes
    assert spec.forecast.components["weights"] == 4 * 134_515_008
    assert spec.forecast.limit_bytes < psutil.virtual_memory().total


def test_a_training_that_the_machine_s_memory_cannot_hold_is_refused(home: Home, no_card: None) -> None:
    entry = shipped().model("Qwen3-14B")
    assert entry.shape is not None
    giant = entry.model_copy(update={"parameters": None, "shape": entry.shape.model_copy(update={"layers": 4000})})
    with pytest.raises(InputError, match="host memory has") as refused:
        plan_training(home, giant, shipped().recipe("demo"))
    assert refused.value.code == "too_large"


def test_the_shape_of_an_own_model_is_read_from_its_folder(home: Home, card, tmp_path: Path) -> None:
    card(16)
    config = {
        "model_type": "qwen3",
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    }
    write(tmp_path / "mine", {"config.json": json.dumps(config)})
    (tmp_path / "mine/model.safetensors").write_bytes(b"0" * 1000)
    mine = ModelEntry(name="mine", path=str(tmp_path / "mine"))
    planned = plan_training(home, mine, shipped().recipe("lora-bf16"))
    assert planned.forecast is not None
    assert planned.forecast.components["weights"] == pytest.approx(1.19e9, rel=0.01)
    spec = TrainSpec.model_construct(forecast=planned.forecast)
    assert host_memory(home, [mine], spec) == 1000 + WORKING_BYTES


def test_what_a_measured_run_took_corrects_the_next_forecast(home: Home, card, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.vram.calibration import Calibration

    card(16)
    plain = plan_training(home, shipped().model("Qwen3-4B"), shipped().recipe("lora-bf16")).forecast
    monkeypatch.setattr("core.queue.planning.calibration_of", lambda *_: Calibration(9, 1.05, 0.02, 0.02))
    corrected = plan_training(home, shipped().model("Qwen3-4B"), shipped().recipe("lora-bf16")).forecast
    assert plain is not None and corrected is not None
    assert corrected.allocated_bytes == pytest.approx(1.05 * plain.allocated_bytes, rel=1e-6)
    assert (corrected.calibrated_by, corrected.components) == (9, plain.components)
    assert "9 runs" in corrected.calibration


def interpreter(folder: Path, **versions: str) -> str:
    """A program that answers as an interpreter with these packages does."""
    python = folder / "env/bin/python"
    python.parent.mkdir(parents=True, exist_ok=True)
    answer = json.dumps({"bakehouse": "1", **dict.fromkeys(TRAINING, "1"), **versions})
    python.write_text(f"#!/bin/sh\necho '{answer}'\n")
    python.chmod(0o755)
    return str(python)


def test_hqq_is_asked_for_by_the_method_that_quantises_alone(home: Home, tmp_path: Path) -> None:
    python = interpreter(tmp_path)
    require(home, python, TRAINING)
    with pytest.raises(InputError, match="hqq is not installed") as refused:
        require(home, python, TRAINING_HQQ)
    assert "DISABLE_CUDA=1" in (refused.value.remedy or "")
    assert "pip install hqq" in (refused.value.remedy or "")
    # Installed meanwhile: what was missing is asked for anew.
    interpreter(tmp_path, hqq="0.2.8")
    require(home, python, TRAINING_HQQ)


def test_a_quantised_training_asks_for_hqq_where_its_jobs_run(
    home: Home, card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(16)
    python = interpreter(tmp_path)
    monkeypatch.setattr("core.queue.submit.find_python", lambda setting: python)
    with pytest.raises(InputError, match="hqq is not installed"):
        submit(home, "Qwen3-8B", "qlora-hqq4", max_length=2048)
    interpreter(tmp_path, hqq="0.2.8")
    _, spec = submit(home, "Qwen3-8B", "qlora-hqq4", max_length=2048)
    assert spec.forecast is not None
    assert spec.forecast.fits
