"""A training's memory as its submission sees it: forecast, `fit: auto`, what is refused, what the host must have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core.config.model import ModelEntry
from core.config.overrides import override
from core.config.project import shipped
from core.errors import InputError
from core.home import Home
from core.jobfile.spec import WORKING_BYTES, JobFile
from core.jobfile.train import TRAINING, TRAINING_HQQ, TRAINING_ON_CPU_BYTES, ForecastNote, TrainSpec
from core.models.files import SHARD_BYTES, parameter_count, shard_bytes
from core.store.jobs import JobRow
from core.submission.memory_check import plan_training
from core.submission.python_environment import require
from core.submission.submit import submit_train
from core.vram.budget import Budget, budget_for
from core.vram.calibration import Calibration, uncalibrated
from core.vram.forecast import forecast
from tests.support.machines import FakeMachine, write
from tests.support.needs import need

CARD = "0000:03:00.0"
GIB = 2**30


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    return Home(tmp_path / "home").create()


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes the machine one with a GPU of so many GiB."""

    def gpu(gibibytes: float) -> None:
        machine = FakeMachine(tmp_path / "machine").amd(CARD, name="AMD Radeon RX 9070 XT")
        machine.use(monkeypatch)
        total = str(int(gibibytes * GIB))
        write(machine.sysfs / "class/drm/card0/device", {"mem_info_vram_total": total, "mem_info_vram_used": "0"})

    return gpu


@pytest.fixture
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeMachine(tmp_path / "machine").use(monkeypatch)


def submit(home: Home, model: str, recipe: str, **overrides: object) -> tuple[JobRow, TrainSpec]:
    need("torch")  # a training without it is refused
    row = submit_train(home, shipped(), "judge", model, recipe, overrides, author="tester")
    spec = JobFile.load(home.run_dir(row.id)).spec
    assert isinstance(spec, TrainSpec)
    return row, spec


def test_the_forecast_of_a_training_stands_in_its_job_file(home: Home, gpu) -> None:
    gpu(16)
    row, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=2048)
    assert spec.forecast is not None
    assert (spec.forecast.fits, spec.forecast.budget_name) == (True, "AMD Radeon RX 9070 XT")
    assert sum(spec.forecast.components.values()) == spec.forecast.allocated_bytes
    assert spec.forecast.allocated_bytes < spec.forecast.device_bytes < spec.forecast.limit_bytes
    assert (spec.not_predicted, spec.fitted) == (None, [])
    assert row.host_memory_bytes == SHARD_BYTES + WORKING_BYTES  # its weights pass through, one file at a time


def test_fit_auto_is_settled_when_it_is_submitted(home: Home, gpu) -> None:
    gpu(24)
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=1024, fit="auto", batch_size=2, accumulation=4)
    changed = {one.key: (one.before, one.after) for one in spec.fitted}
    assert changed["activation_checkpointing"] == (True, False) or changed["every_n_layers"][1] > 1
    assert all(getattr(spec.recipe, key) == after for key, (_, after) in changed.items())
    assert spec.recipe.batch_size * spec.recipe.accumulation == 8
    assert spec.forecast is not None
    assert spec.forecast.fits


def test_what_cannot_fit_is_refused_before_anything_is_queued(home: Home, gpu) -> None:
    gpu(16)
    with pytest.raises(InputError, match=r"Qwen3-8B with rank 32 at 2048 tokens takes [\d.]+ GB") as refused:
        submit(home, "Qwen3-8B", "lora-bf16", max_length=2048)
    assert (refused.value.code, refused.value.exit_code) == ("too_large", 2)
    assert "bakehouse plan" in str(refused.value)
    assert list(home.runs.iterdir()) == []


def test_what_only_a_rung_of_the_ladder_makes_fit_is_queued_and_says_so(home: Home, gpu) -> None:
    gpu(16)
    settings = {"max_length": 2048, "batch_size": 8, "accumulation": 1, "activation_checkpointing": False}
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", **settings)
    assert spec.forecast is not None
    assert not spec.forecast.fits
    assert "the ladder will step down" in spec.forecast.ladder
    assert "batch_size 8 → 1" in spec.forecast.ladder
    assert spec.recipe.batch_size == 8
    with pytest.raises(InputError, match=r"takes [2-9]\d\.\d GB") as refused:
        submit(home, "Qwen3-4B", "lora-bf16", **settings, out_of_memory="fail")
    assert (refused.value.code, refused.value.key) == ("too_large", "out_of_memory")
    assert "`fit: auto`" in (refused.value.remedy or "")


