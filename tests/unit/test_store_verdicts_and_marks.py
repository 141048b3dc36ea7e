"""Failure modes, verdicts of judge models and marks of persons as they are stored, and a database of before there were any."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from core.home import Home
from core.store import database
from core.store.answer_scores import AnswerScores
from core.store.database import open_database, schema_version, transaction
from core.store.marks import Mark, insert_mark, list_marks
from core.store.results import import_answers
from core.store.scores import answer_scores, insert_answer_scores
from core.store.verdicts import JudgeVerdict, insert_verdicts, list_verdicts
from tests.support.stored import add_job, database_before, fresh
from tests.support.stored_bakeoff import stored_answers

VERDICT = JudgeVerdict(
    key="k1",
    job_id=None,
    bakeoff_job_id=None,
    task="judge",
    check_hash="c",
    answer_key="a",
    answer_sha256="s",
    candidate="tuned",
    judge="qwen3:8b",
    judge_identity="i",
    ask_order="AB",
    ask=1,
    text="4 of 5",
    value=0.75,
    time=1.0,
)
MARK = Mark("p", "judge", "i1", "harbour", "a1", 1.0, "", "anna", 1.0)


def test_a_database_of_version_8_keeps_its_scores_and_knows_no_modes_of_them(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = database_before(home, "modes_verdicts_and_marks", 8)
    job = add_job(connection, kind="bakeoff")
    run = home.run_dir(job)
    run.path.mkdir(parents=True)
    (given, *_) = stored_answers()
    run.answers.write_text(json.dumps(given.to_json()) + "\n")
    with transaction(connection):
        import_answers(connection, job, run)
        connection.execute('INSERT INTO check_plans (id, checks) VALUES (1, \'[["one", "format", "h"]]\')')
        connection.execute(
            "INSERT INTO scores (job_id, answer_id, plan_id, points, compared) SELECT job_id, id, 1, '[0.5]', 'x' FROM answers"
        )
    connection.close()

    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION
    (kept,) = answer_scores(again, job)
    assert (kept.points, kept.compared, kept.modes) == ((0.5,), "x", None)
    with transaction(again):
        insert_answer_scores(again, job, [replace(kept, modes=("cut", "preamble"))], 1)
        insert_answer_scores(again, job, [replace(kept, modes=())], 2)
    assert [next(iter(answer_scores(again, job, number))).modes for number in (1, 2)] == [("cut", "preamble"), ()]
    assert list_verdicts(again) == [] and list_marks(again, "p") == []


def test_modes_go_through_a_line_of_scores(tmp_path: Path) -> None:
    scores = AnswerScores("key", (("one", "format", "h"),), (1.0,))
    for modes in (None, (), ("empty",)):
        line = replace(scores, modes=modes).to_json()
        assert AnswerScores.from_json(line).modes == modes
        assert ("modes" in line) == (modes is not None)


def test_a_verdict_that_says_something_takes_the_place_of_one_that_does_not(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    asked, bakeoff = add_job(connection), add_job(connection, kind="bakeoff")
    dumb = replace(VERDICT, value=None, text="Well", job_id=asked, bakeoff_job_id=bakeoff)
    with transaction(connection):
        insert_verdicts(connection, [dumb, replace(VERDICT, key="k2", ask_order="BA", check_hash="d")])
    assert list_verdicts(connection, bakeoff_job_id=bakeoff) == [dumb]
    said = replace(dumb, value=0.75, text="4 of 5")
    with transaction(connection):
        insert_verdicts(connection, [said])
        insert_verdicts(connection, [replace(said, value=0.1), dumb])
    assert list_verdicts(connection, task="judge", check_hash="c") == [said]
    with transaction(connection):
        connection.execute("DELETE FROM jobs")
    assert [(one.job_id, one.bakeoff_job_id) for one in list_verdicts(connection)] == [(None, None)] * 2


@pytest.mark.parametrize("wrong", [{"value": 1.2}, {"ask": 0}, {"ask_order": "BB"}])
def test_a_verdict_that_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    _, connection = fresh(tmp_path)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"), transaction(connection):
        insert_verdicts(connection, [replace(VERDICT, **wrong)])  # type: ignore[arg-type]


def test_the_last_mark_of_an_author_counts(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    later, other = replace(MARK, value=0.0, time=2.0), replace(MARK, author="bert")
    elsewhere = replace(MARK, task="planner")
    with transaction(connection):
        numbers = [
            insert_mark(connection, one) for one in (MARK, other, later, elsewhere, replace(MARK, project_id="q"))
        ]
    assert numbers == sorted(set(numbers))
    assert list_marks(connection, "p", "judge") == [other, later]
    assert list_marks(connection, "p") == [other, later, elsewhere]
