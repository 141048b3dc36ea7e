"""What `why` says of records: each mistake that was let through is named, and a healthy lineage is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.recipe import HqqOptions
from core.config.task import Task
from core.data.training_marks import without_training_marks
from core.diagnosis.asked import job_of
from core.diagnosis.causes import EXPLAINS, Cause
from core.jobfile.bakeoff import CandidateSpec, Variant
from core.parity.comparison import CAUSES
from core.parity.gate import ROOTS
from core.reasons import Reason
from core.store.database import transaction
from core.wording.diagnosis import cause_words, headline, remedy_words
from jobs.serving_tokenizer import template_hashes
from tests.support.chat_templates import DROPS_SYSTEM
from tests.support.diagnosed import codes, seen, told, words
from tests.support.recorded_lineage import ADAPTER, BAD, BASE, F16, LOSSES, MERGED, Q8_0, Records, whole_chain
from tests.support.stored_tasks import task_named
from tests.support.tokenizers import CHATML, byte_level, qwen3, qwen3_template
from tests.unit.test_parity import BOS, CHATML_BOS, OtherServer, report, with_bos


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


MARKED = "{% generation %}" + CHATML + "{% endgeneration %}"
NO_TEMPLATE = "{{ messages[-1].content }}"
# By the mistake: the training's tokenizer, the served template, what the server adds, what its header lacks; and the causes of
# which one has to be named.
LET_THROUGH: dict[str, tuple[Callable[[], Any], str, dict[str, Any], list[Reason], set[str]]] = {
    "missing template": (
        byte_level,
        NO_TEMPLATE,
        {},
        [Reason("file_without_template")],
        {"file_without_template"},
    ),
    "ChatML where Qwen3's belongs": (qwen3, CHATML, {}, [], {"thinking_differs"}),
    "a lost stop token": (byte_level, CHATML, {}, [Reason("stop_token_lost", {"text": "<over>"})], {"stop_token_lost"}),
    "doubled BOS": (lambda: with_bos(CHATML_BOS), CHATML_BOS, {"front": (BOS,)}, [], {"doubled_bos"}),
    "thinking rendered differently": (
        lambda: byte_level(CHATML, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), ("<think>", "</think>")),
        qwen3_template(),
        {},
        [],
        {"thinking_differs"},
    ),
    "a trailing newline": (byte_level, CHATML, {"change": lambda text: text + "\n"}, [], {"trailing_whitespace"}),
    "marks of training": (byte_level, CHATML, {}, [Reason("training_marks")], {"training_marks"}),
    "the system prompt dropped": (byte_level, DROPS_SYSTEM, {}, [], {"system_dropped"}),
}


@pytest.mark.parametrize("mistake", LET_THROUGH)
def test_a_mistake_that_the_gate_saw_and_a_person_let_through_is_named(records: Records, mistake: str) -> None:
    make, template, added, findings, expected = LET_THROUGH[mistake]
    tokenizer = make()
    document = report(tokenizer, OtherServer(template, tokenizer, **added)).to_json()
    document |= {"findings": [one.to_json() for one in findings], "passed": False}
    training, _, _, quantized = whole_chain(records)
    checked = records.parity(quantized, document)
    baked = records.bakeoff({ADAPTER: training, Q8_0: quantized}, quality={Q8_0: BAD})
    for job_id in (training, checked, baked):
        found = told(records, job_id)
        assert expected <= codes(found, "shown"), f"{mistake}, asked of job {job_id}"
        named = next(cause for cause in found.causes if cause.code in expected)
        assert named.job == quantized and named.evidence[0].file == "parity.json" and named.evidence[0].job == checked
        assert cause_words(named) in words(found) and remedy_words(named, found) in words(found)
        assert cause_words(named) in headline(found), "the first line is the answer"
        assert "loss_at_stage" in codes(found) and not any("parity" in one.command for one in found.tests)


def bos_keys() -> dict[str, Any]:
    return {"tokenizer.ggml.add_bos_token": 1}


# The same without a check of prompts: by the trained template, that of the file, further keys of its header, how many
# tokens its prompts have more, what the Q8_0 file writes; the causes that have to be named, and how sure.
UNCHECKED: dict[str, tuple[str, str | None, dict[str, Any], int, str, set[str], str | None]] = {
    "missing template": (CHATML, None, {}, -9, "", {"file_without_template"}, "shown"),
    "ChatML where Qwen3's belongs": (
        qwen3_template(),
        CHATML,
        {},
        -4,
        "",
        {"template_differs", "thinking_differs"},
        None,
    ),
    "a lost stop token": (
        CHATML,
        "",
        {"tokenizer.ggml.eos_token_id": 0},
        0,
        "VERDICT: fine<|im_end|>\n<|im_start|>user\nAnd then?",
        {"stop_token_lost"},
        "possible",
    ),
    "doubled BOS": (CHATML_BOS, "", bos_keys(), 1, "", {"doubled_bos", "prompt_tokens_differ"}, None),
    "thinking rendered differently": (CHATML, "", {}, 4, "", {"thinking_differs", "prompt_tokens_differ"}, None),
    "a trailing newline": (
        CHATML,
        "",
        {"tokenizer.ggml.add_bos_token": 0},
        1,
        "",
        {"trailing_whitespace", "prompt_tokens_differ"},
        None,
    ),
    "marks of training": (CHATML, MARKED, {}, 0, "", {"training_marks"}, "shown"),
    "the system prompt dropped": (CHATML, "", {}, -9, "", {"system_dropped", "prompt_tokens_differ"}, None),
}


@pytest.mark.parametrize("mistake", UNCHECKED)
def test_a_mistake_that_no_gate_saw_is_named_from_header_hash_and_counts(records: Records, mistake: str) -> None:
    trained, template, keys, more, text, expected, certainty = UNCHECKED[mistake]
    records.template = trained
    training, _, converted, quantized = whole_chain(records, template=template, keys=keys)
    baked = records.bakeoff(
        {ADAPTER: training, Q8_0: quantized},
        quality={Q8_0: BAD},
        write=lambda name, *_: text if name == Q8_0 else "",
        values={Q8_0: {"more_prompt_tokens": more}},
    )
    found = told(records, baked)
    assert expected <= {cause.code for cause in found.causes if cause.job in (converted, quantized)}
    assert ("doubled_bos" in codes(found)) == (mistake == "doubled BOS")
    named = next(cause for cause in found.causes if cause.code in expected - {"prompt_tokens_differ"})
    assert cause_words(named) in headline(found)[:1].lower() + headline(found)[1:]
    assert certainty is None or expected <= codes(found, certainty)
    assert all(
        cause_words(cause) in words(found) and remedy_words(cause, found) in words(found) for cause in found.causes
    )
    if certainty != "shown":
        assert f"bakehouse parity {quantized} --wait" in [one.command for one in found.tests]


def test_a_healthy_lineage_names_no_cause(records: Records) -> None:
    training, merged, converted, quantized = whole_chain(records)
    records.parity(
        quantized, {"passed": True, "cases": [{"name": "plain", "thinking": "off", "same": True, "tokens": 9}]}
    )
    chain = {ADAPTER: training, MERGED: merged, F16: converted, Q8_0: quantized}
    baked = records.bakeoff(chain)
    for job_id in (training, merged, converted, quantized, baked):
        found = told(records, job_id)
        assert found.causes == () and found.tests == () and seen(found) == set()
        assert headline(found) == "Nothing on record speaks against it."
        assert [one.stage for one in found.scores] == ["base", "adapter", "merged", "F16", "Q8_0"]
    assert found.passed == (quantized,)


def test_marks_that_left_the_template_when_it_was_saved_make_no_other_template(records: Records) -> None:
    hashes = template_hashes(byte_level(MARKED))
    assert set(hashes) == {"chat_template_sha256", "saved_template_sha256"}
    assert set(template_hashes(byte_level())) == {"chat_template_sha256"}
    training, _, _, quantized = whole_chain(records, template=without_training_marks(MARKED))
    assert "template_differs" in codes(told(records, quantized))
    result = records.home.run_dir(training).result
    document = json.loads(result.read_text())
    document["artefacts"][0]["lineage"] |= hashes
    result.write_text(json.dumps(document))
    assert told(records, quantized).causes == ()


def test_a_check_of_a_newer_version_or_a_torn_one_ends_in_no_fault(records: Records) -> None:
    _, _, _, quantized = whole_chain(records)
    cases: list[Any] = [{"name": "plain", "same": False, "cause": {"code": "of_tomorrow"}}, {"same": False}, "torn", {}]
    checked = records.parity(quantized, {"passed": False, "cases": cases, "findings": [{"code": "of_tomorrow"}, 3]})
    found = told(records, checked)
    assert codes(found, "shown") == {"prompts_differ"} and "2 of 3" in words(found)


def test_every_cause_that_a_check_can_find_is_known_and_every_cause_has_words() -> None:
    assert {*CAUSES, *ROOTS, "stop_token_lost", "prompt_count", "end_in_answer", "prompt_over_window"} <= set(EXPLAINS)
    numbers = dict.fromkeys(
        ("tokens", "window", "count", "of", "steps", "step", "low", "high", "inputs", "bits", "limit", "longest"), 2
    )
    texts = dict.fromkeys(
        (
            "before",
            "after",
            "dtype",
            "trained",
            "asked",
            "candidate",
            "task",
            "stage",
            "text",
            "served",
            "said",
            "form",
            "name",
        ),
        "a",
    )
    values = {**numbers, **texts, "first": 2.4, "last": 0.5, "share": 0.5, "difference": -0.5, "words": ["a"]}
    for code in EXPLAINS:
        cause = Cause(Reason(code, values), "shown", 1, ())
        assert cause_words(cause) and remedy_words(cause)


def test_a_check_that_passed_rules_out_what_only_the_header_suggests(records: Records) -> None:
    training, _, _, quantized = whole_chain(records, template=CHATML + " ")
    baked = records.bakeoff({ADAPTER: training, Q8_0: quantized}, values={Q8_0: {"more_prompt_tokens": 1}})
    assert {"template_differs", "prompt_tokens_differ"} <= codes(told(records, baked))
    records.parity(quantized, {"passed": True, "cases": []})
    left = [cause for cause in told(records, baked).causes if cause.job == quantized]
    assert left == []


TRAININGS: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "completions skipped": ({"skipped": 12}, {"completions_skipped"}, "likely"),
    "prompts cut": ({"cut": 20}, {"prompts_cut"}, "likely"),
    "the loss did not fall": ({"losses": (2.4,) * 30}, {"loss_not_fallen"}, "likely"),
    "the loss is no number": ({"losses": (2.4, 2.2, float("nan"))}, {"loss_not_finite"}, "shown"),
    "too few steps": ({"losses": (2.4, 2.2, 2.0)}, {"too_few_steps"}, "likely"),
}


@pytest.mark.parametrize("fault", TRAININGS)
def test_a_training_s_own_record_tells_its_fault(records: Records, fault: str) -> None:
    values, expected, certainty = TRAININGS[fault]
    training = records.train(**values)
    found = told(records, training)
    assert codes(found, certainty) == expected, fault
    assert found.causes[0].evidence and "no answers" not in words(found).splitlines()[0]


def test_a_few_skipped_examples_are_no_cause_of_anything(records: Records) -> None:
    training = records.train(skipped=1, cut=1)
    records.bakeoff({ADAPTER: training})
    assert told(records, training).causes == ()


def test_weights_that_did_not_change_and_updates_that_were_lost_are_told(records: Records) -> None:
    training = records.train()
    same = records.merge(training, unchanged=59)
    lost = records.merge(training, share=0.3)
    found = told(records, training)
    assert {(cause.code, cause.job, cause.certainty) for cause in found.causes} == {
        ("weights_unchanged", same, "shown"),
        ("update_lost", lost, "likely"),
    }
    coarse = records.quantize(records.convert(records.merge(training)), survival={"dtype": "Q8_0", "share": 0.4})
    assert ("update_lost", coarse) in {(cause.code, cause.job) for cause in told(records, coarse).causes}
    assert f"bakehouse export {training} --dtype fp32 --wait" in [one.command for one in found.tests]


def test_a_merge_into_a_base_that_training_never_saw_is_a_possible_cause_of_a_loss(records: Records) -> None:
    training = records.train(recipe={"method": "qlora-hqq", "hqq": HqqOptions()})
    merged = records.merge(training)
    assert told(records, merged).causes == ()
    records.bakeoff({ADAPTER: training, MERGED: merged}, quality={MERGED: BAD})
    found = told(records, merged)
    assert codes(found, "possible") == {"original_base_weights"} and codes(found, "shown") == {"loss_at_stage"}
    assert f"bakehouse export {training} --base-weights dequantized --wait" in [one.command for one in found.tests]


def test_a_bake_off_that_asks_otherwise_than_was_trained_is_told(records: Records) -> None:
    training = records.train(
        task=task_named("judge").model_copy(update={"thinking": "on", "system": "You are strict."})
    )
    baked = records.bakeoff({ADAPTER: training})
    assert codes(told(records, baked), "shown") == {"thinking_policy_differs", "system_prompt_differs"}


def test_a_variant_beside_the_same_model_without_one_is_an_experiment(records: Records) -> None:
    training = records.train()
    thinking = Variant(written="think=on", think="on")
    name = f"{ADAPTER}@think=on"
    records.bakeoff({ADAPTER: training, name: training}, variants={name: thinking})
    assert told(records, training).causes == ()
    alone = records.bakeoff({name: training}, variants={name: thinking})
    found = told(records, alone)
    assert codes(found) == {"thinking_policy_differs"} and found.causes[0].job == alone


def test_a_limit_that_whole_answers_come_near_may_be_too_low(records: Records) -> None:
    limit = task_named("judge").sampling.max_new_tokens
    training = records.train()

    def long(input_id: str) -> dict[str, Any]:
        cut = input_id in ("note-1", "note-2", "note-3")
        return {"finish": "length", "completion_tokens": limit} if cut else {"completion_tokens": limit - 100}

    def short(input_id: str) -> dict[str, Any]:
        return long(input_id) if input_id in ("note-1", "note-2", "note-3") else {"completion_tokens": 60}

    records.bakeoff({ADAPTER: training}, values={ADAPTER: short})
    found = told(records, training)
    assert "cut" in seen(found) and found.causes == () and found.unexplained == ("cut",)
    records.bakeoff({ADAPTER: training}, values={ADAPTER: long})
    found = told(records, training)
    assert codes(found, "possible") == {"limit_too_low"} and found.unexplained == ()
    assert f"job:{training}@max_new_tokens={2 * limit}" in found.tests[0].command


def test_a_form_that_is_short_beside_a_rambling_base_is_no_symptom_and_beside_the_adapter_is_one(
    records: Records,
) -> None:
    """As the demo's own result has it: the tuned model writes 95 tokens each time, the base up to the limit."""
    training, _, _, quantized = whole_chain(records)
    lengths = {BASE: {"completion_tokens": 400}, ADAPTER: {"completion_tokens": 95}}
    baked = records.bakeoff({ADAPTER: training}, values=lengths)
    assert seen(told(records, baked)) == set()
    both = {**lengths, ADAPTER: {"completion_tokens": 300}, Q8_0: {"completion_tokens": 78}}
    baked = records.bakeoff({ADAPTER: training, Q8_0: quantized}, values=both)
    found = told(records, baked)
    assert {(of.candidate, one.code) for of in found.symptoms for one in of.symptoms if of.job} == {
        (Q8_0, "short_and_alike")
    }