def test_what_only_others_on_the_gpu_keep_from_fitting_is_queued_with_a_warning(home: Home, gpu, tmp_path) -> None:
    gpu(16)
    write(tmp_path / "machine/sys/class/drm/card0/device", {"mem_info_vram_used": str(9 * 10**9)})
    for settings in ({}, {"fit": "auto"}, {"out_of_memory": "fail"}):
        _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=2048, **settings)
        assert spec.forecast is not None
        assert not spec.forecast.fits
        assert "(9.0 GB in use); free GPU memory before the job starts" in spec.forecast.ladder
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=2048, batch_size=8, accumulation=1)
    assert spec.forecast is not None
    assert "even then with" not in spec.forecast.ladder
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=2048, activation_checkpointing=False, batch_size=2)
    assert spec.forecast is not None
    assert "; even then with batch_size 2 → 1, accumulation" in spec.forecast.ladder
    with pytest.raises(InputError, match=r"of 17\.2 GB, 9\.0 GB in use"):
        submit(home, "Qwen3-14B", "lora-bf16", max_length=2048)


def test_a_tight_fit_says_what_becomes_of_it(home: Home, gpu) -> None:
    least = shipped().recipe("lora-bf16").model_copy(update={"max_length": 2048, "optimizer": "adamw-8bit"})
    device = forecast(shipped().model("Qwen3-4B"), least, budget_for("80"), uncalibrated()).device_bytes
    gpu(device / 0.97 / 1.002 / GIB)
    for settings, said in (
        ({"fit": "auto"}, "only shorter examples are left for the ladder"),
        ({"fit": "auto", "out_of_memory": "fail"}, "out_of_memory: fail ends it"),
        ({}, "the ladder will step down, at most to optimizer adamw → adamw-8bit"),
    ):
        _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=2048, **settings)
        assert spec.forecast is not None
        assert spec.forecast.ladder.startswith("may not fit: needs ")
        assert said in spec.forecast.ladder


def test_a_shorter_length_is_the_person_s_to_choose(home: Home, gpu) -> None:
    gpu(16)
    with pytest.raises(InputError, match="at least") as refused:
        submit(home, "Qwen3-4B", "lora-bf16", max_length=65_536)
    remedy = refused.value.remedy or ""
    longest = int(remedy.partition("max_length ")[2].split()[0])
    _, spec = submit(home, "Qwen3-4B", "lora-bf16", max_length=longest, optimizer="adamw-8bit")
    assert spec.forecast is not None
    assert spec.forecast.fits


@pytest.mark.parametrize("model", ["Qwen3.5-9B", "Gemma3-12B"])
def test_what_is_not_predicted_is_trained_as_written(home: Home, gpu, model: str) -> None:
    gpu(80)
    _, spec = submit(home, model, "lora-bf16", fit="auto")
    assert spec.forecast is None
    assert "fit: auto leaves the recipe as it is" in (spec.not_predicted or "")
    assert spec.fitted == []


def test_without_a_gpu_the_host_s_memory_is_the_budget_and_the_claim(home: Home, no_gpu: None) -> None:
    row, spec = submit(home, "SmolLM2-135M", "demo")
    assert spec.forecast is not None
    assert spec.forecast.budget_name == "host memory"
    assert row.host_memory_bytes == spec.forecast.allocated_bytes == spec.forecast.device_bytes
    assert spec.forecast.components["weights"] == 4 * 134_515_008
    assert (spec.recipe.dtype, spec.forecast.dtype) == ("auto", "fp32"), "the larger of what the job may choose"
    assert spec.forecast.limit_bytes < psutil.virtual_memory().total


