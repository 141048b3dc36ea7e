"""The leaderboard: from stored answers and scores to who is better, and how sure one may be."""

from __future__ import annotations

import json
import math

import pytest

from core.cli.results_report import render_text
from core.errors import InputError
from tests.support.leaderboards import ALL, TUNED_AND_BASE, answers, board, inputs, task, words


def test_the_headline_is_the_best_against_the_base() -> None:
    found = board(13, TUNED_AND_BASE)
    one = found.comparison("judge-tuned", "format")
    assert one is not None and one.interval.low is not None and one.interval.high is not None
    tuned, base = found.row("judge-tuned"), found.row("base")
    assert tuned.format_score is not None and base.format_score is not None
    assert found.headline.text == (
        f"judge-tuned {5 * tuned.format_score:.2f}/5 over base {5 * base.format_score:.2f}/5 in format: "
        f"+{5 * one.difference:.2f} [{5 * one.interval.low:.2f}, {5 * one.interval.high:.2f}], p 0.0002, 13 inputs × 3"
    )
    assert one.verdict == "better"
    assert one.p_adjusted == pytest.approx(2 / 2**13)
    assert (found.best, found.incumbent, found.tied_set, found.complete) == (
        "judge-tuned",
        "base",
        ("judge-tuned",),
        True,
    )


def test_the_difference_is_that_of_the_scores_one_sees() -> None:
    found = board(12, [*answers("base", 12, words(1)), *answers("b", 12, words(2))], golden=inputs(12, sources=5))
    one = found.comparison("b", "format")
    assert one is not None
    ours, theirs = found.row("b").format_score, found.row("base").format_score
    assert ours is not None and theirs is not None
    assert one.difference == pytest.approx(ours - theirs)
    assert (one.inputs, one.clusters) == (12, 5)
    assert any("12 inputs come from 5 sources" in note for note in found.notes)


def test_rows_are_sorted_by_format_and_then_by_content() -> None:
    stored = [
        *answers("same format, no pass", 8, "one two three"),
        *answers("most format", 8, "one two three four"),
        *answers("same format, pass", 8, "one two three PASS"),
    ]
    assert [row.name for row in board(8, stored).rows] == ["most format", "same format, pass", "same format, no pass"]


def test_scores_intervals_and_speeds_of_a_row() -> None:
    stored = [
        *answers("a", 8, lambda index, repeat: ALL if repeat or index % 2 else "one two three four", seconds=0.5),
    ]
    row = board(8, stored).row("a")
    # Half of the inputs lose one of five checks and the verdict in one of three repeats.
    assert row.format_score == pytest.approx(1 - 0.2 / 3 / 2)
    assert row.content_score == pytest.approx(1 - 1 / 3 / 2)
    assert row.worst == pytest.approx(0.9)
    assert row.pass_k == 0.5
    assert row.consistency == 0.5
    assert row.repeatability_sd == pytest.approx(math.sqrt((0.2**2 / 3) / 2))
    assert row.interval.low is not None and row.interval.high is not None
    assert row.interval.low < row.format_score < row.interval.high <= 1
    assert (row.seconds_per_answer, row.tokens_per_second, row.characters_per_second) == (0.5, 100, 400)
    assert (row.answers, row.expected, row.missing, row.at_limit) == (24, 24, 0, 0)


def test_the_base_is_the_incumbent_by_its_form_not_by_its_score() -> None:
    stored = [*answers("SmolLM2-135M", 8, ALL), *answers("job:3", 8, words(1))]
    assert board(8, stored, candidates={"job:3": "adapter", "SmolLM2-135M": "base"}).incumbent == "SmolLM2-135M"
    # Without a base, whoever is named first: a reference that the data choose would need the correction of all pairs.
    assert board(8, stored, candidates={"job:3": "adapter", "SmolLM2-135M": "merged"}).incumbent == "job:3"
    assert board(8, stored).incumbent == "SmolLM2-135M"
    assert board(8, stored, incumbent="job:3").incumbent == "job:3"


def test_an_incumbent_that_takes_no_part_is_an_error() -> None:
    with pytest.raises(InputError, match="`ghost` is not among the candidates"):
        board(8, answers("a", 8, ALL), incumbent="ghost")


def test_an_incumbent_that_stays_ahead_is_compared_with_its_best_challenger() -> None:
    found = board(13, [*answers("base", 13, ALL), *answers("b", 13, words(3, 0, 2)), *answers("c", 13, words(4, 2, 3))])
    assert found.headline.text.startswith("c ")
    assert "/5 below base 5.00/5 in format: −" in found.headline.text


# --- what can't be said ----------------------------------------------------------------------------------------


def test_five_inputs_can_never_prove_anything_and_the_notes_say_so() -> None:
    found = board(5, [*answers("base", 5, words(1, 0, 1)), *answers("b", 5, words(2, 4, 5))])
    one = found.comparison("b", "format")
    assert one is not None
    assert one.p_adjusted == one.least_p == pytest.approx(0.0625)
    assert one.verdict != "better"
    assert found.tied_set == ("b", "base")
    assert "5 inputs can never reach p 0.05: the least possible is 0.062. Add 1 for a least p of 0.031." in found.notes


