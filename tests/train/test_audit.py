"""The audit with the real small model: its tokenizer comes out of a GGUF file."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.config.project import shipped
from core.config.recipe import FewShot
from core.data.audit import Audit
from core.data.examples import load_examples
from core.data.render import fit_all, render_prompt
from core.home import Home
from core.submission.audit_process import audit, longest_example
from core.submission.memory_check import plan_training
from tests.support.small_model import small_model
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train


@dataclass(frozen=True)
class Once:
    """A home that had the pulled file and nothing made of it, and its first audit."""

    home: Home
    audit: Audit


@pytest.fixture(scope="module")
def once(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    home = Home(tmp_path_factory.mktemp("home")).create()
    home.models.symlink_to(model_cache / "models")
    return Once(home, audit(home, shipped(), "judge", small_model().name, recipe="demo", show="all"))


def test_a_submission_forecasts_at_the_longest_example_that_the_audit_counted(once: Once) -> None:
    """Without the audit at `max_length`; after it at the length that the batches will be padded to."""
    project, entry = shipped(), small_model()
    task, recipe = project.task("judge"), project.recipe("demo").model_copy(update={"max_length": 1024})
    counted = longest_example(once.home, project, task, entry, recipe)
    assert counted == once.audit.tokens_max < recipe.max_length
    assert longest_example(once.home, project, task, entry, recipe.model_copy(update={"max_length": 128})) == 128
    few_shot = FewShot(count=1)
    assert longest_example(once.home, project, task, entry, recipe.model_copy(update={"few_shot": few_shot})) is None
    assert longest_example(once.home, project, task, project.model("Qwen3-4B"), recipe) is None
    at_most = plan_training(once.home, entry, recipe)
    known = plan_training(once.home, entry, recipe, counted)
    assert known.forecast is not None and at_most.forecast is not None
    assert (known.forecast.length, known.forecast.of_data) == (counted, True)
    assert (at_most.forecast.length, at_most.forecast.of_data) == (1024, False)
    assert known.forecast.allocated_bytes < at_most.forecast.allocated_bytes
    assert known.recipe == at_most.recipe == recipe, "the length that examples are cut to stays"


def test_the_kept_tokenizer_is_the_one_in_the_file(once: Once, tmp_path: Path) -> None:
    """Asked in a home where the file has no content any more: the same figures, the same texts, from what is kept."""
    from jobs import models

    entry = small_model()
    assert entry.wheel is not None
    base = models.locate(entry, once.home)
    kept = Path("tokenizers", base.fingerprint)
    assert (once.home.cache / kept / "tokenizer.json").is_file()
    home = Home(tmp_path / "home").create()
    shutil.copytree(once.home.cache / kept, home.cache / kept)
    (home.models / entry.name).mkdir(parents=True)
    with (home.models / entry.name / Path(entry.wheel.member).name).open("wb") as hollow:
        hollow.truncate(entry.wheel.size_bytes)
    again = audit(home, shipped(), "judge", entry.name, recipe="demo", show="all")
    assert not again.cached and again == once.audit


def test_its_figures_are_those_of_the_tokenizer_that_trains(once: Once, workshop: Workshop) -> None:
    from jobs import models

    project = shipped()
    task, entry = project.task("judge"), small_model()
    tokenizer = models.load_tokenizer(models.locate(entry, workshop.home), workshop.home)
    examples, _ = load_examples(project.train_file(task), task)
    found = audit(once.home, project, "judge", entry.name, recipe="demo", lengths=[400, 512], show=[1])
    for row in found.rows:
        report = fit_all(tokenizer, examples, task.thinking, row.max_length)
        assert (row.cut, row.skipped, row.total) == (report.cut, len(report.skipped), report.total)
    assert found.rows[0].cut and found.rows[0].skipped
    prompt, completion = found.shown[0].pieces
    assert prompt.text == render_prompt(tokenizer, examples[0].messages, task.thinking)
    assert completion.text == examples[0].completion + "<|im_end|>"
