"""Answers of several tasks in the store: their key, what replaces what, and databases of before there was a task in it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.files import append_line
from core.home import Home, RunDir
from core.scoring.answers import read_answers
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.store import database
from core.store.answer_scores import AnswerScores
from core.store.database import open_database, schema_version, transaction
from core.store.results import (
    bakeoff_answers,
    bakeoff_measured,
    import_answers,
    import_measured,
    import_result,
    list_bakeoffs,
    run_scores,
)
from core.store.scores import answer_scores, bakeoff_scores, import_scores
from tests.support.check_scores import insert_check_scores
from tests.support.leaderboards import answer as whole_answer
from tests.support.stored import add_job, database_before, fresh, path_to, step


def line(key: str, task: str = "judge", candidate: str = "base", **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "candidate": candidate,
        "task": task,
        "input_id": "one",
        "repeat": 1,
        "text": f"text of {key}",
        "fault": None,
        "time": 12.5,
        **more,
    }


def single(key: str, value: float, check: str = "heading", **more: Any) -> dict[str, Any]:
    return {
        "answer_key": key,
        "check_id": check,
        "check_hash": f"hash of {check}",
        "part": "format",
        "value": value,
        "detail": "" if value == 1 else f"no {check}",
        "faulty": False,
        **more,
    }


def bakeoff(folder: Path, lines: list[dict[str, Any]]) -> tuple[sqlite3.Connection, int, RunDir]:
    home, connection = fresh(folder)
    job = add_job(connection, kind="bakeoff")
    run = home.run_dir(job)
    run.path.mkdir(parents=True)
    for one in lines:
        append_line(run.answers, one, durable=False)
    with transaction(connection):
        import_answers(connection, job, run)
    return connection, job, run


def texts(connection: sqlite3.Connection, job: int) -> list[tuple[str, str]]:
    return [(one["task"], one["text"]) for one in bakeoff_answers(connection, job)]


def test_one_input_id_in_two_tasks_is_two_answers(tmp_path: Path) -> None:
    connection, job, _ = bakeoff(tmp_path, [line("a"), line("b", task="plan")])
    assert texts(connection, job) == [("judge", "text of a"), ("plan", "text of b")]


def test_a_good_answer_takes_the_place_of_a_servers_fault_and_nothing_else_of_the_same_key(tmp_path: Path) -> None:
    hole, good, double = line("a", text="", fault="server"), line("a", text="good"), line("a", text="double")
    connection, job, run = bakeoff(tmp_path, [hole])
    assert texts(connection, job) == [("judge", "")]
    for one in (good, double, hole):
        append_line(run.answers, one)
    for offset in (0, run.answers.stat().st_size, 0):
        with transaction(connection):
            import_answers(connection, job, run, offset)
    assert texts(connection, job) == [("judge", "good")]


def test_an_answer_of_a_model_that_changed_makes_way_with_its_scores(tmp_path: Path) -> None:
    connection, job, run = bakeoff(tmp_path, [line("former")])
    insert_check_scores(connection, job, [single("former", 0.5)])
    assert [one["value"] for one in bakeoff_scores(connection, job)] == [0.5]
    append_line(run.answers, line("now"))
    for _ in range(2):
        with transaction(connection):
            import_answers(connection, job, run)
        assert texts(connection, job) == [("judge", "text of now")]
        assert bakeoff_scores(connection, job) == [], "what was said of the former answer is not said of this one"


LINES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, "server", "empty"])).map(
        lambda drawn: whole_answer(
            "base", 1, 1, "" if drawn[1] else f"text of {drawn[0]}", key=drawn[0], fault=drawn[1]
        )
    ),
    min_size=1,
    max_size=8,
).map(lambda answers: sorted(answers, key=lambda one: one.key))  # a former model is not asked again


@given(answers=LINES, cut=st.integers(0, 8))
def test_however_often_and_in_however_many_pieces_a_file_is_imported_the_rows_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Any], cut: int
) -> None:
    """And they are what the job itself takes for its answers: the first good one of the last key with one, else a hole."""
    lines = [one.to_json() for one in answers]
    connection, job, run = bakeoff(tmp_path_factory.mktemp("import"), lines[:cut])
    for one in lines[cut:]:
        append_line(run.answers, one, durable=False)
    for _ in range(2):
        with transaction(connection):
            import_answers(connection, job, run)
    stored = bakeoff_answers(connection, job)
    known = read_answers(run.answers)
    expected = [one for one in known if one.fault != "server"] or known
    assert stored == [expected[-1].to_json()]
    connection.close()


def test_two_candidates_with_answers_of_one_key_have_scores_of_their_own(tmp_path: Path) -> None:
    """A server can answer the same question in two ways: the texts differ, and so must what is said of them."""
    connection, job, _ = bakeoff(tmp_path, [line("a"), line("a", candidate="twin", text="another")])
    twin = [single("a", 0.0, candidate="twin"), single("a", 0.5, "table", candidate="twin")]
    insert_check_scores(connection, job, [single("a", 1.0, candidate="base"), *twin])
    said = {(one["candidate"], one["check_id"]): one["value"] for one in bakeoff_scores(connection, job)}
    assert said == {("base", "heading"): 1.0, ("twin", "heading"): 0.0, ("twin", "table"): 0.5}


def test_scores_of_a_line_an_answer_and_of_a_line_a_check_are_taken_over_alike(tmp_path: Path) -> None:
    connection, job, run = bakeoff(tmp_path, [line("a"), line("b", task="plan")])
    kept = AnswerScores(
        "b", (("x", "format", "h1"), ("y", "content", "h2")), (1.0, 0.25), {1: "no y"}, (1,), None, "c0ffee", "base"
    )
    assert AnswerScores.from_json(json.loads(json.dumps(kept.to_json()))) == kept
    for one in (single("a", 0.5), single("a", 1.0, "table"), kept.to_json()):
        append_line(run.scores, one)
    for _ in range(2):
        with transaction(connection):
            import_scores(connection, job, run)
    found = {one.answer_key: one for one in answer_scores(connection, job)}
    assert found["b"] == kept
    assert (found["a"].points, found["a"].details, found["a"].compared) == ((0.5, 1.0), {0: "no heading"}, None)


def test_a_score_beyond_the_scale_is_refused() -> None:
    for points in ((1.5,), (-0.1,), (float("nan"),), (0.5, 0.5)):
        with pytest.raises(ValueError, match="from 0 to 1"):
            AnswerScores("a", (("x", "format", "h"),), points)


def test_the_tasks_of_a_bake_off_are_told_by_its_settings_its_column_or_its_answers(tmp_path: Path) -> None:
    connection, job, _ = bakeoff(tmp_path, [line("a", task="plan"), line("b", task="judge")])
    assert [row.tasks for row in list_bakeoffs(connection)] == [("judge",)]
    connection.execute("UPDATE jobs SET task = NULL")
    (row,) = list_bakeoffs(connection)
    assert (row.tasks, row.task, row.answers) == (("judge", "plan"), "2 tasks", 2)
    connection.execute("UPDATE jobs SET settings = ?", [json.dumps({"tasks": ["plan", "judge", "chat"]})])
    assert list_bakeoffs(connection)[0].tasks == ("plan", "judge", "chat")
    assert list_bakeoffs(connection)[0].job_id == job


def test_a_run_finds_its_score_in_a_result_of_several_tasks(tmp_path: Path) -> None:
    connection, job, run = bakeoff(tmp_path, [])
    of_task = {"task": "judge", "candidates": [{"name": "a", "ref": "job:7/adapter", "score": 0.25}]}
    run.result.write_text(json.dumps({"message": "m", "summary": {"tasks": [of_task, {**of_task, "task": "plan"}]}}))
    with transaction(connection):
        import_result(connection, job, run)
    for state in path_to(connection, "done"):
        step(connection, job, state)
    assert run_scores(connection) == {7: 0.25}


def test_what_was_measured_of_a_candidate_is_known_without_its_run_directory(tmp_path: Path) -> None:
    connection, job, run = bakeoff(tmp_path, [])
    identity = ServedIdentity("ollama", "m", version="0.12", weights="sha256:aa", parameters={"stop": ["x"]})
    able = Capabilities(thinking=True, formats=frozenset({"json"}))
    loads = [MeasuredCandidate("base", n, 5.0, identity, LoadedModel(1.5, vram_bytes=7), able) for n in (1, 2)]
    append_measured(run.candidates, loads[0])
    for number in (1, 2):
        with transaction(connection):
            import_measured(connection, job, run)
        assert [MeasuredCandidate.from_json(one) for one in bakeoff_measured(connection, job)] == loads[:number]
        append_measured(run.candidates, loads[1])


def test_a_database_of_one_task_a_bake_off_keeps_its_answers_and_scores(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = database_before(home, "answers_of_several_tasks", 5)
    for task in ("'judge'", "NULL"):
        connection.execute(
            f"""
            INSERT INTO jobs (kind, title, project_id, task, lane, reason_code, position, submitted_at, changed_at, changed_by)
            VALUES ('bakeoff', 'b', 'p', {task}, 'gpu', 'submitted', 1, 5, 5, 'anna')
            """
        )
    without_task = {key: value for key, value in line("c").items() if key != "task"}
    rows = [
        (1, line("a")),
        (1, line("b", repeat=2)),
        (1, line("b", candidate="twin")),
        (1, without_task),
        (2, line("d", "plan")),
    ]
    for job, one in rows:
        connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, 12.5)",
            [job, one["candidate"], one["key"], one["repeat"], one["key"], json.dumps(one)],
        )
    scored = [
        (0, "a", "x", 1.0, "", 0),
        (0, "a", "y", 0.25, "no y", 1),
        (1, "a", "x", 0.0, "no x", 0),
        (0, "b", "x", 0.5, "half", 0),
    ]
    for rescoring, key, check, value, detail, faulty in scored:
        connection.execute(
            "INSERT INTO scores VALUES (1, ?, ?, ?, ?, 'format', ?, ?, ?)",
            [rescoring, key, f"hash of {check}", check, value, detail, faulty],
        )
    connection.close()

    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION
    placed = [
        tuple(row)
        for row in again.execute("SELECT job_id, task, candidate, key FROM answers ORDER BY job_id, key, candidate")
    ]
    assert placed == [
        (1, "judge", "base", "a"),
        (1, "judge", "base", "b"),
        (1, "judge", "twin", "b"),
        (1, "judge", "base", "c"),
        (2, "plan", "base", "d"),
    ]
    assert sorted((one["key"], one["candidate"]) for one in bakeoff_answers(again, 1)) == sorted(
        (one["key"], one["candidate"]) for job, one in rows if job == 1
    )
    said = [
        (one["answer_key"], one["candidate"], one["check_id"], one["value"], one["detail"], one["faulty"])
        for one in bakeoff_scores(again, 1)
    ]
    assert sorted(said) == [
        ("a", "base", "x", 1.0, "", False),
        ("a", "base", "y", 0.25, "no y", True),
        ("b", "base", "x", 0.5, "half", False),
        ("b", "twin", "x", 0.5, "half", False),
    ]
    assert [(one["check_id"], one["value"]) for one in bakeoff_scores(again, 1, 1)] == [("x", 0.0)]
    with transaction(again):
        again.execute("DELETE FROM jobs WHERE id = 1")
    assert bakeoff_scores(again, 1) == [] and again.execute("SELECT count(*) FROM answers").fetchone()[0] == 1
    assert again.execute("PRAGMA foreign_key_check").fetchall() == []