@pytest.fixture
def host(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the machine one with so many bytes of memory, some of them in use."""

    def host(total: int, used: int = 0) -> None:
        budget = Budget(total, used, "host memory", "cpu")
        monkeypatch.setattr("core.submission.memory_check.this_machine", lambda home: budget)

    return host


WIDE = {"batch_size": 8, "accumulation": 1, "activation_checkpointing": False, "max_length": 512}


def demo(home: Home, host: Callable[..., None], **settings: object) -> ForecastNote:
    """The forecast of the demo's training on a machine with memory for anything."""
    host(10**12)
    recipe = override(shipped().recipe("demo"), dict(settings))
    planned = plan_training(home, shipped().model("SmolLM2-135M"), recipe).forecast
    assert planned is not None
    return planned


def test_on_a_cpu_a_rung_of_the_ladder_is_taken_before_anything_starts(home: Home, host) -> None:
    wide, leaner = demo(home, host, **WIDE), demo(home, host, **{**WIDE, "batch_size": 1, "accumulation": 8})
    host(int(1.1 * leaner.allocated_bytes / 0.97))
    row, spec = submit(home, "SmolLM2-135M", "demo", **WIDE)
    changed = {one.key: (one.before, one.after) for one in spec.fitted}
    assert changed == {"batch_size": (8, 1), "accumulation": (1, 8)}
    assert (spec.recipe.batch_size, spec.recipe.accumulation) == (1, 8)
    assert spec.forecast is not None
    assert spec.forecast.fits
    assert spec.forecast.ladder == "does not fit as it is: queued with batch_size 8 → 1, accumulation 1 → 8"
    assert row.host_memory_bytes == spec.forecast.allocated_bytes == leaner.allocated_bytes < wide.allocated_bytes


def test_on_a_cpu_what_is_accepted_as_tight_claims_no_more_than_there_is(home: Home, host) -> None:
    settings = {**WIDE, "out_of_memory": "fail"}
    expected = demo(home, host, **settings)
    host(int(expected.allocated_bytes / 1.1))
    row, spec = submit(home, "SmolLM2-135M", "demo", **settings)
    assert spec.forecast is not None
    assert spec.forecast.ladder.startswith("may not fit")
    assert row.host_memory_bytes == spec.forecast.limit_bytes < expected.allocated_bytes


def test_on_a_cpu_what_others_keep_from_starting_waits_for_the_least_it_may_take(home: Home, host) -> None:
    settings = {**WIDE, "out_of_memory": "fail"}
    expected = demo(home, host, **settings)
    host(2 * expected.allocated_bytes, int(1.5 * expected.allocated_bytes))
    row, spec = submit(home, "SmolLM2-135M", "demo", **settings)
    assert spec.forecast is not None
    assert "the job waits until there is room" in spec.forecast.ladder
    assert row.host_memory_bytes == expected.allocated_bytes - expected.plus_minus_bytes > spec.forecast.limit_bytes


def test_an_own_gguf_without_a_count_of_parameters_reserves_what_its_size_tells(
    home: Home, no_gpu: None, tmp_path: Path
) -> None:
    file = tmp_path / "mine.gguf"
    with file.open("wb") as sparse:
        sparse.truncate(1_000_000_000)
    mine = ModelEntry(name="mine", path=str(file))
    assert parameter_count(home, mine) == 2_000_000_000
    assert shard_bytes(home, mine) == 8_000_000_000
    spec = TrainSpec.model_construct(model=mine, forecast=None)
    assert spec.host_memory(home, on_gpu=False) == 8_000_000_000 + TRAINING_ON_CPU_BYTES
    assert parameter_count(home, mine.model_copy(update={"parameters": 7})) == 7
    # By its size the demo's file of 4.5 bits a value has half as many again as it has: too many, never none.
    smol = shipped().model("SmolLM2-135M")
    assert 1 < parameter_count(home, smol.model_copy(update={"parameters": None})) / (smol.parameters or 1) < 2


def test_a_training_that_the_machine_s_memory_cannot_hold_is_refused(home: Home, no_gpu: None) -> None:
    entry = shipped().model("Qwen3-14B")
    assert entry.shape is not None
    giant = entry.model_copy(update={"parameters": None, "shape": entry.shape.model_copy(update={"layers": 4000})})
    with pytest.raises(InputError, match="host memory has") as refused:
        plan_training(home, giant, shipped().recipe("demo"))
    assert refused.value.code == "too_large"


def test_the_shape_of_an_own_model_is_read_from_its_folder(
    home: Home, gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu(16)
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
        "max_position_embeddings": 40960,
    }
    write(tmp_path / "mine", {"config.json": json.dumps(config)})
    (tmp_path / "mine/model.safetensors").write_bytes(b"0" * 1000)
    mine = ModelEntry(name="mine", path=str(tmp_path / "mine"))
    planned = plan_training(home, mine, shipped().recipe("lora-bf16"))
    assert planned.forecast is not None
    assert planned.forecast.components["weights"] == pytest.approx(1.19e9, rel=0.01)
    spec = TrainSpec.model_construct(model=mine, forecast=planned.forecast)
    assert spec.host_memory(home, on_gpu=True) == 1000 + WORKING_BYTES
    # The job file keeps the shape: the finished run is held against an estimate of it.
    monkeypatch.setattr("core.config.project.Project.model", lambda project, name: mine)
    monkeypatch.setattr("core.submission.enqueue.check_model_files", lambda home, model: None)
    _, submitted = submit(home, "mine", "lora-bf16")
    assert submitted.model.shape is not None
    assert (submitted.model.shape.layers, submitted.model.shape.context) == (28, 40960)


def test_what_a_measured_run_took_corrects_the_next_forecast(home: Home, gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(16)
    plain = plan_training(home, shipped().model("Qwen3-4B"), shipped().recipe("lora-bf16")).forecast
    monkeypatch.setattr("core.submission.memory_check.calibration_of", lambda *_: Calibration(9, 1.05, 0.02, 0.02))
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


@pytest.mark.process
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


@pytest.mark.process
def test_a_quantised_training_asks_for_hqq_where_its_jobs_run(
    home: Home, gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu(16)
    python = interpreter(tmp_path)
    monkeypatch.setattr("core.submission.enqueue.find_python", lambda setting: python)
    with pytest.raises(InputError, match="hqq is not installed"):
        submit(home, "Qwen3-8B", "qlora-hqq4", max_length=2048)
    interpreter(tmp_path, hqq="0.2.8")
    _, spec = submit(home, "Qwen3-8B", "qlora-hqq4", max_length=2048)
    assert spec.forecast is not None
    assert spec.forecast.fits
