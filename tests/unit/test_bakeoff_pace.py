"""The time that a bake-off still takes, over whole bake-offs that are played: every moment beside what then came."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from jobs.bakeoff.pace import BakeoffPace, TimeLeft, UnderWay
from tests.support.depth import example_count

LIMIT = 1024


@dataclass
class Moment:
    """What was said `at` a moment of the bake-off, in seconds, and what was under way then."""

    at: float
    said: TimeLeft | None
    slack: float
    """What nobody can know: how much longer or shorter than usual the answers still to come turn out by chance."""
    warm: bool
    answered: int
    """Answers of the last candidate so far."""


@dataclass
class Played:
    moments: list[Moment] = field(default_factory=list)
    end: float = 0.0

    def figures(self) -> list[tuple[Moment, float]]:
        """The moments at which one figure was said, with the truth."""
        return [(one, self.end - one.at) for one in self.moments if one.said and one.said.low == one.said.high]


def play(
    seed: int,
    *,
    candidates: int = 7,
    tasks: int = 8,
    inputs: int = 24,
    repeats: int = 3,
    batch: int | None = None,
    exponent: float = 0.2,
    variation: float = 0.4,
    interaction: float = 0.1,
    load_seconds: tuple[float, float] = (3.0, 60.0),
) -> Played:
    """A bake-off of candidates whose speeds and verbosities differ tenfold and threefold. `batch`: of models loaded by the job,
    so many answers together; else one after the other, as a server's answers are told. `variation` of the tokens of a task's
    answers over their mean; by `interaction` a candidate differs in a task from what its other tasks let expect.
    """
    rng = random.Random(seed)
    names, works = [f"c{number}" for number in range(candidates)], [f"t{number}" for number in range(tasks)]
    length = {task: rng.lognormvariate(4.2, 0.8) for task in works}
    verbosity = {name: rng.lognormvariate(0.0, 0.4) for name in names}
    rate = {name: rng.lognormvariate(-4.0, 0.8) for name in names}
    pace = BakeoffPace({name: dict.fromkeys(works, inputs * repeats) for name in names}, [[name] for name in names])
    played, now, looks = Played(), 0.0, random.Random(seed)
    often = min(1.0, (100 if batch is None else 30) / (candidates * tasks * inputs * repeats / (batch or 1)))
    for name in names:
        seconds = rng.uniform(*load_seconds)
        now += seconds
        pace.loaded(name, seconds)
        answered = 0
        for task in works:
            usual = length[task] * verbosity[name] * rng.lognormvariate(0.0, interaction)
            draws = [
                max(1, min(LIMIT, round(usual * rng.lognormvariate(-(variation**2) / 2, variation))))
                for _ in range(inputs * repeats)
            ]
            size = batch or 1
            for start in range(0, len(draws), size):
                left = (len(draws) - start) / size + (len(works) - 1 - works.index(task)) * len(draws) / size
                noise = 2.5 * (variation if batch is None else variation / 2) * math.sqrt(max(1.0, left))
                group = draws[start : start + size]
                took = rate[name] * max(group) * len(group) ** exponent * rng.uniform(0.95, 1.05)
                last = name == names[-1]
                looked = looks.random() < often or (last and answered < 32)
                for share in () if not looked else (0.1, 0.5, 0.9) if batch else (0.5,):
                    steps = round(share * max(group)) if batch else 0
                    under_way = UnderWay(name, task, len(group), steps, LIMIT)
                    usually = rate[name] * usual * size**exponent * (1.0 if batch is None else 1.6)
                    slack = max(noise * usually, took if batch is None else 0.0)
                    said = pace.left(share * took, under_way)
                    played.moments.append(Moment(now + share * took, said, slack, last and answered > 0, answered))
                now += took
                answered += len(group)
                pace.answered(name, task, group, took)
                if looked:
                    played.moments.append(Moment(now, pace.left(), slack, last, answered if last else 0))
    played.end = now
    return played


EVEN = {"variation": 0.15, "interaction": 0.05}
STEADY: dict[str, dict[str, Any]] = {
    "served": {**EVEN},
    "served, one task": {**EVEN, "candidates": 3, "tasks": 1, "inputs": 12},
    "in process, GPU": {"batch": 16, "exponent": 0.1, **EVEN, "candidates": 4, "tasks": 5},
    "in process, CPU": {"batch": 16, "exponent": 0.8, **EVEN, "candidates": 4, "tasks": 5},
}
CHANCE: dict[str, dict[str, Any]] = {
    "served": {},
    "in process, GPU": {"batch": 16, "exponent": 0.1, "candidates": 5, "tasks": 5},
    "in process, CPU": {"batch": 16, "exponent": 0.8, "candidates": 5, "tasks": 5},
    "few answers": {"candidates": 3, "tasks": 1, "inputs": 12},
    "few batches": {"candidates": 3, "tasks": 2, "inputs": 12, "batch": 16, "exponent": 0.3},
    "long answers that vary": {"variation": 0.8, "candidates": 4, "tasks": 3},
}


@cache
def plays(kind: str, *, steady: bool = False) -> list[Played]:
    return [play(seed, **(STEADY if steady else CHANCE)[kind]) for seed in range(example_count(6))]


def figures_off(kind: str, *, steady: bool) -> tuple[list[tuple[float, float]], int]:
    """(said, truth) of the figures that are off by more than a third and by more than chance, and how many there are."""
    figures = [pair for one in plays(kind, steady=steady) for pair in one.figures()]
    off = [
        (moment.said.low, truth)
        for moment, truth in figures
        if moment.said is not None and abs(moment.said.low - truth) > max(truth / 3, moment.slack)
    ]
    return off, len(figures)


@pytest.mark.parametrize("kind", STEADY)
def test_where_speeds_are_steady_a_figure_is_right_within_a_third(kind: str) -> None:
    off, count = figures_off(kind, steady=True)
    assert count >= 200 and len(off) <= 0.01 * count, off


@pytest.mark.parametrize("kind", CHANCE)
def test_where_answers_vary_a_figure_is_as_a_rule_right_within_a_third(kind: str) -> None:
    """The last answers of a run can all turn out long, which nobody can know."""
    off, count = figures_off(kind, steady=False)
    assert count >= 50 and len(off) <= 0.15 * count, off[:20]


def test_until_then_it_is_a_range_that_as_a_rule_holds_the_truth() -> None:
    """How fast a candidate is that has not answered nobody knows: the next model can be ten times as slow as the first."""
    said = [
        (moment.said, one.end - moment.at)
        for kind in CHANCE
        for one in plays(kind)
        for moment in one.moments
        if moment.said is not None and moment.said.low < moment.said.high
    ]
    assert len(said) >= 500
    assert sum(told.low <= truth <= told.high for told, truth in said) >= 0.8 * len(said)


@pytest.mark.parametrize(("kind", "steady"), [*((kind, True) for kind in STEADY), *((kind, False) for kind in CHANCE)])
def test_it_is_a_range_until_the_last_candidate_has_answered_and_a_figure_soon_after(kind: str, steady: bool) -> None:
    """After as many answers as it takes to know their mean within a third, which is more where they vary more."""
    for one in plays(kind, steady=steady):
        before = [moment.said for moment in one.moments if not moment.warm and moment.said]
        assert all(told.low < told.high for told in before)
        figures = [moment.answered for moment, _ in one.figures()]
        if steady:
            assert figures[0] <= 16, "three answers, or a batch"
        elif kind not in ("few batches", "long answers that vary"):
            assert figures[0] <= 32, "a dozen answers, or two batches"
        else:
            assert figures


def test_nothing_is_said_before_anybody_has_answered_and_nothing_is_left_at_the_end() -> None:
    pace = BakeoffPace({"base": {"judge": 2, "seeder": 1}}, [["base"]])
    assert pace.left() is None
    pace.loaded("base", 9.0)
    assert pace.left(5.0, UnderWay("base", "judge", 2, 10, LIMIT)) is None
    pace.answered("base", "judge", [10, 20], 4.0)
    told = pace.left()
    assert told is not None and 0 < told.low < told.high
    assert told.event_fields == {"eta_low_seconds": told.low, "eta_high_seconds": told.high}
    pace.settled("base", "seeder")
    assert pace.left() == TimeLeft(0.0, 0.0)
    assert TimeLeft(0.0, 0.0).event_fields == {"eta_seconds": 0.0}


def test_a_batch_in_the_middle_of_its_answers_counts_down() -> None:
    """It is told every two seconds: half an hour must not be ten minutes for a while."""
    pace = BakeoffPace({"base": {"judge": 48 * 4}}, [["base"]])
    for _ in range(3):
        pace.answered("base", "judge", [*range(280, 327), 330], 66.0)
    steps = range(0, 280, 10)
    left = []
    for step in steps:
        told = pace.left(0.2 * step, UnderWay("base", "judge", 48, step, LIMIT))
        assert told is not None and told.low == told.high == pytest.approx(0.2 * (330 - step), rel=0.1)
        left.append(told.low)
    assert left == sorted(left, reverse=True)


def test_a_batch_that_takes_twice_as_long_per_step_is_seen_in_its_middle() -> None:
    """Somebody uses the GPU as well: the steps of the batch that is under way tell its pace."""
    pace = BakeoffPace({"base": {"judge": 32}}, [["base"]])
    pace.answered("base", "judge", [100] * 16, 10.0)
    told = pace.left(10.0, UnderWay("base", "judge", 16, 50, LIMIT))
    assert told is not None and told.low == told.high == pytest.approx(10.0, rel=0.1)


def test_what_was_there_already_is_no_work_and_tells_nothing() -> None:
    pace = BakeoffPace({"base": {"judge": 300}, "tuned": {"judge": 300}}, [["base", "tuned"]])
    pace.settled("base", "judge", 300)
    assert pace.left() is None, "that they are there does not say what an answer takes"
    for _ in range(100):
        pace.answered("tuned", "judge", [50], 2.0)
    told = pace.left()
    assert told is not None and told.low == told.high == pytest.approx(400.0, rel=0.01)


def test_loads_to_come_are_counted() -> None:
    pace = BakeoffPace({"a": {"judge": 20}, "b": {"judge": 1}}, [["a"], ["b"]])
    pace.loaded("a", 100.0)
    for _ in range(20):
        pace.answered("a", "judge", [10], 0.1)
    told = pace.left()
    assert told is not None and told.low < 100.0 < told.high < 250.0
    pace.loaded("b", 90.0)
    told = pace.left()
    assert told is not None and told.high < 1.0


@pytest.mark.parametrize("tokens", [[], [0], [0, 0]])
def test_answers_without_tokens_and_clocks_that_stand_break_nothing(tokens: list[int]) -> None:
    pace = BakeoffPace({"a": {"judge": 8}}, [["a"]])
    for seconds in (0.0, float("nan"), float("inf"), -1.0):
        pace.answered("a", "judge", tokens, seconds)
    told = pace.left(float("inf"), UnderWay("a", "judge", 4, 0))
    assert told is None or told.low >= 0.0


def served(**answered: list[int]) -> BakeoffPace:
    """Ten answers are wanted of each candidate; those that it gave came one by one at ten tokens a second."""
    pace = BakeoffPace({name: {"judge": 10} for name in answered}, [[name] for name in answered])
    for name, tokens in answered.items():
        for count in tokens:
            pace.answered(name, "judge", [count], count / 10)
    return pace


@pytest.mark.parametrize(("coming", "seconds"), [((25,), 17.5), ((99,), 10.1), ((50, 50, 0), 10.0), ((), 20.0)])
def test_an_answer_of_a_server_counts_down_by_its_tokens(coming: tuple[int, ...], seconds: float) -> None:
    pace = served(base=[100] * 8)
    left = pace.left(0.0, UnderWay("base", "judge", limit=1024, alone=coming))
    assert left is not None and left.low == left.high == pytest.approx(seconds, rel=0.05)


def test_one_that_turns_out_long_holds_up_what_follows_and_says_so() -> None:
    pace = served(base=[80, 100, 120] * 3)
    told = []
    for steps in range(0, 1025, 64):
        left = pace.left(steps / 10, UnderWay("base", "judge", limit=1024, alone=(steps,)))
        assert left is not None
        told.append(left.high)
    # The only one left: never nothing, and at its limit it is over.
    assert all(seconds > 0 for seconds in told[:-1]) and told[-1] == pytest.approx(0.0, abs=0.1)
    assert told[4] == pytest.approx(25.6 * 0.1, rel=0.3), "a tenth of what it has taken"


def test_the_first_answer_of_all_tells_a_range_that_holds_the_truth_and_narrows() -> None:
    pace = BakeoffPace({"base": {"judge": 3}}, [["base"]])
    assert pace.left(1.0, UnderWay("base", "judge", limit=200, alone=(3,))) is None, "it may have waited for its prompt"
    widths = []
    for steps in range(20, 200, 20):
        left = pace.left(steps / 10, UnderWay("base", "judge", limit=200, alone=(steps,)))
        assert left is not None and left.low <= 3 * 20.0 - steps / 10 <= left.high
        widths.append(left.high - left.low)
    assert widths == sorted(widths, reverse=True)


def test_the_first_answer_of_a_later_candidate_moves_the_range() -> None:
    pace = served(base=[100] * 10, tuned=[])
    told = [pace.left(waited, UnderWay("tuned", "judge", limit=1024, alone=(int(waited),))) for waited in (1.0, 5.0)]
    assert told[0] is not None and told[1] is not None
    assert told[0].low < told[0].high and told[1].high < told[0].high
