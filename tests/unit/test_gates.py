"""Conditions on candidates: met, not met, or not to be told, which is not met."""

from __future__ import annotations

import pytest

from core.bakeoff.gates import best_to_hold, fail_under, no_worse_than
from core.bakeoff.leaderboard import Leaderboard
from core.config.golden import GoldenInput
from core.scoring.answers import Answer
from tests.support.leaderboards import ALL, answer, answers, board, inputs, task, words


def against_base(n: int, ours: str, theirs: str = ALL, **keys: object) -> Leaderboard:
    return board(n, [*answers("base", n, theirs), *answers("tuned", n, ours)], **keys)


@pytest.mark.parametrize(("least", "outcome"), [(0.6, "met"), (0.8, "met"), (0.81, "not_met")])
def test_a_score_reaches_what_is_wanted_or_not(least: float, outcome: str) -> None:
    found = fail_under(against_base(4, "one two three four"), "tuned", least, "format")
    assert found.outcome == outcome
    assert found.found == pytest.approx(0.8)


@pytest.mark.parametrize(("least", "outcome"), [(0.7, "met"), (0.8, "cannot_tell"), (0.99, "cannot_tell")])
def test_answers_that_are_missing_count_against_and_for_a_candidate(least: float, outcome: str) -> None:
    stored = [answer("tuned", index, 0, ALL) for index in range(3)]
    found = fail_under(board(4, stored, candidates={"tuned": "adapter"}, repeats=1), "tuned", least, "format")
    assert (found.outcome, found.missing) == (outcome, 1)


def test_what_even_full_marks_could_not_mend_is_not_met() -> None:
    stored = [answer("tuned", index, 0, "") for index in range(3)]
    found = fail_under(board(4, stored, candidates={"tuned": "adapter"}, repeats=1), "tuned", 0.5, "format")
    assert found.outcome == "not_met"


def test_each_part_is_held_to_its_own_score() -> None:
    found = against_base(6, "one two three four five")
    assert fail_under(found, "tuned", 1.0, "format").outcome == "met"
    assert fail_under(found, "tuned", 0.1, "content").outcome == "not_met"


def test_no_worse_is_met_by_a_better_one_and_not_by_a_worse_one() -> None:
    stored = [*answers("base", 40, words(1, 1, 2)), *answers("tuned", 40, words(2, 4, 5))]
    found = board(40, stored)
    assert no_worse_than(found, "tuned", "base", "format").outcome == "met"
    worse = no_worse_than(found, "base", "tuned", "format")
    assert worse.outcome == "not_met" and worse.found is not None and worse.found < 0


def test_few_inputs_cannot_tell_and_how_many_could_is_said() -> None:
    stored = [*answers("base", 8, words(1, 2, 5)), *answers("tuned", 8, words(2, 2, 5))]
    found = no_worse_than(board(8, stored), "tuned", "base", "format")
    assert found.outcome == "cannot_tell"
    assert found.low is not None and found.low < -0.05
    assert found.inputs_needed is not None and found.inputs_needed > 8


def test_two_that_always_agree_need_as_many_inputs_as_make_a_difference_unlikely() -> None:
    """None seen in n: up to 1 − 0.05^(1/n) of the inputs could differ. Below a margin of 0.05 that is with 59."""
    few = no_worse_than(against_base(12, ALL), "tuned", "base", "format")
    assert (few.outcome, few.inputs_needed) == ("cannot_tell", 59)
    assert no_worse_than(against_base(58, ALL), "tuned", "base", "format").outcome == "cannot_tell"
    assert no_worse_than(against_base(59, ALL), "tuned", "base", "format").outcome == "met"


def test_a_margin_of_nothing_is_never_shown_by_agreement() -> None:
    found = no_worse_than(against_base(59, ALL, task=task(margin=0)), "tuned", "base", "format")
    assert (found.outcome, found.inputs_needed) == ("cannot_tell", None)


