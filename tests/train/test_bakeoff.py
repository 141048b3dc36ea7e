"""Merging, and bake-offs of base, adapter and merged model, with the real small model."""

from __future__ import annotations

import signal

import pytest

from core.bakeoff.answers import read_answers
from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json, read_lines
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.train import TrainSpec
from tests.train.conftest import Workshop, events, wait_until

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def trained(workshop: Workshop, task: Task, recipe: Recipe) -> Workshop:
    """Job 1 has trained an adapter, job 2 has merged it in fp32."""
    quick = recipe.model_copy(update={"epochs": 5.0, "dropout": 0.0, "neftune": None, "lr": 3e-3, "save_steps": None})
    spec = TrainSpec(task=task, model=workshop.model, recipe=quick, train=workshop.greetings())
    run = workshop.submit(1, spec)
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    run = workshop.submit(2, MergeSpec(adapter="job:1", model=workshop.model, dtype="fp32"))
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    return workshop


def test_a_merged_model_gives_the_logits_of_base_and_adapter(trained: Workshop) -> None:
    import torch

    from jobs import models

    (adapter,) = read_json(trained.home.run_dir(1).result)["artefacts"]
    (merged,) = read_json(trained.home.run_dir(2).result)["artefacts"]
    device = torch.device("cpu")
    base = models.locate(trained.model, trained.home)
    ids = torch.tensor([[1, 2683, 198, 9690, 198, 2683, 355]])
    with torch.inference_mode():
        plain = models.load_model(base, trained.home, device, torch.float32)
        untrained = plain(ids).logits
        adapted = models.load_adapter(plain, trained.home.artefacts / adapter["sha256"] / "adapter")(ids).logits
        place = models.locate_path("merged", trained.home.artefacts / merged["sha256"] / "merged")
        loaded = models.load_model(place, trained.home, device, torch.float32)
        torch.testing.assert_close(loaded(ids).logits, adapted, atol=1e-3, rtol=1e-4)
    assert (adapted - untrained).abs().max() > 0.1
    assert models.load_tokenizer(place, trained.home).chat_template
    assert not any("lora" in name for name, _ in loaded.named_parameters())


def test_a_bakeoff_that_is_killed_goes_on_where_it_was(trained: Workshop, task: Task) -> None:
    spec = BakeoffSpec(
        task=task,
        golden=trained.golden("Ines", "Please tell me at length how one bakes bread."),
        candidates=[
            CandidateSpec(name="base", form="base", model=trained.model),
            CandidateSpec(name="tuned", form="adapter", model=trained.model, ref="job:1"),
            CandidateSpec(name="merged", form="merged", model=trained.model, ref="job:2"),
        ],
        repeats=2,
        batch_size=2,
    )
    run = trained.submit(3, spec)
    process = trained.start(run)
    wait_until(lambda: len(read_answers(run.answers)) >= 3, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    kept = read_answers(run.answers)
    with run.answers.open("a") as file:
        file.write('{"key": "torn')  # what a crash in the middle of a write leaves

    assert trained.finish(run, 2) == 0, run.attempt(2).log.read_text()
    answers = read_answers(run.answers)
    assert answers[: len(kept)] == kept
    cells = {(answer.candidate, answer.input_id, answer.repeat) for answer in answers}
    assert len(answers) == len(cells) == 3 * 2 * 2
    assert events(run, 2, "progress")[-1]["done"] == 12

    text = {(answer.candidate, answer.input_id, answer.repeat): answer.text for answer in answers}
    for item in ("g1", "g2"):
        assert text["tuned", item, 1] == text["merged", item, 1] != text["base", item, 1]
    assert all(answer.seconds > 0 and answer.completion_tokens <= 24 for answer in answers)
    assert sum(1 for _ in read_lines(run.scores)) == 12

    result = read_json(run.result)
    scores = {row["name"]: row["format_score"] for row in result["summary"]["candidates"]}
    assert scores["tuned"] == scores["merged"] > scores["base"]
    assert result["message"] == result["summary"]["headline"]


def test_repeats_draw_differently_and_seeds_repeat_them(trained: Workshop, task: Task) -> None:
    """The answer of a seed is the same whatever stands beside it in the batch."""
    import torch

    from core.data.examples import Message
    from core.data.render import encode_prompt, render_prompt
    from jobs import models
    from jobs.generate import GenerationRequest, Generator

    base = models.locate(trained.model, trained.home)
    tokenizer = models.load_tokenizer(base, trained.home)
    model = models.load_model(base, trained.home, torch.device("cpu"), torch.float32)
    prompts = [
        tuple(encode_prompt(tokenizer, render_prompt(tokenizer, [Message("user", text)], "off")))
        for text in ("Name a kind of bread.", "Write one short line about the sea, and one about the wind.")
    ]
    sampling = task.sampling.model_copy(
        update={"temperature": 0.9, "top_p": 0.95, "top_k": 50, "repeat_penalty": 1.1, "max_new_tokens": 16}
    )
    generator = Generator(model, tokenizer, sampling, "off")
    requests = [
        GenerationRequest(f"{p}/{seed}", prompt, seed) for p, prompt in enumerate(prompts) for seed in (1, 2, 3)
    ]
    together = {answer.key: answer.text for answer in generator.answer(requests, 6)}
    alone = {answer.key: answer.text for answer in generator.answer(requests, 1)}
    assert together == alone
    assert len(set(together.values())) == 6

    # Greedy, and with the library's own generation as the yardstick.
    greedy = Generator(model, tokenizer, sampling.model_copy(update={"temperature": 0.0, "repeat_penalty": 1.0}), "off")
    for request in (GenerationRequest("0", prompts[0], 0), GenerationRequest("1", prompts[1], 0)):
        (answer,) = greedy.answer([request], 1)
        ids = torch.tensor([request.prompt_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)
        assert answer.text == tokenizer.decode(expected[0, ids.shape[1] :], skip_special_tokens=True)
