"""The proof of a chat template: what comes through, where a turn ends, and what is refused with a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from core.data.examples import Example, Message
from core.data.render import end_of_turn, render_example, render_prompt
from core.data.template_proof import prove
from core.errors import InputError
from tests.support import chat_templates as templates
from tests.support.tokenizers import CHATML, byte_level

SYSTEM, USER = Message("system", "You grade notes."), Message("user", "a note")
CONVERSATION = (SYSTEM, USER, Message("assistant", "PASS"), Message("user", "another note"))


def tokenizer_for(template: str) -> Any:
    tokenizer = byte_level(template)
    tokenizer.bos_token = "<s>"
    return tokenizer


def learnt(template: str, completion: str = "PASS", thinking: Any = "off", **options: Any) -> tuple[str, str]:
    """What is given and what is learnt of a conversation."""
    tokenizer = tokenizer_for(template)
    rendered = render_example(tokenizer, Example(CONVERSATION, completion, 3, "data.jsonl"), thinking, **options)
    given = tokenizer.decode(list(rendered.prompt_ids), clean_up_tokenization_spaces=False)
    return given, tokenizer.decode(list(rendered.completion_ids), clean_up_tokenization_spaces=False)


def refusal(template: str, messages: tuple[Message, ...] = CONVERSATION, thinking: Any = "off") -> InputError:
    with pytest.raises(InputError) as caught:
        render_prompt(tokenizer_for(template), messages, thinking)
    assert caught.value.remedy, "a refusal without a remedy helps nobody"
    return caught.value


@pytest.mark.parametrize("name", templates.SOUND)
def test_only_the_answer_and_the_end_of_its_turn_are_learnt(name: str) -> None:
    template, end = templates.SOUND[name]
    given, answer = learnt(template)
    assert answer == ("PASS\n(end)" if end == "(end)" else f"PASS{end}")
    assert end_of_turn(tokenizer_for(template), "off") == end
    places = [given.index(message.content) for message in CONVERSATION[1:]]
    assert places == sorted(places) and "You grade notes." in given


def test_a_template_of_list_contents_gets_lists_and_says_so() -> None:
    given, _ = learnt(templates.LIST_ONLY)
    assert given.endswith("user\nanother note<|im_end|>\n<|im_start|>assistant\n")
    assert [note.code for note in prove(tokenizer_for(templates.LIST_ONLY), "off").notes] == ["list_contents"]


@pytest.mark.parametrize(
    ("template", "unlearnt"),
    [
        (templates.ALWAYS_ASKING, "<|im_start|>assistant"),
        (templates.ALWAYS_ASKING_PLAINLY, "### Assistant:"),
        (templates.FRAMED, "<|end_of_chat|>"),
    ],
)
def test_what_stands_behind_the_end_of_a_turn_is_told(template: str, unlearnt: str) -> None:
    (note,) = [note for note in prove(tokenizer_for(template), "off").notes if note.code != "end_is_no_token"]
    assert (note.code, note.values["text"]) == ("behind_the_end", unlearnt)
    # A line feed behind the end token is what most templates write: not learnt, and not worth a word.
    assert prove(tokenizer_for(CHATML), "off").notes == ()


@pytest.mark.parametrize(
    ("template", "code"), [(templates.DROPS_SYSTEM, "system_lost"), (templates.REFUSES_SYSTEM, "system_refused")]
)
def test_a_system_message_that_does_not_come_through_can_be_folded_into_the_user_turn(template: str, code: str) -> None:
    error = refusal(template)
    assert error.code == code and "system_role: user" in str(error.remedy)
    assert render_prompt(tokenizer_for(template), CONVERSATION[1:], "off")  # without one there is nothing to refuse
    given, answer = learnt(template, system_role="user")
    assert given.startswith("<|im_start|>user\nYou grade notes.\n\na note<|im_end|>") and answer == "PASS<|im_end|>"
    assert given.count("You grade notes.") == 1


def test_a_system_message_in_another_place_is_told() -> None:
    assert [note.code for note in prove(tokenizer_for(templates.MOVES_SYSTEM), "off").notes] == ["system_moved"]


@pytest.mark.parametrize(
    ("template", "code"),
    [
        (templates.NEWEST_FIRST, "template_turns_reordered"),
        (templates.LAST_TWO, "template_text_lost"),
        (templates.TWICE, "template_text_twice"),
        (templates.LOWERED, "template_text_lost"),
        (templates.ENDLESS, "no_end_of_turn"),
        ("{{ messages[0].nothing.at_all }}", "template_refused"),
        ("{{ messages | length + 'x' }}", "template_refused"),
    ],
)
def test_a_template_that_changes_a_conversation_is_refused(template: str, code: str) -> None:
    assert refusal(template, CONVERSATION[1:]).code == code


def test_a_template_that_loses_earlier_turns_is_right_for_one_turn() -> None:
    assert "a note" in render_prompt(tokenizer_for(templates.LAST_TWO), [USER], "off")


def test_thinking_off_is_refused_where_every_prompt_opens_thoughts() -> None:
    assert refusal(templates.ALWAYS_THINKS).code == "thinks_always"


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>\nA list.\n</think>\n\nPASS", "A list.\n</think>\n\nPASS"),
        ("A list.\n</think>\n\nPASS", "A list.\n</think>\n\nPASS"),
        ("PASS", "\n</think>\n\nPASS"),
    ],
)
def test_thoughts_that_the_prompt_opened_are_closed_once(completion: str, expected: str) -> None:
    given, answer = learnt(templates.ALWAYS_THINKS, completion, "on")
    assert given.endswith("assistant\n<think>\n") and answer == f"{expected}<|im_end|>"


def test_an_empty_block_is_learnt_with_thinking_on_alone() -> None:
    assert learnt(templates.BLOCK_IN_ANSWERS, thinking="on")[1] == "<think>\n\n</think>\n\nPASS<|im_end|>"
    assert learnt(templates.BLOCK_IN_ANSWERS, thinking="off")[1] == "PASS<|im_end|>"


def test_thinking_on_says_when_the_template_has_no_switch_for_it() -> None:
    assert [note.code for note in prove(tokenizer_for(CHATML), "on").notes] == ["no_thinking_switch"]


def test_a_switch_of_another_name_is_set_too() -> None:
    granite = CHATML.replace("assistant\n{% endif %}", "assistant\n{% if thinking %}<think>\n{% endif %}{% endif %}")
    assert learnt(granite, thinking="on")[0].endswith("<think>\n")
    assert learnt(granite, thinking="off")[0].endswith("assistant\n")


def test_every_template_of_trl_is_proved_or_refused_with_a_remedy() -> None:
    refused: dict[str, set[str]] = {}
    for name, template in templates.trl_templates().items():
        for thinking in ("off", "on"):
            try:
                given, answer = learnt(template, thinking=thinking, system_role="user" if "gemma" in name else "system")
            except InputError as error:
                assert error.remedy
                refused.setdefault(error.code, set()).add(name)
                continue
            assert all(given.count(message.content) == 1 for message in CONVERSATION[1:]), name
            end = prove(tokenizer_for(template), thinking, "system").end
            assert answer.count(end) == 1 and answer.endswith(end) and "PASS" in answer, name
            assert thinking == "on" or "think" not in answer, name
    assert set(refused) <= {"thinks_always", "no_end_of_turn"}
    assert {"deepseek_r1_distill"} <= refused["thinks_always"] and "glm4moe" in refused["no_end_of_turn"]


def test_gemmas_refusal_of_a_system_message_is_our_own_sentence() -> None:
    error = refusal(templates.trl_templates()["gemma"])
    assert error.code == "system_refused" and "system_role: user" in str(error)


def test_a_conversation_that_the_template_alone_refuses_is_named_by_its_line() -> None:
    picky = "{{ raise_exception('too long for me') if messages[-1].content | length > 99 }}" + CHATML
    with pytest.raises(InputError, match="too long for me") as caught:
        render_example(tokenizer_for(picky), Example((Message("user", "x" * 100),), "PASS", 12, "data.jsonl"), "off")
    assert (caught.value.code, caught.value.line, caught.value.file) == ("template_refused", 12, "data.jsonl")


def test_an_end_that_the_tokenizer_does_not_know_is_told() -> None:
    (note,) = prove(tokenizer_for(CHATML.replace("<|im_end|>", "<|eot_id|>")), "off").notes
    assert (note.code, note.values["text"]) == ("end_is_no_token", "<|eot_id|>")
