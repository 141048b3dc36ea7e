"""The time left is told once the pace is known, and then it is near the truth; until then it is not known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.time_left import LEAST, WARM_UP, WINDOW, Pace


def told(seconds: list[float], pace: Pace | None = None) -> list[float | None]:
    """What is said after each step of a job that takes so long for each."""
    pace = pace or Pace()
    found = []
    for done, taken in enumerate(seconds, start=1):
        pace.step(taken)
        found.append(pace.left(len(seconds) - done))
    return found


def test_a_first_step_of_minutes_in_a_job_of_three_minutes_is_not_believed() -> None:
    """48 steps, of which the first took 45 s: at 2 % it had said 36 minutes."""
    steps = [45.0, 6.0, *[3.0] * 46]
    said = told(steps)
    assert said[: WARM_UP + LEAST - 1] == [None] * (WARM_UP + LEAST - 1)
    assert all(left == pytest.approx(3.0 * (47 - index)) for index, left in enumerate(said) if left is not None)
    assert said[WARM_UP + LEAST - 1] is not None


@pytest.mark.parametrize("slow", [2, 5, 11])
def test_slow_steps_that_go_on_are_waited_for(slow: int) -> None:
    steps = [40.0 / (1 + number) for number in range(slow)] + [2.0] * 80
    for index, left in enumerate(told(steps)):
        if left is not None:
            assert left == pytest.approx(sum(steps[index + 1 :]), rel=0.25, abs=0.01)


def test_a_pace_that_changes_is_the_new_one_after_a_window() -> None:
    steps = [1.0] * 40 + [4.0] * 60
    assert told(steps)[40 + WINDOW] == pytest.approx(4.0 * (60 - WINDOW - 1))


def test_what_recurs_between_steps_is_counted() -> None:
    pace = Pace()
    for number in range(100):
        pace.step(1.0)
        if number % 10 == 9:
            pace.pause(20.0)  # an evaluation
    assert pace.left(100) == pytest.approx(100 * 3.0, rel=0.05)


@pytest.mark.parametrize("steps", [[], [5.0], [5.0, 5.0, 5.0]])
def test_a_job_of_few_steps_never_says(steps: list[float]) -> None:
    assert told([*steps, 1.0])[:-1] == [None] * len(steps)
    assert Pace().left(0) == 0.0


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0])
def test_a_time_that_is_none_is_passed_over(nonsense: float) -> None:
    pace = Pace()
    for _ in range(10):
        pace.step(2.0)
        pace.step(nonsense)
        pace.step(2.0, units=0)
    assert pace.left(10) == pytest.approx(20.0)


@given(
    seed=st.integers(0, 2**32),
    step=st.floats(0.05, 60),
    noise=st.floats(0, 0.3),
    first=st.floats(1, 60),
    count=st.integers(10, 200),
)
def test_whatever_the_pace_what_is_told_is_near_the_truth(
    seed: int, step: float, noise: float, first: float, count: int
) -> None:
    """Steps that vary as examples of different lengths do, behind a first one that is up to sixty times as long."""
    numbers = random.Random(seed)
    steps = [step * first, *(step * (1 + noise * numbers.uniform(-1, 1)) for _ in range(count - 1))]
    for index, left in enumerate(told(steps)):
        rest = steps[index + 1 :]
        if left is not None and len(rest) >= WINDOW:
            assert left == pytest.approx(sum(rest), rel=0.3)


@given(st.integers(0, 2**32), st.floats(0.3, 1.2))
def test_of_an_unsteady_pace_a_range_is_told_and_the_truth_is_mostly_in_it(seed: int, spread: float) -> None:
    """Steps of a machine with other work: the range covers the mean pace in most jobs, and is never told beside nothing."""
    drawn = random.Random(seed)
    pace = Pace()
    for _ in range(WARM_UP + WINDOW):
        pace.step(drawn.lognormvariate(0.0, spread))
    found, left = pace.between(30), pace.left(30)
    if left is not None:
        assert found is not None and found[0] <= left <= found[1]
    if found is not None:
        assert 0 < found[0] < found[1]


def test_a_range_covers_the_pace_of_most_unsteady_jobs() -> None:
    inside = 0
    for seed in range(400):
        drawn = random.Random(seed)
        pace = Pace()
        for _ in range(WARM_UP + WINDOW):
            pace.step(drawn.uniform(0.5, 3.5))
        found = pace.between(10)
        assert found is not None
        inside += found[0] <= 10 * 2.0 <= found[1]
    assert inside > 0.85 * 400


def test_no_range_is_told_of_too_few_steps_or_of_nothing_left() -> None:
    pace = Pace()
    for _ in range(WARM_UP + LEAST - 1):
        pace.step(1.0)
    assert pace.between(5) is None
    pace.step(1.0)
    assert pace.between(5) == (5.0, 5.0) and pace.between(0) is None
