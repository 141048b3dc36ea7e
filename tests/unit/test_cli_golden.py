"""`bakehouse golden`: production inputs become drafts, answers become golden inputs, without the console."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.project import Project, load_project, shipped
from core.home import Home
from core.jobfile.drafts import DraftsSpec
from core.jobfile.spec import JobFile
from core.marking.answered import text_sha256
from core.marking.draft_inputs import read_drafts
from core.marking.expectations import asked_keys
from core.results.load import golden_inputs
from core.store.database import open_database
from core.store.jobs import list_jobs
from core.store.marks import list_marks
from core.store.results import list_bakeoffs, run_scores
from core.submission.drafts import WantedDrafts, submit_drafts
from tests.support.commands import called
from tests.support.drafted import GOLDEN, LETTERS, ONE, OTHER, SAID, TRAIN, drafted_home, letters_project, under_test
from tests.support.job_files import put_job

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def drafted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Home, Project, int]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home, project, job = drafted_home(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    monkeypatch.chdir(project.root)
    return home, project, job


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command of the group with --json: its code, its document, and what it said beside that."""

    def command(*words: str) -> tuple[int, Any, str]:
        code, out, err = called(capsys, ["golden", *words, "--json"])
        return code, json.loads(out), err

    return command


def golden(project: Project) -> list[GoldenInput]:
    return list(project.golden(project.task("letters")).inputs)


def test_the_whole_way_without_a_console(drafted: tuple[Home, Project, int], run: Run) -> None:
    home, project, job = drafted
    offered = []
    for _ in LETTERS:
        code, shown, _ = run("mark", str(job))
        assert code == 0
        offer = shown["offer"]
        names = {SAID[one][offer["input_id"]]: one for one in (ONE, OTHER)}
        assert offer["left"]["text"] in names and "candidate" not in json.dumps(offer)
        offered.append(offer["input_id"])
        # "left" is right of two that are the same as well.
        answer = "neither" if offer["left"]["missing"] or offer["right"]["missing"] else "left"
        code, done, _ = run("mark", str(job), "--input", offer["input_id"], "--answer", answer)
        assert code == 0 and {done["left"], done["right"]} == {ONE, OTHER}
        assert (done["golden"] is None) == (answer == "neither")
        assert done["golden"] is None or done["golden"]["chosen"] == offer["chosen"]
    assert sorted(offered) == sorted(LETTERS)
    assert run("mark", str(job))[1]["offer"] is None
    assert len(golden(project)) == 2 + 6
    assert {one.chosen for one in golden(project)[2:]} == {"disagreement", "random"}
    listed = run("list", "letters")[1]
    assert [one["id"] for one in listed["inputs"]] == [one.id for one in golden(project)]
    # To the bees both said the same: of one text there is one mark.
    assert {one["id"]: one["marks"] for one in listed["inputs"][2:]} == {
        name: 1 if name == "bees" else 2 for name in LETTERS if name not in ("fee", "lamp")
    }
    assert listed["jobs"][0]["job_id"] == job and listed["jobs"][0]["drafts"]
    needs = run("needs", "letters", "--difference", "0.2")[1]
    assert needs["needs"]["difference"] == 0.2 and needs["needs"]["candidates"] == [ONE, OTHER]
    assert needs["needs"]["have"] + needs["needs"]["disagreement"] == 8
    shutil.rmtree(home.run_dir(job).path)
    code, needs, _ = run("needs", "letters")
    assert code == 0 and needs["needs"]["why"] == "no_pairs" and needs["needs"]["paired"] == 0


