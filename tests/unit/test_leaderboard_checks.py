"""What a leaderboard says of each check: its share, its worst repeats, and why answers lose points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.cli.results_report import render_text
from tests.support.leaderboards import ALL, answers, board, task


def test_each_check_has_its_share_its_interval_and_its_worst_repeats() -> None:
    stored = answers("a", 8, lambda index, repeat: ALL if index < 6 or repeat else ALL.replace("two ", ""))
    checks = {check.id: check for check in board(8, stored).row("a").checks}
    two = checks["two"]
    assert two.mean == pytest.approx(1 - 2 / 3 / 8)
    assert two.worst_by_input == (1, 1, 1, 1, 1, 1, 0, 0)
    assert two.interval is not None and two.interval.low is not None and two.interval.high is not None
    assert two.interval.low < 1 - 2 / 3 / 8 < two.interval.high <= 1
    assert (two.reasons[0].detail, two.reasons[0].count) == ("none of “two”", 2)
    assert checks["one"].mean == 1
    assert [check.part for check in checks.values()] == ["format"] * 5 + ["content"]


def test_a_check_is_compared_with_the_incumbents_by_what_most_repeats_do() -> None:
    stored = [*answers("base", 8, "one"), *answers("b", 8, lambda index, repeat: ALL if repeat else "one")]
    checks = {check.id: check for check in board(8, stored).row("b").checks}
    assert checks["two"].p_to_incumbent == pytest.approx(2 / 2**8)
    assert checks["one"].p_to_incumbent == 1
    assert all(check.p_to_incumbent is None for check in board(8, stored).row("base").checks)


def test_reasons_are_counted_once_an_answer_the_most_frequent_first() -> None:
    cut = [replace(one, finish="length", completion_tokens=512) for one in answers("a", 3, "x")]
    rest = [one for one in answers("a", 8, "one two three four five") if int(one.input_id[1:]) >= 3]
    reasons = [(reason.detail, reason.count) for reason in board(8, [*cut, *rest]).row("a").reasons]
    assert reasons == [("verdict: no match", 15), ("answer cut at 512 tokens", 9)]


def test_a_check_that_could_not_be_done_is_named() -> None:
    broken = task(content=[{"check": "contains_any", "values": "expect.word", "id": "word"}])
    found = board(8, answers("a", 8, ALL), task=broken)
    assert found.row("a").checks[-1].faulty == 24
    assert "The check word could not be done on 24 answers, which score 0 there: see why." in found.notes
    assert "the golden input has no expect.word" in render_text(found)
