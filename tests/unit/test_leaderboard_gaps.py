"""A leaderboard over answers that are missing, spoiled, retried or scored by checks of another time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.bakeoff.ranking import build_leaderboard
from core.scoring.scorer import score_answers
from tests.support.leaderboards import ALL, FORMAT, answers, board, inputs, task, words


def test_what_the_server_spoiled_is_missing_and_what_the_model_spoiled_scores_nothing() -> None:
    stored = answers("base", 8, ALL)
    stored[0] = replace(stored[0], fault="server", text="")
    stored[3] = replace(stored[3], text="", completion_tokens=1)
    stored[6] = replace(stored[6], finish="length")
    found = board(8, stored, repeats=3)
    row = found.row("base")
    assert (row.answers, row.missing, row.at_limit, dict(row.faults)) == (23, 1, 1, {"empty": 1, "length": 1})
    assert row.format_score == pytest.approx((8 - 1 / 3 - 1 / 3) / 8)
    assert not found.complete
    assert "base: 1 of 24 answers missing; compared over what is there." in found.notes
    assert any(note.startswith("base: 1 of 23 answers reached max_new_tokens (512)") for note in found.notes)
    assert "base: 1 of 23 answers empty: score 0." in found.notes


def test_a_rambler_does_not_win_by_dropping_the_hard_inputs() -> None:
    rambler = [
        replace(one, finish="length") if int(one.input_id[1:]) >= 4 else one for one in answers("rambler", 8, ALL)
    ]
    found = board(8, [*answers("plain", 8, "one two three four PASS"), *rambler])
    assert found.rows[0].name == "plain"


def test_where_nothing_is_scored_nobody_is_the_incumbent() -> None:
    spoiled = [replace(one, fault="server", text="") for name in ("a", "b") for one in answers(name, 3, ALL)]
    found = board(3, spoiled)
    assert (found.incumbent, found.best, found.tied_set, found.comparisons) == (None, None, (), ())
    assert [row.incumbent for row in found.rows] == [False, False]


def test_a_retry_takes_the_place_of_what_the_server_spoiled_in_either_order() -> None:
    good = answers("base", 8, ALL)
    bad = replace(good[0], key="spoiled", fault="server", text="")
    for stored in ([bad, *good], [*good, bad]):
        assert board(8, stored).complete


def test_a_comparison_is_over_the_inputs_that_both_answered() -> None:
    stored = [*answers("base", 10, words(1)), *answers("b", 7, words(2)), *answers("c", 10, words(3))]
    found = board(10, stored, repeats=3)
    one = found.comparison("b", "format")
    assert one is not None
    assert (one.inputs, one.missing_inputs, one.correction) == (7, 3, "max-T")
    assert "b: 9 of 30 answers missing; compared over what is there." in found.notes


def test_several_challengers_and_both_parts_are_adjusted_together() -> None:
    stored = [*answers("base", 10, words(1)), *answers("b", 10, words(2)), *answers("c", 10, words(3))]
    found = board(10, stored)
    ours = [one for one in found.comparisons if one.part == "format"]
    assert {one.correction for one in ours} == {"max-T"}
    assert all(one.p_adjusted >= one.p for one in ours)
    alone = board(10, stored[:60], task=task(content=[])).comparisons
    assert [(one.correction, one.p_adjusted) for one in alone] == [(None, alone[0].p)]


def test_scores_of_an_older_check_do_not_count() -> None:
    stored = answers("a", 8, ALL)
    outdated = score_answers(task(format=[{**FORMAT[0], "values": ["uno"]}, *FORMAT[1:]]), inputs(8), stored)
    found = board(8, stored, scores=outdated)
    assert (found.row("a").answers, found.row("a").missing) == (0, 24)
    assert any("24 of them not scored by the checks as they are now" in note for note in found.notes)


def test_answers_to_other_inputs_are_left_out_and_counted() -> None:
    stored = answers("a", 9, ALL)
    scores = score_answers(task(), inputs(9), stored)
    found = build_leaderboard(task(), inputs(8), stored, scores)
    assert found.row("a").answers == 24
    assert "3 answers left out: the golden set has no such input." in found.notes
