"""What jobs made is imported under unique keys, as often as one likes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import NotFoundError
from core.files import append_line, write_json
from core.home import Home
from core.store.database import transaction
from core.store.results import (
    bakeoff_answers,
    import_answers,
    import_result,
    list_artefacts,
    list_bakeoffs,
)
from core.store.scores import bakeoff_scores, import_scores
from tests.support.stored import add_job, fresh

Store = tuple[Home, sqlite3.Connection]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    home, connection = fresh(tmp_path)
    yield home, connection
    connection.close()


def answer(key: str, candidate: str = "base", input_id: str = "one", repeat: int = 0) -> dict[str, Any]:
    return {
        "key": key,
        "candidate": candidate,
        "task": "judge",
        "input_id": input_id,
        "repeat": repeat,
        "text": f"text of {key}",
        "time": 12.5,
    }


def score(key: str, value: float, check_hash: str = "h1") -> dict[str, Any]:
    return {
        "answer_key": key,
        "check_id": "heading",
        "check_hash": check_hash,
        "part": "format",
        "value": value,
        "detail": "",
        "faulty": False,
    }


def bakeoff(store: Store, answers: list[dict[str, Any]], scores: list[dict[str, Any]]) -> int:
    home, connection = store
    job = add_job(connection, kind="bakeoff")
    run = home.run_dir(job)
    run.path.mkdir(exist_ok=True)
    for each in answers:
        append_line(run.answers, each)
    for each in scores:
        append_line(run.scores, each)
    take(store, job)
    return job


def take(store: Store, job: int, offset: int = 0) -> int:
    home, connection = store
    with transaction(connection):
        offset = import_answers(connection, job, home.run_dir(job), offset)
        import_scores(connection, job, home.run_dir(job))
        return offset


def rows(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_importing_twice_counts_nothing_twice(store: Store) -> None:
    _, connection = store
    job = bakeoff(store, [answer("a"), answer("b", repeat=1)], [score("a", 1.0), score("b", 0.5)])
    take(store, job)
    assert [rows(connection, table) for table in ("answers", "scores")] == [2, 2]
    assert [row.answers for row in list_bakeoffs(connection)] == [2]


def test_what_is_written_later_is_taken_over_by_the_next_import_and_a_torn_line_by_the_one_after(store: Store) -> None:
    home, connection = store
    job = bakeoff(store, [answer("a")], [])
    file = home.run_dir(job).answers
    with file.open("a") as torn:
        torn.write('{"key": "b", "candi')
    offset = take(store, job)
    assert rows(connection, "answers") == 1
    append_line(file, answer("b", repeat=1))
    assert take(store, job, offset) == file.stat().st_size
    assert [each["text"] for each in bakeoff_answers(connection, job)] == ["text of a", "text of b"]


def test_a_later_bakeoff_of_the_same_cell_changes_nothing_of_an_earlier_one(store: Store) -> None:
    _, connection = store
    first = bakeoff(store, [answer("a", candidate="base")], [score("a", 1.0)])
    again = {**answer("a", candidate="SmolLM2"), "text": "another text"}
    second = bakeoff(store, [again], [score("a", 0.0)])
    assert [(each["candidate"], each["text"]) for each in bakeoff_answers(connection, first)] == [("base", "text of a")]
    assert [each["text"] for each in bakeoff_answers(connection, second)] == ["another text"]
    assert [each["value"] for each in bakeoff_scores(connection, first)] == [1.0]
    assert [each["value"] for each in bakeoff_scores(connection, second)] == [0.0]


def test_a_score_is_replaced_by_a_new_one_of_the_same_check_and_kept_beside_one_of_another(store: Store) -> None:
    _, connection = store
    job = bakeoff(store, [answer("a")], [score("a", 0.2), score("a", 0.8), score("a", 0.5, "h2")])
    assert {each["check_hash"]: each["value"] for each in bakeoff_scores(connection, job)} == {"h1": 0.8, "h2": 0.5}


def test_a_score_without_its_answer_waits_for_it(store: Store) -> None:
    home, connection = store
    job = bakeoff(store, [], [score("a", 1.0)])
    assert rows(connection, "scores") == 0
    append_line(home.run_dir(job).answers, answer("a"))
    take(store, job)
    assert rows(connection, "scores") == 1


def test_a_score_that_no_scale_has_takes_nothing_over(store: Store) -> None:
    _, connection = store
    with pytest.raises(ValueError, match="from 0 to 1"):
        bakeoff(store, [answer("a")], [score("a", 1.5)])
    assert rows(connection, "answers") == 0


def test_artefacts_are_imported_once_with_their_lineage(store: Store) -> None:
    home, connection = store
    job = add_job(connection)
    run = home.run_dir(job)
    run.path.mkdir()
    made = {"sha256": "ab" * 32, "kind": "adapter", "path": "/a/b", "bytes": 12, "lineage": {"model": "smol"}}
    write_json(run.result, {"schema": 1, "message": "trained", "artefacts": [made]})
    for _ in range(2):
        with transaction(connection):
            import_result(connection, job, run)
    (artefact,) = list_artefacts(connection, home, job)
    assert (artefact.kind, artefact.path, artefact.bytes) == ("adapter", Path("/a/b"), 12)
    assert artefact.lineage == {"model": "smol"}
    assert list_artefacts(connection, home) == [artefact]


def test_only_a_bakeoff_has_answers(store: Store) -> None:
    _, connection = store
    job = add_job(connection, kind="train")
    with pytest.raises(NotFoundError, match=f"no bake-off {job}"):
        bakeoff_answers(connection, job)
