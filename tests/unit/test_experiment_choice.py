"""What a training chooses by its trials: a learning rate, and in a race whether it is done at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import GateError
from core.experiments.choice import Censored, Chosen, HeldOut, Trial, choose, from_json, to_json
from core.jobfile.train import TrialChoice, TrialRef


def trials(**arms: list[float]) -> list[TrialRef]:
    """A trial an arm and learning rate, in jobs 1, 2, … as they are named."""
    flat = [(arm, lr) for arm, rates in arms.items() for lr in rates]
    return [TrialRef(arm=arm, job=number, lr=lr) for number, (arm, lr) in enumerate(flat, 1)]


def reached(*losses: float | None, tokens: int = 100, size: int = 400) -> dict[int, HeldOut | None]:
    """What jobs 1, 2, … reached, all on the same examples."""
    return {
        job: None if loss is None else HeldOut(loss, tokens, size, "the same") for job, loss in enumerate(losses, 1)
    }


def test_the_learning_rate_of_the_lowest_held_out_loss_is_taken_with_all_that_was_seen() -> None:
    choice = TrialChoice(arm="a", trials=trials(a=[2e-5, 5e-5, 1e-4], b=[2e-5]))
    found = choose(choice, reached(1.2, 0.9, 1.0, 0.1))
    bits = {loss: loss * 100 / 400 / math.log(2) for loss in (1.2, 0.9, 1.0)}
    assert found == Chosen(
        5e-5,
        (
            Trial("a", 1, 2e-5, 1.2, bits[1.2]),
            Trial("a", 2, 5e-5, 0.9, bits[0.9]),
            Trial("a", 3, 1e-4, 1.0, bits[1.0]),
        ),
    )


def test_of_rates_that_do_equally_well_the_lowest_is_taken() -> None:
    choice = TrialChoice(arm="a", trials=trials(a=[1e-4, 2e-5, 5e-5]))
    found = choose(choice, reached(0.5, 0.5, 0.5))
    assert isinstance(found, Chosen) and found.lr == 2e-5


def test_a_trial_that_failed_is_passed_over_and_shown() -> None:
    found = choose(TrialChoice(arm="a", trials=trials(a=[2e-5, 5e-5])), reached(None, 0.9))
    assert isinstance(found, Chosen) and found.lr == 5e-5
    assert found.trials[0] == Trial("a", 1, 2e-5, None, None)


def test_without_any_trial_of_its_own_nothing_is_chosen_whatever_others_reached() -> None:
    choice = TrialChoice(arm="b", trials=trials(a=[2e-5], b=[2e-5, 5e-5]), keep=2)
    with pytest.raises(GateError, match="jobs 2, 3") as refused:
        choose(choice, reached(0.1, None, None))
    assert refused.value.code == "no_trial" and "retry job 2" in str(refused.value)


def test_bits_per_byte_compare_over_tokenizers_where_losses_a_token_do_not() -> None:
    """The same text in 40 tokens at 2 nats, and in 100 at 1 nat: the first needs fewer bits though its loss is higher."""
    long_tokens, short_tokens = HeldOut(2.0, 40, 400, "same"), HeldOut(1.0, 100, 400, "same")
    assert long_tokens.bits_per_byte == pytest.approx(2 * 40 / 400 / math.log(2))
    assert long_tokens.bits_per_byte < short_tokens.bits_per_byte
    race = trials(a=[1e-4], b=[1e-4])
    seen = {1: long_tokens, 2: short_tokens}
    assert isinstance(choose(TrialChoice(arm="a", trials=race, keep=1), seen), Chosen)
    assert choose(TrialChoice(arm="b", trials=race, keep=1), seen) == Censored(
        2, 2, 1, (Trial("b", 2, 1e-4, 1.0, short_tokens.bits_per_byte),)
    )


def test_arms_that_are_level_share_a_place_so_that_none_is_out_by_its_name() -> None:
    race = trials(a=[1e-4], b=[1e-4], c=[1e-4], d=[1e-4])
    seen = reached(0.5, 0.7, 0.7, 0.9)
    found = {arm: choose(TrialChoice(arm=arm, trials=race, keep=2), seen) for arm in "abcd"}
    assert [one.rank for one in found.values()] == [1, 2, 2, 4]
    assert [isinstance(one, Censored) for one in found.values()] == [False, False, False, True]


def test_an_arm_without_a_figure_has_no_place_and_takes_none_from_the_others() -> None:
    race = trials(a=[1e-4], b=[1e-4], c=[1e-4])
    found = choose(TrialChoice(arm="c", trials=race, keep=2), reached(0.5, None, 0.9))
    assert isinstance(found, Chosen) and (found.rank, found.of) == (2, 2)


def test_nobody_is_raced_by_figures_of_different_examples() -> None:
    race = trials(a=[1e-4, 2e-4], b=[1e-4])
    seen = {1: HeldOut(0.5, 10, 40, "x"), 2: HeldOut(0.4, 10, 40, "x"), 3: HeldOut(0.9, 10, 40, "y")}
    found = choose(TrialChoice(arm="b", trials=race, keep=1), seen)
    assert isinstance(found, Chosen) and (found.rank, found.race_off) == (None, "different_examples")
    assert isinstance(choose(TrialChoice(arm="b", trials=race), seen), Chosen), "without a race nothing is said of it"


losses = st.one_of(st.none(), st.floats(0, 20))


@given(st.lists(st.lists(losses, min_size=3, max_size=3), min_size=1, max_size=6), st.integers(1, 6))
def test_as_many_go_on_as_are_kept_and_what_is_stored_is_read_back(arms: list[list[float | None]], keep: int) -> None:
    """Each arm chooses for itself; together their choices are one race."""
    race = trials(**{f"arm{number}": [1e-5, 1e-4, 1e-3] for number in range(len(arms))})
    seen = reached(*(loss for arm in arms for loss in arm))
    gone_on: list[float] = []
    out: list[float] = []
    for number, reached_by in enumerate(arms):
        choice = TrialChoice(arm=f"arm{number}", trials=race, keep=keep)
        known = [loss for loss in reached_by if loss is not None]
        if not known:
            with pytest.raises(GateError):
                choose(choice, seen)
            continue
        found = choose(choice, seen)
        assert (
            from_json(json.loads(json.dumps(to_json(found)))) == found == choose(choice, dict(reversed(seen.items())))
        )
        (gone_on if isinstance(found, Chosen) else out).append(min(known))
        if isinstance(found, Chosen):
            best = [lr for lr, loss in zip([1e-5, 1e-4, 1e-3], reached_by, strict=True) if loss == min(known)]
            assert found.lr == best[0]
    assert len(gone_on) >= min(keep, len(gone_on) + len(out))
    assert not out or max(gone_on) < min(out)


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"held_out": 4},  # as an older version counted them
        {"held_out": None},
        {"held_out": {"loss": None, "tokens": 9, "bytes": 9}},
        {"held_out": {"loss": math.nan, "tokens": 9, "bytes": 9}},
        {"held_out": {"loss": 1.0, "tokens": 9, "bytes": 0}},  # completions of nothing but white space
    ],
)
def test_a_summary_without_a_figure_has_none(summary: Mapping[str, object]) -> None:
    assert HeldOut.of(summary) is None


def test_a_choice_has_a_trial_of_its_own_arm() -> None:
    with pytest.raises(ValidationError, match="no trial is of the arm c"):
        TrialChoice(arm="c", trials=trials(a=[1e-4]))
