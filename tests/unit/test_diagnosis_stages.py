"""What `why` says of the stages of a lineage: where a score is lost, and where nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.bakeoff.stages import stage_table
from core.jobfile.bakeoff import Stage
from core.results.load import load_bakeoff
from tests.support.diagnosed import codes, told, words
from tests.support.recorded_lineage import ADAPTER, BAD, BASE, F16, GOOD, MERGED, Q8_0, Records, whole_chain
from tests.support.stored_tasks import INPUTS, written


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_the_stage_at_which_the_score_is_lost_is_told_in_one_bake_off_and_across_several(records: Records) -> None:
    training, merged, converted, quantized = whole_chain(records)
    records.bakeoff({ADAPTER: training, MERGED: merged})

    def bad(name: str, input_id: str, repeat: int) -> str:
        """The same of both files."""
        return written(F16, "judge", input_id, repeat, BAD) if name in (F16, Q8_0) else ""

    later = records.bakeoff({F16: converted, Q8_0: quantized}, write=bad, with_base=False)
    found = told(records, later)
    lost = [cause for cause in found.causes if cause.code == "loss_at_stage"]
    assert {(cause.job, cause.certainty) for cause in lost} >= {(converted, "likely")}
    assert lost[0].reason.values["before"] == "merged" and lost[0].reason.values["after"] == "F16"
    together = records.bakeoff({MERGED: merged, F16: converted, Q8_0: quantized}, write=bad)
    lost = [cause for cause in told(records, together).causes if cause.code == "loss_at_stage"]
    assert [(cause.job, cause.certainty) for cause in lost] == [(converted, "shown")]


def test_what_why_says_of_a_step_is_what_the_table_of_stages_says(records: Records) -> None:
    """Equal answers are nothing lost however few they are; a loss that eight inputs do not prove is possible and no more."""
    training, merged, converted, quantized = whole_chain(records)
    chain = {ADAPTER: training, MERGED: merged, F16: converted, Q8_0: quantized}

    def write(name: str, input_id: str, repeat: int) -> str:
        return written(ADAPTER, "judge", input_id, repeat, GOOD) if name in (MERGED, F16) else ""

    baked = records.bakeoff(chain, write=write, inputs=INPUTS[:8], quality={Q8_0: 0.8})
    found = told(records, baked)
    by_stage = {one.stage: (one.before, one.outcome) for one in found.scores}
    assert by_stage["merged"] == (ADAPTER, "same_answers") and by_stage["F16"] == (MERGED, "same_answers")
    assert "same answers" in words(found)
    losses = {cause.job: cause.certainty for cause in found.causes if cause.code == "loss_at_stage"}
    assert set(losses) <= {quantized} and ("shown" in losses.values()) == (by_stage["Q8_0"][1] == "loss")
    stored = load_bakeoff(records.home, records.connection, baked)
    stages = {
        BASE: Stage(kind="base"),
        ADAPTER: Stage(kind="adapter"),
        MERGED: Stage(kind="merged"),
        F16: Stage(kind="gguf", format="F16"),
        Q8_0: Stage(kind="gguf", format="Q8_0"),
    }
    table = stage_table(stored.leaderboards()["judge"], stages, stored.task("judge").same_answers)
    assert table is not None
    told_there = {step.stage: (step.before, step.outcome) for step in table.steps if step.part == table.parts[0]}
    assert {one.candidate: (one.before, one.outcome) for one in found.scores if one.before} == told_there


def test_training_that_taught_nothing_is_told_before_anything_later(records: Records) -> None:
    training = records.train()
    records.bakeoff({ADAPTER: training}, quality={ADAPTER: BAD, BASE: 0.8})
    found = told(records, training)
    assert codes(found, "shown") == {"no_gain"}
