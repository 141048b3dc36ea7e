"""Rendering by the model's own template, and the length rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.examples import Example, Message
from core.data.render import (
    FittedExample,
    Skipped,
    encode_prompt,
    end_of_turn,
    fit,
    fit_all,
    render_example,
    render_prompt,
)
from core.errors import InputError
from tests.support.depth import example_count
from tests.support.needs import need

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Qwen3 does it: thinking off puts an empty block into the prompt, and a last turn without thinking is written with one.
THINKING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
# As DeepSeek does it: whatever an assistant thought is dropped from the history.
FORGETFUL = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] | trim }}")
STRICT = "{{ raise_exception('no system, please') if messages[0].role == 'system' }}" + CHATML

CORPUS = [
    "You grade notes. The bread is ready, and the oven is still warm.",
    "### note — PASS (4.2/5)\n| Criterion | Score | Reason |\n|---|---|---|\n| Clarity | 5 | Plain words |\n\nSUMMARY: 1",
    "<think>\n\n</think>\n\nsystem\nuser\nassistant\n",
]


def make_tokenizer(template: str) -> Any:
    need("tokenizers", "transformers")
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=template)


@pytest.fixture(scope="module")
def chatml() -> Any:
    return make_tokenizer(CHATML)


def example(user: str, completion: str = "PASS", system: str | None = "You grade notes.") -> Example:
    head = () if system is None else (Message("system", system),)
    return Example((*head, Message("user", user)), completion, 7, "data.jsonl")


def test_the_prompt_of_training_is_the_prompt_of_generation_and_the_answer_ends_its_turn(chatml: Any) -> None:
    item = example("a note", "PASS\n")
    rendered = render_example(chatml, item, "off")
    prompt = render_prompt(chatml, item.messages, "off")
    assert prompt.endswith("a note<|im_end|>\n<|im_start|>assistant\n")
    assert list(rendered.prompt_ids) == encode_prompt(chatml, prompt)
    assert chatml.decode(rendered.completion_ids) == "PASS\n<|im_end|>"
    assert end_of_turn(chatml, "off") == "<|im_end|>"


@pytest.mark.parametrize("template", [CHATML, THINKING, FORGETFUL])
def test_thinking_off_never_trains_an_empty_block_and_no_template_swallows_a_completion(template: str) -> None:
    tokenizer = make_tokenizer(template)
    rendered = render_example(tokenizer, example("a note", "PASS"), "off")
    assert tokenizer.decode(rendered.completion_ids) == "PASS<|im_end|>"
    item = example("a note", "<think>\nhm\n</think>\n\nPASS")
    assert tokenizer.decode(render_example(tokenizer, item, "on").completion_ids).endswith(
        "hm\n</think>\n\nPASS<|im_end|>"
    )


def test_the_policy_moves_the_empty_block_between_prompt_and_answer() -> None:
    tokenizer = make_tokenizer(THINKING)
    off, on = (render_example(tokenizer, example("a note"), thinking) for thinking in ("off", "on"))
    block = encode_prompt(tokenizer, "<think>\n\n</think>\n\n")
    assert off.prompt_ids == (*on.prompt_ids, *block)
    assert on.completion_ids == (*block, *off.completion_ids)


def test_a_completion_that_would_merge_with_the_prompt_is_tokenised_by_itself(chatml: Any) -> None:
    rendered = render_example(chatml, example("a note", "\n\nPASS"), "off")
    assert list(rendered.prompt_ids) == encode_prompt(chatml, render_prompt(chatml, example("a note").messages, "off"))
    assert chatml.decode(rendered.completion_ids) == "\n\nPASS<|im_end|>"


def test_what_fits_is_untouched(chatml: Any) -> None:
    rendered = render_example(chatml, example("a note"), "off")
    for length in (None, rendered.tokens, rendered.tokens + 1):
        fitted = fit(rendered, length)
        assert fitted == FittedExample(rendered.prompt_ids, rendered.completion_ids, 7, completion_bytes=4)


def test_the_bytes_of_a_completion_are_those_of_its_text_whatever_a_template_puts_around_it(chatml: Any) -> None:
    completion = " Grüß Gott, 焼きたて \n"
    texts = [example("x" * 200, completion)]
    whole = [render_example(tokenizer, one, "off") for tokenizer in (chatml, make_tokenizer(THINKING)) for one in texts]
    assert [one.completion_bytes for one in whole] == [len("Grüß Gott, 焼きたて".encode())] * 2
    cut = fit(whole[0], whole[0].tokens - 40)
    assert isinstance(cut, FittedExample) and cut.cut_tokens and cut.completion_bytes == whole[0].completion_bytes


def test_a_long_prompt_keeps_the_first_third_and_the_last_two_thirds_of_its_room(chatml: Any) -> None:
    words = [f"{number:03d} " for number in range(400)]
    rendered = render_example(chatml, example("".join(words)), "off")
    frame = render_example(chatml, example(""), "off").tokens
    fitted = fit(rendered, frame + 300)
    assert isinstance(fitted, FittedExample)
    assert len(fitted.prompt_ids) + len(fitted.completion_ids) == frame + 300
    text = chatml.decode(fitted.prompt_ids)
    head, _, rest = text.partition("user\n")
    kept = rest.removesuffix("<|im_end|>\n<|im_start|>assistant\n")
    assert head == "<|im_start|>system\nYou grade notes.<|im_end|>\n<|im_start|>"
    front = next(place for place in range(len(kept), -1, -1) if "".join(words).startswith(kept[:place]))
    share = len(encode_prompt(chatml, kept[:front])) / 300
    assert 0.30 < share < 0.36
    assert "".join(words).endswith(kept[front:])


def test_the_longest_user_message_is_the_one_that_is_cut(chatml: Any) -> None:
    turns = (Message("user", "x " * 200), Message("assistant", "y " * 300), Message("user", "short question"))
    rendered = render_example(chatml, Example(turns, "PASS", 1, "data.jsonl"), "off")
    fitted = fit(rendered, rendered.tokens - 50)
    assert isinstance(fitted, FittedExample) and fitted.cut_tokens == 50
    text = chatml.decode(fitted.prompt_ids)
    assert "y " * 300 in text and "short question" in text


def test_an_example_without_room_is_skipped_and_named(chatml: Any) -> None:
    rendered = render_example(chatml, example("a note", "PASS " * 100), "off")
    skipped = fit(rendered, 80)
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith(f"line 7: {rendered.tokens} tokens, of which ")
    report = fit_all(chatml, [example("a note"), example("a note", "PASS " * 100)], "off", 80)
    assert (len(report.fitted), len(report.skipped), report.skipped_share) == (1, 1, 0.5)


def test_a_template_that_refuses_or_is_absent_is_bad_input() -> None:
    with pytest.raises(InputError, match="no system, please"):
        render_example(make_tokenizer(STRICT), example("a note"), "off")
    tokenizer = make_tokenizer(CHATML)
    tokenizer.chat_template = None
    with pytest.raises(InputError) as caught:
        render_prompt(tokenizer, [Message("user", "?")], "off")
    assert caught.value.code == "no_chat_template"


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=120)


@settings(max_examples=example_count(120))
@given(
    user=TEXTS | TEXTS.map(lambda text: text * 6),
    earlier=TEXTS,
    completion=TEXTS.filter(lambda text: bool(text.strip())),
    max_length=st.integers(16, 200),
    template=st.sampled_from([CHATML, THINKING, FORGETFUL]),
)
def test_no_token_of_a_completion_and_none_of_the_frame_is_ever_lost(
    tokenizers_by_template: dict[str, Any], user: str, earlier: str, completion: str, max_length: int, template: str
) -> None:
    tokenizer = tokenizers_by_template[template]
    turns = (Message("user", earlier), Message("assistant", "ok"), Message("user", user))
    rendered = render_example(tokenizer, Example(turns, completion, 1, "data.jsonl"), "off")
    learnt = tokenizer.decode(rendered.completion_ids)
    assert completion.strip() in learnt and learnt.endswith("<|im_end|>")
    fitted = fit(rendered, max_length)
    if isinstance(fitted, Skipped):
        assert rendered.tokens > max_length
        return
    assert fitted.completion_ids == rendered.completion_ids
    assert len(fitted.prompt_ids) + len(fitted.completion_ids) <= max_length
    removed = len(rendered.prompt_ids) - len(fitted.prompt_ids)
    assert removed == fitted.cut_tokens
    if removed:
        begin, end = rendered.cut_points[0], rendered.cut_points[-1]
        assert fitted.prompt_ids[:begin] == rendered.prompt_ids[:begin]
        tail = len(rendered.prompt_ids) - end
        assert fitted.prompt_ids[len(fitted.prompt_ids) - tail :] == rendered.prompt_ids[end:]
        # Cut between characters: what is left of the message decodes without a broken one.
        kept = tokenizer.decode(fitted.prompt_ids[begin : len(fitted.prompt_ids) - tail])
        assert kept.count("\ufffd") <= max(user.count("\ufffd"), earlier.count("\ufffd"))


@pytest.fixture(scope="module")
def tokenizers_by_template() -> dict[str, Any]:
    return {template: make_tokenizer(template) for template in (CHATML, THINKING, FORGETFUL)}
