"""A board from the columns of the store is the board of the answers and scores themselves, whoever wrote them and when."""

from __future__ import annotations

import contextlib
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.bakeoff.ranking import build_leaderboard
from core.results.gc_pause import gc_paused
from core.results.load import StoredTask, load_bakeoff
from core.results.rescoring import rescore
from core.results.scoring_pool import score_stored
from core.scoring.scorer import score_answers
from core.statistics.proportions import wilson
from core.store.database import open_database, transaction
from core.store.rescorings import list_rescorings
from core.store.scores import answer_scores, insert_answer_scores
from tests.support.check_scores import insert_check_scores
from tests.support.measured_bakeoff import CANDIDATES, JUDGE, PLAN, TEXTS, MeasuredBakeoff, measured_bakeoff

FORMS = {"m base": "base", "m tuned": "adapter", **dict.fromkeys(CANDIDATES[2:], "served")}
LINE, PRICE, HEAD = JUDGE["format"][0], JUDGE["content"][0], PLAN["format"][0]
DIGITS = {"check": "regex", "id": "digits", "pattern": "[0-9]", "weight": 2}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MeasuredBakeoff]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield measured_bakeoff(tmp_path)


def of_objects(stored: StoredTask, connection: Any = None, job_id: int = 0, number: int = 0) -> Any:
    """The board of the same answers and scores, one object each; what loads took is in neither."""
    found = [] if connection is None else answer_scores(connection, job_id, number, stored.name)
    board = build_leaderboard(
        stored.task,
        stored.inputs,
        stored.answers,
        stored.scores,
        stored.incumbent,
        candidates=stored.forms,
        repeats=stored.repeats,
        modes={(one.answer_key, one.candidate or ""): one.modes for one in found},
    )
    return plain(board)


def plain(board: Any) -> Any:
    document = board.to_json()
    for row in document["rows"]:
        for name in ("cold_load_seconds", "vram_bytes"):
            row.pop(name)
    return document


def test_columns_and_objects_make_one_board(made: MeasuredBakeoff) -> None:
    """Of scores that kept neither fault nor what is compared, as older versions wrote them."""
    with contextlib.closing(open_database(made.home)) as connection:
        assert connection.execute("SELECT count(*) FROM scores WHERE compared IS NOT NULL").fetchone()[0] == 0
        for stored in load_bakeoff(made.home, connection, made.job_id).tasks:
            assert plain(stored.leaderboard()) == of_objects(stored)
            assert stored.leaderboard().complete


def test_what_an_older_scoring_did_not_keep_is_worked_out_once(made: MeasuredBakeoff) -> None:
    """The first board reads the texts and keeps what they say; the next reads none, and is the same."""
    with contextlib.closing(open_database(made.home)) as connection:
        first = load_bakeoff(made.home, connection, made.job_id).leaderboards()
        assert connection.execute("SELECT count(*) FROM scores WHERE compared IS NULL").fetchone()[0] == 0
        kept = connection.execute("SELECT answer_id, fault, thinks_aloud, compared FROM scores ORDER BY 1").fetchall()
        read: list[str] = []
        connection.set_trace_callback(read.append)
        assert load_bakeoff(made.home, connection, made.job_id).leaderboards() == first
        connection.set_trace_callback(None)
        assert read and not any("document" in statement and "answers" in statement for statement in read)
        for stored in load_bakeoff(made.home, connection, made.job_id).tasks:
            with transaction(connection):
                scores = score_stored(connection, made.job_id, stored.task, stored.inputs, 1.0)
                insert_answer_scores(connection, made.job_id, scores)
        again = connection.execute("SELECT answer_id, fault, thinks_aloud, compared FROM scores ORDER BY 1").fetchall()
        assert [tuple(row) for row in kept] == [tuple(row) for row in again]


def test_a_home_that_cannot_be_written_shows_the_same_board(made: MeasuredBakeoff) -> None:
    with contextlib.closing(open_database(made.home)) as connection:
        connection.execute("PRAGMA query_only = on")
        first = load_bakeoff(made.home, connection, made.job_id).leaderboards()
        assert connection.execute("SELECT count(*) FROM scores WHERE compared IS NOT NULL").fetchone()[0] == 0
        connection.execute("PRAGMA query_only = off")
        with transaction(connection):
            inside = load_bakeoff(made.home, connection, made.job_id).leaderboards()
        assert inside == first == load_bakeoff(made.home, connection, made.job_id).leaderboards()


