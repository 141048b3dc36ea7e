"""What the answers of a candidate have in common: from which share on it has a symptom, and which answer shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.diagnosis.symptoms import CODES, find_symptoms, short_and_alike
from core.failure_modes import SeenAnswer
from tests.unit.test_failure_modes import GOOD, SYSTEM, asked


def answers(texts: Sequence[str], tokens: int = 78, **values: Any) -> list[SeenAnswer]:
    return [
        asked(text, input_id=f"input-{number}", completion_tokens=tokens, **values) for number, text in enumerate(texts)
    ]


SENTENCE = "The note is good and the score is 4"


@pytest.mark.parametrize(
    ("given", "usual", "count"),
    [
        (answers([SENTENCE] * 6), None, 6),
        (answers([f"The note is good and the score is {n}" for n in range(6)]), None, 6),  # but for figures
        (answers(["PASS"] * 6, tokens=2), None, None),  # every note may have passed
        (answers(["PASS"] * 6, tokens=2), 200.0, 6),  # the others write a table
        (answers([SENTENCE] * 3), None, None),  # too few inputs to say
        (answers([*[SENTENCE] * 5, *[GOOD] * 5]), None, None),
        (answers([f"{GOOD} {n * 'x'}" for n in range(8)]), 80.0, None),
        (answers([f"note {'abcdefgh'[n]} is fine" for n in range(8)]), 400.0, 8),  # 78 tokens each, whatever was asked
        (answers([f"note {'abcdefgh'[n]} is fine" for n in range(8)]), 100.0, None),
        (answers([""] * 8), 100.0, None),
        ([], None, None),
    ],
)
def test_answers_that_are_all_alike(given: list[SeenAnswer], usual: float | None, count: int | None) -> None:
    found = short_and_alike(given, usual)
    assert (None if found is None else len(found)) == count


def test_a_candidate_has_a_symptom_from_its_share_of_answers_on_and_never_by_one_answer() -> None:
    ill, well = answers([SYSTEM]), answers([f"{GOOD} {n * 'x'}" for n in range(19)], tokens=90)
    assert find_symptoms([*ill, *well]) == ()
    (found,) = find_symptoms([*ill * 2, *well[:18]])
    assert (found.code, found.count, found.of, found.input_id) == ("echo_instructions", 2, 20, "input-0")
    assert found.excerpt.startswith("You grade notes.")
    assert [one.code for one in find_symptoms(ill)] == ["echo_instructions"]
    assert find_symptoms([]) == ()


def test_the_most_frequent_symptom_stands_first_and_shows_where_it_is_seen() -> None:
    looped = answers(["Fine. " + "The note is good. " * 30] * 5, finish="length")
    found = find_symptoms([*looped, *answers([SYSTEM] * 2)])
    assert [one.code for one in found[:2]] in (["cut", "repetition"], ["repetition", "cut"])
    assert found[-1].code == "echo_instructions"
    assert next(one for one in found if one.code == "repetition").excerpt.endswith("The note is good. ")


def test_every_symptom_has_words() -> None:
    from core.wording.diagnosis import NAMES, SYMPTOMS

    assert set(CODES) == set(NAMES) == set(SYMPTOMS)
