"""What a person may mean by a candidate, and what becomes of what leads nowhere: one clear line, before anything is queued."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.errors import InputError, NotFoundError
from core.files import write_json
from core.store.database import open_database, transaction
from core.store.jobs import JobRow
from core.store.results import import_result
from core.submission.bakeoff import MOST_AT_ONCE, MOST_REPEATS
from core.submission.merge import submit_merge
from core.submission.wanted_export import WantedMerge
from tests.support.kitchen import Kitchen, kitchen
from tests.support.model_folders import config_of, write_adapter, write_folder

__all__ = ["kitchen"]
HASH = "ab" * 32


def merge(kitchen: Kitchen) -> JobRow:
    """A job that makes a merged model, as long as nobody has ended it."""
    models = kitchen.root.parent / "models"
    write_adapter(models / "adapter", str(models / "plain"))
    return submit_merge(kitchen.home, kitchen.project, WantedMerge(str(models / "adapter")), author="tester")


def end(kitchen: Kitchen, job: JobRow, *, made: bool = True) -> Path:
    """End it as its own process would; the folder that it made."""
    folder = kitchen.home.artefacts / HASH / "merged"
    artefact: dict[str, Any] = {"sha256": HASH, "kind": "merged", "path": str(folder), "bytes": 9, "lineage": {}}
    if made:
        write_folder(folder, config_of("llama"))
    run = kitchen.home.run_dir(job.id)
    artefacts = [artefact] if made else []
    write_json(run.result, {"schema": 1, "kind": "merge", "message": "", "artefacts": artefacts, "summary": {}})
    kitchen.end(job)
    with contextlib.closing(open_database(kitchen.home)) as connection, transaction(connection):
        import_result(connection, job.id, run)
    return folder


def names(kitchen: Kitchen, *candidates: str, **more: Any) -> list[str]:
    return [one.name for one in kitchen.spec(kitchen.submit(kitchen.wanted(*candidates, **more))).candidates]


def refused(kitchen: Kitchen, *candidates: str, **more: Any) -> InputError | NotFoundError:
    before = list(kitchen.home.runs.glob("*"))
    with pytest.raises((InputError, NotFoundError)) as caught:
        kitchen.submit(kitchen.wanted(*candidates, **more))
    assert len(str(caught.value).splitlines()) == 1
    assert list(kitchen.home.runs.glob("*")) == before, "nothing is half queued"
    return caught.value


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        ("job:abc", "bad_candidate", "names no job; write job:ID"),
        ("job:", "bad_candidate", "names no job"),
        ("job:-1", "bad_candidate", "names no job"),
        ("job:1/", "bad_candidate", "names no job"),
        ("job:1/merged/x", "bad_candidate", "names no job"),
        ("job:99", "job_not_found", "no job 99"),
        (f"job:{10**30}", "job_not_found", "no job 1000"),
        ("artefact:", "bad_candidate", "no hash is named"),
        ("artefact:sha256:", "bad_candidate", "no hash is named"),
        ("artefact:12", "artefact_not_found", "the hash `12`"),
        ("", "bad_candidate", "an empty name"),
        ("  ", "bad_candidate", "an empty name"),
        ("@think=on", "bad_candidate", "no model is named before `@think=on`"),
        ("plain@think", "model_not_found", "a variant has a value: `@think=…`"),
        ("bread", "model_not_found", "`bread` is a task: it stands before the candidates"),
        ("../models", "no_model", "one folder deeper"),
        ("/dev/null", "no_model", "no such model folder"),
    ],
)
def test_a_reference_that_leads_nowhere(kitchen: Kitchen, reference: str, code: str, words: str) -> None:
    error = refused(kitchen, reference)
    assert error.code == code
    assert words in str(error)


def test_blanks_around_a_name_are_no_part_of_it(kitchen: Kitchen) -> None:
    assert names(kitchen, " plain", "other @think=on") == ["plain base", "other base @think=on"]


@pytest.mark.parametrize("folder", ["my model@v2", "a:b", "a,b", "plain@v=2", "job:7"])
def test_a_folder_may_be_called_anything(kitchen: Kitchen, folder: str) -> None:
    write_folder(kitchen.root.parent / "models" / folder, config_of("llama"))
    (plain, variant) = names(kitchen, f"../models/{folder}", f"../models/{folder}@think=on")
    assert variant == f"{plain} @think=on"


def test_two_folders_of_one_name_are_told_apart(kitchen: Kitchen) -> None:
    for folder in ("a:b", "a,b"):
        write_folder(kitchen.root.parent / "models" / folder, config_of("llama"))
    assert names(kitchen, "../models/a:b", "../models/a,b") == ["a-b (../models/a:b)", "a-b (../models/a,b)"]


@pytest.mark.parametrize(
    "other", ["../models/link", "../models/plain/", "../models/../models/plain", "plain@think=off"]
)
def test_a_model_by_another_name_is_the_same(kitchen: Kitchen, other: str) -> None:
    models = kitchen.root.parent / "models"
    (models / "link").symlink_to(models / "plain", target_is_directory=True)
    error = refused(kitchen, "plain", other)
    assert error.code == "doubled_candidate"


def test_what_a_job_made_is_one_candidate_however_it_is_named(kitchen: Kitchen) -> None:
    job = merge(kitchen)
    folder = end(kitchen, job)
    assert names(kitchen, f"job:{job.id}") == ["plain tuned, merged"]
    for other in (
        f"job:{job.id}/merged",
        "artefact:abab",
        "artefact:sha256:ABAB",
        str(folder),
    ):
        spec = kitchen.spec(kitchen.submit(kitchen.wanted(other)))
        assert spec.candidates[0].ref == f"job:{job.id}/merged", other
        error = refused(kitchen, f"job:{job.id}", other)
        assert error.code == "doubled_candidate"
        assert f"`job:{job.id}` and `{other}` are the same candidate" in str(error)


def test_a_job_that_is_still_to_end_is_waited_for(kitchen: Kitchen) -> None:
    job = merge(kitchen)
    bakeoff = kitchen.submit(kitchen.wanted(f"job:{job.id}"))
    assert bakeoff.needs == (job.id,)
    assert refused(kitchen, f"job:{job.id}/adapter").code == "no_candidate"
    assert "makes no model" in str(refused(kitchen, f"job:{bakeoff.id}"))


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
def test_a_job_that_came_to_nothing_is_refused(kitchen: Kitchen, state: str) -> None:
    job = merge(kitchen)
    kitchen.end(job, state)
    error = refused(kitchen, f"job:{job.id}")
    assert error.code == "no_candidate"
    assert f"bakehouse queue retry {job.id}" in str(error)


def test_a_deleted_artefact_is_told_before_the_queue_comes_to_it(kitchen: Kitchen) -> None:
    job = merge(kitchen)
    folder = end(kitchen, job)
    shutil.rmtree(folder)
    for reference in (f"job:{job.id}", "artefact:abab"):
        error = refused(kitchen, reference)
        assert error.code == "artefact_gone"
        assert str(folder) in str(error)


def test_a_job_that_is_done_and_left_nothing(kitchen: Kitchen) -> None:
    job = merge(kitchen)
    end(kitchen, job, made=False)
    assert refused(kitchen, f"job:{job.id}").code == "no_artefact"


@pytest.mark.parametrize(
    "incumbent", ["plain@top_k=3@think=on", "../models/plain@think=on@top_k=03", "plain base @think=on@top_k=3"]
)
def test_the_incumbent_is_known_however_it_is_spelt(kitchen: Kitchen, incumbent: str) -> None:
    job = kitchen.submit(kitchen.wanted("plain@think=on@top_k=3", "other", incumbent=incumbent))
    assert kitchen.spec(job).incumbent == "plain base @think=on@top_k=3"
    kitchen.end(job)
    extended = kitchen.submit(kitchen.wanted(tasks=(), extend=job.id, incumbent="other"))
    assert kitchen.spec(extended).incumbent == "other base"
    for nobody in ("plain", "plane", "", "job:7"):
        assert refused(kitchen, "plain@think=on@top_k=3", "other", incumbent=nobody).code == "no_incumbent"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"repeats": MOST_REPEATS + 1}, "repeats"),
        ({"repeats": 10**30}, "repeats"),
        ({"repeats": 0}, "repeats"),
        ({"concurrency": MOST_AT_ONCE + 1}, "concurrency"),
    ],
)
def test_numbers_have_a_limit(kitchen: Kitchen, more: dict[str, Any], key: str) -> None:
    error = refused(kitchen, "plain", **more)
    assert (error.code, error.key) == ("wrong_value", key)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main([*words])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out + told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tasks", "", "plain"), "found nothing"),
        (("--tasks", " , ", "plain"), "found nothing"),
        (("bread", "plain", "--models", ""), "found nothing"),
        (("--tasks", "all,bread", "plain"), "leave the others out"),
        (("--tasks", "all", "--tasks", "bread", "plain"), "leave the others out"),
    ],
)
def test_names_that_a_script_left_empty_are_not_taken_for_others(
    kitchen: Kitchen,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(kitchen.root)
    code, told = run(capsys, "bakeoff", *words)
    assert code == 2
    assert said in told


@pytest.mark.parametrize(
    "words",
    [
        ("bakeoff", "--extend", "{}"),
        ("bakeoff", "bread", "job:{}"),
        ("results", "{}"),
        ("queue", "cancel", "{}"),
        ("queue", "retry", "{}"),
        ("logs", "{}"),
        ("runs", "show", "{}"),
        ("export", "job:{}"),
    ],
)
def test_no_number_is_too_large_to_be_looked_up(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(kitchen.root)
    code, told = run(capsys, *(word.format(10**30) for word in words))
    assert code == 4, told
    assert "fault of its own" not in told


def test_fifty_models_are_fifty_candidates(kitchen: Kitchen) -> None:
    kitchen.write("bakehouse.yaml", "id: kitchen\nservers: {lab: {api: openai, url: 'http://127.0.0.1:1/v1'}}\n")
    remarks: list[str] = []
    job = kitchen.submit(kitchen.wanted(*(f"lab:m{number}" for number in range(50))), remarks)
    assert len(kitchen.spec(job).candidates) == 50
    assert len(remarks) == 1, "the server is spoken of once"
    assert json.dumps(job.settings)
