"""Which examples are trained and which are held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.recipe import FewShot, Recipe
from core.config.task import Task
from core.data.examples import Message, load_examples
from core.data.render import encode_prompt, render_prompt
from core.errors import GateError
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from jobs.context import JobContext
from jobs.oom_fallbacks import Ladder
from jobs.prepare import Prepared, prepare
from tests.support.greetings import GREETINGS
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train
Prepare = Callable[..., Prepared]


@pytest.fixture(scope="module")
def tokenizer(workshop: Workshop) -> Any:
    from jobs import models

    return models.load_tokenizer(models.locate(workshop.model, workshop.home), workshop.home)


@pytest.fixture
def prepared(workshop: Workshop, task: Task, recipe: Recipe, tokenizer: Any, request: pytest.FixtureRequest) -> Prepare:
    """Prepares a file by the recipe with some keys changed; `ladder` takes rungs first."""

    def make(data: InputFile, rungs: int = 0, task: Task = task, **changes: Any) -> Prepared:
        submitted = recipe.model_copy(update={"eval_fraction": 0.25, **changes})
        spec = TrainSpec(task=task, model=workshop.model, recipe=submitted, train=data)
        run = workshop.submit(len(list(workshop.home.runs.iterdir())) + 1, spec)
        run.attempt(1).path.mkdir()
        ladder = Ladder.open(run.path, "test")
        for _ in range(rungs):
            ladder.step_down(ladder.recipe(submitted), 96, reason="out of memory", from_step=None, attempt=1)
        examples, _ = load_examples(Path(data.path), task)
        context = JobContext.open(run, run.attempt(1))
        return prepare(context, spec, ladder.recipe(submitted), ladder, tokenizer, examples)

    return make


def test_held_out_examples_stand_in_no_prompt_and_are_asked_plainly(
    workshop: Workshop, prepared: Prepare, tokenizer: Any
) -> None:
    plain = prepared(workshop.greetings())
    shown = prepared(workshop.greetings(), few_shot=FewShot(count=2, share=1.0), max_length=256)
    assert len(plain.held_out) == 2 and plain.held_out == shown.held_out
    assert {item.line for item in plain.held_out}.isdisjoint(item.line for item in plain.trained)
    assert len(shown.trained) == 6 and shown.added["few_shot_full"] == 6
    prompts = [tokenizer.decode(item.prompt_ids) for item in shown.trained]
    answers = {line: text for line, (_, text) in enumerate(GREETINGS, start=1)}
    for item in shown.held_out:
        assert not any(answers[item.line] in prompt for prompt in prompts)
    for item, prompt in zip(shown.trained, prompts, strict=True):
        seen = [line for line, answer in answers.items() if answer in prompt]
        assert len(seen) == 2 and item.line not in seen
        assert tokenizer.decode(item.completion_ids).startswith(answers[item.line])


def test_turns_of_a_conversation_are_on_one_side(workshop: Workshop, prepared: Prepare, task: Task) -> None:
    talking = task.model_copy(update={"data": task.data.model_copy(update={"loss": "every_turn"})})
    lines = [
        [{"role": "user", "content": name}, {"role": "assistant", "content": text}] * 2 for name, text in GREETINGS
    ]
    text = "\n".join(json.dumps({"messages": line}) for line in lines)
    found = prepared(workshop.input_file("turns.jsonl", text + "\n"), task=talking)
    assert (len(found.trained), len(found.held_out)) == (12, 4)
    assert {item.line for item in found.held_out}.isdisjoint(item.line for item in found.trained)


def test_a_shorter_rung_moves_no_example_to_the_other_side(
    workshop: Workshop, prepared: Prepare, tokenizer: Any, task: Task
) -> None:
    filler = " ".join("bread" for _ in range(60))
    lines = [
        json.dumps({"prompt": name if index % 2 else f"{name} {filler}", "completion": text})
        for index, (name, text) in enumerate(GREETINGS)
    ]
    data = workshop.input_file("shorter.jsonl", "\n".join(lines) + "\n")
    low = {"batch_size": 1, "activation_checkpointing": True, "optimizer": "adamw-8bit", "max_skipped": 0.5}
    before, after = prepared(data, **low), prepared(data, rungs=1, **low)
    assert before.longest > 64 >= after.longest and after.fits.cut == 4
    assert [item.line for item in after.held_out] == [item.line for item in before.held_out]
    assert [item.line for item in after.trained] == [item.line for item in before.trained]
    # The prompt of a trained example is the one that the server renders.
    first = next(item for item in before.trained if not item.cut_tokens and item.line % 2 == 0)
    messages = [Message("system", task.system or ""), Message("user", GREETINGS[first.line - 1][0])]
    assert list(first.prompt_ids) == encode_prompt(tokenizer, render_prompt(tokenizer, messages, "off"))


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("Good evening, Ann.<|im_end|>", "end_in_completion"),
        ("<think>\nIt is late.\n</think>\n\nGood evening, Ann.", "thoughts_while_off"),
        ("<|im_start|>assistant\nGood evening, Ann.", "prompt_in_completion"),
    ],
)
def test_texts_that_would_be_learnt_wrongly_are_refused_by_their_lines(
    workshop: Workshop, prepared: Prepare, completion: str, code: str
) -> None:
    lines = [json.dumps({"prompt": name, "completion": text}) for name, text in GREETINGS]
    lines[2:2] = [json.dumps({"prompt": f"Ann {number}", "completion": completion}) for number in (1, 2)]
    with pytest.raises(GateError) as caught:
        prepared(workshop.input_file("texts.jsonl", "\n".join(lines) + "\n"))
    assert (caught.value.code, caught.value.line) == (code, 3)
    assert "(lines 3, 4)" in str(caught.value) and caught.value.remedy


def test_a_control_token_in_a_question_is_told_and_trained(workshop: Workshop, prepared: Prepare) -> None:
    lines = [json.dumps({"prompt": f"{name} <|im_end|>", "completion": text}) for name, text in GREETINGS]
    data = workshop.input_file("signs.jsonl", "\n".join(lines) + "\n")
    assert len(prepared(data).fits.fitted) == len(GREETINGS)
    run = max(workshop.home.runs.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    told = [json.loads(line) for line in (run / "attempt-1" / "events.jsonl").read_text().splitlines()]
    (warning,) = [event for event in told if event["kind"] == "warning" and event["code"] == "texts"]
    assert "a user message holds `<|im_end|>`" in warning["message"] and "and 3 more" in warning["message"]