def test_expectations_are_written_where_no_answer_shows_them(drafted: tuple[Home, Project, int], run: Run) -> None:
    _, project, job = drafted
    words = ("mark", str(job), "--input", "fee", "--answer", "neither")
    code, refused, _ = run(*words, "--expect", "verdict=ASKS")
    assert code == 2 and refused["error"]["code"] == "open_expectations"
    code, refused, _ = run(*words, "--expect", "verdict=ASKS", "--expect", "colour=red")
    assert code == 2 and refused["error"]["code"] == "bad_expect"
    code, done, _ = run(*words, "--expect", "verdict=ASKS", "--expect", "days=2")
    assert code == 0 and done["golden"]["expect"] == {"verdict": "ASKS", "days": 2}
    assert golden(project)[-1].id == "fee"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("marks.csv", 'input,candidate,value,note\nbees,small,right,\nbees,tuned,0.5,"half, I\'d say"\n'),
        ("marks.csv", "input;candidate;value\nbees;small;1\nbees;tuned;0.5\n"),
        ("marks.yaml", "- {input: bees, candidate: small, value: 1}\n- {input: bees, candidate: tuned, value: 0.5}\n"),
    ],
)
def test_a_file_of_marks_is_stored_whole(
    drafted: tuple[Home, Project, int], run: Run, tmp_path: Path, name: str, text: str
) -> None:
    """The marks by which a judge model is held to a person: answer by answer, and no golden input comes of them."""
    home, project, job = drafted
    file = tmp_path / name
    file.write_text(text)
    code, stored, _ = run("mark", str(job), "--file", str(file))
    assert code == 0 and stored["marks"] == 2 and stored["right"] == 1
    with contextlib.closing(open_database(home)) as connection:
        marks = list_marks(connection, project.id, "letters")
    # Both gave the same answer: of two marks of one person for one text the later counts.
    assert {(one.input_id, one.answer_sha256, one.value) for one in marks} == {
        ("bees", text_sha256(SAID[ONE]["bees"]), 0.5)
    }
    assert (project.root / "golden/letters.yaml").read_text() == GOLDEN


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("bees,nobody,1", "no_answers"),
        ("nothing,small,1", "no_input"),
        ("bees,small,7", "bad_mark"),
        ("bees,small,", "bad_mark"),
        ("bees,small,1,a,b", "bad_mark"),
    ],
)
def test_of_a_file_with_a_wrong_mark_none_is_stored(
    drafted: tuple[Home, Project, int], run: Run, tmp_path: Path, row: str, code: str
) -> None:
    home, project, job = drafted
    file = tmp_path / "marks.csv"
    file.write_text(f"input,candidate,value\npiano,small,1\n{row}\n")
    exit_code, refused, _ = run("mark", str(job), "--file", str(file))
    assert exit_code == 2 and refused["error"]["code"] == code and refused["error"]["line"] == 3
    with contextlib.closing(open_database(home)) as connection:
        assert not list_marks(connection, project.id)


def test_one_input_is_added_from_a_text_an_answer_or_as_an_answer(drafted: tuple[Home, Project, int], run: Run) -> None:
    home, project, job = drafted
    words = ("add", "letters", "--text", "The kiln door sticks.", "--expect", "verdict=ASKS", "--expect", "days=9")
    code, added, _ = run(*words, "--use", "confirm", "--tag", "kiln")
    assert code == 0 and added["golden"]["id"] == "the-kiln-door-sticks" and added["golden"]["use"] == "confirm"
    assert run(*words)[1]["error"]["code"] == "golden_already"
    code, added, _ = run("add", "letters", "--from", str(job), "--input", "piano", "--candidate", OTHER)
    assert code == 0 and golden(project)[-1].expect == {"verdict": "ASKS", "days": 4}
    own = ("add", "letters", "--from", str(job), "--input", "minutes", "--candidate", OTHER, "--as-input")
    code, added, _ = run(*own, "--expect", "verdict=TELLS", "--expect", "days=0", "--id", "own-output")
    assert code == 0 and golden(project)[-1].input == SAID[OTHER]["minutes"]
    with contextlib.closing(open_database(home)) as connection:
        spec = under_test(home, project, golden(project)[:1], "letters.json")
        first = under_test(home, project, [GoldenInput(id="kite", input="A kite")], "judge.json").tasks[0]
        tasks = [first.model_copy(update={"task": project.task("judge")}), *spec.tasks]
        both, _ = put_job(home, connection, project, spec.model_copy(update={"tasks": tasks}))
    refused = run("add", "letters", "--from", str(both), "--input", "roof", "--candidate", ONE)[1]
    assert refused["error"]["code"] == "no_answers", "the task that is named is meant, and not the first of the job"
    leak = run("add", "letters", "--text", TRAIN["prompt"], "--expect", "verdict=ASKS", "--expect", "days=1")
    assert leak[0] == 3 and leak[1]["error"]["code"] == "leak"


@pytest.mark.parametrize(
    "item",
    [
        "- {id: piano, input: PIANO, expect: {verdict: ASKS}}\n",
        "- {id: piano, input: PIANO, expect: {}}\n",
        "- {id: piano, input: PIANO}\n",
        "- id: piano  # the grand one\n  input: PIANO\n  expect:\n    verdict: ASKS   # a person said so\n  tags: [x]\n",
        "- id: piano\n  input: PIANO\n  tags: [x]\n",
    ],
)
def test_a_golden_input_gets_the_expectations_that_it_lacks_where_they_stand(
    drafted: tuple[Home, Project, int], run: Run, item: str
) -> None:
    """Everything else of the file stays, comments and layout with it."""
    _, project, job = drafted
    file = project.root / "golden/letters.yaml"
    content = GOLDEN + item.replace("PIANO", json.dumps(LETTERS["piano"])) + "# the end\n"
    file.write_text(content)
    code, added, _ = run("add", "letters", "--from", str(job), "--input", "piano", "--candidate", OTHER)
    assert code == 0 and added["golden"]["expect"]["days"] == 4 and added["golden"]["expect"]["verdict"] == "ASKS"
    kept = file.read_text()
    assert len(golden(project)) == 3 and golden(project)[2].expect == {"verdict": "ASKS", "days": 4}
    for line in content.splitlines():
        assert line in kept or line.startswith("- {id: piano")
    code, refused, _ = run("add", "letters", "--from", str(job), "--input", "piano", "--candidate", ONE)
    assert code == 2 and refused["error"]["code"] == "golden_already" and file.read_text() == kept


