"""What saves time or memory changes no number: the order inside a step, and activations that are recomputed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.config.recipe import Recipe
from core.config.task import Task
from core.jobfile.spec import InputFile
from jobs.ordering import StepOrder
from tests.support.greetings import GREETINGS
from tests.support.tiny_model import tiny_model
from tests.support.workshop import Workshop, events
from tests.train.inprocess import training

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def quiet(recipe: Recipe) -> Recipe:
    """Two micro-batches of two a step; nothing random, which would fall on other examples in another order."""
    changes = {"dropout": 0.0, "neftune": None, "batch_size": 2, "accumulation": 2, "epochs": 2.0, "save_steps": None}
    return recipe.model_copy(update=changes)


@pytest.fixture(scope="module")
def uneven(tinyshop: Workshop) -> InputFile:
    """Greetings of customers whose names are of very different lengths."""
    draw = random.Random(1)
    lines = [
        json.dumps({"prompt": " ".join([name] * draw.randint(1, 80)), "completion": greeting})
        for name, greeting in GREETINGS
    ]
    return tinyshop.input_file("uneven.jsonl", "\n".join(lines) + "\n")


class Unsorted(StepOrder):
    """The same examples in each step, as they were drawn."""

    def __iter__(self) -> Iterator[int]:
        lengths, self.lengths = self.lengths, [0] * len(self.lengths)
        yield from list(super().__iter__())
        self.lengths = lengths


def numbers(tinyshop: Workshop, number: int) -> list[tuple[float, float]]:
    return [(event["loss"], event["grad_norm"]) for event in events(tinyshop.home.run_dir(number), 1, "step")]


def padding(order: StepOrder, batch_size: int) -> int:
    """Tokens of padding in an epoch."""
    drawn = [order.lengths[index] for index in list(order)]
    batches = [drawn[start : start + batch_size] for start in range(0, len(drawn), batch_size)]
    return sum(max(batch) * len(batch) - sum(batch) for batch in batches)


def test_the_order_within_a_step_changes_nothing_but_the_padding(
    tinyshop: Workshop, task: Task, quiet: Recipe, uneven: InputFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered = training(tinyshop, task, quiet, 1, uneven)
    ordered.run()
    monkeypatch.setattr("jobs.training.StepOrder", Unsorted)
    drawn = training(tinyshop, task, quiet, 2, uneven)
    drawn.run()
    assert len(numbers(tinyshop, 1)) == 4
    for (loss, norm), (expected_loss, expected_norm) in zip(numbers(tinyshop, 1), numbers(tinyshop, 2), strict=True):
        assert loss == pytest.approx(expected_loss, rel=2e-6)
        assert norm == pytest.approx(expected_norm, rel=2e-5)
    first, second = ordered.recorder.order, drawn.recorder.order
    first.epoch = second.epoch = 0
    assert list(first) != list(second)
    for start in (0, 4):
        assert set(list(first)[start : start + 4]) == set(list(second)[start : start + 4])
    assert padding(first, 2) < 0.5 * padding(second, 2)


@pytest.fixture(scope="module")
def deep(tinyshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The same with five layers, some of which can be left out."""
    return replace(tinyshop, model=tiny_model(tmp_path_factory.mktemp("deep"), layers=5))


@pytest.mark.parametrize("every", [1, 4])
def test_recomputed_activations_give_the_same_numbers(deep: Workshop, task: Task, recipe: Recipe, every: int) -> None:
    """With dropout and noise: a recomputed layer draws what it drew before."""
    short = recipe.model_copy(update={"epochs": 0.5, "save_steps": None})
    kept = training(deep, task, short, 10 + every, deep.greetings())
    kept.run()
    changes = {"activation_checkpointing": True, "every_n_layers": every}
    recomputed = training(deep, task, short.model_copy(update=changes), 20 + every, deep.greetings())
    recomputed.run()
    assert len(numbers(deep, 20 + every)) == 2
    assert numbers(deep, 20 + every) == [
        (pytest.approx(loss, rel=1e-6), pytest.approx(norm, rel=1e-5)) for loss, norm in numbers(deep, 10 + every)
    ]
    layers = [module for module in recomputed.trainer.model.modules() if type(module).__name__.endswith("DecoderLayer")]
    assert [bool(layer.gradient_checkpointing) for layer in layers] == [index % every == 0 for index in range(5)]


@pytest.mark.parametrize("kind", ["dora", "rslora"])
def test_other_adapters_train_and_merge(
    tinyshop: Workshop, task: Task, quiet: Recipe, kind: str, tmp_path: Path
) -> None:
    from jobs import models
    from jobs.adapters import load_adapter

    changed = quiet.model_copy(update={kind: True, "lr": 3e-3, "targets": ["q_proj", "v_proj", "up_proj"]})
    number = {"dora": 30, "rslora": 31}[kind]
    job = training(tinyshop, task, changed, number, tinyshop.greetings())
    outcome = job.run()
    assert outcome.last_loss < outcome.first_loss - 0.1
    job.save_adapter(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["use_dora"] is (kind == "dora") and config["use_rslora"] is (kind == "rslora")

    base = models.locate(tinyshop.model, tinyshop.home)
    ids = torch.tensor([[1, 268, 19, 96, 198, 283, 355]])
    with torch.inference_mode():
        plain = models.load_model(base, tinyshop.home, torch.device("cpu"), torch.float32)
        untrained = plain(ids).logits
        adapted = load_adapter(plain, tmp_path)
        expected = adapted(ids).logits
        merged = adapted.merge_and_unload()
        assert not any("lora" in name for name, _ in merged.named_parameters())
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-3, rtol=1e-4)
    assert (expected - untrained).abs().max() > 0.1