def test_what_a_scoring_keeps_is_what_older_scores_are_completed_by(made: MeasuredBakeoff) -> None:
    with contextlib.closing(open_database(made.home)) as connection:
        before = load_bakeoff(made.home, connection, made.job_id)
        boards = {name: plain(board) for name, board in before.leaderboards().items()}
        for stored in before.tasks:
            found = score_stored(connection, made.job_id, stored.task, stored.inputs, 1.0)
            with transaction(connection):
                insert_answer_scores(connection, made.job_id, found)
        assert connection.execute("SELECT count(*) FROM scores WHERE compared IS NULL").fetchone()[0] == 0
        after = load_bakeoff(made.home, connection, made.job_id)
        assert {name: plain(board) for name, board in after.leaderboards().items()} == boards


def test_holes_faults_and_strangers_are_counted_alike(made: MeasuredBakeoff) -> None:
    with contextlib.closing(open_database(made.home)) as connection:
        with transaction(connection):
            for change, where in (
                ("json_set(document, '$.fault', 'server', '$.text', '')", "candidate = 'm tuned' AND repeat = 1"),
                ("json_set(document, '$.finish', 'length')", "candidate = 'm base' AND input_id = 'sofa'"),
                ("json_set(document, '$.text', '')", "candidate = 'box:qwen3:4b'"),
                ("json_set(document, '$.shared', json('true'), '$.tries', 3)", "candidate = 'm base'"),
            ):
                connection.execute(f"UPDATE answers SET document = {change} WHERE {where}")
            connection.execute("UPDATE answers SET input_id = 'gone' WHERE candidate = 'm base' AND input_id = 'tent'")
            connection.execute("DELETE FROM scores WHERE answer_id IN (SELECT id FROM answers WHERE task = 'plan')")
        stored = load_bakeoff(made.home, connection, made.job_id).task("plan")
        found = [one for one in stored.answers if one.input_id != "gone"]
        scores = score_answers(stored.task, stored.inputs, found)
        for candidate in CANDIDATES[:2]:
            own = [one for one in scores if one.candidate == candidate]
            with transaction(connection):
                insert_check_scores(connection, made.job_id, [one.to_json() for one in own])
        stored = load_bakeoff(made.home, connection, made.job_id).task("plan")
        assert plain(stored.leaderboard()) == of_objects(stored)
        row = stored.leaderboard().row("m base")
        assert (row.at_limit, row.asked_again, row.timed_shared) == (2, row.answers, row.answers)
        assert stored.leaderboard().row("m tuned").server_faults == 2
        assert stored.leaderboard().row("box:qwen3:4b").missing == 4, "answers without a score"


def test_a_board_reads_the_texts_of_the_answers_that_it_shows_and_no_other(made: MeasuredBakeoff) -> None:
    with contextlib.closing(open_database(made.home)) as connection:
        with transaction(connection):
            connection.execute(
                "UPDATE answers SET document = json_set(document, '$.finish', 'length') "
                "WHERE task = 'judge' AND candidate = 'm tuned' AND (input_id = 'tent' OR repeat = 2)"
            )
        before = load_bakeoff(made.home, connection, made.job_id).task("judge").leaderboard()
        assert [row.modes for row in before.rows] == [None] * len(CANDIDATES), "nobody has looked for them yet"
        rescored(made, connection)
        read: list[str] = []
        connection.set_trace_callback(read.append)
        board = load_bakeoff(made.home, connection, made.job_id).task("judge").leaderboard()
        connection.set_trace_callback(None)
    (texts,) = [statement for statement in read if "document" in statement and "answers" in statement]
    assert re.search(r"IN \(\d+\)$", texts), "one answer"
    (cut,) = board.row("m tuned").modes or ()
    assert (cut.code, cut.count, cut.of, cut.inputs) == ("cut", 3, 4, 2)
    assert (cut.input_id, cut.repeat) == ("tent", 1), "both of its answers are cut"
    assert cut.excerpt in TEXTS
    assert cut.interval == wilson(1.5, 2) and cut.p_to_incumbent == 1.0
    assert board.row("m base").modes == ()


