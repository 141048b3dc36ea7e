"""A board whose judge was not asked: a key asks it, once, and what persons mark is beside its verdicts at once."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.golden import GoldenInput
from core.config.project import load_project
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.spec import InputFile
from core.scoring.answers import append_answer
from core.scoring.scorer import score_answers
from core.scoring.to_judge import to_judge
from core.store.database import transaction
from core.store.jobs import list_jobs
from core.store.marks import Mark, insert_mark
from core.store.results import import_answers
from core.store.verdicts import JudgeVerdict, insert_verdicts
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer
from tests.support.job_files import put_job
from tests.support.projects import write_files
from tests.support.stored import fresh, step_to
from tests.tui.conftest import keys_of, seen
from tui.app import ConsoleApp
from tui.model.snapshot import Board
from tui.screens.results import Results

JUDGE = "served:grader"
TASK = f"""\
system: Answer in one line.
repeats: 1
golden: golden/notes.yaml
format: [{{check: regex, pattern: "^answer: "}}]
content: [{{check: judge, id: graded, model: "{JUDGE}", rubric: Is it true to the note?}}]
"""
ONE, OTHER = "plain", "tuned"
INPUTS = [GoldenInput(id=f"g{number}", input=f"Note {number}.") for number in range(3)]


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Home, Path, sqlite3.Connection, int]]:
    """A home with a bake-off of which the judge has said one thing, its project and its number."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader._start_runner", lambda self: None)
    monkeypatch.setattr("tui.model.background_reader.LEAST_SECONDS_BETWEEN", 0.02)
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.process.logind.ask_loginctl", lambda *arguments: None)  # it asks a program
    home, connection = fresh(tmp_path)
    root = tmp_path / "project"
    golden = "".join(f"- {{id: {one.id}, input: {one.input}}}\n" for one in INPUTS)
    write_files(root, {"bakehouse.yaml": "id: vault\n", "configs/tasks/notes.yaml": TASK, "golden/notes.yaml": golden})
    project = load_project(root)
    task, file, server = (
        project.task("notes"),
        tmp_path / "golden.json",
        ServerUnderTest(name="s", api="openai", url="x"),
    )
    write_json(file, [one.model_dump(mode="json") for one in INPUTS])
    asked = TaskUnderTest(task=task, golden=InputFile(path=str(file), sha256="0" * 64, source="notes"), repeats=1)
    candidates = [CandidateSpec(name=name, form="served", server=server, served_model=name) for name in (ONE, OTHER)]
    job, run = put_job(
        home, connection, project, BakeoffSpec(tasks=[asked], candidates=candidates, incumbent=ONE), on_restart="hold"
    )
    answers = [answer(name, "notes", one.id, 1, f"answer: {name} {one.id}") for name in (ONE, OTHER) for one in INPUTS]
    for given in answers:
        append_answer(run.answers, given)
    first = next(to_judge(task, INPUTS, answers))
    said = JudgeVerdict(
        *("key", job, job, "notes", first.check_hash, first.answer.key, first.answer_sha256, first.answer.candidate),
        *(JUDGE, "identity", "", 1, "VERDICT: 5", 1.0, 1.0),
    )
    with transaction(connection):
        import_answers(connection, job, run)
        insert_check_scores(connection, job, (one.to_json() for one in score_answers(task, INPUTS, answers)))
        insert_verdicts(connection, [said])
    step_to(connection, job, "done")
    with contextlib.closing(connection):
        yield home, root, connection, job


async def test_a_key_asks_the_judge_once_and_marks_are_beside_its_verdicts(
    judged: tuple[Home, Path, sqlite3.Connection, int],
) -> None:
    home, root, connection, job = judged

    def board() -> Board:
        (found,) = app.context.snapshot.boards or ()
        return found

    app = ConsoleApp(home, lambda: load_project(root))
    app.feed.start()
    try:
        async with app.run_test(size=(200, 44)) as pilot:
            await seen(pilot, lambda: app.context.snapshot.boards, "the board")
            await pilot.press("4", "enter")
            await seen(pilot, lambda: isinstance(app.screen, Results) and "J judge" in keys_of(pilot), "the key")
            await pilot.press("J")
            await seen(pilot, lambda: len(list_jobs(connection)) == 2, "the judging")
            (queued,) = [one for one in list_jobs(connection) if one.kind == "judging"]
            assert queued.settings["bakeoff"] == job

            assert any("no judged answer is marked" in note for note in board().notes)
            (verdict,) = connection.execute("SELECT answer_sha256 FROM verdicts").fetchall()
            with transaction(connection):
                insert_mark(connection, Mark("vault", "notes", "i", "g0", verdict[0], 1.0, "", "anna", 2.0))
            await seen(
                pilot, lambda: any("with marks by hand: 100 % of 1" in note for note in board().notes), "the agreement"
            )
    finally:
        app.feed.stop()
        app.reader.stop()
