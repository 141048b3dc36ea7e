"""The tests that a diagnosis names: each can be typed as it stands, and tells what it is named for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.recipe import HqqOptions
from core.diagnosis.diagnosis import diagnose
from core.diagnosis.next_test import NextTest
from core.serving.answering import ServedIdentity
from core.wording.diagnosis import test_words as words_of
from tests.support.recorded_lineage import ADAPTER, BAD, MERGED, Q8_0, Records, whole_chain
from tests.support.stored_tasks import task_named
from tests.unit.test_named_commands import check, nothing_runs  # noqa: F401 - a fixture of every test here

LIMIT = task_named("judge").sampling.max_new_tokens
LOOP = "and so on and on, " * 60


def of_prompts(records: Records) -> int:
    training, _, _, quantized = whole_chain(records, keys={"tokenizer.ggml.add_bos_token": 1})
    return records.bakeoff({ADAPTER: training, Q8_0: quantized}, values={Q8_0: {"more_prompt_tokens": 1}})


def of_nothing_known(records: Records) -> int:
    """The quantised file alone was asked, and repeats itself."""
    _, _, _, quantized = whole_chain(records)
    return records.bakeoff({Q8_0: quantized}, write=lambda name, *_: LOOP if name == Q8_0 else "")


def of_weights(records: Records) -> int:
    training = records.train(recipe={"method": "qlora-hqq", "hqq": HqqOptions()})
    return records.bakeoff({ADAPTER: training, MERGED: records.merge(training)}, quality={MERGED: BAD})


def of_lost_update(records: Records) -> int:
    return records.merge(records.train(), share=0.2)


def of_limit(records: Records) -> int:
    def long(input_id: str) -> dict[str, Any]:
        cut = input_id in ("note-1", "note-2", "note-3")
        return {"finish": "length", "completion_tokens": LIMIT} if cut else {"completion_tokens": LIMIT - 100}

    return records.bakeoff({ADAPTER: records.train()}, values={ADAPTER: long})


CASES: dict[str, tuple[Callable[[Records], int], str, set[str], str]] = {
    "prompts": (of_prompts, "prompts", {"doubled_bos", "trailing_whitespace"}, "bakehouse parity 4 --wait"),
    "a check of prompts where nothing is known": (of_nothing_known, "prompts", set(), "bakehouse parity 4 --wait"),
    "stages where nothing is known": (
        of_nothing_known,
        "stages",
        set(),
        "bakehouse bakeoff judge SmolLM2-135M job:1 job:2 job:3 job:4 --wait",
    ),
    "weights": (
        of_weights,
        "weights",
        {"original_base_weights"},
        "bakehouse export 1 --base-weights dequantized --wait",
    ),
    "an update": (of_lost_update, "weights", {"update_lost"}, "bakehouse export 1 --dtype fp32 --wait"),
    "the limit": (
        of_limit,
        "limit",
        {"limit_too_low"},
        f"bakehouse bakeoff judge job:1 job:1@max_new_tokens={2 * LIMIT} --wait",
    ),
    "lengths": (
        lambda records: records.train(skipped=20),
        "lengths",
        {"completions_skipped"},
        "bakehouse audit judge --model SmolLM2-135M --recipe demo",
    ),
    "steps": (
        lambda records: records.train(losses=(2.4, 2.39, 2.38)),
        "steps",
        {"too_few_steps", "loss_not_fallen"},
        "bakehouse train judge --model SmolLM2-135M --recipe demo --epochs ",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_is_named_with_what_it_tells_apart_and_can_be_typed(tmp_path: Path, case: str) -> None:
    make, code, tells, command = CASES[case]
    records = Records(tmp_path)
    found = diagnose(records.home, records.connection, make(records))
    test: NextTest = next(one for one in found.tests if one.code == code)
    assert set(test.tells) >= tells and test.command.startswith(command) and words_of(test)
    for one in found.tests:
        check(one.command, whole=True)


def test_what_a_training_did_not_give_is_looked_for_in_the_training(tmp_path: Path) -> None:
    records = Records(tmp_path)
    training, _, _, quantized = whole_chain(records)
    baked = records.bakeoff({ADAPTER: training, Q8_0: quantized}, quality={ADAPTER: BAD, Q8_0: BAD})
    found = diagnose(records.home, records.connection, baked)
    assert found.causes[0].code == "no_gain" and [one.code for one in found.tests] == ["lengths", "steps"]


def test_the_stages_are_asked_with_what_serves_by_its_name(tmp_path: Path) -> None:
    """And not at all where a bake-off shows between which two of them the loss is."""
    records = Records(tmp_path)
    training, _, _, quantized = whole_chain(records)
    records.deploy(quantized, "judge:a", blob="sha256:a")
    served = {"ollama:judge:a": ServedIdentity("ollama", "judge:a", weights="sha256:a")}
    quality = {"ollama:judge:a": BAD}
    far = diagnose(
        records.home, records.connection, records.bakeoff({ADAPTER: training}, served=served, quality=quality)
    )
    (stages,) = [one.command for one in far.tests if one.code == "stages"]
    assert stages == "bakehouse bakeoff judge SmolLM2-135M job:1 job:2 job:3 job:4 ollama:judge:a --wait"
    check(stages, whole=True)
    near = records.bakeoff({ADAPTER: training, Q8_0: quantized}, served=served, quality=quality)
    assert [one.code for one in diagnose(records.home, records.connection, near).tests] == ["prompts"]


def test_the_cheapest_stands_first(tmp_path: Path) -> None:
    records = Records(tmp_path)
    found = diagnose(records.home, records.connection, of_nothing_known(records))
    assert [one.code for one in found.tests] == ["prompts", "stages"]
    assert "repetition" in found.unexplained and [cause.code for cause in found.causes] == ["behind_base"]
