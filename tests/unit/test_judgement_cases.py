"""What a board says in the cases at its edges: no sentence may say what the figures do not."""

from __future__ import annotations

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.matrix import build_matrix
from core.cli.results_matrix import matrix_text
from core.cli.results_report import render_text
from core.config.golden import GoldenInput
from core.scoring.answers import Answer
from tests.support.leaderboards import ALL, Writer, answers, board, inputs, task, words

FORMAT_ONLY = task(content=[])


def made(n: int, stored: list[Answer], golden: list[GoldenInput] | None = None, **keys: object) -> Leaderboard:
    names = dict.fromkeys(one.candidate for one in stored)
    forms = keys.pop("forms", None) or {name: "base" if name == "base" else "adapter" for name in names}
    return board(n, stored, candidates=forms, repeats=3, task=FORMAT_ONLY, golden=golden or inputs(n), **keys)


def of(n: int, **writers: Writer | str) -> list[Answer]:
    return [one for name, write in writers.items() for one in answers(name, n, write)]


def place(one: Answer) -> int:
    return int(one.input_id[1:])


def test_the_headline_gives_the_scores_that_its_difference_is_of() -> None:
    """The tuned one lacks the four inputs at which the base fails: over what both answered the base is better."""
    stored = of(12, base=lambda i, r: "one" if i < 4 else ALL, tuned="one two three four")
    found = made(12, [one for one in stored if one.candidate == "base" or place(one) >= 4])
    assert found.headline.text.startswith("tuned 4.00/5 below base 5.00/5: −1.00 ")
    assert "8 of 12 inputs" in found.headline.text


def test_a_difference_that_is_shown_but_below_the_margin_is_not_called_none() -> None:
    """One word of five less in one repeat of three, at nearly all inputs: −0.21/5, and the margin is 0.25/5."""

    def near(index: int, repeat: int) -> str:
        return ALL.replace("five ", "") if repeat == 0 and index % 3 else ALL

    found = made(30, of(30, base=ALL, near=near))
    (one,) = found.comparisons
    assert one.p_adjusted < 0.05 and abs(one.difference) < found.margin
    assert one.verdict != "tied" or "no difference of 0.25/5 shown from" in found.headline.text
    assert "no difference shown" not in found.headline.text
    assert "= tied set: no difference of at least 0.25 is shown between these" in render_text(found)


def test_who_has_no_answers_is_compared_over_nothing() -> None:
    found = made(12, of(12, base=words(1), tuned=words(2)), forms=dict.fromkeys(("base", "tuned", "gone"), "base"))
    assert "gone: 36 of 36 answers missing; in no comparison." in found.notes
    forms = {"base": "base", "tuned": "adapter", "other": "adapter"}
    found = made(12, of(12, tuned=words(1), other=words(2)), forms=forms)
    assert found.incumbent == "base" and found.comparisons == ()
    assert "base: 36 of 36 answers missing; nobody is compared with the incumbent." in found.notes


def test_a_difference_that_no_two_scores_can_have_is_no_figure() -> None:
    text = render_text(made(2, of(2, base=words(1, 0, 2), tuned=words(2, 4, 5))))
    assert "so few inputs can't be relied on to show any" in text.replace("\n  ", " ")
    assert " > 5 " in text and "9.39" not in text


def test_luck_is_told_of_who_was_chosen_and_not_of_the_incumbent() -> None:
    assert not any("best of" in note for note in made(12, of(12, base=ALL, tuned=ALL, other=ALL)).notes)
    chosen = made(12, of(12, base=words(1, 0, 2), tuned=words(2, 4, 5), other=words(3, 3, 4)))
    assert any(note.startswith("tuned is the best of 3, same inputs: ") for note in chosen.notes)


def kept(n: int, first: int) -> list[GoldenInput]:
    """Golden inputs of which those from `first` on are to confirm by."""
    return [GoldenInput(id=f"i{at}", input="x", use="confirm" if at >= first else "choose") for at in range(n)]


def test_where_all_inputs_are_to_confirm_by_the_choice_was_by_the_same() -> None:
    found = made(12, of(12, base=words(1, 0, 2), tuned=words(2, 4, 5), other=words(3, 3, 4)), kept(12, 0))
    assert found.selection is not None and found.selection.same_inputs
    assert any(note.startswith("tuned is the best of 3, same inputs: ") for note in found.notes)


def test_a_choice_that_cannot_be_confirmed_is_said_not_to_be() -> None:
    stored = of(12, base=words(1, 0, 2), tuned=words(2, 4, 5), other=words(3, 3, 4))
    found = made(12, [one for one in stored if one.candidate != "tuned" or place(one) < 6], kept(12, 6))
    (said,) = [note for note in found.notes if "best of 3" in note]
    assert said.endswith("It can't be confirmed: on no input to confirm by have both an answer.")


def test_a_matrix_counts_sources_and_compares_nobody_alone() -> None:
    one = made(12, of(12, base=words(1, 0, 2), tuned=words(2, 4, 5)), inputs(12, 1))
    assert (
        "a: 1 source can reach p 1 at best over 2 tasks. Add 6 for p 0.05." in build_matrix({"a": one, "b": one}).notes
    )
    alone = made(12, of(12, base=words(1)))
    text = matrix_text(build_matrix({"a": alone, "b": alone}), 100)
    assert "wins" not in text and "base" in text
