"""What has changed in a project since a job was submitted: a retry does not see it, so a person is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.config.project import Project, shipped
from core.files import sha256_file
from core.jobfile.spec import InputFile
from core.staleness.submitted import ChangedInput, changed_since_submission
from core.wording.staleness import changed_input_words
from tests.support.recorded_lineage import Records

LATER = 2_000_000_000


@pytest.fixture
def project(tmp_path: Path) -> Project:
    new_project(tmp_path / "project")
    return Project.find(explicit=tmp_path / "project")


@pytest.fixture
def records(tmp_path: Path, project: Project) -> Records:
    said = {"project_id": project.id, "project_root": str(project.root), "submitted_at": 1_900_000_000.0}
    return Records(tmp_path, of_project=said)


def trained(records: Records, project: Project) -> int:
    task = project.task("judge")
    data = project.train_file(task)
    return records.train(task=task, data=InputFile(path=str(data), sha256=sha256_file(data), source=str(data)))


def own(project: Project, kind: str, name: str, change: Callable[[str], str]) -> Path:
    """A copy of a shipped file in the project, changed; written after the job was submitted."""
    loaded = shipped().recipe(name) if kind == "recipes" else shipped().task(name)
    file = project.root / "configs" / kind / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(change(shipped().origin(loaded).read_text()))
    os.utime(file, (LATER, LATER))
    return file


def test_nothing_is_told_of_a_project_that_is_as_it_was(records: Records, project: Project) -> None:
    assert changed_since_submission(records.home, trained(records, project)) == ()


def test_keys_of_a_recipe_count_where_its_file_was_written_since(records: Records, project: Project) -> None:
    training = trained(records, project)
    file = own(project, "recipes", "demo", lambda text: text.replace("epochs: 1.6", "epochs: 2"))
    (found,) = changed_since_submission(records.home, training)
    assert (found.what, found.name, found.keys) == ("recipe", "demo", ("epochs",))
    os.utime(file, (1, 1))
    assert changed_since_submission(records.home, training) == (), "an older file differs by what was overridden"


def test_a_task_tells_its_keys_for_every_job_that_was_told_it(records: Records, project: Project) -> None:
    training = trained(records, project)
    task = project.task("judge")
    quantized = records.quantize(records.convert(records.merge(training)))
    check = records.parity(quantized, {"passed": True, "cases": []}, task=task)
    own(
        project,
        "tasks",
        "judge",
        lambda text: text + "\nrepeats: 7\n" if "repeats:" not in text else text.replace("repeats: ", "repeats: 7"),
    )
    for job_id in (training, check):
        tasks = [one for one in changed_since_submission(records.home, job_id) if one.what == "task"]
        assert [(one.name, "repeats" in one.keys) for one in tasks] == [("judge", True)]


def test_training_data_that_was_edited_or_is_gone(records: Records, project: Project, tmp_path: Path) -> None:
    data = tmp_path / "former.jsonl"
    data.write_text("another file")
    learnt = InputFile(path=str(data), sha256=sha256_file(data), source=str(data))
    training = records.train(task=project.task("judge"), data=learnt)
    (found,) = changed_since_submission(records.home, training)
    assert found.what == "data" and found.name == str(project.train_file(project.task("judge"))) and not found.gone


def test_the_words_name_what_it_is_and_which_keys() -> None:
    found = (
        ChangedInput("task", "judge", ("system", "sampling")),
        ChangedInput("recipe", "mine", gone=True),
        ChangedInput("data", "/p/judge.jsonl"),
    )
    assert (
        changed_input_words(found) == "task judge (system, sampling), recipe mine (gone), training data /p/judge.jsonl"
    )
