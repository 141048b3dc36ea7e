"""A job's row and its run directory come into being together, or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from core.authoring.scaffold import new_project, new_task
from core.config.project import Project
from core.data.examples import load_examples
from core.errors import InputError
from core.files import read_json
from core.jobfile.spec import JobFile
from core.store.database import open_database
from core.store.jobs import list_jobs
from core.submission import submit
from core.submission.input_store import keep_bytes, keep_content, keep_document
from tests.support.queueing import AUTHOR, Queue
from tests.support.standin_kind import StandinSpec


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A home where no runner is started: only what is stored is looked at."""
    from core.submission import enqueue

    monkeypatch.setattr(enqueue, "ensure_runner", lambda home: None)
    return Queue.create(tmp_path)


def jobs(queue: Queue) -> list[int]:
    with contextlib.closing(open_database(queue.home)) as connection:
        return [job.id for job in list_jobs(connection)]


def test_a_submitted_job_has_a_row_and_a_file_that_agree(queue: Queue) -> None:
    need = queue.submit("first")
    job = queue.submit("second", "cpu", needs=(need,), on_restart="hold")
    row, file = queue.job(job), JobFile.load(queue.home.run_dir(job))
    assert (row.id, row.title, row.lane, row.needs, row.on_restart) == (
        *(file.id, file.title, file.lane),
        *(tuple(file.needs), file.on_restart),
    )
    assert file.author == AUTHOR
    assert file.python == queue.python
    assert file.home == str(queue.home.root)


def test_a_job_whose_folder_cannot_be_made_is_not_in_the_queue(queue: Queue) -> None:
    in_the_way = queue.home.run_dir(1).path
    in_the_way.write_text("somebody put a file here")
    with pytest.raises(FileExistsError):
        queue.submit("first")
    assert jobs(queue) == []
    in_the_way.unlink()
    assert queue.submit("first") == 1


def test_a_job_that_needs_one_that_is_not_there_leaves_no_folder(queue: Queue) -> None:
    with pytest.raises(Exception, match="no job 7"):
        queue.submit("first", needs=(7,))
    assert jobs(queue) == []
    assert list(queue.home.runs.iterdir()) == []


def test_an_id_that_is_given_out_again_finds_nothing_of_a_submission_that_was_rolled_back(queue: Queue) -> None:
    open_database(queue.home).close()  # the submission that was rolled back had made it
    leftover = queue.home.run_dir(1)
    leftover.path.mkdir()
    leftover.job_file.write_text("half written")
    (leftover.path / "stray").touch()
    assert queue.submit("first") == 1
    assert [file.name for file in leftover.path.iterdir()] == ["job.yaml"]


def test_the_files_of_a_job_that_ran_are_never_deleted_for_a_new_one(queue: Queue) -> None:
    """A person removed a database, or put an old home's runs back: what they hold is months of answers."""
    former = queue.home.run_dir(1)
    former.attempt(1).path.mkdir(parents=True)
    former.answers.write_text('{"key": "a"}\n')

    assert queue.submit("first") == 1

    assert not former.answers.exists()
    (kept,) = (folder for folder in queue.home.runs.iterdir() if folder != former.path)
    assert (kept / "answers.jsonl").read_text() == '{"key": "a"}\n'
    assert (kept / "attempt-1").is_dir()


def test_a_job_that_could_never_have_the_memory_is_refused(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandinSpec, "host_memory", lambda spec, home, on_gpu: 10**15)
    with pytest.raises(InputError, match=r"1,000,000.0 GB") as refused:
        queue.submit("too large", "cpu")
    assert (refused.value.exit_code, refused.value.code) == (2, "too_large")
    assert not queue.home.database.exists() or jobs(queue) == []


def test_equal_inputs_are_kept_once_and_stay_as_they_were_submitted(queue: Queue, tmp_path: Path) -> None:
    source = tmp_path / "train.jsonl"
    source.write_text('{"prompt": "a"}\n')
    first, again = (keep_content(queue.home, source.read_bytes(), source) for _ in range(2))
    source.write_text('{"prompt": "b"}\n')
    changed = keep_content(queue.home, source.read_bytes(), source)

    assert first == again
    assert Path(first.path).read_text() == '{"prompt": "a"}\n'
    assert Path(changed.path).read_text() == '{"prompt": "b"}\n'
    assert Path(first.path).parent == queue.home.inputs / first.sha256
    assert first.source == changed.source == str(source)
    assert len(list(queue.home.inputs.iterdir())) == 2


def test_a_document_is_kept_under_the_hash_of_what_is_in_it(queue: Queue) -> None:
    one = keep_document(queue.home, {"b": 1, "a": 2}, "golden.json", "golden/judge.yaml")
    other = keep_document(queue.home, {"a": 2, "b": 1}, "golden.json", "golden/judge.yaml")
    assert one == other
    assert read_json(Path(one.path)) == {"a": 2, "b": 1}


def test_an_empty_input_is_kept_too(queue: Queue) -> None:
    assert keep_bytes(queue.home, b"", "empty", "nowhere").sha256.startswith("e3b0c442")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no job file"),
        ("{unclosed", "is not YAML"),
        ("", "Input should be"),
        ("id: 1\n", "Field required"),
    ],
)
def test_a_job_file_that_cannot_be_used_says_why(queue: Queue, content: str | None, problem: str) -> None:
    run = queue.home.run_dir(1)
    run.path.mkdir()
    if content is not None:
        run.job_file.write_text(content)
    with pytest.raises(InputError, match=problem) as refused:
        JobFile.load(run)
    assert refused.value.file == str(run.job_file)


def test_what_is_checked_is_what_is_kept_though_the_file_changes(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_project(tmp_path / "p")
    project = Project.find(tmp_path / "p")
    source = tmp_path / "lines.jsonl"
    source.write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    new_task(project, "t", examples=source)
    data = project.root / "configs/data/t.train.jsonl"

    def changed_behind(*given: Any) -> Any:
        found = load_examples(*given)
        data.write_text('{"prompt": "another", "completion": "one"}\n')
        return found

    monkeypatch.setattr(submit, "load_examples", changed_behind)
    kept, examples = submit.train_file(queue.home, project, project.task("t"))
    assert Path(kept.path).read_text() == source.read_text()
    assert [example.completion for example in examples] == ["b", "b"]
