"""The audit with the real small model: its tokenizer comes out of a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.project import shipped
from core.data.examples import load_examples
from core.data.render import fit_all, render_prompt
from core.home import Home
from core.submission.audit_process import audit

pytestmark = pytest.mark.train


@pytest.fixture
def home(model_cache: Path, tmp_path: Path) -> Home:
    """A home that has the pulled file and nothing made of it."""
    home = Home(tmp_path / "home").create()
    (home.models).symlink_to(model_cache / "models")
    return home


def test_the_kept_tokenizer_is_the_one_in_the_file(home: Home) -> None:
    from jobs import models

    entry = shipped().model("SmolLM2-135M")
    once = audit(home, shipped(), "judge", entry.name, recipe="demo", show="all")
    base = models.locate(entry, home)
    assert (home.cache / "tokenizers" / base.fingerprint / "tokenizer.json").is_file()
    # Asked for anew, it comes from the folder that the first audit left: the same figures, the same texts.
    for entry_file in (home.cache / "audits").glob("*.json"):
        entry_file.unlink()
    again = audit(home, shipped(), "judge", entry.name, recipe="demo", show="all")
    assert not again.cached and again == once
    assert again.seconds < once.seconds


def test_its_figures_are_those_of_the_tokenizer_that_trains(home: Home) -> None:
    from jobs import models

    project = shipped()
    task, entry = project.task("judge"), project.model("SmolLM2-135M")
    models.prepare_libraries()
    tokenizer = models.load_tokenizer(models.locate(entry, home), home)
    examples, _ = load_examples(project.train_file(task), task)
    found = audit(home, project, "judge", entry.name, recipe="demo", lengths=[400, 512], show=[1])
    for row in found.rows:
        report = fit_all(tokenizer, examples, task.thinking, row.max_length)
        assert (row.cut, row.skipped, row.total) == (report.cut, len(report.skipped), report.total)
    assert found.rows[0].cut and found.rows[0].skipped
    prompt, completion = found.shown[0].pieces
    assert prompt.text == render_prompt(tokenizer, examples[0].messages, task.thinking)
    assert completion.text == examples[0].completion + "<|im_end|>"
