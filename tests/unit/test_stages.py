"""The stages of an adapter: which is compared with which, and what is said of a step."""

from __future__ import annotations

import json

import pytest

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.stages import StageTable, stage_before, stage_table
from core.cli.results_stages import stages_text
from core.jobfile.bakeoff import Stage
from core.text import cell_width
from core.wording.stages import headline_words, legend_words, stage_words, step_words
from tests.support.leaderboards import ALL, Writer, answers, board, words

STAGES = {
    "m base": Stage(kind="base"),
    "m tuned": Stage(kind="adapter"),
    "m tuned, merged": Stage(kind="merged"),
    "m tuned, f16": Stage(kind="gguf", format="F16"),
    "m tuned, Q8_0": Stage(kind="gguf", format="Q8_0"),
    "m tuned, Q4_K_M": Stage(kind="gguf", format="Q4_K_M"),
    "m tuned, LoRA on Q8_0": Stage(kind="lora", format="Q8_0"),
}
N = 60
GOOD = words(2, 4, 6)


def made(n: int = N, **writers: Writer | str) -> Leaderboard:
    """A board of all stages; tuned ones write `GOOD` unless one is named by the end of its name."""
    stored = []
    for name in STAGES:
        write: Writer | str = words(1, 0, 1) if name == "m base" else GOOD
        write = next((other for end, other in writers.items() if name.endswith(end)), write)
        stored += answers(name, n, write)
    return board(n, stored, candidates=dict.fromkeys(STAGES, "gguf"), incumbent="m base")


def table_of(found: Leaderboard) -> StageTable:
    table = stage_table(found, STAGES)
    assert table is not None
    return table


def outcomes(table: StageTable, part: str = "format") -> dict[str, str]:
    return {stage_words(STAGES[one.stage]): one.outcome for one in table.steps if one.part == part}


def test_each_stage_is_compared_with_what_it_was_made_from() -> None:
    before = {name: stage_before(name, STAGES) for name in STAGES}
    assert list(before.values()) == [
        None,
        "m base",
        "m tuned",
        "m tuned, merged",
        "m tuned, f16",
        "m tuned, Q8_0",
        "m tuned, Q8_0",
    ]
    without = {name: stage for name, stage in STAGES.items() if name != "m tuned, Q8_0"}
    assert stage_before("m tuned, LoRA on Q8_0", without) == "m tuned, Q4_K_M"


def test_the_loss_is_found_at_the_step_where_it_arises_and_nowhere_else() -> None:
    table = table_of(made(Q4_K_M=words(3, 0, 1)))
    assert outcomes(table) == {
        "adapter": "gain",
        "merged": "no_loss",
        "GGUF F16": "no_loss",
        "GGUF Q8_0": "no_loss",
        "GGUF Q4_K_M": "loss",
        "LoRA on Q8_0": "no_loss",
    }
    said = headline_words(table)
    assert said.startswith("Loss shown: GGUF Q8_0 → GGUF Q4_K_M in format: −") and "adapter" not in said
    step = table.step("m tuned, Q4_K_M", "format")
    assert step is not None and "max-T over all steps" in step_words(table, step)


def test_a_lora_that_loses_is_held_against_the_merged_file_of_its_format() -> None:
    table = table_of(made(Q4_K_M=words(3, 0, 1), **{"LoRA on Q8_0": words(4, 0, 1)}))
    found = outcomes(table)
    assert (found["LoRA on Q8_0"], found["GGUF Q8_0"]) == ("loss", "no_loss")


def test_few_inputs_that_agree_prove_no_more_than_they_can() -> None:
    table = table_of(made(12))
    assert outcomes(table)["merged"] == "cannot_tell", "of 12 equal inputs up to a fifth of others may differ"
    assert "every input has the same score, and so few prove no more; 59 that agree would" in headline_words(table)
    assert set(outcomes(table_of(made(58))).values()) == {"gain", "cannot_tell"}
    assert set(outcomes(table_of(made(59))).values()) == {"gain", "no_loss"}
    step = table.step("m tuned, merged", "format")
    assert step is not None and "the same score on each of 12 inputs" in step_words(table, step)
    assert headline_words(table_of(made())) == "No step loses more than the margin of 0.25/5."


def test_few_inputs_with_the_same_answers_say_more_than_the_same_scores() -> None:
    asked: list[tuple[str, str]] = []

    def same(stage: str, before: str) -> bool:
        asked.append((stage, before))
        return True

    table = stage_table(made(8), STAGES, same)
    assert table is not None and set(outcomes(table).values()) == {"gain", "same_answers"}
    assert headline_words(table).startswith("Nothing is lost behind the training")
    assert ("m tuned", "m base") not in asked, "texts are read where scores are equal"
    step = table.step("m tuned, merged", "format")
    assert step is not None and "the same word for word" in step_words(table, step)
    lost = stage_table(made(60, Q4_K_M=words(3, 0, 1)), STAGES, same)
    assert lost is not None and outcomes(lost)["GGUF Q4_K_M"] == "loss"


def test_a_gain_of_a_later_step_is_none_that_was_lost() -> None:
    table = table_of(made(Q4_K_M=ALL))
    assert outcomes(table, "content")["GGUF Q4_K_M"] == "gain"
    assert "Loss" not in headline_words(table)


def test_p_values_are_adjusted_over_all_steps_and_parts() -> None:
    table = table_of(made(Q4_K_M=words(3, 0, 1)))
    compared = [one.comparison for one in table.steps if one.comparison is not None]
    assert len(compared) == 2 * (len(STAGES) - 1)
    assert all(one.correction == "max-T" and one.p_adjusted >= one.p for one in compared)
    assert "adjusted for all steps and parts by max-T" in legend_words(table)


def test_stages_that_did_not_answer_are_named_as_not_compared() -> None:
    stored = [one for name in STAGES if name != "m tuned, merged" for one in answers(name, N, GOOD)]
    table = table_of(board(N, stored, candidates=dict.fromkeys(STAGES, "gguf"), incumbent="m base"))
    step = table.step("m tuned, merged", "format")
    assert step is not None and (step.outcome, step.comparison) == ("cannot_tell", None)
    assert "not compared" in step_words(table, step) and "—" in stages_text(table, 100)


def test_a_board_without_stages_has_no_table() -> None:
    found = made(4)
    assert stage_table(found, {}) is None
    assert stage_table(found, {"m base": STAGES["m base"]}) is None
    assert stage_table(found, {"m base": STAGES["m base"], "gone": STAGES["m tuned"]}) is None


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(table_of(made(12)).to_json(), allow_nan=False))
    assert document["rows"][3]["stage"] == {"kind": "gguf", "format": "F16"}
    assert {one["outcome"] for one in document["steps"]} <= {"gain", "no_loss", "loss", "cannot_tell"}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_text_keeps_its_width_and_names_every_stage(width: int) -> None:
    text = stages_text(table_of(made(Q4_K_M=words(3, 0, 1))), width)
    assert max(cell_width(line) for line in text.splitlines()) <= width
    for stage in STAGES.values():
        assert stage_words(stage) in text
    assert "loss shown" in text and "gain shown" in text
    assert "●" in text and "├" in text, "the picture"