@pytest.mark.parametrize("error", ["nothing_changed", "weights_of_base"])
def test_a_conversion_that_was_refused_because_nothing_changed_is_told_as_such(records: Records, error: str) -> None:
    merged = records.merge(records.train())
    refused = records.convert(merged)
    reason = ("job_error", json.dumps({"error": error, "message": "no tensor differs from the base"}), refused)
    with transaction(records.connection):
        records.connection.execute("UPDATE jobs SET reason_code = ?, reason_values = ? WHERE id = ?", reason)
    (cause,) = told(records, merged).causes
    assert (cause.code, cause.job, cause.certainty) == ("weights_unchanged", refused, "shown")


def test_an_adapter_that_a_server_puts_on_a_gguf_base_belongs_to_its_training() -> None:
    on_base = CandidateSpec(name="tuned", form="gguf", ref="job:9/gguf", lora="job:12/lora")
    assert job_of(on_base) == 12


def test_records_that_are_gone_or_torn_say_nothing(records: Records) -> None:
    training, merged, _, quantized = whole_chain(records)
    records.bakeoff({ADAPTER: training, Q8_0: quantized})
    (records.home.run_dir(training).result).write_text("{torn")
    records.home.run_dir(merged).job_file.unlink()
    for place in records.folder.glob("*.gguf"):
        place.write_bytes(b"GGUF")
    found = told(records, training)
    assert found.causes == () and merged not in {link.id for link in found.lineage.links}


def test_a_task_is_known_by_its_name_alone(records: Records) -> None:
    """A bake-off on another task than the training's is no fault of either."""
    training = records.train()
    other = Task.model_validate(task_named("judge").model_dump(mode="json") | {"name": "planner", "system": "Plan."})
    baked = records.bakeoff({ADAPTER: training}, task=other)
    assert codes(told(records, baked)) == set()
    assert LOSSES[-1] < LOSSES[0]