def test_when_all_inputs_say_the_same_there_is_a_p_but_no_interval() -> None:
    found = board(8, [*answers("base", 8, "nothing"), *answers("b", 8, ALL)])
    one = found.comparison("b", "format")
    assert one is not None
    assert (one.interval.low, one.interval.high) == (None, None)
    assert one.p == pytest.approx(2 / 2**8)
    assert "+5.00 (interval not estimable: all inputs say the same), p 0.0078" in found.headline.text


def test_a_single_candidate_is_shown_without_a_comparison() -> None:
    found = board(8, answers("only", 8, words(1)))
    assert found.comparisons == ()
    assert found.tied_set == ("only",)
    assert found.headline.text.startswith("only ")
    assert not found.row("only").tied


def test_no_answers_yet_is_a_leaderboard_too() -> None:
    found = board(8, [], candidates={"base": "base", "job:3": "adapter"}, repeats=3)
    assert found.headline.text == "No scored answers yet."
    assert [(row.name, row.answers, row.missing, row.format_score) for row in found.rows] == [
        ("base", 0, 24, None),
        ("job:3", 0, 24, None),
    ]
    assert not found.complete
    assert "base" in render_text(found)


def test_a_bake_off_of_nothing_is_a_leaderboard_too() -> None:
    found = board(0, [], golden=[])
    assert (found.rows, found.best, found.complete) == ((), None, False)
    assert render_text(found)


def test_a_task_without_checks_says_so() -> None:
    found = board(3, answers("a", 3, ALL), task=task(format=[], content=[]))
    assert found.headline.text == "The task has no checks: there is nothing to compare."
    json.dumps(found.to_json(), allow_nan=False)


def test_a_task_with_content_checks_only_is_led_by_content() -> None:
    stored = [*answers("base", 8, "no"), *answers("b", 8, "PASS")]
    found = board(8, stored, task=task(format=[]))
    assert found.parts == ("content",)
    assert (found.row("b").format_score, found.row("b").score) == (None, 1)
    assert found.headline.text.startswith("b 5.00/5 over base 0.00/5: ")  # one part is the whole score


@pytest.mark.parametrize(
    ("base", "other"),
    [("nothing", ALL), (ALL, "nothing"), (ALL, ALL), (ALL, None)],
    ids=["over", "below", "tied", "alone"],
)
def test_the_headline_says_of_which_part_its_figures_are(base: str, other: str | None) -> None:
    """Both parts are checked, and 5.00/5 is only of the form: every one of these answers can be wrong."""
    stored = [*answers("base", 8, base), *([] if other is None else answers("b", 8, other))]
    said = board(8, stored).headline
    assert "/5 in format" in said.result
    assert "/5 in format" in said.short
    assert " in " not in board(8, stored, task=task(content=[])).headline.result


def test_one_repeat_says_nothing_of_consistency() -> None:
    found = board(8, answers("a", 8, words(1), repeats=1))
    assert (found.row("a").consistency, found.row("a").repeatability_sd) == (None, None)
    assert "One repeat: nothing is known of consistency." in found.notes


def test_agreement_at_temperature_zero_is_called_what_it_is() -> None:
    cold = task(sampling={"temperature": 0.0})
    assert any("At temperature 0" in note for note in board(8, answers("a", 8, ALL), task=cold).notes)


# --- the tied set ----------------------------------------------------------------------------------------------


def test_models_that_the_inputs_cannot_tell_apart_are_one_tied_set() -> None:
    stored = [
        *answers("base", 13, words(1, 0, 1)),
        *answers("fast", 13, words(2, 3, 5), seconds=1.0),
        *answers("slow", 13, words(3, 3, 5), seconds=2.5),
    ]
    found = board(13, stored)
    assert set(found.tied_set) == {"fast", "slow"}
    assert [row.tied for row in found.rows] == [True, True, False]
    assert "Prefer fast: 2.5 times as fast as slow, its equal." in found.notes
    (note,) = [note for note in found.notes if note.startswith("Tied set")]
    assert "so many inputs can show" in note


def test_content_decides_among_those_that_are_equal_in_format() -> None:
    stored = [
        *answers(
            "form only",
            13,
            lambda index, repeat: "one two three four five" if index else "one two three four five PASS",
        ),
        *answers(
            "form and content", 13, lambda index, repeat: ALL if index > 1 or repeat else "one two three four PASS"
        ),
    ]
    found = board(13, stored)
    assert found.rows[0].name == "form only", "rows stay sorted by format, however small the difference"
    assert found.tied_set == ("form and content",)
    assert found.best == "form and content"


def test_a_difference_below_the_margin_is_no_win() -> None:
    stored = [
        *answers("base", 13, "one two three four five PASS"),
        *answers("b", 13, lambda index, repeat: ALL if repeat else "one two three four PASS"),
    ]
    wide = board(13, stored, task=task(margin=0.1))
    narrow = board(13, stored, task=task(margin=0.05))
    assert wide.tied_set == ("base", "b")
    assert narrow.tied_set == ("base",)


def test_the_comparison_says_how_many_inputs_would_tell() -> None:
    found = board(10, [*answers("base", 10, words(1)), *answers("b", 10, words(2))])
    one = found.comparison("b", "format")
    assert one is not None and one.minimum_detectable is not None
    assert one.minimum_detectable > 0.1
    assert one.add_inputs is not None and one.add_inputs > 0
