"""`dtype: auto` on a CPU: decided by a measurement, said in the log, and kept for every later attempt."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.recipe import Recipe
from core.config.task import Task
from core.events import EventWriter
from core.files import read_json
from core.home import RunDir
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.train import ForecastNote, TrainSpec
from core.scoring.answers import read_answers
from jobs import cpu_dtype
from jobs.context import JobContext
from jobs.cpu_dtype import GENERATING, SECONDS, TRAINING, CpuDtype, CpuSpeed, Work, compare, dtype_for, measure
from tests.support.held_job import Hold
from tests.support.workshop import Workshop, events, losses, wait_until

pytestmark = pytest.mark.train

CPU, CUDA = SimpleNamespace(type="cpu"), SimpleNamespace(type="cuda")


def context_of(folder: Path, number: int) -> JobContext:
    run = RunDir(folder)
    attempt = run.attempt(number)
    attempt.path.mkdir(parents=True)
    unused: Any = None
    return JobContext(run, attempt, unused, EventWriter(attempt.events), unused)


def in_auto(context: JobContext, device: Any = CPU, model: ModelEntry | None = None) -> CpuDtype:
    return dtype_for(context, "auto", device, model or shipped().model("SmolLM2-135M"), TRAINING)


def machine(monkeypatch: pytest.MonkeyPatch, fp32_seconds: float, bf16_seconds: float) -> list[tuple[int, int, int]]:
    """Makes the CPU one that is so fast; returns what was measured on it."""
    asked: list[tuple[int, int, int]] = []

    def measured(work: Work, hidden: int, ffn: int) -> CpuSpeed:
        asked.append((work.rows, hidden, ffn))
        return CpuSpeed(work.rows, hidden, ffn, fp32_seconds, bf16_seconds)

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
    assert f"Computing in {expected}, as was decided before." in capsys.readouterr().out
    assert asked == [(256, 576, 1536)], "at the size of the model's own layers, and once"


def test_what_is_asked_for_and_what_a_gpu_computes_in_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine(monkeypatch, 1.0, 1.0)
    context = context_of(tmp_path, 1)
    assert in_auto(context, CUDA) == "bf16"
    assert dtype_for(context, "bf16", CPU, shipped().model("SmolLM2-135M"), TRAINING) == "bf16"
    assert asked == [] and not (tmp_path / cpu_dtype.FILE).exists()


def test_layers_of_a_large_model_are_measured_at_a_size_that_takes_no_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine(monkeypatch, 1.0, 1.0)
    in_auto(context_of(tmp_path / "large", 1), model=shipped().model("Qwen3-8B"))
    in_auto(context_of(tmp_path / "unknown", 1), model=ModelEntry(name="mine", path="/models/mine"))
    assert asked == [(256, 1024, 2048)] * 2


Products = Callable[[str, int], float]


def played(fp32_seconds: float, bf16_seconds: float, spent: list[float]) -> Products:
    """A CPU that takes so long for the products of one token, and the same for each further one."""

    def timed(dtype: str, rows: int) -> float:
        spent.append(rows * (fp32_seconds if dtype == "fp32" else bf16_seconds))
        return spent[-1]

    return timed


@pytest.mark.parametrize(
    ("fp32_ms", "bf16_ms", "rows", "expected"),
    [
        (0.015, 0.003, 256, "bf16"),  # two cores with AVX512-BF16, a layer of 576 × 1536
        (0.2, 1.5, 64, "fp32"),  # without it: 256 tokens would take as long as the whole measurement may
        (0.1, 6.0, 16, "fp32"),  # a library that does bf16 by hand
    ],
)
def test_a_measurement_takes_half_a_second_at_most_on_a_cpu_that_is_slow_in_one_of_them(
    fp32_ms: float, bf16_ms: float, rows: int, expected: CpuDtype
) -> None:
    spent: list[float] = []
    speed = compare(TRAINING, 576, 1536, played(fp32_ms / 1000, bf16_ms / 1000, spent))
    assert (speed.rows, speed.faster) == (rows, expected)
    assert (speed.fp32_seconds, speed.bf16_seconds) == pytest.approx((rows * fp32_ms / 1000, rows * bf16_ms / 1000))
    assert sum(spent) <= SECONDS


def test_the_first_product_of_a_size_and_slow_moments_do_not_count() -> None:
    """What the library prepares, and what another program takes of the CPU."""
    times = {"fp32": chain([0.001, 4.0, 9.0, 3.0], repeat(7.0)), "bf16": chain([0.001, 2.0, 20.0, 1.0], repeat(5.0))}
    speed = compare(Work(rows=16, backward=False), 8, 8, lambda dtype, rows: next(times[dtype]) / 1000)
    assert (speed.fp32_seconds, speed.bf16_seconds) == (0.003, 0.001)


@pytest.mark.parametrize("work", [TRAINING, GENERATING])
def test_a_real_measurement_times_both(work: Work) -> None:
    speed = measure(work, 64, 128)
    assert speed.fp32_seconds > 0 and speed.bf16_seconds > 0
    assert speed.faster in ("fp32", "bf16")


def be_a_machine(fp32_seconds: float, bf16_seconds: float) -> None:
    """In a job's process: let its CPU be so fast."""
    cpu_dtype.measure = lambda work, hidden, ffn: CpuSpeed(work.rows, hidden, ffn, fp32_seconds, bf16_seconds)


