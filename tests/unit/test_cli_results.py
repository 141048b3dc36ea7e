"""`bakehouse results`: from stored answers to what a person reads; and the words for how jobs ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.bakeoff.answers import Answer
from core.bakeoff.scoring import score_answers
from core.cli.common import ending_in_words
from core.cli.main import main
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.errors import InputError
from core.files import write_json
from core.home import Home
from core.jobfile.spec import JobFile
from core.reasons import Reason
from core.store.database import transaction
from core.store.job_reasons import job_reason
from core.store.jobs import State, get_job
from core.store.results import import_answers, insert_scores
from tests.support.stored import add_job, fresh

TASK = {
    "name": "judge",
    "repeats": 1,
    "format": [{"check": "regex", "id": "line", "pattern": "^PRICE: (?P<price>.+)$", "count": 1}],
    "content": [{"check": "captured_equals", "name": "price"}],
}
GOLDEN = [
    GoldenInput(id="sofa", input="A grey sofa, 110\nand a cat", expect={"price": "110"}),
    GoldenInput(id="tent", input="A tent for 65", expect={"price": "65"}),
]
ANSWERS = {
    ("base", "sofa"): "no idea",
    ("base", "tent"): "",
    ("tuned", "sofa"): "PRICE: 11",
    ("tuned", "tent"): "PRICE: 65",
}
Run = Callable[..., tuple[int, str, str]]


def stored_answers() -> Iterator[Answer]:
    for (candidate, input_id), text in ANSWERS.items():
        yield Answer(
            key=f"{candidate}/{input_id}",
            candidate=candidate,
            task="judge",
            input_id=input_id,
            repeat=0,
            seed=0,
            text=text,
            thinking=None,
            finish="stop",
            fault=None if text else "empty",
            prompt_tokens=9,
            completion_tokens=4,
            characters=len(text),
            seconds=1.0,
            batch_size=1,
            tokens_per_second=4.0,
            prompt_sha256="0" * 64,
            time=0.0,
        )


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on a home with two bake-offs of `judge`: job 1 has answers, job 2 has none yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home, connection = fresh(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    project = tmp_path / "project"
    new_project(project)
    (project / "configs/tasks/judge.yaml").write_text(json.dumps(TASK))
    golden = tmp_path / "golden.json"
    write_json(golden, [item.model_dump() for item in GOLDEN])
    for _ in range(2):
        store(home, add_job(connection, kind="bakeoff"), project, golden)
    run_dir = home.run_dir(1)
    run_dir.answers.write_text("".join(json.dumps(answer.to_json()) + "\n" for answer in stored_answers()))
    with transaction(connection):
        import_answers(connection, 1, run_dir)
        scores = score_answers(Task.model_validate(TASK), GOLDEN, stored_answers())
        insert_scores(connection, 1, (score.to_json() for score in scores))
    connection.close()

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leave:
            main(["results", *words])
        out, err = capsys.readouterr()
        return int(leave.value.code or 0), out, err

    return command


def store(home: Home, job_id: int, project: Path, golden: Path) -> None:
    model = {"name": "m", "hub": "a/b"}
    document = {
        "id": job_id,
        "title": "a bake-off",
        "project_id": Project.find(project).id,
        "project_root": str(project),
        "home": str(home.root),
        "artefacts": str(home.root / "artefacts"),
        "python": "python",
        "author": "tester",
        "submitted_at": 0.0,
        "lane": "gpu",
        "host_memory_bytes": 0,
        "spec": {
            "kind": "bakeoff",
            "task": TASK,
            "golden": {"path": str(golden), "sha256": "0" * 64, "source": str(golden)},
            "candidates": [
                {"name": "base", "form": "base", "model": model},
                {"name": "tuned", "form": "adapter", "model": model, "path": "/x"},
            ],
            "repeats": 1,
        },
    }
    home.run_dir(job_id).path.mkdir(parents=True)
    JobFile.model_validate(document).save(home.run_dir(job_id))


def test_an_answer_is_shown_with_what_was_asked_expected_and_missed(run: Run) -> None:
    code, out, _ = run("1", "--answers", "--candidate", "tuned")
    assert code == 0
    assert out == (
        "── tuned · sofa · 0\n"
        "   asked    A grey sofa, 110  (and 1 more line)\n"
        "   expected price: 110\n"
        "   checks   1 of 2 passed\n"
        "   ✗        price equals expect (content): 11 where 110 is expected\n"
        "   │ PRICE: 11\n"
        "\n"
        "── tuned · tent · 0\n"
        "   asked    A tent for 65\n"
        "   expected price: 65\n"
        "   checks   all 2 passed\n"
        "   │ PRICE: 65\n"
        "\n"
    )


def test_an_answer_that_failed_for_one_reason_says_it_once(run: Run) -> None:
    _, out, _ = run("1", "--answers", "--candidate", "base", "--input", "tent")
    assert "── base · tent · 0, empty\n" in out
    assert "   checks   all 2 failed: empty answer\n" in out


def test_the_answers_as_json_have_their_scores(run: Run) -> None:
    _, out, _ = run("1", "--answers", "--json")
    answers = json.loads(out)["answers"]
    (sofa,) = [one for one in answers if (one["candidate"], one["input_id"]) == ("tuned", "sofa")]
    assert [(one["check_id"], one["value"]) for one in sofa["scores"]] == [("line", 1), ("price equals expect", 0)]


def test_a_tasks_name_shows_its_newest_bake_off_with_answers(run: Run) -> None:
    assert run("judge") == run("1")
    code, _, err = run("judges")
    assert code == 4
    assert "there are bake-offs of: judge" in err


def test_a_rescore_says_that_it_is_not_kept_and_leaves_the_bake_off_as_it_was(run: Run) -> None:
    before = run("1")
    _, out, _ = run("1", "--rescore")
    assert "shown, not kept as the bake-off's own" in out
    assert "`bakehouse results 1` shows those it was made with" in out
    assert run("1") == before
    assert json.loads(run("1", "--rescore", "--json")[1])["job"] == 1
    assert run("1", "--rescore", "--answers")[0] == 2


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("done", job_reason("done", message="loss 2 → 1"), "loss 2 → 1"),
        ("cancelled", job_reason("cancelled_before_start"), "Cancelled before it started"),
        ("failed", job_reason("exit_code", exit_code=1), "failed: Exit code 1"),
        ("lost", job_reason("end_unseen", step=40), "Lost: exit status unknown; retry resumes from step 40"),
    ],
)
def test_how_a_job_ended_is_said_once(tmp_path: Path, state: State, reason: Reason, words: str) -> None:
    _, connection = fresh(tmp_path)
    job = replace(get_job(connection, add_job(connection)), state=state, reason=reason)
    connection.close()
    assert ending_in_words(job) == words


def test_a_path_is_not_said_again_by_its_last_part() -> None:
    assert str(InputError("no such model folder", file="/nope", key="nope")) == "/nope: no such model folder"
    assert str(InputError("is wrong", file="/a.yaml", line=3, key="a")) == "/a.yaml:3: a: is wrong"
