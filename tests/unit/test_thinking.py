"""Thinking, token by token, on Qwen3's own template: what is context, what is learnt, and what a server prefills."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from core.config.golden import GoldenInput, GoldenMessage
from core.config.model import ModelEntry
from core.config.task import Sampling, Task
from core.data.examples import Example, Message
from core.data.render import RenderedExample, render_example
from core.jobfile.bakeoff import CandidateSpec, TaskUnderTest
from core.jobfile.spec import InputFile
from tests.support.tokenizers import QWEN_ADDED, QWEN_SPECIAL, qwen3

SYSTEM = "You grade notes."
BLOCK = ["<think>", "ĊĊ", "</think>", "ĊĊ"]  # Ċ is how byte-level BPE writes a line feed
HEAD = ["<|im_start|>", "assistant", "Ċ"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return qwen3()


def rendered(tokenizer: Any, thinking: Literal["off", "on"], completion: str = "PASS") -> RenderedExample:
    messages = (Message("system", SYSTEM), Message("user", "a note"))
    return render_example(tokenizer, Example(messages, completion, 1, "data.jsonl"), thinking)


def tokens(tokenizer: Any, ids: tuple[int, ...]) -> list[str]:
    return list(tokenizer.convert_ids_to_tokens(list(ids)))


def test_the_tokenizer_has_qwens_tokens_whole(tokenizer: Any) -> None:
    for token in (*QWEN_SPECIAL, *QWEN_ADDED):
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
    assert tokenizer("n\n\n", add_special_tokens=False).tokens() == ["n", "ĊĊ"]


def test_thinking_off_puts_the_empty_block_into_the_context_and_not_into_the_loss(tokenizer: Any) -> None:
    off = rendered(tokenizer, "off")
    assert tokens(tokenizer, off.prompt_ids)[-7:] == [*HEAD, *BLOCK]
    learnt = tokens(tokenizer, off.completion_ids)
    assert learnt[-1] == "<|im_end|>" and "".join(learnt[:-1]) == "PASS"


def test_thinking_on_leaves_the_block_to_the_model(tokenizer: Any) -> None:
    off, on = rendered(tokenizer, "off"), rendered(tokenizer, "on")
    assert tokens(tokenizer, on.prompt_ids)[-3:] == HEAD
    # An example without thoughts then teaches not to think: the block moves into the loss, token for token.
    assert tokens(tokenizer, on.completion_ids)[:4] == BLOCK
    assert on.prompt_ids + on.completion_ids == off.prompt_ids + off.completion_ids
    assert off.prompt_ids == on.prompt_ids + on.completion_ids[:4]


def test_thoughts_of_an_example_are_learnt_whole(tokenizer: Any) -> None:
    thought = "<think>\nA bare list.\n</think>\n\nFAIL"
    on = rendered(tokenizer, "on", thought)
    assert tokenizer.decode(on.completion_ids) == f"{thought}<|im_end|>"
    assert tokens(tokenizer, on.completion_ids).count("<think>") == 1


def test_thoughts_of_earlier_turns_are_left_out_as_when_serving(tokenizer: Any) -> None:
    turns = (
        Message("user", "one"),
        Message("assistant", "<think>\nhm\n</think>\n\nPASS"),
        Message("user", "two"),
    )
    item = render_example(tokenizer, Example(turns, "FAIL", 1, "data.jsonl"), "off")
    text = tokenizer.decode(item.prompt_ids)
    assert "hm" not in text and "<|im_start|>assistant\nPASS<|im_end|>" in text
    assert list(item.prompt_ids) == server_prefill(tokenizer, turns, thinking=False)


def server_prefill(tokenizer: Any, messages: tuple[Message, ...], *, thinking: bool) -> list[int]:
    """What a server with Jinja templates prefills (llama-server, Ollama): the template rendered by Jinja alone, then the raw
    tokenizer with special tokens parsed and none added."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(tokenizer.chat_template).render(
        messages=[message.to_json() for message in messages], add_generation_prompt=True, enable_thinking=thinking
    )
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("thinking", ["off", "on"])
@pytest.mark.parametrize("text", ["a note", "", "a note\n\n", "é e\u0301 \u2028 x", "<think>\nmine\n</think>"])
def test_training_generation_and_serving_start_from_the_same_tokens(
    tokenizer: Any, thinking: Literal["off", "on"], text: str
) -> None:
    messages = (Message("system", SYSTEM), Message("user", text))
    trained = render_example(tokenizer, Example(messages, "PASS", 1, "data.jsonl"), thinking).prompt_ids
    assert trained == asked(tokenizer, thinking, GoldenInput(id="g", input=text))
    assert list(trained) == server_prefill(tokenizer, messages, thinking=thinking == "on")


def test_a_conversation_is_asked_as_it_is_learnt_under_a_system_message_of_its_own(tokenizer: Any) -> None:
    turns: list[tuple[Literal["system", "user", "assistant"], str]] = [
        ("system", "Another one."),
        ("user", "a note"),
        ("assistant", "PASS"),
        ("user", "why?"),
    ]
    golden = GoldenInput(id="g", messages=[GoldenMessage(role=role, content=content) for role, content in turns])
    for first, given in ((0, turns), (1, [("system", SYSTEM), *turns[1:]])):
        messages = tuple(Message(role, content) for role, content in given)
        trained = render_example(tokenizer, Example(messages, "tea", 1, "data.jsonl"), "off").prompt_ids
        item = golden.model_copy(update={"messages": golden.messages[first:]})
        assert trained == asked(tokenizer, "off", item)


def asked(tokenizer: Any, thinking: Literal["off", "on"], item: GoldenInput) -> tuple[int, ...]:
    """The tokens with which a bake-off asks a golden input."""
    from core.scoring.questions import asked_task
    from jobs.bakeoff.prompts import wanted_answers

    task = Task(
        name="judge",
        system=SYSTEM,
        thinking=thinking,
        sampling=Sampling(context_length=4096, max_new_tokens=64),
    )
    golden = InputFile(path="golden.json", sha256="0" * 64, source="golden.yaml")
    candidate = CandidateSpec(name="base", form="base", model=ModelEntry(name="m", path="/m"))
    under_test = TaskUnderTest(task=task, golden=golden, repeats=1)
    (wanted,) = wanted_answers(asked_task(under_test, (item,), candidate), "weights", tokenizer, seed=0)
    return wanted.prompt_ids