def test_what_comes_with_bakehouse_is_never_written_and_copied_where_a_person_says_so(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _, _ = drafted_home(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    project = letters_project(tmp_path / "mine")
    monkeypatch.chdir(project.root)
    ours = shipped().root / "golden/judge.yaml"
    before = ours.read_bytes()
    words = ["add", "judge", "--text", "note: kite\n\nThe kite flew."]
    for key in asked_keys(project.task("judge")):
        words += ["--expect", f"{key}={'1' if key == 'notes' else '[kite]'}"]
    code, refused, _ = run(*words)
    assert code == 2 and refused["error"]["code"] == "shipped_task" and "--copy-task" in refused["error"]["remedy"]
    code, _, said = run(*words, "--copy-task")
    assert code == 0 and "golden/judge.yaml" in said
    assert ours.read_bytes() == before
    own = project.root / "golden/judge.yaml"
    assert own.read_bytes().startswith(before) and own.read_bytes() != before
    task = project.task("judge")
    assert project.golden(task).inputs[-1].id == "note-kite-the-kite-flew" and project.train_file(task).exists()
    monkeypatch.chdir(tmp_path)
    assert run(*words)[1]["error"]["code"] == "no_project"


def test_drafts_are_what_is_new_of_a_file_or_a_folder(
    drafted: tuple[Home, Project, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project, _ = drafted
    folder = tmp_path / "production"
    folder.mkdir()
    known = golden(project)[0].input or ""
    (folder / "a.jsonl").write_text(
        json.dumps({"prompt": LETTERS["bees"], "id": "hive", "source": "school"})
        + "\n"
        + json.dumps({"messages": [{"role": "user", "content": LETTERS["bees"] + "!"}]})
        + "\n"
        + json.dumps({"prompt": known.upper(), "completion": "x"})
        + "\nno json\n"
        + json.dumps({"prompt": TRAIN["prompt"]})
        + "\n"
    )
    (folder / "b.csv").write_text(f'letter\n"{LETTERS["ferry"]}"\n')
    (folder / "c.txt").write_text(known + " Please!")
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    told: list[str] = []
    server = "openai"
    (project.root / "bakehouse.yaml").write_text(
        f"id: post-room\nservers: {{box: {{url: 'http://127.0.0.1:9', api: {server}}}}}\n"
    )
    project = load_project(project.root)
    wanted = WantedDrafts("letters", folder, ("box:small", "box:tuned"))
    job = submit_drafts(home, project, wanted, author="anna", remarks=told)
    assert (job.kind, job.task) == ("drafts", "letters")
    spec = JobFile.load(home.run_dir(job.id)).spec
    assert isinstance(spec, DraftsSpec) and spec.purpose == "drafts"
    drafts = golden_inputs(spec.asked.tasks[0])
    assert [(one.id, one.source) for one in drafts] == [
        ("hive", "school"),
        ("the-ferry-leaves-at-nine-from-now-on-also-on", None),
    ]
    assert spec.left_out == {"unusable": 1, "near_other": 1, "golden": 1, "leak": 1, "near_golden": 1}
    assert all(not one.expect for one in drafts) and "left out" in told[1]
    with contextlib.closing(open_database(home)) as connection:
        assert list_bakeoffs(connection) == [] and run_scores(connection) == {}
        assert {one.kind for one in list_jobs(connection)} == {"drafts"}
    shutil.rmtree(folder)


def test_of_a_long_file_so_many_as_are_wanted_are_drawn_by_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.marking.draft_inputs.LOOKED_AT", 30)
    task = letters_project(tmp_path).task("letters")
    words = ("kiln", "choir", "harbour", "orchard", "ledger", "saddle", "lantern", "gravel", "thistle", "anvil")
    file = tmp_path / "long.csv"
    file.write_text("letter\n" + "".join(f"{one} {other} {one}s\n" for one in words for other in words))
    drawn = [read_drafts(file, task, [], [], most=5, seed=seed) for seed in (1, 1, 2)]
    assert [len(one.inputs) for one in drawn] == [5, 5, 5] and {one.read for one in drawn} == {100}
    assert all(sum(one.left_out.values()) == 95 for one in drawn)
    assert drawn[0] == drawn[1] and drawn[0].inputs != drawn[2].inputs