def test_thinking_aloud_is_told_by_the_failure_mode_and_of_older_scores_by_how_answers_begin(
    made: MeasuredBakeoff,
) -> None:
    """The same answers: one begins as models begin to think aloud, of the other only its later words tell."""
    texts = {
        1: "Okay, let me look at the sofa first. PRICE: 65",
        2: "PRICE: 60. Wait, that is the old price. Let me fix that: PRICE: 65",
    }
    with contextlib.closing(open_database(made.home)) as connection:
        with transaction(connection):
            connection.executemany(
                "UPDATE answers SET document = json_set(document, '$.text', ?) "
                "WHERE task = 'judge' AND candidate = 'm tuned' AND input_id = 'sofa' AND repeat = ?",
                [(text, repeat) for repeat, text in texts.items()],
            )
        changed = load_bakeoff(made.home, connection, made.job_id).task("judge")
        own = [one for one in changed.answers if (one.candidate, one.input_id) == ("m tuned", "sofa")]
        scores = score_answers(changed.task, changed.inputs, own)
        with transaction(connection):
            insert_check_scores(connection, made.job_id, [one.to_json() for one in scores])
        old = load_bakeoff(made.home, connection, made.job_id).task("judge")
        assert plain(old.leaderboard()) == of_objects(old)
        rescored(made, connection)
        new = load_bakeoff(made.home, connection, made.job_id).task("judge")
        assert plain(new.leaderboard()) == of_objects(new, connection, made.job_id, 1)
    boards = old.leaderboard(), new.leaderboard()
    before, after = (board.row("m tuned") for board in boards)
    assert (before.modes, before.thinking_aloud) == (None, 1)
    (mode,) = [one for one in after.modes or () if one.code == "thinking_aloud"]
    assert mode.count == after.thinking_aloud == 2
    for board, row in zip(boards, (before, after), strict=True):
        noted = f"m tuned: {row.thinking_aloud} of {row.answers} answers may hold thinking"
        assert any(note.startswith(noted) for note in board.notes)


def test_the_collector_runs_again_behind_a_board_and_behind_one_that_fails() -> None:
    with gc_paused(), gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), gc_paused():
        raise KeyError
    assert gc.isenabled()


def rescored(made: MeasuredBakeoff, connection: Any) -> None:
    made.task("judge", content=[])
    assert rescore(made.home, connection, made.job_id, author="anna")[1]


CHECKS = st.lists(st.sampled_from([LINE, {**LINE, "count": 2}, HEAD, DIGITS]), min_size=1, max_size=3).filter(
    lambda checks: len({check["id"] for check in checks}) == len(checks)
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["judge", "plan"]), CHECKS), min_size=1, max_size=3))
def test_over_several_tasks_the_newest_is_what_their_checks_say_and_the_original_stays(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[str, list[dict[str, Any]]]],
) -> None:
    folder = tmp_path_factory.mktemp("tasks")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    made = measured_bakeoff(folder)
    with contextlib.closing(open_database(made.home)) as connection:
        # The scores of an older version know no failure modes: the first rescoring finds them.
        assert rescore(made.home, connection, made.job_id, author="anna")[1]
        original = load_bakeoff(made.home, connection, made.job_id).leaderboards()
        present = {"judge": (JUDGE["format"], JUDGE["content"]), "plan": (PLAN["format"], [])}
        count = 0
        for name, checks in steps:
            is_other = present[name] != (checks, [])
            present[name] = (checks, [])
            made.task(name, format=checks, content=[])
            scoring, is_new = rescore(made.home, connection, made.job_id, author="anna")
            assert is_new == is_other
            count += is_new
            assert {change.task for change in scoring.changes} <= {"judge", "plan"}
            bakeoff = load_bakeoff(made.home, connection, made.job_id)
            for stored in bakeoff.tasks:
                fresh = score_answers(stored.task, stored.inputs, stored.answers)
                assert sorted(map(said, stored.scores)) == sorted(map(said, fresh))
                assert plain(stored.leaderboard()) == of_objects(
                    stored, connection, made.job_id, bakeoff.scoring.number
                )
            assert load_bakeoff(made.home, connection, made.job_id, 1).leaderboards() == original
        assert [one.number for one in list_rescorings(connection, made.job_id)] == list(range(1, count + 2))


def said(score: Any) -> str:
    return json.dumps(score.to_json(), sort_keys=True)
