"""The matrix over tasks: what is stated of a candidate, what is left out, and what tuning for one task cost at the others."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.matrix import Matrix, build_matrix
from core.errors import InputError
from tests.support.leaderboards import ALL, Writer, answers, board, task, words

N = 13
FORMAT_ONLY = task(content=[])


def one_board(n: int = N, sources: int | None = None, **writers: Writer | str) -> Leaderboard:
    """A board of `base` and others; what each writes."""
    from tests.support.leaderboards import inputs

    stored = [one for name, write in writers.items() for one in answers(name, n, write)]
    forms = {name: "base" if name == "base" else "adapter" for name in writers}
    return board(n, stored, candidates=forms, repeats=3, golden=inputs(n, sources), task=FORMAT_ONLY)


def good(seed: int) -> Writer:
    return words(seed, 4, 5)


def poor(seed: int) -> Writer:
    return words(seed, 0, 2)


def matrix(**keys: object) -> Matrix:
    boards = {
        "titles": one_board(base=poor(11), tuned=good(2), other=lambda index, repeat: poor(11)(index + 1, repeat)),
        "judge": one_board(base=good(4), tuned=poor(5), other=good(6)),
        "extract": one_board(base=poor(7), tuned=good(8), other=poor(7)),
    }
    return build_matrix(boards, **keys)  # type: ignore[arg-type]


def test_a_candidate_wins_and_loses_tasks_against_the_incumbent() -> None:
    found = matrix()
    assert (found.tasks, found.incumbent) == (("titles", "judge", "extract"), "base")
    assert set(found.candidates) == {"tuned", "base", "other"}
    tuned, other = found.standing("tuned"), found.standing("other")
    assert (tuned.wins, tuned.loses, tuned.tasks_compared) == (("titles", "extract"), ("judge",), 3)
    assert tuned.tied_sets == ("titles", "extract")
    assert set(other.cannot_tell) | set(other.no_worse) == {"titles", "judge", "extract"}
    held = found.standing("base")
    assert held.incumbent and held.mean_difference is None and not held.left_out
    assert found.cell("titles", "base").outcome is None


def test_each_p_holds_over_the_tasks_too() -> None:
    """The first three statements are corrected for three tasks: three times the p that holds within the task."""
    found = matrix()
    statements = [one for cell in found.cells for one in cell.statements]
    assert all(one.p_matrix >= one.comparison.p_adjusted for one in statements)
    # What every input shows has the least p there is; the first of a task is corrected for all tasks.
    sharp = [found.cell(name, "tuned").statements[0] for name in ("titles", "judge", "extract")]
    assert [one.comparison.p_adjusted for one in sharp] == pytest.approx([2 / 2**N] * 3)
    assert [one.p_matrix for one in sharp] == pytest.approx([3 * 2 / 2**N] * 3)


def test_a_win_of_one_board_is_none_of_eight() -> None:
    """Six inputs reach 0.031 by themselves, and over eight tasks nothing."""
    boards = {f"task {number}": one_board(6, base="one", tuned=ALL) for number in range(8)}
    assert all(one.comparisons[0].verdict == "better" for one in boards.values())
    found = build_matrix(boards)
    assert found.standing("tuned").wins == ()
    assert found.cell("task 3", "tuned").statements[0].p_matrix == pytest.approx(8 * 2 / 2**6)
    assert "task 3: 6 inputs can reach p 0.25 at best over 8 tasks. Add 3 for p 0.05." in found.notes
    assert build_matrix({"task 0": boards["task 0"]}).standing("tuned").wins == ("task 0",)


def test_what_a_task_can_show_is_told_of_the_candidate_with_the_most_inputs() -> None:
    stored = [*answers("base", N, "one"), *answers("tuned", N, ALL), *answers("begun", 3, "one")]
    forms = {"base": "base", "tuned": "adapter", "begun": "adapter"}
    begun = board(N, stored, candidates=forms, repeats=3, task=FORMAT_ONLY)
    assert [one.clusters for one in begun.comparisons] == [N, 3]
    assert not any("at best" in note for note in build_matrix({"a": begun, "b": begun}).notes)


def test_the_mean_difference_has_the_task_as_its_unit() -> None:
    found = matrix()
    tuned = found.standing("tuned")
    cells = [found.cell(name, "tuned").difference for name in found.tasks]
    assert all(cell is not None for cell in cells)
    assert tuned.mean_difference == pytest.approx(sum(cell or 0.0 for cell in cells) / 3)
    assert tuned.interval.low is not None and tuned.interval.high is not None
    # Two tasks up and one down: over tasks nothing is sure, however many inputs each has.
    assert tuned.interval.low < 0 < tuned.interval.high


def test_one_task_and_tasks_that_say_the_same_give_no_interval_of_zero_width() -> None:
    one = one_board(base="one", tuned=ALL)
    assert not build_matrix({"a": one}).standing("tuned").interval.estimable
    same = build_matrix({"a": one, "b": one}).standing("tuned")
    assert same.mean_difference == pytest.approx(0.8)
    assert same.interval.reason == "interval not estimable: all tasks say the same"


def test_what_is_missing_is_left_out_and_named() -> None:
    boards = {
        "titles": one_board(base=poor(1), tuned=good(2), late=good(3)),
        "judge": board(
            N,
            [*answers("base", N, poor(4)), *answers("tuned", N, good(5))],
            task=FORMAT_ONLY,
            candidates={"base": "base", "tuned": "adapter", "late": "adapter"},
            repeats=3,
        ),
        "extract": one_board(base=poor(7), tuned=good(8)),
    }
    found = build_matrix(boards)
    late = found.standing("late")
    assert (late.wins, late.left_out, late.tasks_compared) == (("titles",), ("judge", "extract"), 1)
    assert [found.cell(name, "late").left_out for name in boards] == [None, "no_answers", "not_asked"]
    assert found.cell("judge", "late").missing == 3 * N
    # The others are compared as ever.
    assert found.standing("tuned").wins == ("titles", "judge", "extract")


def test_a_candidate_that_was_stopped_takes_no_part() -> None:
    stored = [*answers("base", N, ALL), *answers("tuned", N, ALL), *answers("bad", 5, "nothing")]
    stopped = board(N, stored, task=FORMAT_ONLY, repeats=3, curtailed={"bad"})
    found = build_matrix({"titles": stopped, "judge": one_board(base=ALL, tuned=ALL, bad="nothing")})
    assert found.cell("titles", "bad").left_out == "curtailed"
    assert found.standing("bad").left_out == ("titles",)
    assert found.standing("bad").loses == ("judge",)
    # Another incumbent: the scores of the stopped one are used in nothing either.
    against = build_matrix({"titles": stopped}, incumbent="bad")
    assert {cell.left_out for cell in against.cells} == {"curtailed", "incumbent_not_answered"}


def test_another_incumbent_is_compared_over_the_same_scores() -> None:
    found = matrix(incumbent="tuned")
    assert found.standing("base").loses == ("titles", "extract")
    assert found.standing("base").wins == ("judge",)
    turned = found.cell("titles", "base").statements[0].comparison
    assert turned.difference == pytest.approx(-(matrix().cell("titles", "tuned").difference or 0.0))
    assert turned.noise_floor == pytest.approx(matrix().cell("titles", "tuned").statements[0].comparison.noise_floor)
    with pytest.raises(InputError, match="`ghost` is not among the candidates"):
        matrix(incumbent="ghost")


def test_boards_without_a_common_incumbent_state_nothing() -> None:
    one, other = one_board(base=poor(1), tuned=good(2)), one_board(tuned=good(2), other=poor(1))
    found = build_matrix({"a": one, "b": other})
    assert found.incumbent is None
    assert not any(cell.statements for cell in found.cells)
    assert any("no incumbent in common" in note for note in found.notes)


def test_what_tuning_for_one_task_cost_at_the_others() -> None:
    found = matrix(trained_for={"tuned": "titles", "other": "judge"}, bases={"tuned": "base", "other": "base"})
    costs = {(cost.candidate, cost.task): cost for cost in found.tuning_costs}
    assert set(costs) == {("tuned", "judge"), ("tuned", "extract"), ("other", "titles"), ("other", "extract")}
    assert costs["tuned", "judge"].outcome == "loses"
    assert costs["tuned", "judge"].difference < -0.3
    assert costs["tuned", "extract"].outcome == "wins"
    assert costs["other", "extract"].outcome == "cannot_tell"
    # Three tasks have costs: the correction is over those.
    (statement,) = costs["tuned", "judge"].statements
    assert statement.p_matrix == pytest.approx(3 * statement.comparison.p_adjusted)


def test_the_base_of_a_cost_need_not_be_the_incumbent() -> None:
    found = matrix(incumbent="tuned", trained_for={"tuned": "titles"}, bases={"tuned": "other"})
    assert {(cost.base, cost.task) for cost in found.tuning_costs} == {("other", "judge"), ("other", "extract")}
    absent = matrix(trained_for={"tuned": "titles"}, bases={})
    assert absent.tuning_costs == ()
    assert "What tuning has cost at other tasks is not known of tuned: the base takes no part." in absent.notes


def test_parts_that_disagree_are_mixed() -> None:
    stored = [*answers("base", N, "PASS"), *answers("tuned", N, "one two three four five")]
    found = build_matrix({"titles": board(N, stored)})
    assert [one.verdict for one in found.cell("titles", "tuned").statements] == ["better", "worse"]
    assert found.standing("tuned").mixed == ("titles",)


def test_no_worse_needs_every_part_and_holds_over_the_matrix() -> None:
    """The content is the same on all inputs: how many are needed to exclude that a share of others differ, is known."""

    def two_tasks(n: int) -> Matrix:
        stored = [
            *answers("base", n, lambda index, repeat: ALL if index % 7 else "one two three four PASS"),
            *answers("near", n, lambda index, repeat: ALL if index % 6 else "one two three four PASS"),
        ]
        return build_matrix({name: board(n, stored) for name in ("a", "b")})

    few, many = two_tasks(70), two_tasks(140)
    format_alone, content = (one.comparison.p_no_worse for one in few.cell("a", "near").statements)
    assert content == pytest.approx(0.95**70) and content < 0.05 < 2 * content
    assert few.cell("a", "near").statements[0].p_no_worse == pytest.approx(2 * max(format_alone, content))
    assert few.standing("near").cannot_tell == ("a", "b")
    assert many.standing("near").no_worse == ("a", "b")


def test_the_json_has_plain_types_only() -> None:
    found = matrix(trained_for={"tuned": "titles"}, bases={"tuned": "base"})
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["schema"] == 1
    assert {cell["outcome"] for cell in document["cells"]} >= {"wins", "loses", None}
    assert document["tuning_costs"][0]["statements"][0]["comparison"]["candidate"] == "tuned"
    with pytest.raises(KeyError):
        replace(found, tasks=()).cell("titles", "tuned")
