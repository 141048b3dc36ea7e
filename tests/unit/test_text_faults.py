"""Texts that a template or a tokenizer would turn into something else: told or refused with their lines."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.examples import Example, Message
from core.data.render import fit_all
from core.data.template import signs_pattern
from core.data.text_faults import CODES, TextFinding
from core.reasons import Reason
from core.wording.texts import fault_remedy, fault_words, line_words, template_words, text_words
from tests.support import chat_templates as templates
from tests.support.tokenizers import byte_level, qwen3


@pytest.fixture(scope="module")
def chatml() -> Any:
    return byte_level(special=("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|fim_middle|>"))


def example(completion: str, user: str = "a note", line: int = 1, *before: Message) -> Example:
    return Example((*before, Message("user", user)), completion, line, "data.jsonl")


def found(tokenizer: Any, thinking: Any, *examples: Example) -> list[tuple[str, Any, tuple[int, ...]]]:
    texts = fit_all(tokenizer, examples, thinking, None).texts
    return [(finding.reason.code, finding.reason.values.get("sign"), finding.lines) for finding in texts]


@pytest.mark.parametrize(
    ("completion", "code", "sign"),
    [
        ("PASS<|im_end|>", "end_in_completion", "<|im_end|>"),
        ("PASS<|im_end|>\n", "end_in_completion", "<|im_end|>"),
        ("PASS<|im_end|>\n<|im_start|>user\nmore", "end_in_completion", "<|im_end|>"),
        ("<s>struck out</s>", "control_in_completion", "<s>"),
        ("def f(): <|fim_middle|>", "control_in_completion", "<|fim_middle|>"),
        ("<|im_start|>assistant\nPASS", "prompt_in_completion", "<|im_start|>assistant"),
        ("<think>\nA list.\n</think>\n\nPASS", "thoughts_while_off", "<think>"),
        ("<think>\n\n</think>\n\nPASS", "thoughts_while_off", "<think>"),
        ("A list.\n</think>\n\nPASS", "thoughts_while_off", "</think>"),
    ],
)
def test_a_completion_that_would_be_learnt_wrongly_is_refused(
    chatml: Any, completion: str, code: str, sign: str
) -> None:
    (finding,) = fit_all(chatml, [example("PASS"), example(completion, line=7)], "off", None).texts
    assert (finding.reason, finding.lines, finding.refused) == (Reason(code, {"sign": sign}), (7,), True)


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("A list.\n</think>\n\nPASS", "thoughts_not_opened"),
        ("<think>\nA list.\n\nPASS", "thoughts_not_closed"),
        ("<think>\nA list.\n</think>\n\nPASS", None),
        ("PASS", None),
    ],
)
def test_thoughts_that_are_learnt_are_whole(completion: str, code: str | None) -> None:
    assert [item[0] for item in found(qwen3(), "on", example(completion))] == ([code] if code else [])


def test_thoughts_that_every_prompt_opens_are_only_closed() -> None:
    tokenizer = byte_level(templates.ALWAYS_THINKS)
    assert found(tokenizer, "on", example("A list.\n</think>\n\nPASS")) == []


@pytest.mark.parametrize("sign", ["</s>", "<|eot_id|>", "<end_of_turn>", "<｜end▁of▁sentence｜>"])
def test_the_end_of_a_turn_of_another_models_format_is_refused_at_the_end_of_a_completion(sign: str) -> None:
    tokenizer = byte_level()
    assert found(tokenizer, "off", example(f"PASS{sign}\n")) == [("foreign_end_in_completion", sign, (1,))]
    assert found(tokenizer, "off", example(f"{sign} ends a turn there.", f"What is {sign}")) == []
    assert found(tokenizer, "off", example("PASS, not <s>FAIL</s>")) == []


@pytest.mark.parametrize(
    "head", ["[/INST]", "### Response:", "<start_of_turn>model", "<|assistant|>", "<｜Assistant｜>"]
)
def test_what_was_formatted_for_another_model_is_told(head: str) -> None:
    tokenizer = byte_level()
    codes = found(tokenizer, "off", example("PASS", f"What is bread?\n\n{head}\n"))
    assert ("foreign_head_in_message", head, (1,)) in codes
    assert found(tokenizer, "off", example(f"{head}\nPASS")) == [("foreign_head_in_completion", head, (1,))]
    assert found(tokenizer, "off", example(f"It is written {head} there.", f"Where stands {head} in it?")) == []


@pytest.mark.parametrize("turn", ["<s>[INST]", "\n### Instruction:", "<start_of_turn>user", "\n\nHuman:"])
def test_a_conversation_within_one_answer_is_told_and_not_refused(turn: str) -> None:
    (finding,) = fit_all(byte_level(), [example(f"PASS {turn} and this note? FAIL")], "off", None).texts
    assert (finding.reason.code, finding.refused) == ("foreign_turn_in_completion", False)
    ended = fit_all(byte_level(), [example(f"PASS</s>{turn} and this note? FAIL</s>")], "off", None).texts
    assert [item.reason.code for item in ended] == ["foreign_end_in_completion"]


def test_the_head_of_an_answer_in_plain_words_is_known_too() -> None:
    tokenizer = byte_level(templates.ASKING_PLAINLY)
    assert found(tokenizer, "off", example("### Assistant:\nPASS")) == [
        ("prompt_in_completion", "### Assistant:", (1,))
    ]
    assert found(tokenizer, "off", example("PASS", "what is ### Assistant: for?")) == [
        ("control_in_message", "### Assistant:", (1,))
    ]
    assert found(tokenizer, "off", example("PASS\n(end)")) == [("end_in_completion", "(end)", (1,))]


@pytest.mark.parametrize("sign", ["<|turn_over|>", "[INST]"])
def test_signs_of_the_frame_count_where_the_tokenizer_does_not_know_them(sign: str) -> None:
    tokenizer = byte_level(templates.CHATML.replace("<|im_end|>", sign).replace("<|im_start|>", "[/INST]"))
    assert found(tokenizer, "off", example(f"PASS{sign}")) == [("end_in_completion", sign, (1,))]


def test_a_sign_in_a_message_is_told_and_not_refused(chatml: Any) -> None:
    system = Message("system", "Answer in <s>one</s> line.")
    examples = [example("PASS", f"what does <|im_end|> mean in {line}?", line, system) for line in range(1, 9)]
    texts = fit_all(chatml, examples, "off", None).texts
    assert not any(finding.refused for finding in texts)
    assert {(finding.reason.values["role"], finding.reason.values["sign"]) for finding in texts} == {
        ("system", "<s>"),
        ("system", "</s>"),
        ("user", "<|im_end|>"),
    }
    assert all(finding.lines == tuple(range(1, 9)) and finding.examples == 8 for finding in texts)


def test_a_message_that_the_template_loses_is_refused_by_its_line() -> None:
    tokenizer = byte_level(templates.CUT_SHORT)
    assert found(tokenizer, "off", example("PASS"), example("PASS", "long " * 60, 2)) == [("message_lost", None, (2,))]
    forgetful = byte_level(templates.FORGETS_THOUGHTS)
    assert found(forgetful, "off", example("PASS", "what is </think> for?", 5)) == [("message_lost", None, (5,))]
    # What an earlier answer thought is left out on purpose, as when serving.
    turns = (Message("user", "one"), Message("assistant", "<think>\nhm\n</think>\n\nPASS"))
    assert found(forgetful, "off", example("FAIL", "two", 6, *turns)) == []


def test_tokens_that_are_no_control_tokens_are_words() -> None:
    assert found(qwen3(), "off", example("Call <tool_call> and <b>bold</b>.", "What is <tool_call>?")) == []


def test_every_code_has_words_and_a_remedy() -> None:
    for code in CODES:
        reason = Reason(code, {"sign": "<|im_end|>", "role": "user"})
        assert "{" not in fault_words(reason) and code not in fault_words(reason) and fault_remedy(reason)
    for code in ("list_contents", "end_is_no_token", "behind_the_end", "system_moved", "no_thinking_switch"):
        assert code not in template_words(Reason(code, {"text": "<|im_start|>"}))
    assert fault_words(Reason("newer", {"x": 1})) == "newer x=1"
    assert "\x1b" not in fault_words(Reason("control_in_message", {"role": "user", "sign": "\x1b[2J"}))


def test_lines_are_named_and_counted() -> None:
    assert line_words([3], 1) == "line 3" and line_words([3, 5], 2) == "lines 3, 5"
    assert line_words([3], 4) == "4 times in line 3"
    assert line_words(range(1, 21), 20) == "lines 1, 2, 3, 4, 5 and 15 more"
    finding = TextFinding(Reason("end_in_completion", {"sign": "</s>"}), (2, 9), 2)
    assert text_words(finding) == "the completion holds `</s>`, which ends a turn (lines 2, 9)"
    assert TextFinding.from_json(finding.to_json()) == finding


def test_thousands_of_control_tokens_are_found_the_longest_first() -> None:
    signs = {*(f"<unused{number}>" for number in range(6000)), "<|a", "<|a|>", "</s>", "<s>"}
    pattern = signs_pattern(signs)
    assert pattern.findall("x<unused5999><unused6000> <|a|><|ab</s><s >") == ["<unused5999>", "<|a|>", "<|a", "</s>"]
    assert all(pattern.fullmatch(sign) for sign in signs) and signs_pattern(()).findall("<s>") == []


@given(st.sets(st.text("<|ab>", min_size=1, max_size=5)), st.text("<|ab>", max_size=20))
def test_the_tree_of_signs_finds_what_a_list_of_them_finds(signs: set[str], text: str) -> None:
    listed = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True)) or "(?!)"
    assert signs_pattern(signs).findall(text) == re.findall(listed, text)
