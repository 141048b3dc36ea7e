"""The parity gate: each mistake that is made with chat templates is seen, told by its cause, and nothing sound is refused.

The served side is a real render by another template, or of another tokenizer's making, as a server with that mistake does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.render import encode_prompt
from core.data.template import Thinking
from core.data.template_proof import prove
from core.parity.comparison import CAUSES
from core.parity.conversations import probe_conversations
from core.parity.gate import (
    ParityReport,
    answer_findings,
    compare_prompts,
    file_findings,
    other_policy,
    switch_findings,
)
from core.reasons import Reason
from core.serving.answering import Question, Reply
from core.wording.parity import case_words, finding_words, remedy_words
from tests.support.chat_templates import (
    DROPS_SYSTEM,
    ENDLESS,
    GENERATION,
    LOWERED,
    PLAIN_WORDS,
    TRIMMED,
    TURNS,
)
from tests.support.tokenizers import CHATML, QWEN_ADDED, QWEN_SPECIAL, byte_level, qwen3, qwen3_template

TASK = Task(name="judge", system="You grade notes.")
GOLDEN = [
    GoldenInput(id="short", input="Bread."),
    GoldenInput(id="long", input="The oven is warm. " * 40),
    GoldenInput(id="last", input="And the rest?"),
]


@dataclass
class OtherServer:
    """A server that renders by `template`, and puts `front` and `behind` around the tokens of a prompt."""

    template: str
    tokenizer: Any
    front: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()
    change: Callable[[str], str] = field(default=lambda text: text)

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        conversation = [{"role": role, "content": text} for role, text in messages]
        text = self.tokenizer.apply_chat_template(
            conversation,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=think,
        )
        return self.change(str(text))

    def tokenize(self, text: str) -> tuple[int, ...]:
        return (*self.front, *encode_prompt(self.tokenizer, text), *self.behind)


def report(tokenizer: Any, server: OtherServer, thinking: Thinking = "off", task: Task = TASK) -> ParityReport:
    probes = probe_conversations(task, GOLDEN, prove(tokenizer, thinking))
    return ParityReport(compare_prompts(tokenizer, server, probes, thinking, task.system_role))


def causes(found: ParityReport) -> set[str]:
    return {case.cause.code for case in found.differing if case.cause is not None}


def thinking_chatml() -> Any:
    return byte_level(CHATML, QWEN_SPECIAL, QWEN_ADDED)


BOS = 0
CHATML_BOS = "<|endoftext|>" + CHATML


def with_bos(template: str) -> Any:
    tokenizer = byte_level(template, QWEN_SPECIAL, QWEN_ADDED)
    tokenizer.bos_token = "<|endoftext|>"
    return tokenizer


NO_HEAD = TURNS
FOLDS_SYSTEM = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for message in messages if message.role != 'system' %}<|im_start|>{{ message.role }}\n"
    "{% if system and loop.first %}{{ system }}\n\n{% endif %}{{ message.content }}<|im_end|>\n{% endfor %}"
    + GENERATION
)
# By what was done: the training's tokenizer, the served template, what the server adds, and what the gate has to say.
MISTAKES: dict[str, tuple[Callable[[], Any], str, dict[str, Any], set[str]]] = {
    "no template at all": (byte_level, "{{ messages[-1].content }}", {}, {"system_dropped"}),
    "no template, the system text kept": (
        byte_level,
        "{% for message in messages %}{{ message.content }}\n{% endfor %}",
        {},
        {"no_template"},
    ),
    "ChatML where Qwen3's belongs": (qwen3, CHATML, {}, {"thinking_differs"}),
    "Qwen3's where ChatML belongs": (thinking_chatml, qwen3_template(), {}, {"thinking_differs"}),
    "another model's frame": (byte_level, PLAIN_WORDS, {}, {"no_template"}),
    "the system prompt dropped": (byte_level, DROPS_SYSTEM, {}, {"system_dropped"}),
    "the system prompt folded into the user's message": (byte_level, FOLDS_SYSTEM, {}, {"system_moved", "other_template"}),
    "a trailing newline": (byte_level, CHATML, {"change": lambda text: text + "\n"}, {"trailing_whitespace"}),
    "a trailing newline lost": (byte_level, CHATML, {"change": str.rstrip}, {"trailing_whitespace"}),
    "no head of an answer": (byte_level, NO_HEAD, {}, {"other_template"}),
    "no end of a turn": (byte_level, ENDLESS, {}, {"other_template"}),
    "lower case": (byte_level, LOWERED, {}, {"text_differs", "system_dropped"}),
    "contents trimmed": (byte_level, TRIMMED, {}, {"whitespace_differs"}),
    "BOS by template and by server": (lambda: with_bos(CHATML_BOS), CHATML_BOS, {"front": (BOS,)}, {"doubled_bos"}),
    "BOS by the server alone": (lambda: with_bos(CHATML), CHATML, {"front": (BOS,)}, {"added_bos"}),
    "BOS by training alone": (lambda: with_bos(CHATML_BOS), CHATML, {}, {"lost_bos"}),
    "EOS behind the prompt": (lambda: with_bos(CHATML), CHATML, {"behind": (2,)}, {"added_eos"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_seen_and_told_by_its_cause(mistake: str) -> None:
    make, template, added, expected = MISTAKES[mistake]
    tokenizer = make()
    found = report(tokenizer, OtherServer(template, tokenizer, **added))
    assert not found.passed and causes(found) <= expected and expected & causes(found)
    for case in found.differing:
        document = case.to_json()
        at = document["first_difference"]
        assert case.trained.tokens[:at] == case.served.tokens[:at]
        assert case.trained.tokens[at : at + 1] != case.served.tokens[at : at + 1]
        assert document["before"] + document["trained"] in case.trained.text
        assert case_words(document)
    assert all(finding_words(reason) and remedy_words(reason) for reason in found.refused)


@pytest.mark.parametrize("make", [byte_level, qwen3, lambda: with_bos(CHATML_BOS)])
@pytest.mark.parametrize("thinking", ["off", "on"])
def test_the_same_template_passes_with_every_awkward_text(make: Callable[[], Any], thinking: Thinking) -> None:
    tokenizer = make()
    found = report(tokenizer, OtherServer(tokenizer.chat_template, tokenizer), thinking)
    assert found.passed and not found.differing
    names = {case.name for case in found.cases}
    assert names >= {"plain", "empty user", "unicode", "white space", "frame in the text", "several turns"}
    assert names >= {"golden input short", "golden input long", "golden input last"}


def test_a_system_text_in_front_of_the_user_s_is_sent_as_it_was_trained() -> None:
    """`system_role: user` folds it: a server whose template drops system messages then loses nothing."""
    tokenizer = byte_level(DROPS_SYSTEM)
    task = TASK.model_copy(update={"system_role": "user"})
    probes = probe_conversations(task, GOLDEN, prove(tokenizer, "off", "user"))
    cases = compare_prompts(tokenizer, OtherServer(DROPS_SYSTEM, tokenizer), probes, "off", "user")
    assert cases and all(case.same for case in cases)
    assert all("You grade notes." in case.served.text for case in cases)


def test_the_same_text_in_other_tokens_is_a_tokenizer_s_fault() -> None:
    trained, served = qwen3(), byte_level(qwen3_template(), QWEN_SPECIAL, QWEN_ADDED, corpus=("zzz",))
    assert causes(report(trained, OtherServer(trained.chat_template, served))) == {"tokens_differ"}


@pytest.mark.parametrize(
    ("make", "template", "codes"),
    [
        (qwen3, qwen3_template(), []),
        (byte_level, CHATML, []),  # no switch: there is nothing to compare
        # Another head where thoughts are wanted, as a template without the switch writes it.
        (qwen3, qwen3_template().replace("enable_thinking is false", "true"), ["switch_differs"]),
    ],
)
def test_the_policy_that_the_task_does_not_have_is_told_and_blocks_nothing(
    make: Callable[[], Any], template: str, codes: list[str]
) -> None:
    tokenizer = make()
    server = OtherServer(template, tokenizer)
    probes = probe_conversations(TASK, GOLDEN, prove(tokenizer, "off"))
    other = other_policy(tokenizer, server, probes[:1], "off", "system")
    findings = switch_findings(other)
    assert [reason.code for reason in findings] == codes
    assert all(finding_words(reason) for reason in findings)
    found = ParityReport(compare_prompts(tokenizer, server, probes, "off", "system"), tuple(findings))
    assert found.passed


ENDS = {"tokenizer.ggml.eos_token_id": 7}


@pytest.mark.parametrize(
    ("keys", "template", "end", "ids", "codes"),
    [
        (ENDS, CHATML, "<|im_end|>", [2], []),  # llama.cpp knows it by its name
        (ENDS, CHATML, "<over>", [7], []),
        ({"tokenizer.ggml.eot_token_id": 9}, CHATML, "<over>", [9], []),
        (ENDS, CHATML, "<over>", [8], ["stop_token_lost"]),
        (ENDS, CHATML, "(end)", [5, 6], ["stop_token_lost"]),
        (ENDS, None, "<|im_end|>", [2], ["file_without_template"]),
        (ENDS, "{% generation %}x{% endgeneration %}", "<|im_end|>", [2], ["training_marks"]),
        (ENDS, "{%- generation -%}x{%- endgeneration -%}", "<|im_end|>", [2], ["training_marks"]),
    ],
)
def test_a_file_s_header_tells_lost_ends_and_marks_of_training(
    keys: dict[str, int], template: str | None, end: str, ids: list[int], codes: list[str]
) -> None:
    found = file_findings(keys, template, end, ids)
    assert [reason.code for reason in found] == codes
    assert all(finding_words(reason) and remedy_words(reason) for reason in found)


QUESTION = Question((("user", "x"),), 0, 0.0, None, None, 1.0, 64, 512, think=False)


@pytest.mark.parametrize(
    ("reply", "codes", "passed"),
    [
        (Reply("Fine.", None, "stop", 1.0, prompt_tokens=20), [], True),
        (Reply("Fine.", None, "stop", 1.0), [], True),  # the server does not tell
        (Reply("Fine.", None, "stop", 1.0, prompt_tokens=21), ["prompt_count"], False),
        (Reply("Fine.<|im_end|>\nuser", None, "length", 1.0, prompt_tokens=20), ["end_in_answer"], False),
        (Reply("Fine and", None, "length", 1.0, prompt_tokens=20), ["answer_not_ended"], True),
    ],
)
def test_one_real_answer_tells_the_count_of_its_prompt_and_its_end(
    reply: Reply, codes: list[str], passed: bool
) -> None:
    found = answer_findings(QUESTION, reply, 20, prove(byte_level(), "off"))
    assert [reason.code for reason in found] == codes
    assert ParityReport((), tuple(found)).passed is passed
    assert all(finding_words(reason) for reason in found)


def test_every_code_has_words() -> None:
    values = {"trained": "a", "served": "b", "text": "<x>", "tokens": 3}
    assert all(finding_words(Reason(code, values)) for code in CAUSES)
