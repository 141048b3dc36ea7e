"""Losses and gradient norms that are no numbers, explode or are zero, and trainings that are well."""

from __future__ import annotations

import math

import pytest

from tests.support.watched_run import START, Run


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_found_at_once_and_told_once(value: float) -> None:
    run = Run.begin()
    run.steps(10)
    run.losses([value] * 5)
    assert [(finding.code, finding.stop, finding.time) for finding in run.found] == [("nan", True, START + 11)]
    assert run.found[0].message == f"the loss is {value} at step 11"


def test_also_a_gradient_norm_and_a_held_out_loss() -> None:
    run = Run.begin(nan="warn")
    run.steps(1, grad_norm=math.nan)
    run.steps(1)
    run.event("eval", step=2, loss=math.nan)
    run.check()
    assert [finding.message for finding in run.found] == [
        "the gradient norm is nan at step 1",
        "the loss is nan held out, at step 2",
    ]
    assert not any(finding.stop for finding in run.found)


def test_one_norm_that_overflows_is_a_lost_step_and_two_in_a_row_are_a_lost_run() -> None:
    run = Run.begin()
    for norm in (0.5, math.inf, 0.5, math.inf, 0.5):
        run.steps(1, grad_norm=norm)
    assert run.found == []
    run.steps(3, grad_norm=math.inf)
    assert [(finding.code, finding.time - START) for finding in run.found] == [("nan", 7)]


def test_a_common_training_is_left_alone() -> None:
    """Loss falls from 4 with single bad batches; norms start tiny, as those of a fresh adapter do, and wobble."""
    run = Run.begin()
    for number in range(400):
        loss = 0.4 + 3.6 * math.exp(-number / 60) * (1.8 if number % 13 == 0 else 1.0)
        norm = min(1.0, number / 15) * (2.0 + math.sin(number)) * (6.0 if number % 37 == 0 else 1.0)
        run.steps(1, loss=loss, grad_norm=norm)
    assert run.found == []


def test_a_loss_that_explodes_is_found_within_its_third_step() -> None:
    run = Run.begin()
    run.steps(40, loss=0.5)
    run.losses([0.6, 3.0, 6.0, 11.0, 11.0, 11.0])
    assert [(finding.code, finding.stop, finding.time - START) for finding in run.found] == [("exploding", False, 44)]
    assert run.found[0].message == "the loss is 11 at step 44, where 0.5 was usual"


def test_also_a_gradient_norm() -> None:
    run = Run.begin(exploding="stop")
    run.steps(40, grad_norm=0.2)
    run.steps(3, grad_norm=400.0)
    assert [(finding.code, finding.stop) for finding in run.found] == [("exploding", True)]
    assert "gradient norm" in run.found[0].message


def test_one_wild_batch_is_no_explosion_nor_is_a_small_loss_that_grows() -> None:
    run = Run.begin()
    run.steps(40, loss=0.5)
    run.losses([9.0, 0.5, 9.0, 9.0, 0.5])
    run.steps(100, loss=0.001)
    run.steps(10, loss=0.02)
    assert run.found == []


def test_nothing_is_an_explosion_in_the_warm_up() -> None:
    run = Run.begin()
    run.losses([0.1] * 15 + [12.0] * 5, grad_norm=50.0)
    assert run.found == []


def test_a_loss_of_zero_from_the_start_is_found_at_its_fifth_step() -> None:
    run = Run.begin()
    run.losses([0.0] * 9)
    assert [(finding.code, finding.time - START) for finding in run.found] == [("zero_loss", 5)]
    assert "from the first step on" in run.found[0].message


def test_a_loss_that_falls_to_zero_at_once_is_found_and_one_that_shrinks_to_it_is_not() -> None:
    fell, shrank = Run.begin(), Run.begin()
    fell.losses([2.1] * 30 + [0.0] * 5)
    shrank.losses([2.1 * 0.7**number for number in range(30)] + [0.0] * 20)
    assert fell.codes == ["zero_loss"]
    assert shrank.codes == []


def test_single_losses_of_zero_are_no_trouble() -> None:
    run = Run.begin()
    run.losses([1.0, 0.0, 0.0] * 10)
    assert run.found == []


def test_what_was_found_is_told_again_after_the_run_began_anew() -> None:
    run = Run.begin()
    run.losses([math.nan] * 3)
    run.event("ladder", rung=1, reason="out of memory", from_step=None)
    run.step = 0
    run.losses([math.nan] * 3)
    assert run.codes == ["nan", "nan"]


def test_a_loss_that_is_not_told_is_no_loss_of_zero() -> None:
    run = Run.begin()
    for step in range(1, 30):
        run.event("step", step=step, total=100, loss=None)
    run.check()
    assert run.found == []
