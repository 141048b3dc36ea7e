"""Candidates that cannot reach the incumbent any more: when that is certain, and what they are left out of."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bakeoff.curtailment import bounds_of_mean, hopeless, stopped_candidates
from core.scoring.scored_answers import place
from core.scoring.scorer import score_answers
from tests.support.leaderboards import ALL, answers, board, inputs, task, words

INPUTS = ("a", "b", "c")
values = st.sampled_from([0.0, 0.25, 0.5, 1.0])
answered = st.dictionaries(st.sampled_from(INPUTS), st.lists(values, max_size=2))


@given(answered, answered, st.sampled_from([0.0, 0.05, 0.2]))
def test_it_is_hopeless_just_where_no_outcome_would_do(ours: dict, theirs: dict, margin: float) -> None:
    """Against all ways in which the answers that are missing could turn out, of which the extremes decide."""

    def means(known: dict[str, list[float]], of_missing: float) -> float:
        full = [[*known.get(name, []), of_missing, of_missing][:2] for name in INPUTS]
        return sum(sum(scores) / 2 for scores in full) / len(INPUTS)

    outcomes = itertools.product(
        [means(ours, end) for end in (0.0, 0.5, 1.0)], [means(theirs, end) for end in (0.0, 0.5, 1.0)]
    )
    within_reach = any(one >= other - margin - 1e-9 for one, other in outcomes)
    assert hopeless(ours, theirs, INPUTS, 2, margin) == (not within_reach)


def test_the_margin_is_in_it() -> None:
    theirs = {name: [1.0] for name in INPUTS}
    ours = {"a": [0.8], "b": [1.0], "c": [1.0]}
    assert hopeless(ours, theirs, INPUTS, 1, 0.05)
    assert not hopeless(ours, theirs, INPUTS, 1, 0.10)
    assert not hopeless({}, theirs, INPUTS, 1, 0.0)
    assert not hopeless({"a": [0.0]}, {}, INPUTS, 1, 0.0), "an incumbent that was not asked can still be worst"


def test_only_what_is_planned_counts() -> None:
    assert bounds_of_mean({"a": [1.0, 0.0, 0.0], "other": [1.0]}, ("a", "b"), 1) == (0.5, 1.0)
    assert bounds_of_mean({}, (), 3) == (0.0, 1.0)


def curtailed_board(**keys: object):  # type: ignore[no-untyped-def]
    stored = [*answers("base", 13, words(1, 3, 5)), *answers("good", 13, words(2, 4, 5)), *answers("bad", 8, "nothing")]
    forms = {"base": "base", "good": "adapter", "bad": "adapter"}
    return board(13, stored, candidates=forms, repeats=3, **keys)


def test_a_stopped_candidate_has_a_row_and_is_in_nothing_else() -> None:
    found, open_ended = curtailed_board(curtailed={"bad"}), curtailed_board()
    row = found.rows[-1]
    assert (row.name, row.curtailed, row.tied, found.curtailed) == ("bad", True, False, ("bad",))
    assert row.format_score == 0
    assert "bad" not in found.tied_set
    assert {one.candidate for one in (*found.comparisons, *found.ties)} <= {"base", "good"}
    assert found.selection is not None and found.selection.among == 2
    assert found.complete and not open_ended.complete
    assert found.notes[0] == (
        "Stopped, as the incumbent was out of reach: bad after 24 of 39 answers. In no comparison and in no tied set."
    )
    assert not any("missing" in note for note in found.notes)
    # Without it, the others are one comparison and not two.
    assert {one.candidate for one in open_ended.comparisons} == {"good", "bad"}


def test_the_incumbent_itself_is_never_stopped() -> None:
    found = curtailed_board(curtailed={"base", "bad"})
    assert found.incumbent == "base"
    assert not found.row("base").curtailed


def test_who_was_stopped_is_told_by_the_scores_of_the_bake_off_itself() -> None:
    golden, made = inputs(13), task(content=[])
    stored = [
        *answers("base", 13, ALL),
        *answers("bad", 3, "nothing"),
        *answers("slow", 3, ALL),
        *answers("done", 13, "nothing"),
    ]
    cells, _ = place(made, golden, stored, score_answers(made, golden, stored), ())
    assert stopped_candidates(golden, 3, "base", 0.05, cells) == {"bad"}
    # One that was only slow to be asked is missing answers; one that was asked to the end was not stopped.
    assert stopped_candidates(golden, 3, "bad", 0.05, cells) == frozenset()
    # Of a server that failed there is no score.
    unscored, _ = place(made, golden, stored, [], ())
    assert stopped_candidates(golden, 3, "base", 0.05, unscored) == frozenset()


@pytest.mark.parametrize("n", [1, 4])
def test_a_stopped_candidate_would_not_have_been_in_front(n: int) -> None:
    """Whatever the other answers had been: with full marks for all of them, its mean stays below the incumbent's."""
    theirs = {name: [1.0] * n for name in INPUTS}
    ours = {"a": [0.0] * n}
    assert hopeless(ours, theirs, INPUTS, n, 0.05)
    assert bounds_of_mean(ours, INPUTS, n)[1] < bounds_of_mean(theirs, INPUTS, n)[0] - 0.05
