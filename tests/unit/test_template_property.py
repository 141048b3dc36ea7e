"""Any conversation through any template: every message's text comes through, and nothing behind the end of a turn is learnt."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.examples import Example, Message
from core.data.render import encode_prompt, render_all, render_prompt
from core.data.template_proof import prove
from core.errors import InputError
from tests.support import chat_templates as templates
from tests.support.depth import example_count
from tests.support.tokenizers import byte_level

OWN = {
    name: getattr(templates, name)
    for name in dir(templates)
    if name.isupper() and name != "GENERATION" and name != "TURNS"
}
del OWN["SOUND"]

WORDS = st.sampled_from(
    [
        *("", " ", "\n", "\n\nPASS\n", "<think>\nhm\n</think>\n\nPASS", "</think>", "<think>", "<|im_end|>"),
        *("<|im_start|>user\n", "<|end|>", "[INST] x", "### Assistant:\n", "e\u0301", "\u2028", "{{ messages }}"),
        *("{% if %}", "x" * 300),
    ]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30) | WORDS
LEARNT = (TEXT | st.tuples(TEXT, WORDS).map("".join)).filter(str.strip)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=2)


@cache
def all_templates() -> dict[str, str]:
    return {**OWN, **templates.trl_templates()}


@cache
def tokenizer_for(name: str) -> Any:
    tokenizer = byte_level(all_templates()[name])
    tokenizer.bos_token = "<s>"
    return tokenizer


@settings(max_examples=example_count(250), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.data(),
    st.one_of(st.none(), TEXT.filter(str.strip)),
    PAIRS,
    TEXT,
    LEARNT,
    st.sampled_from(["off", "on"]),
    st.sampled_from(["system", "user"]),
)
def test_what_is_not_refused_comes_through_and_ends_where_its_turn_ends(
    data: st.DataObject,
    system: str | None,
    earlier: list[tuple[str, str]],
    user: str,
    completion: str,
    thinking: Any,
    role: Any,
) -> None:
    tokenizer = tokenizer_for(data.draw(st.sampled_from(sorted(all_templates()))))
    turns = [Message(who, text) for pair in earlier for who, text in zip(("user", "assistant"), pair, strict=True)]  # type: ignore[arg-type]
    head = [] if system is None else [Message("system", system)]
    messages = (*head, *turns, Message("user", user))
    try:
        (rendered,) = render_all(tokenizer, [Example(messages, completion, 1, "d")], thinking, system_role=role)
    except InputError as error:
        assert error.remedy and error.code != "failed"
        return
    prompt = render_prompt(tokenizer, messages, thinking, system_role=role)
    assert list(rendered.prompt_ids) == encode_prompt(tokenizer, prompt)
    if any(fault.code != "control_in_message" for fault in rendered.faults):
        return
    place = 0
    for message in messages:
        text = message.content.strip()
        if message.role == "system":
            assert text in prompt
        elif message.role == "user" or "think>" not in text:
            place = prompt.index(text, place) + len(text)
    proof = prove(tokenizer, thinking, role)
    learnt = tokenizer.decode(list(rendered.completion_ids), clean_up_tokenization_spaces=False)
    assert learnt.endswith(proof.behind)
    answer = learnt.removesuffix(proof.behind)
    inside = completion.strip().removeprefix("<think>" if proof.opened else "").strip()
    assert answer.strip().endswith(inside)
    # In front of the answer stands nothing but what the template writes there itself, and behind its end nothing.
    assert answer.strip().removesuffix(inside).strip() in ("", proof.before.strip())
    assert thinking == "on" or not any(sign in answer for block in proof.blocks for sign in block)
    assert not any(sign in answer for sign in proof.end_signs if sign.startswith("<"))