def test_holes_of_the_candidate_are_held_against_it() -> None:
    whole = [*answers("base", 60, "one two"), *answers("tuned", 60, words(1, 4, 5))]
    holes = [one for one in whole if one.candidate == "base" or one.input_id != "i0"]
    assert no_worse_than(board(60, whole), "tuned", "base", "format").outcome == "met"
    one = board(60, holes, candidates={"base": "base", "tuned": "adapter"})
    assert no_worse_than(one, "tuned", "base", "format").outcome == "met"
    many = [one for one in whole if one.candidate == "base" or int(one.input_id[1:]) < 20]
    found = no_worse_than(board(60, many, candidates={"base": "base", "tuned": "adapter"}), "tuned", "base", "format")
    assert (found.outcome, found.missing) == ("cannot_tell", 120)


def kept(n: int, confirming: range) -> list[GoldenInput]:
    return [
        item.model_copy(update={"use": "confirm"}) if index in confirming else item
        for index, item in enumerate(inputs(n))
    ]


def of_uses(chosen: str, confirmed: str) -> list[Answer]:
    """`tuned` on 20 inputs to choose by and 20 to confirm by; `base` gives four of five words everywhere."""
    theirs = answers("base", 40, "one two three four")
    return [*theirs, *answers("tuned", 40, lambda index, repeat: chosen if index < 20 else confirmed)]


def test_conditions_rest_on_the_inputs_to_confirm_by_where_there_are_some() -> None:
    """Chosen by full marks on the one half, and worse than the baseline on the other."""
    stored = of_uses(chosen=ALL, confirmed="one two")
    whole, apart = board(40, stored), board(40, stored, golden=kept(40, range(20, 40)))
    reached = [fail_under(one, "tuned", 0.6, "format") for one in (whole, apart)]
    assert [(one.outcome, one.use, one.inputs) for one in reached] == [("met", "all", 40), ("not_met", "confirm", 20)]
    assert reached[1].found == pytest.approx(0.4)
    compared = [no_worse_than(one, "tuned", "base", "format") for one in (whole, apart)]
    assert [(one.outcome, one.use, one.inputs) for one in compared] == [
        ("cannot_tell", "all", 40),
        ("not_met", "confirm", 20),
    ]
    assert compared[1].found == pytest.approx(-0.4)


def test_what_is_missing_of_the_inputs_to_choose_by_is_not_held_against_a_candidate() -> None:
    stored = [one for one in of_uses(ALL, ALL) if one.candidate == "base" or int(one.input_id[1:]) >= 10]
    whole = {"candidates": {"base": "base", "tuned": "adapter"}}
    found = fail_under(board(40, stored, golden=kept(40, range(20, 40)), **whole), "tuned", 0.99, "format")
    assert (found.outcome, found.missing) == ("met", 0)
    assert fail_under(board(40, stored, **whole), "tuned", 0.99, "format").missing == 30


def test_the_best_is_chosen_by_the_others() -> None:
    stored = [*of_uses(ALL, "one"), *answers("late", 40, lambda index, repeat: "one" if index < 20 else ALL)]
    found = board(40, stored, golden=kept(40, range(20, 40)))
    assert best_to_hold(found) == "tuned"
    assert fail_under(found, "tuned", 0.5, "format").outcome == "not_met"
    alone = board(40, [one for one in stored if one.candidate != "base"], golden=kept(40, range(20, 40)),
                  candidates={"base": "base", "tuned": "adapter", "late": "adapter"})  # fmt: skip
    assert alone.selection is None and best_to_hold(alone) == "tuned", "also where the incumbent has no answers"


def test_where_all_inputs_are_to_confirm_by_none_is_kept_apart() -> None:
    found = board(40, of_uses(ALL, ALL), golden=kept(40, range(40)))
    assert fail_under(found, "tuned", 0.9, "format").use == "all"
    assert best_to_hold(found) == "tuned"


def test_over_all_inputs_a_score_is_that_of_the_board() -> None:
    found = board(40, [*answers("base", 40, words(1, 1, 2)), *answers("tuned", 40, words(2, 4, 5))])
    gate, row = fail_under(found, "tuned", 0.5, "format"), found.row("tuned")
    assert gate.found == pytest.approx(row.format_score or 0.0)
    assert gate.interval == row.format_interval
