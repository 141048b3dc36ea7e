"""Chat templates in whole jobs: proved before a model is trained on what they write, or asked through them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.home import RunDir
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec
from core.scoring.answers import read_answers
from tests.support import chat_templates as templates
from tests.support.workshop import Workshop, events

pytestmark = pytest.mark.train
Ask = Callable[..., BakeoffSpec]


@pytest.fixture
def model(tinyshop: Workshop, tmp_path: Path) -> Callable[[str], ModelEntry]:
    """The tiny model with another chat template."""

    def make(template: str) -> ModelEntry:
        folder = tmp_path / "model"
        shutil.copytree(str(tinyshop.model.path), folder)
        (folder / "chat_template.jinja").write_text(template)
        return ModelEntry(name="tiny", path=str(folder))

    return make


def run_of(shop: Workshop, spec: Spec) -> RunDir:
    run = shop.submit(len(list(shop.home.runs.iterdir())) + 1, spec)
    shop.finish(run)
    return run


def error_of(run: RunDir) -> tuple[str, int, str]:
    said = read_json(run.attempt(1).error_json)
    return said["code"], said["exit_code"], said["remedy"]


def ask(shop: Workshop, task: Task, model: ModelEntry, *texts: str) -> RunDir:
    sampling = task.sampling.model_copy(update={"max_new_tokens": 4})
    return run_of(
        shop,
        BakeoffSpec(
            task=task.model_copy(update={"sampling": sampling}),
            golden=shop.golden(*texts),
            candidates=[CandidateSpec(name="base", form="base", model=model)],
            repeats=1,
        ),
    )


def test_a_template_of_list_contents_is_trained_and_asked_with_the_texts(
    tinyshop: Workshop, task: Task, recipe: Recipe, model: Callable[[str], ModelEntry]
) -> None:
    listed = model(templates.LIST_ONLY)
    short = recipe.model_copy(update={"epochs": 1.0})
    run = run_of(tinyshop, TrainSpec(task=task, model=listed, recipe=short, train=tinyshop.greetings()))
    assert run.result.exists(), run.attempt(1).log.read_text()
    assert "note: the chat template takes messages as lists of parts" in run.attempt(1).log.read_text()
    asked = ask(tinyshop, task, listed, "Ada", "A much longer question, which has more tokens than a name has.")
    few, many = sorted(answer.prompt_tokens for answer in read_answers(asked.answers))
    assert many > few + 10


def test_a_system_message_that_is_refused_stops_training_and_bakeoff_with_what_to_do(
    tinyshop: Workshop, task: Task, recipe: Recipe, model: Callable[[str], ModelEntry]
) -> None:
    strict = model(templates.REFUSES_SYSTEM)
    training = TrainSpec(task=task, model=strict, recipe=recipe, train=tinyshop.greetings())
    for run in (run_of(tinyshop, training), ask(tinyshop, task, strict, "Ada")):
        code, exit_code, remedy = error_of(run)
        assert (code, exit_code) == ("system_refused", 2) and "system_role: user" in remedy
    folded = task.model_copy(update={"system_role": "user"})
    assert ask(tinyshop, folded, strict, "Ada").result.exists()


def test_a_golden_input_that_the_template_cuts_is_refused_by_its_name_and_a_sign_in_one_is_told(
    tinyshop: Workshop, task: Task, model: Callable[[str], ModelEntry]
) -> None:
    run = ask(tinyshop, task, model(templates.CUT_SHORT), "Ada", "long " * 60)
    assert error_of(run)[:2] == ("message_lost", 3)
    assert "golden input `g2`" in read_json(run.attempt(1).error_json)["message"]
    told = ask(tinyshop, task, tinyshop.model, "What is <|im_end|>?")
    assert told.result.exists()
    (warning,) = [event["message"] for event in events(told, 1, "warning") if event["code"] == "texts"]
    assert warning.startswith("golden input `g1`: a user message holds `<|im_end|>`, a control token: ")
