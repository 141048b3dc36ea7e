"""Six tiny models whose order before and after training is known by construction, through real trainings and bake-offs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.experiments.answer import TaskAnswer
from core.statistics.rank_prediction import RankPrediction
from tests.support.tiny_tournament import INPUTS, MODELS, PASS_AFTER, PASS_BEFORE, TASKS, tiny_tournament

pytestmark = pytest.mark.train

SEEDS = 3


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TaskAnswer]]:
    """By task; the names of arms are those of their models."""
    with tiny_tournament(tmp_path_factory.mktemp("tournament")) as tournament:
        tournament.run(tasks=list(TASKS), vary={"model": list(MODELS)}, seeds=SEEDS)
        tournament.queue.run()
        yield {task.name: task.answer for task in tournament.shown().tasks}


def scores(answer: TaskAnswer) -> dict[str, tuple[float | None, float | None]]:
    """Untrained and tuned, by model."""
    models = {gain.arm: gain.model for gain in answer.gains}
    return {models[one.arm]: (one.untrained and one.untrained.mean, one.tuned.mean) for one in answer.scores}


def prediction(answer: TaskAnswer) -> RankPrediction:
    (found,) = answer.predictions.values()
    return found


@pytest.mark.parametrize("task", TASKS)
def test_each_model_scores_what_it_was_made_to(answers: dict[str, TaskAnswer], task: str) -> None:
    assert not answers[task].provisional
    found = scores(answers[task])
    for model, before, after in zip(MODELS, PASS_BEFORE, PASS_AFTER[task], strict=True):
        assert found[model] == pytest.approx((before / INPUTS, after / INPUTS)), model
    # Its seeds differ in the adapter, and agree in what they say: training can reach that word and no other.
    assert all(SEEDS in one.tuned.seeds and one.tuned.seed_variance == 0 for one in answers[task].scores)


def test_an_order_that_stays_is_foretold_and_costs_nothing(answers: dict[str, TaskAnswer]) -> None:
    found = prediction(answers["kept"])
    assert found.order_before == found.order_after == tuple(reversed(MODELS))
    assert found.tau == pytest.approx(1.0)
    assert [one.lost for one in found.regrets] == [0.0, 0.0, 0.0]
    assert found.verdict == "predicts" and found.count("concordant") and not found.count("reversed")


def test_an_order_that_turns_is_not_foretold_and_costs_what_was_built_in(answers: dict[str, TaskAnswer]) -> None:
    found = prediction(answers["turned"])
    assert found.order_before == tuple(reversed(MODELS)) and found.order_after == MODELS
    assert found.tau == pytest.approx(-1.0)
    # Trained are the last one, two, three: of these the best reaches 2, 4, 6 inputs, and the first model all twelve.
    best = [max(PASS_AFTER["turned"][-top:]) for top in (1, 2, 3)]
    assert [one.lost for one in found.regrets] == pytest.approx([(INPUTS - one) / INPUTS for one in best])
    assert found.verdict == "does_not_predict" and found.count("reversed") and not found.count("concordant")
    top = found.regrets[0]
    assert top.interval.low is not None and top.interval.low > 0, "it is shown that training the first one alone loses"


def test_who_wins_tuned_is_who_was_made_to(answers: dict[str, TaskAnswer]) -> None:
    for task, first in (("kept", MODELS[-1]), ("turned", MODELS[0])):
        models = {gain.arm: gain.model for gain in answers[task].gains}
        assert answers[task].leader is not None and models[answers[task].leader] == first
