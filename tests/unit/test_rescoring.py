"""A rescoring is a dated result of its own: the same wherever it is shown, beside the original scores, which stay."""

from __future__ import annotations

import contextlib
import copy
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.checks.regex import RegexCheck
from core.cli.main import main
from core.config.project import Project
from core.errors import BakehouseError, InputError, NotFoundError
from core.format import of_five
from core.home import Home
from core.results.load import load_bakeoff
from core.results.rescoring import rescore
from core.scoring.scorer import score_answers
from core.store.database import open_database
from core.store.jobs import get_job, list_jobs
from core.store.rescorings import CheckChange, current_number, list_rescorings
from core.wording.scoring import scoring_words
from tests.support.stored_bakeoff import GOLDEN, TASK, home_with_bakeoffs, stored_answers, write_task
from tui import actions
from tui.actions import RequestDone
from tui.context import Context
from tui.model.background_reader import BackgroundReader
from tui.model.snapshot import Snapshot, TaskLine
from tui.panes.bakeoff import board_rows
from tui.panes.fleet import FleetPane
from tui.widgets.job_row import outcome

LINE, PRICE = TASK["format"][0], TASK["content"][0]
NO_PRICE = {**TASK, "content": []}
AS_REGEX = {"check": "regex", "id": "digits", "pattern": "[0-9]"}
CHANGED: dict[str, tuple[dict[str, Any], list[CheckChange]]] = {
    "a check less": (NO_PRICE, [CheckChange("removed", "price equals expect")]),
    "a check more": ({**TASK, "content": [PRICE, AS_REGEX]}, [CheckChange("added", "digits")]),
    "another pattern": ({**TASK, "format": [{**LINE, "count": 2}]}, [CheckChange("changed", "line")]),
    "another weight": (
        {**TASK, "content": [{**PRICE, "weight": 3}, AS_REGEX]},
        [CheckChange("added", "digits"), CheckChange("changed", "price equals expect")],
    ),
    "from content to format": (
        {**TASK, "format": [LINE, PRICE], "content": []},
        [CheckChange("added", "price equals expect"), CheckChange("removed", "price equals expect")],
    ),
    "margin": ({**TASK, "margin": 0.2}, [CheckChange("margin")]),
}
Store = tuple[Home, Path, sqlite3.Connection]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home, project = home_with_bakeoffs(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    with contextlib.closing(open_database(home)) as connection:
        yield home, project, connection


def results(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as leave:
        main(["results", *words, "--json"])
    return int(leave.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", CHANGED)
def test_a_rescoring_names_what_changed_and_keeps_the_original_scores(store: Store, name: str) -> None:
    home, project, connection = store
    before = load_bakeoff(home, connection, 1)
    task, changes = CHANGED[name]
    write_task(project, task)
    scoring, is_new = rescore(home, connection, 1, author="anna")
    assert is_new
    assert (scoring.number, scoring.newest, scoring.author) == (1, 1, "anna")
    assert list(scoring.changes) == changes
    assert load_bakeoff(home, connection, 1, 0).leaderboards() == before.leaderboards()
    assert load_bakeoff(home, connection, 1).scoring == scoring


def test_the_same_checks_make_no_second_result(store: Store) -> None:
    home, project, connection = store
    scoring, is_new = rescore(home, connection, 1, author="anna")
    assert is_new and scoring.changes == (), "the scores of an older version know no failure modes"
    assert rescore(home, connection, 1, author="anna")[1] is False
    assert len(list_rescorings(connection, 1)) == 1
    write_task(project, NO_PRICE)
    assert rescore(home, connection, 1, author="anna")[1] is True
    assert rescore(home, connection, 1, author="otto")[1] is False
    write_task(project, TASK)
    scoring, is_new = rescore(home, connection, 1, author="otto")
    assert is_new, "back to the first checks: a dated result again"
    assert (scoring.number, scoring.changes) == (3, ())


def test_a_check_whose_code_has_changed_is_scored_again_and_the_original_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _, connection = store
    first = load_bakeoff(home, connection, 1)
    before = first.leaderboards()
    assert not first.scoring.outdated and scoring_words(first.scoring) == ""
    monkeypatch.setattr(RegexCheck, "VERSION", RegexCheck.VERSION + 1)
    stored = load_bakeoff(home, connection, 1)
    assert stored.leaderboards() == before, "an update of Bakehouse takes no result away"
    assert stored.scoring.outdated and "earlier version of the checks" in scoring_words(stored.scoring)
    scoring, is_new = rescore(home, connection, 1, author="anna")
    assert is_new and scoring.changes == () and not load_bakeoff(home, connection, 1).scoring.outdated
    assert load_bakeoff(home, connection, 1, 0).leaderboards() == before


def test_only_a_finished_bake_off_is_rescored(store: Store) -> None:
    home, _, connection = store
    with pytest.raises(BakehouseError) as refused:
        rescore(home, connection, 2, author="anna")
    assert refused.value.code == "not_done"
    with pytest.raises(NotFoundError):
        rescore(home, connection, 7, author="anna")


def test_a_console_names_the_files_that_a_rescoring_runs_before_they_run(store: Store) -> None:
    home, project, connection = store
    (project / "checks").mkdir(exist_ok=True)
    (project / "checks/own.py").write_text("def score(text, expect, captures):\n    return True\n")
    write_task(project, {**TASK, "content": [{"check": "python", "file": "checks/own.py"}]})
    said: Queue[RequestDone] = Queue()

    def post(done: RequestDone) -> None:
        said.put(done)
        if not done.failed:
            raise InputError("that is enough", code="stopped")

    context = SimpleNamespace(home=home, post=post, feed=SimpleNamespace(wake=lambda: None))
    actions.rescore(cast(Context, context), 1)
    named, ended = said.get(timeout=60), said.get(timeout=60)
    assert named.text == "judge: scoring runs checks/own.py, with your rights: a check of the kind `python`"
    assert ended.failed and "that is enough" in ended.text
    assert current_number(connection, 1) == 0


def test_a_task_that_is_not_valid_leaves_the_result_as_it_was(store: Store) -> None:
    home, project, connection = store
    write_task(project, {**TASK, "format": [{"check": "regex", "pattern": "("}]})
    with pytest.raises(BakehouseError):
        rescore(home, connection, 1, author="anna")
    assert current_number(connection, 1) == 0


def reader_of(home: Home) -> BackgroundReader:
    """A console's reader as it stands after its first look."""
    reader = BackgroundReader(home, Project.find, lambda: None)
    reader._read_boards()
    return reader


def test_every_place_shows_the_same_result(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The console that asked, another one that was open, one that opens later, the queue's row, Fleet, and the command."""
    home, project, connection = store
    other = reader_of(home)
    write_task(project, {**TASK, "format": [{**LINE, "pattern": "^PRICE: (?P<price>.+)$|no"}]})
    code, document = results(capsys, "1", "--rescore")
    assert (code, document["scoring"]["number"], document["scoring"]["original"]) == (0, 1, False)
    best = document["leaderboard"]["rows"][0]
    figure = of_five(best["format_score"])
    for reader in (other, reader_of(home)):
        reader._read_boards()
        (board,) = reader.found.boards or ()
        assert (board.scored.number, board.best and of_five(board.best.score)) == (1, figure)
        assert board.original is not None and board.original.scored.newest == 1
        rows = "\n".join(line.plain for line in board_rows(board, 80, 10, board.scored.time or 0.0))
        assert "rescored" in rows and figure.removesuffix("/5") in rows
        fleet = FleetPane()
        fleet.snapshot = Snapshot(
            time=board.time, host="h", ready=True, boards=(board,), tasks=(TaskLine("judge", board.project_id),)
        )
        shown = "\n".join(line.plain for line in fleet.rows(70, 10))
        assert figure.removesuffix("/5") in shown and "* rescored" in shown
    row = next(job for job in list_jobs(connection) if job.id == 1)
    assert row.rescored is not None
    assert figure in row.rescored.message and outcome(row).startswith("Rescored")
    assert results(capsys, "1")[1]["leaderboard"] == document["leaderboard"]
    original = results(capsys, "1", "--original")[1]
    assert original["scoring"] == {**original["scoring"], "number": 0, "newest": 1, "original": True}
    assert original["leaderboard"] != document["leaderboard"]
    assert results(capsys, "1", "--scoring", "3")[0] == 4
    assert results(capsys, "1", "--original", "--rescore")[0] == 2


def test_the_answers_come_with_the_checks_of_the_scores_that_are_shown(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    home, project, connection = store
    write_task(project, {**TASK, "content": [AS_REGEX]})
    rescore(home, connection, 1, author="anna")

    def checks(*words: str) -> set[str]:
        answers = results(capsys, "1", "--answers", *words)[1]["answers"]
        return {one["check_id"] for answer in answers for one in answer["scores"]}

    assert checks() == {"line", "digits"}
    assert checks("--original") == checks("--scoring", "0") == {"line", "price equals expect"}


def test_a_job_that_was_not_rescored_has_no_date_of_it(store: Store) -> None:
    _, _, connection = store
    assert get_job(connection, 1).rescored is None
    assert "Rescored" not in outcome(get_job(connection, 1))


CHECKS = st.lists(
    st.sampled_from([LINE, {**LINE, "count": 2}, {**AS_REGEX, "weight": 2}, AS_REGEX]), min_size=1, max_size=2
).filter(lambda checks: len({check["id"] for check in checks}) == len(checks))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(CHECKS, min_size=1, max_size=4))
def test_whatever_is_rescored_the_original_stays_and_the_newest_is_what_its_checks_say(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, steps: list[list[dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("rescored")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    home, project = home_with_bakeoffs(folder)
    with contextlib.closing(open_database(home)) as connection:
        original = load_bakeoff(home, connection, 1).leaderboards()
        former: list[dict[str, Any]] | None = None
        count = 0
        for checks in steps:
            write_task(project, {**copy.deepcopy(TASK), "format": checks, "content": []})
            _, is_new = rescore(home, connection, 1, author="anna")
            assert is_new == (checks != former)
            former, count = checks, count + is_new
            stored = load_bakeoff(home, connection, 1)
            said = {(one.answer_key, one.check_id): one.value for one in stored.task().scores}
            fresh = score_answers(stored.task().task, GOLDEN, list(stored_answers()))
            assert said == {(one.answer_key, one.check_id): one.value for one in fresh}
            assert load_bakeoff(home, connection, 1, 0).leaderboards() == original
        assert [one.number for one in list_rescorings(connection, 1)] == list(range(1, count + 1))