FAST_IN = {"fp32": partial(be_a_machine, 0.01, 0.04), "bf16": partial(be_a_machine, 0.04, 0.01)}
TORCH = {"fp32": "float32", "bf16": "bfloat16"}


@pytest.mark.parametrize(("number", "dtype", "other"), [(10, "fp32", "bf16"), (20, "bf16", "fp32")])
def test_a_training_that_resumes_on_another_machine_ends_as_one_that_asked_for_its_dtype(
    tinyshop: Workshop, task: Task, recipe: Recipe, number: int, dtype: str, other: str
) -> None:
    """Bit for bit, though the second machine would have chosen the other one."""

    def spec(wanted: str) -> TrainSpec:
        changed = Recipe.model_validate({**recipe.model_dump(), "dtype": wanted})
        return TrainSpec(task=task, model=tinyshop.model, recipe=changed, train=tinyshop.greetings())

    asked = tinyshop.submit(number, spec(dtype))
    assert tinyshop.finish(asked) == 0, asked.attempt(1).log.read_text()
    assert not (asked.path / cpu_dtype.FILE).exists()

    run = tinyshop.submit(number + 1, spec("auto"))
    process = tinyshop.start(run, hold=Hold("checkpoint", "step", 2), before=FAST_IN[dtype])
    wait_until(lambda: bool(events(run, 1, "checkpoint")[1:]), process)
    process.send_signal(signal.SIGKILL)
    assert tinyshop.ended(process) == -signal.SIGKILL
    assert tinyshop.ended(tinyshop.start(run, 2, before=FAST_IN[other])) == 0, run.attempt(2).log.read_text()

    assert f"Computing in {dtype}: " in run.attempt(1).log.read_text()
    assert f"Computing in {dtype}, as was decided before." in run.attempt(2).log.read_text()
    assert [read_json(run.attempt(n).manifest)["dtype"] for n in (1, 2)] == [TORCH[dtype]] * 2
    assert losses(run, 2) == losses(asked, 1)
    made, expected = read_json(run.result), read_json(asked.result)
    assert made["artefacts"][0]["sha256"] == expected["artefacts"][0]["sha256"]
    assert made["artefacts"][0]["lineage"]["recipe"]["dtype"] == made["summary"]["recipe_used"]["dtype"] == dtype


def forecast_for(dtype: CpuDtype) -> ForecastNote:
    sizes = {"allocated_bytes": 9, "plus_minus_bytes": 1, "device_bytes": 9, "limit_bytes": 99, "calibrated_by": 0}
    return ForecastNote.model_validate(
        {**sizes, "components": {"weights": 9}, "budget_name": "host memory", "fits": True, "dtype": dtype}
    )


def test_a_real_measurement_is_recorded_and_a_forecast_for_the_other_dtype_predicted_nothing(
    tinyshop: Workshop, task: Task, recipe: Recipe
) -> None:
    short = recipe.model_copy(update={"dtype": "auto", "epochs": 0.5})
    data = tinyshop.greetings()
    spec = TrainSpec(task=task, model=tinyshop.model, recipe=short, train=data, forecast=forecast_for("fp32"))
    run = tinyshop.submit(30, spec)
    assert tinyshop.finish(run) == 0, run.attempt(1).log.read_text()
    known = read_json(run.path / cpu_dtype.FILE)
    speed = CpuSpeed(**{key: value for key, value in known.items() if key not in ("schema", "dtype")})
    assert known["dtype"] == speed.faster and speed.words in run.attempt(1).log.read_text()
    assert read_json(run.attempt(1).manifest)["dtype"] == TORCH[speed.faster]
    predicted = read_json(run.result)["summary"]["predicted_bytes"]
    assert predicted == (9 if speed.faster == "fp32" else None)


def test_a_bakeoff_asks_all_candidates_in_the_dtype_that_was_measured_once(
    tinyshop: Workshop, task: Task, recipe: Recipe
) -> None:
    """In bf16, where an adapter stays beside the weights; a second attempt stays in it."""
    data, model = tinyshop.greetings(), tinyshop.model
    trained = tinyshop.submit(40, TrainSpec(task=task, model=model, recipe=recipe, train=data))
    assert tinyshop.finish(trained) == 0, trained.attempt(1).log.read_text()
    candidates = [
        CandidateSpec(name="base", form="base", model=model),
        CandidateSpec(name="tuned", form="adapter", model=model, ref="job:40"),
    ]
    golden = tinyshop.golden("Ines", "Jonas")
    run = tinyshop.submit(41, BakeoffSpec(task=task, golden=golden, candidates=candidates, repeats=1))
    process = tinyshop.start(run, hold=Hold("progress", "done", 1), before=FAST_IN["bf16"])
    wait_until(lambda: bool(read_answers(run.answers)), process)
    process.send_signal(signal.SIGKILL)
    assert tinyshop.ended(process) == -signal.SIGKILL
    assert tinyshop.ended(tinyshop.start(run, 2, before=FAST_IN["fp32"])) == 0, run.attempt(2).log.read_text()
    assert [read_json(run.attempt(n).manifest)["dtype"] for n in (1, 2)] == ["bf16", "bf16"]
    assert run.attempt(1).log.read_text().count("Computing in bf16") == 1
    assert len(read_answers(run.answers)) == 4
