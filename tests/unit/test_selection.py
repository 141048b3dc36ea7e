"""What the choice among several candidates does to the figures of the chosen one, and inputs that are kept to confirm by."""

from __future__ import annotations

import pytest

from core.bakeoff.leaderboard import Leaderboard
from core.config.golden import GoldenInput
from tests.support.leaderboards import answers, board, inputs, task, words

FORMS = {"base": "base", "a": "adapter", "b": "adapter", "c": "adapter"}


def kept(n: int, to_confirm: int, **keys: object) -> list[GoldenInput]:
    """Of n inputs the last are to confirm by."""
    return [
        item.model_copy(update={"use": "confirm" if index >= n - to_confirm else "choose"})
        for index, item in enumerate(inputs(n))
    ]


def four(n: int, golden: list[GoldenInput] | None = None) -> Leaderboard:
    stored = [one for seed, name in enumerate(FORMS) for one in answers(name, n, words(seed, 1, 4))]
    return board(n, stored, candidates=FORMS, golden=golden or inputs(n), task=task(content=[]))


def test_the_best_of_several_on_the_same_inputs_is_said_to_be_that() -> None:
    found = four(12)
    chosen = found.selection
    assert chosen is not None and chosen.optimism is not None and chosen.same_inputs
    assert (chosen.chosen, chosen.among, chosen.choose_inputs, chosen.confirm_inputs) == (found.best, 4, 12, 0)
    assert 0.02 < chosen.optimism < 0.2
    (note,) = [note for note in found.notes if "same inputs" in note]
    assert note.startswith(f"{found.best} is the best of 4, same inputs: ")
    assert f"{5 * chosen.optimism:.2f}/5" in note


def test_one_challenger_was_not_chosen_among_several() -> None:
    stored = [*answers("base", 12, words(1, 1, 4)), *answers("a", 12, words(2, 1, 4))]
    found = board(12, stored)
    assert found.selection is not None and found.selection.among == 2
    assert not any("best of" in note for note in found.notes)


def test_the_chosen_one_is_confirmed_on_inputs_that_had_no_part_in_the_choice() -> None:
    """On the first twelve `a` is far ahead, on the last eight it is nothing special: the choice does not see those."""

    def lucky(index: int, repeat: int) -> str:
        return "one two three four five" if index < 12 else "one"

    stored = [
        *answers("base", 20, "one"),
        *answers("a", 20, lucky),
        *answers("b", 20, lambda index, repeat: "one two" if index < 12 else "one two three four five"),
    ]
    found = board(20, stored, golden=kept(20, 8), task=task(content=[]), candidates={"base": "base", "a": "", "b": ""})
    chosen = found.selection
    assert chosen is not None
    assert (chosen.chosen, chosen.among, chosen.choose_inputs, chosen.confirm_inputs) == ("a", 3, 12, 8)
    assert chosen.lead == pytest.approx(0.8)
    (confirmed,) = chosen.confirmed
    assert (confirmed.candidate, confirmed.against, confirmed.inputs, confirmed.difference) == ("a", "base", 8, 0.0)
    (note,) = [
        note for note in found.notes if note.startswith("a is the best of 3 on the 12 inputs to choose by (+4.00).")
    ]
    assert "On the 8 inputs to confirm by, it differs from base by 0.00" in note
    # The board itself is over all inputs.
    compared = found.comparison("a", "format")
    assert compared is not None and (compared.inputs, compared.difference) == (20, pytest.approx(0.8 * 12 / 20))


def test_an_incumbent_that_stays_the_best_has_nothing_to_confirm() -> None:
    stored = [*answers("base", 16, "one two three"), *answers("a", 16, "one"), *answers("b", 16, "one two")]
    chosen = board(16, stored, golden=kept(16, 6), task=task(content=[])).selection
    assert chosen is not None
    assert (chosen.chosen, chosen.lead, chosen.confirmed) == ("base", 0.0, ())


def test_inputs_without_a_use_are_to_choose_by_where_others_are_kept() -> None:
    golden = [
        item.model_copy(update={"use": "confirm"}) if index > 7 else item for index, item in enumerate(inputs(12))
    ]
    chosen = four(12, golden).selection
    assert chosen is not None
    assert (chosen.choose_inputs, chosen.confirm_inputs) == (8, 4)


def test_a_candidate_without_answers_to_choose_by_is_not_among_them() -> None:
    stored = [*answers("base", 12, words(1, 1, 4)), *answers("a", 12, words(2, 1, 4))]
    late = [one for one in answers("b", 12, words(3, 1, 4)) if int(one.input_id[1:]) >= 8]
    chosen = board(12, [*stored, *late], golden=kept(12, 4), task=task(content=[]), repeats=3).selection
    assert chosen is not None and chosen.among == 2


def test_without_scores_nothing_is_chosen() -> None:
    assert board(8, [], candidates=FORMS, repeats=3).selection is None
    assert board(3, answers("a", 3, "one"), task=task(format=[], content=[])).selection is None
