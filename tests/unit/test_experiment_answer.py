"""What an experiment answers, by scores whose truth is plain: codes and values, which a reader gets words for elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.experiments.answer import TaskAnswer, answer_of
from core.experiments.evidence import RunCost
from core.statistics.rank_prediction import TrainedModel, rank_prediction
from core.statistics.seed_scores import SeedScores
from core.wording.experiments import caveat_words, prediction_lines
from tests.support.experiment_evidence import arm_evidence, part_scores, task_evidence

LAST_IS_FIRST = {"small": 0.3, "medium": 0.5, "large": 0.6}


def codes(answer: TaskAnswer) -> set[str]:
    return {caveat.code for caveat in answer.caveats}


def step(answer: TaskAnswer, code: str) -> dict[str, Any] | None:
    return next((dict(one.values) for one in answer.next_steps if one.code == code), None)


def last_before_first_after() -> TaskAnswer:
    arms = [arm_evidence("small", 0.85), arm_evidence("medium", 0.7), arm_evidence("large", 0.65)]
    return answer_of(task_evidence(arms, LAST_IS_FIRST))


def test_the_last_before_training_is_first_after_it() -> None:
    answer = last_before_first_after()
    assert answer.estimand == "recipe"
    assert (answer.winner, answer.ranking.members) == ("small", ("small",))
    assert step(answer, "promote") == {"arm": "small"}
    prediction = answer.predictions["format"]
    assert prediction.order_before == ("large", "medium", "small")
    assert prediction.verdict == "does_not_predict"
    assert prediction.count("reversed") >= 2
    first = prediction.regrets[0]
    assert first.trained == ("large",)
    assert first.lost == pytest.approx(0.2, abs=0.05)
    assert first.interval.low is not None and first.interval.high is not None
    assert 0 < first.interval.low < first.lost < first.interval.high
    assert prediction.tau is None
    assert all(
        gain.verdict == ("cannot_tell" if gain.arm == "large" else "gained")
        for gain in answer.gains
        if gain.arm != "large"
    )


def test_a_ranking_that_holds_is_said_to_predict() -> None:
    arms = [arm_evidence("small", 0.5), arm_evidence("large", 0.85)]
    prediction = answer_of(task_evidence(arms, {"small": 0.3, "large": 0.6})).predictions["format"]
    assert prediction.verdict == "predicts"
    assert prediction.regrets[0].lost == 0


def test_where_the_untrained_models_are_alike_nothing_is_said_of_the_prediction() -> None:
    arms = [arm_evidence("small", 0.85), arm_evidence("large", 0.6)]
    prediction = answer_of(task_evidence(arms, {"small": 0.5, "large": 0.5})).predictions["format"]
    assert prediction.verdict == "cannot_tell"
    assert prediction.count("only_after") == 1


def test_arms_that_cannot_be_told_apart_are_tied_and_the_next_step_is_about_the_two() -> None:
    arms = [arm_evidence("one", 0.7, noise=0.2), arm_evidence("other", 0.7, noise=0.2), arm_evidence("poor", 0.2)]
    answer = answer_of(task_evidence(arms))
    assert set(answer.ranking.members) == {"one", "other"}
    assert answer.winner is None and answer.leader in ("one", "other")
    assert step(answer, "drop_arms") == {"arms": ["poor"]}
    sharper = [one for one in answer.next_steps if one.code in ("add_seeds", "add_inputs", "add_seeds_and_inputs")]
    assert sharper and set(sharper[0].values["pair"]) == {"one", "other"}
    assert sharper[0].values["then"] < sharper[0].values["half_width"]
    assert answer.predictions == {} and answer.gains == ()


@pytest.mark.parametrize(("seeds", "code", "estimand"), [(1, "one_seed", "adapter"), (2, "two_seeds", "recipe")])
def test_below_three_seeds_the_estimand_is_named_and_two_give_no_interval(seeds: int, code: str, estimand: str) -> None:
    arms = [arm_evidence("small", 0.85, seeds=seeds), arm_evidence("large", 0.6, seeds=seeds)]
    answer = answer_of(task_evidence(arms, {"small": 0.3, "large": 0.6}, block=seeds))
    assert answer.estimand == estimand
    assert {code, "provisional"} <= codes(answer)
    told = seeds == 1
    assert all(one.tuned.interval.estimable == told for one in answer.scores)
    assert (answer.winner is not None) == told
    assert step(answer, "wait") is not None and step(answer, "promote") is None
    assert step(answer, "add_seeds") is None, "the third seed was asked for, and is on its way"
    ended = answer_of(task_evidence(arms, {"small": 0.3, "large": 0.6}, block=seeds, blocks=seeds))
    more = step(ended, "add_seeds")
    assert more is not None and more["seeds"] == 3 - seeds
    if not told:
        assert answer.predictions["format"].verdict == "cannot_tell"
        assert answer.predictions["format"].regrets[0].interval.low is None


def test_a_raced_arm_is_in_its_caveat_and_in_nothing_else() -> None:
    arms = [
        arm_evidence("small", 0.8),
        arm_evidence("large", 0.6),
        arm_evidence("raced", 0.99, end="censored"),
        arm_evidence("broken", None, end="failed"),
    ]
    answer = answer_of(task_evidence(arms, {"small": 0.3, "raced": 0.9}))
    assert "raced" not in answer.ranking.order
    assert not any("raced" in (one.arm, one.against) for one in answer.sizes)
    assert answer.gain("raced", "format") is None and answer.predictions == {}
    said = {caveat.code: caveat.values for caveat in answer.caveats}
    assert said["arms_censored"] == {"arms": ["raced"]}
    assert said["arms_failed"] == {"arms": ["broken"]}
    assert said["untrained_missing"] == {"models": ["large", "broken"]}
    assert step(answer, "retry") == {"arms": ["broken"]}


def grid() -> list[Any]:
    means = {("bf16", 4): 0.8, ("bf16", 16): 0.82, ("4-bit", 4): 0.5, ("4-bit", 16): 0.52}
    return [
        arm_evidence(f"{weights} {rank}", mean, model="one", values={"weights": weights, "rank": rank}, place=place)
        for place, ((weights, rank), mean) in enumerate(means.items())
    ]


def test_the_main_effect_of_each_key_is_over_matched_arms_and_the_larger_does_the_work() -> None:
    answer = answer_of(task_evidence(grid()))
    found = {(one.key, one.level, one.against): one for one in answer.factors if one.part == "format"}
    assert set(found) == {("weights", "4-bit", "bf16"), ("rank", 16, 4)}
    weights = found["weights", "4-bit", "bf16"]
    assert weights.pairs == 2 and weights.shown
    assert weights.effect.mean == pytest.approx(-0.3, abs=0.05)
    assert not found["rank", 16, 4].shown
    assert answer.strongest_factor == weights
    assert "no_matched_arms" not in codes(answer)


def test_a_key_without_matched_arms_has_no_effect_and_is_named() -> None:
    arms = [*grid(), arm_evidence("smaller", 0.6, model="two", values={"weights": "bf16", "rank": 8, "model": "two"})]
    answer = answer_of(task_evidence([replace(arm, values={"model": "one", **arm.values}) for arm in arms]))
    assert not any(one.key == "model" for one in answer.factors)
    said = {caveat.code: caveat.values for caveat in answer.caveats}
    assert said["no_matched_arms"] == {"keys": ["model"]}


def test_a_smaller_arm_says_what_it_costs_and_frees() -> None:
    def costs(gigabytes: float, seconds: float) -> list[RunCost]:
        return [RunCost(seed, seed, int(gigabytes * 1e9), seconds + seed, 1.0, None) for seed in range(3)]

    arms = [
        arm_evidence("large", 0.85, costs=costs(12, 100)),
        arm_evidence("small", 0.55, costs=costs(4, 40)),
        arm_evidence("huge", 0.4, costs=costs(20, 200)),
    ]
    answer = answer_of(task_evidence(arms))
    (trade,) = answer.sizes
    assert (trade.arm, trade.against, trade.worse) == ("small", "large", True)
    assert trade.points["format"].mean == pytest.approx(-0.3, abs=0.05)
    assert (trade.bytes_freed, trade.seconds_saved, trade.joules_saved) == (8_000_000_000, 60.0, None)
    cost = answer.cost("large")
    assert cost is not None and (cost.peak_bytes, cost.seconds) == (12_000_000_000, 101.0)


def test_inputs_that_every_arm_has_right_are_told_and_harder_ones_advised() -> None:
    arms = [arm_evidence("one", 1.5), arm_evidence("other", 1.5)]
    answer = answer_of(task_evidence(arms))
    assert "ceiling" in codes(answer)
    wanted = step(answer, "harder_inputs")
    assert wanted is not None and len(wanted["inputs"]) == wanted["of"] == 12
    assert answer.winner is None and len(answer.ranking.members) == 2
    assert all(not pair.effect.interval.estimable for pair in answer.ranking.pairs)


def test_seeds_inputs_and_arms_that_are_missing_are_named() -> None:
    short = arm_evidence("short", 0.7, seeds=2, end="partly", inputs=6)
    holed = arm_evidence("holed", 0.7, inputs=6)
    values = holed.scores["format"].values.copy()
    values[1, 2] = np.nan
    one = holed.scores["format"]
    holed = replace(holed, scores={**holed.scores, "format": SeedScores(one.name, values, one.inputs, one.cluster_of)})
    waiting = arm_evidence("later", None, end="waiting")
    answer = answer_of(task_evidence([short, holed, waiting], inputs=6, block=2))
    said = {caveat.code: caveat.values for caveat in answer.caveats}
    assert said["seeds_missing"] == {"arms": {"short": 2}}
    assert said["inputs_missing"] == {"most": 1, "inputs": 6}
    assert said["few_inputs"] == {"sources": 6, "least": 10}
    assert said["arms_waiting"] == {"arms": ["later"]}
    assert said["provisional"] == {"block": 2, "blocks": 3}


def test_before_anything_is_measured_there_is_an_answer_that_says_so() -> None:
    answer = answer_of(task_evidence([arm_evidence("later", None, end="waiting")], {"later": 0.4}, block=0))
    assert codes(answer) == {"nothing_measured", "arms_waiting"}
    assert (answer.leader, answer.winner, answer.predictions, answer.factors) == (None, None, {}, ())
    assert answer.provisional


def test_the_answer_is_plain_json() -> None:
    document = json.loads(json.dumps(last_before_first_after().to_json(), allow_nan=False))
    assert document["winner"] == "small"
    assert document["predictions"]["format"]["verdict"] == "does_not_predict"
    assert document["ranking"]["pairs"][0]["effect"]["interval"]["low"] is not None


MIXED = [("a", 1, 2), ("b", 2, 1), ("c", 3, 5), ("d", 4, 3), ("e", 5, 4)]


def _flat(name: str, score: float) -> SeedScores:
    inputs = tuple(f"i{number}" for number in range(4))
    return SeedScores(name, np.full((1, 4), score), inputs, {one: one for one in inputs}, seeded=False)


def test_five_models_have_a_tau_with_an_interval_over_models() -> None:
    means = {f"m{place}": 0.2 + 0.1 * place for place in range(5)}
    arms = [arm_evidence(name, 0.9 - mean / 2) for name, mean in means.items()]
    prediction = answer_of(task_evidence(arms, means)).predictions["content"]
    assert prediction.tau == pytest.approx(-1.0)
    # Every sample has the same order: an interval of no width would look like certainty.
    assert not prediction.tau_interval.estimable and prediction.tau_interval.reason
    mixed = rank_prediction(
        [TrainedModel(name, _flat(name, 0.1 * before), (_flat(name, 0.1 * after),)) for name, before, after in MIXED]
    )
    assert mixed is not None and mixed.tau is not None
    low, high = mixed.tau_interval.low, mixed.tau_interval.high
    assert low is not None and high is not None and low < mixed.tau < high
    assert [len(one.trained) for one in prediction.regrets] == [1, 2, 3]
    assert part_scores("m0", 0.2)["format"].seeds == 3


def test_models_that_are_level_before_training_are_in_no_order() -> None:
    """Two models that can do nothing of a task yet: which of them the ranking puts first is luck, and it says so."""
    arms = [arm_evidence("one", 0.6), arm_evidence("two", 0.9), arm_evidence("three", 0.5)]
    prediction = answer_of(task_evidence(arms, {"one": 0.0, "two": 0.0, "three": 0.2}, noise=0.0)).predictions["format"]
    assert prediction.order_before == ("three", "one", "two")
    assert [regret.tied for regret in prediction.regrets] == [(), ("two",)]
    said = " ".join(prediction_lines("format", prediction))
    assert "before: three > one = two; after: two > one > three" in said
    assert said.count("before, two was level with one") == 1


def test_an_arm_whose_seeds_end_far_apart_is_named_with_where_they_end() -> None:
    """What it scores is a matter of its seed: its mean says little of the next training."""
    steady, unsteady = arm_evidence("steady", 0.8), arm_evidence("unsteady", 0.5)
    spread = {part: replace(one, values=one.values.copy()) for part, one in unsteady.scores.items()}
    for one in spread.values():
        one.values[:] = np.array([[0.95], [0.55], [0.15]])
        one.values[0, 0] = np.nan
    answer = answer_of(task_evidence([steady, replace(unsteady, scores=spread)]))
    (found,) = [one for one in answer.caveats if one.code == "seeds_far_apart"]
    assert found.values["part"] == "format" and list(found.values["arms"]) == ["unsteady"]
    assert found.values["arms"]["unsteady"] == pytest.approx([0.15, 0.95])
    assert "unsteady at 0.75 to 4.75" in caveat_words(found, {})
