"""Two runs of a queue can be told apart at any width: what differs comes first, and what all have in common gives way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.home import Home
from core.reasons import Reason
from core.runner.settings import fill_settings
from core.store.database import transaction
from core.store.jobs import JobRow, get_job
from core.store.rescorings import insert_rescoring
from core.store.results import run_scores
from core.text import cell_width
from core.wording.runs import Difference, differences, label, label_width, run_label
from tests.support.stored import add_job, fresh, path_to, step
from tests.support.stored_bakeoff import home_with_bakeoffs
from tests.tui.scene import NOW, job
from tui.model.snapshot import Snapshot
from tui.panes.queue import QueuePane, columns

TRAIN: dict[str, Any] = {
    "base": "Qwen3-4B",
    "recipe": "lora-16",
    "rank": 16,
    "epochs": 3.0,
    "lr": 1e-4,
    "rslora": False,
    "data": "/p/data/judge.train.jsonl",
    "data_sha256": "aaaa1111",
    "targets": ["q_proj", "v_proj"],
}


def train(job_id: int, kind: str = "train", task: str = "judge", **settings: Any) -> JobRow:
    base = settings.get("base", "Qwen3-4B")
    return job(
        job_id, "done", f"{kind} {task} · {base}", settings={**TRAIN, **settings}, result={"message": "loss 0.31"}
    )


def bakeoff(job_id: int, *candidates: str, **settings: Any) -> JobRow:
    told = {"candidates": list(candidates), "repeats": 3, **settings}
    return job(job_id, "done", f"bake-off judge, {len(candidates)} models", settings=told)


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([train(1), train(2, rank=64)], [("rank 16",), ("rank 64",)]),
        ([train(1, epochs=1.0), train(2, epochs=0.5)], [("1 epoch",), ("0.5 epochs",)]),
        ([train(1, lr=5e-5), train(2)], [("lr 5e-5",), ("lr 1e-4",)]),
        ([train(1), train(2, data="/p/data/judge2.jsonl", data_sha256="bb")], [("judge.train",), ("judge2",)]),
        ([train(1), train(2, data_sha256="bbbb2222")], [("data aaaa",), ("data bbbb",)]),
        ([train(1), train(2, rslora=True)], [("no rslora",), ("rslora",)]),
        ([train(1), train(2, targets=["q_proj"])], [("targets v_proj",), ("fewer targets",)]),
        ([train(1), train(2, base="Qwen3-8B")], [(), ()]),
        (
            [train(1), train(2, rank=8), train(3, rank=8, epochs=1.0)],
            [("rank 16", "3 epochs"), ("rank 8", "3 epochs"), ("rank 8", "1 epoch")],
        ),
        ([bakeoff(1, "base", "job:3"), bakeoff(2, "base", "job:5 merged")], [("job 3",), ("job 5 merged",)]),
        ([bakeoff(1, "a", repeats=1), bakeoff(2, "a")], [("1 repeat",), ("3 repeats",)]),
    ],
)  # fmt: skip
def test_what_differs_is_named_the_telling_settings_first(jobs: list[JobRow], words: list[tuple[str, ...]]) -> None:
    found = differences(jobs)
    assert [found[one.id].telling for one in jobs] == words


def test_a_run_that_is_alone_or_of_another_task_is_compared_with_none() -> None:
    assert differences([train(1), train(2, task="spacer"), train(3, kind="merge")]) == {}
    assert differences([train(1), replace(train(2), settings={}), replace(train(3, rank=9), project_id="other")]) == {}


def test_runs_with_the_same_settings_say_so() -> None:
    found = differences([train(4), train(7), train(9, rank=8)])
    assert (found[4].same_as, found[7].same_as, found[9].same_as) == (None, 4, None)
    assert run_label(train(7), found[7], 60)[1].endswith("as 4")


def test_what_all_have_in_common_gives_way_to_what_differs() -> None:
    one = train(1)
    difference = Difference(telling=("rank 16", "lr 0.0001"), further=("lora-16",))
    assert run_label(one, difference, 60) == ("train judge · Qwen3-4B", "rank 16, lr 0.0001, lora-16")
    assert run_label(one, difference, 42) == ("train judge · Qwen3-4B", "rank 16, lr 0.0001")
    assert run_label(one, difference, 32) == ("train judge", "rank 16, lr 0.0001")
    assert run_label(one, difference, 26) == ("train", "rank 16, lr 0.0001")
    of_base = replace(difference, base="Qwen3-4B")
    assert run_label(one, of_base, 41) == ("train judge", "Qwen3-4B, rank 16, lr 0.0001")
    own = replace(of_base, shortest=("rank 16",))
    assert run_label(one, own, 20) == ("train judge", "rank 16")
    assert run_label(one, None, 10) == ("train jud…", "")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", 2.5e-4, "lr 2.5e-4"),
        ("lr", 0.002, "lr 2e-3"),
        ("lr", 0.01, "lr 0.01"),
        ("lr", 1e-5, "lr 1e-5"),
        ("dropout", 0.0, "dropout 0"),
        ("eval_fraction", 0.2, "20 % held out"),
        ("eval_fraction", 0.0, "nothing held out"),
        ("bits", None, "not quantised"),
        ("bits", 4, "4 bit"),
        ("warmup_steps", 1, "1 warm-up step"),
        ("warmup_steps", 4, "4 warm-up steps"),
    ],
)
def test_numbers_are_written_as_people_write_them(name: str, value: float | None, words: str) -> None:
    assert label(name, value) == words


SETTINGS = st.fixed_dictionaries(
    {
        "base": st.sampled_from(["Qwen3-4B", "Qwen3-8B"]),
        "rank": st.sampled_from([8, 16, 64]),
        "epochs": st.sampled_from([1.0, 3.0]),
        "lr": st.sampled_from([5e-5, 1e-4]),
        "seed": st.integers(0, 2),
    }
)


@given(st.lists(SETTINGS, min_size=2, max_size=6, unique_by=lambda each: json.dumps(each, sort_keys=True)))
def test_rows_of_different_runs_never_read_the_same(told: list[dict[str, Any]]) -> None:
    """From the 28 columns that a title has at 60 on, unless not even what is its own fits."""
    jobs = [train(number + 1, **settings) for number, settings in enumerate(told)]
    found = differences(jobs)
    for width in (28, 60, 90, 140):
        rows = [run_label(one, found[one.id], width) for one in jobs]
        whole = [row for row in rows if not row[1].endswith("…")]
        assert len(set(whole)) == len(whole) and (width == 28 or whole == rows), rows
        assert all(cell_width(title) + 2 + cell_width(words) <= width for title, words in rows)


@pytest.mark.parametrize("width", [56, 76, 116, 196])
def test_the_rows_of_the_queue_tell_runs_apart_at_any_width(width: int) -> None:
    jobs = (train(1), train(2, rank=64), train(3, lr=2e-4), train(4, rank=64, epochs=1.0), train(5, base="Qwen3-8B"))
    pane = QueuePane()
    pane.snapshot = Snapshot(
        time=NOW, host="h", ready=True, jobs=jobs, differences=differences(jobs), run_scores={1: 0.966, 4: 1.0}
    )
    rows = [line.plain for line in pane.rows(width, 12)][1:6]
    longest = max(label_width(one, pane.snapshot.differences[one.id]) for one in jobs)
    start, middle = columns(width, 2, longest)
    told = [row[start:middle] for row in rows]
    assert len(set(told)) == 5, told
    assert "4.83/5" in rows[0] and "5.00/5" in rows[3] and "/5" not in rows[1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[Home, sqlite3.Connection]]:
    home, connection = fresh(tmp_path)
    yield home, connection
    connection.close()


def finish(connection: sqlite3.Connection, candidates: list[dict[str, Any]] | None) -> int:
    job_id = add_job(connection, kind="bakeoff")
    for state in path_to(connection, "done"):
        step(connection, job_id, state)
    result = None if candidates is None else json.dumps({"message": "m", "summary": {"candidates": candidates}})
    with transaction(connection):
        connection.execute("UPDATE jobs SET result = ?, ended_at = ? WHERE id = ?", [result, float(job_id), job_id])
    return job_id


def test_a_run_has_the_score_of_its_newest_bake_off_under_its_newest_scores(
    store: tuple[Home, sqlite3.Connection],
) -> None:
    _, connection = store
    finish(connection, [{"name": "a", "ref": "job:1/adapter", "score": 0.5}, {"name": "b", "ref": None, "score": 0.4}])
    newest = finish(connection, [{"name": "a", "ref": "job:1/adapter", "score": 0.7}, {"name": "c", "ref": "job:9"}])
    finish(connection, None)
    finish(connection, [{"name": "old", "format_score": 0.3}])
    assert run_scores(connection) == {1: 0.7}
    rescored = {"candidates": [{"name": "a", "ref": "job:1/adapter", "score": 0.2}]}
    with transaction(connection):
        insert_rescoring(connection, newest, author="a", message="m", checks={}, changes=(), summary=rescored)
    assert run_scores(connection) == {1: 0.2}


def test_jobs_of_an_older_version_get_their_settings_from_their_files(tmp_path: Path) -> None:
    home, _ = home_with_bakeoffs(tmp_path)
    from core.store.database import open_database

    connection = open_database(home)
    gone = add_job(connection)
    assert dict(get_job(connection, 1).settings) == {}
    fill_settings(home, connection)
    assert get_job(connection, 1).settings["candidates"] == ["base", "tuned"]
    assert dict(get_job(connection, gone).settings) == {}
    connection.close()


def test_the_reason_is_not_lost_behind_a_score() -> None:
    failed = job(3, "failed", "train judge · b", reason=Reason("exit_code", {"exit_code": 1}), ended_at=NOW)
    pane = QueuePane()
    pane.snapshot = Snapshot(time=NOW, host="h", ready=True, jobs=(failed,), run_scores={3: 0.5})
    assert "Exit code 1" in pane.rows(76, 5)[1].plain
