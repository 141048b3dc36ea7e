"""Which pair is offered next, and what choosing them does to what may be said afterwards."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.marking.usefulness import RANDOM_EVERY, AnswerSide, Level, MarkingOffer, Pair, next_offer, split
from core.statistics.paired import Paired, clusters_needed
from core.statistics.permutation import flip_test


def side(name: str, text: str, **values: object) -> AnswerSide:
    return AnswerSide(name, text, f"{name} {text}", **{"captures": {}, **values})  # type: ignore[arg-type]


def pair(name: str, one: AnswerSide, other: AnswerSide, text: str = "") -> Pair:
    return Pair(name, text or f"a letter about {name}", one, other)


def mirrored(pairs: Sequence[Pair]) -> list[Pair]:
    return [Pair(one.input_id, one.text, one.other, one.one, one.bound) for one in pairs]


def offers(pairs: Sequence[Pair], seed: int, **options: bool) -> list[MarkingOffer]:
    """All offers, one after the other, each of them marked."""
    found: list[MarkingOffer] = []
    while offer := next_offer(pairs, [one.pair.input_id for one in found], seed, **options):
        found.append(offer)
    return found


LEVELS = {
    Level.CAPTURES: (
        side("a", "yes. PASS", captures={"v": ["PASS"]}),
        side("b", "yes. FAIL", captures={"v": ["FAIL"]}),
    ),
    Level.CHECKS: (
        side("a", "**PASS**", captures={"v": ["PASS"]}, checks=(1.0, 0.0)),
        side("b", "PASS", captures={"v": ["PASS"]}, checks=(1.0, 1.0)),
    ),
    Level.TEXT: (side("a", "The roof leaks"), side("b", "Tiles are missing")),
    Level.OBVIOUS: (side("a", "", modes=("empty",)), side("b", "PASS", captures={"v": ["PASS"]})),
    Level.ALIKE: (side("a", "PASS "), side("b", "PASS")),
}


@pytest.mark.parametrize("level", Level)
def test_what_tells_the_most_has_the_first_level(level: Level) -> None:
    assert pair("x", *LEVELS[level]).level == level
    assert pair("x", *reversed(LEVELS[level])).level == level


def test_levels_come_in_their_order_and_a_third_of_the_offers_is_of_chance() -> None:
    pairs = [pair(f"{level.name}-{number}", *LEVELS[level]) for level in Level for number in range(12)]
    found = offers(pairs, seed=7)
    assert {one.pair.input_id for one in found} == {one.input_id for one in pairs}
    useful = [one.pair.level for one in found if one.chosen == "disagreement"]
    assert useful == sorted(useful)
    told_apart = [one for one in found if one.chosen == "disagreement" and one.pair.level < Level.OBVIOUS]
    beginning = found[: RANDOM_EVERY * len(told_apart) // (RANDOM_EVERY - 1)]
    assert [one.chosen == "random" for one in beginning] == [
        number % RANDOM_EVERY == RANDOM_EVERY - 1 for number in range(len(beginning))
    ]
    of_chance = [one.pair.input_id for one in found if one.chosen == "random"]
    assert of_chance == split([one.input_id for one in pairs], 7)
    assert {one.chosen for one in offers(pairs, seed=7, only_random=True)} == {"random"}


def test_within_a_level_answers_that_differ_most_go_first_and_inputs_that_are_like_a_marked_one_last() -> None:
    texts = {"boat": "The boat is painted red", "ship": "The boat is painted blue", "choir": "Altos are missing"}
    pairs = [pair(name, side("a", "yes"), side("b", "no, never"), text) for name, text in texts.items()]
    pairs += [pair("near", side("a", "It leaks a lot"), side("b", "It leaks a bit"), "Something else altogether")]
    seed = next(s for s in range(1000) if set(split([*texts, "near"], s)) == {"ship", "near"})
    first = next_offer(pairs, [], seed, known=["The boat is painted green"])
    assert first is not None and first.pair.input_id == "choir"
    seed = next(s for s in range(1000) if set(split([*texts, "near"], s)) == {"ship", "choir"})
    first = next_offer(pairs, [], seed)
    assert first is not None and first.pair.input_id == "boat"


ANSWERS = st.builds(
    lambda text, captured, check: side("", text, captures={"v": captured}, checks=(check,)),
    st.sampled_from(["", "yes", "no", "the roof leaks", "the roof leaks a lot"]),
    st.lists(st.sampled_from(["PASS", "FAIL"]), max_size=2),
    st.sampled_from([0.0, 1.0]),
)


@given(answers=st.lists(st.tuples(ANSWERS, ANSWERS), max_size=9), seed=st.integers(0, 50))
def test_an_offer_is_the_same_when_the_two_candidates_change_places(
    answers: list[tuple[AnswerSide, AnswerSide]], seed: int
) -> None:
    """By this a test by flipping signs keeps its level: the choice knows nothing of who is who."""
    pairs = [pair(f"input-{number}", one, other) for number, (one, other) in enumerate(answers)]
    found, other = offers(pairs, seed), offers(mirrored(pairs), seed)
    assert [(one.pair.input_id, one.chosen) for one in found] == [(one.pair.input_id, one.chosen) for one in other]
    assert [one.left for one in found] == [one.right for one in other]


POOL, MARKED, RUNS, PARTS = 40, 24, 500, 4


def simulated(chance: random.Random, right: Sequence[float], parts: int = PARTS) -> tuple[list[Pair], dict[str, float]]:
    """Two candidates' answers to production inputs, and the difference that a mark would show. An answer has four parts, each
    of which is right or one of three wrong ones; a harder input is hard for both."""
    pairs, truth = [], {}
    for number in range(POOL):
        hard = chance.random()
        sides, scores = [], []
        for name, base in zip("ab", right, strict=True):
            wrong = [chance.random() > base + (0.5 - hard) * 0.6 for _ in range(parts)]
            said = [str(chance.randrange(3)) if one else "right" for one in wrong]
            words = " ".join(chance.choice(("roof", "boat", "bees", "choir", "gate")) for _ in range(6))
            sides.append(side(name, f"{words} {' '.join(said)}", captures={"v": said}))
            scores.append(1 - sum(wrong) / parts)
        pairs.append(pair(str(number), sides[0], sides[1], " ".join(chance.choices("abcdefghij", k=12))))
        truth[str(number)] = scores[0] - scores[1]
    return pairs, truth


def marked(
    pairs: Sequence[Pair], seed: int, truth: dict[str, float], difference: float = 0.3
) -> list[tuple[str, float]]:
    """(how it was chosen, difference) of the inputs that are marked until the countdown is at its end, or a person is tired."""
    found: list[tuple[str, float]] = []
    names: list[str] = []
    while len(found) < MARKED and (offer := next_offer(pairs, names, seed)):
        names.append(offer.pair.input_id)
        found.append((offer.chosen, truth[offer.pair.input_id]))
        random_ones = [value for chosen, value in found if chosen == "random"]
        if len(random_ones) >= 4:
            spread = Paired(tuple(random_ones), tuple(map(str, range(len(random_ones))))).deviation
            needed = clusters_needed(spread, difference)
            if needed is not None and needed <= len(random_ones):
                break
    return found


def test_two_equal_models_are_not_told_apart_more_often_than_one_time_in_twenty() -> None:
    """Whatever the disagreements that are chosen, and though marking ends when the countdown says so."""
    chance = random.Random(15)
    shown = 0
    for run in range(RUNS):
        pairs, truth = simulated(chance, (0.6, 0.6))
        values = [value for _, value in marked(pairs, run, truth)]
        shown += flip_test(np.array([values])).p[0] <= 0.05
    # 5 % and three standard errors of so many runs.
    assert shown / RUNS <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS), shown


def test_what_was_chosen_for_the_disagreement_shows_a_difference_too_large_and_what_chance_chose_the_true_one() -> None:
    chance = random.Random(3)
    by_choice: dict[str, list[float]] = {"random": [], "disagreement": []}
    everywhere: list[float] = []
    for run in range(150):
        pairs, truth = simulated(chance, (0.7, 0.55), parts=1)
        everywhere += truth.values()
        for chosen, value in marked(pairs, run, truth, difference=1e-6):
            by_choice[chosen].append(value)
    true = fmean(everywhere)
    error = np.std(by_choice["random"]) / math.sqrt(len(by_choice["random"]))
    assert abs(fmean(by_choice["random"]) - true) < 3 * error
    assert fmean(by_choice["disagreement"]) > 1.3 * true
    assert np.std(by_choice["disagreement"]) > 1.1 * np.std(by_choice["random"])
