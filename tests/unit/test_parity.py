"""The parity gate: each mistake that is made with chat templates is seen, told by its cause, and nothing sound is refused.

The served side is a real render by another template, or of another tokenizer's making, as a server with that mistake does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
    window_findings,
)
from core.reasons import Reason
from core.serving.answering import Question, Reply, ServedFile
from core.serving.errors import ServerError
from core.wording.parity import case_words, finding_words, remedy_words
from jobs.parity import made_from
from tests.support.chat_templates import (
    DROPS_SYSTEM,
    ENDLESS,
    GENERATION,
    LOWERED,
    PLAIN_WORDS,
    TRIMMED,
    TURNS,
)
from tests.support.recorded_lineage import Records, whole_chain
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
    return {cause.code for case in found.differing for cause in case.causes}


def thinking_chatml() -> Any:
    return byte_level(CHATML, QWEN_SPECIAL, QWEN_ADDED)


BOS = 0
CHATML_BOS = "<|endoftext|>" + CHATML


def with_bos(template: str) -> Any:
    tokenizer = byte_level(template, QWEN_SPECIAL, QWEN_ADDED)
    tokenizer.bos_token = "<|endoftext|>"
    return tokenizer


NO_HEAD = TURNS
SYSTEM_FIRST = "<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n"
FOLDS_SYSTEM = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for message in messages if message.role != 'system' %}<|im_start|>{{ message.role }}\n"
    "{% if system and loop.first %}{{ system }}\n\n{% endif %}{{ message.content }}<|im_end|>\n{% endfor %}"
    + GENERATION
)
# By what was done: the training's tokenizer, the served template, what the server adds, and what the gate has to say.
MISTAKES: dict[str, tuple[Callable[[], Any], str, dict[str, Any], set[str]]] = {
    "no template at all": (byte_level, "{{ messages[-1].content }}", {}, {"no_template", "system_dropped"}),
    "no template, the system text kept": (
        byte_level,
        "{% for message in messages %}{{ message.content }}\n{% endfor %}",
        {},
        {"no_template"},
    ),
    "ChatML where Qwen3's belongs": (qwen3, CHATML, {}, {"thinking_differs"}),
    "Qwen3's where ChatML belongs": (thinking_chatml, qwen3_template(), {}, {"thinking_differs"}),
    "another model's frame": (byte_level, PLAIN_WORDS, {}, {"other_template"}),
    "the system prompt dropped": (byte_level, DROPS_SYSTEM, {}, {"system_dropped"}),
    "the system prompt twice": (byte_level, SYSTEM_FIRST + CHATML, {}, {"system_twice"}),
    "the system prompt twice, and a line feed": (
        byte_level,
        SYSTEM_FIRST + CHATML,
        {"change": lambda text: text + "\n"},
        {"system_twice", "trailing_whitespace"},
    ),
    "the system prompt folded into the user's message": (byte_level, FOLDS_SYSTEM, {}, {"system_moved", "other_template"}),
    "a trailing newline": (byte_level, CHATML, {"change": lambda text: text + "\n"}, {"trailing_whitespace"}),
    "a trailing newline lost": (byte_level, CHATML, {"change": str.rstrip}, {"trailing_whitespace"}),
    "no head of an answer": (byte_level, NO_HEAD, {}, {"other_template"}),
    "no end of a turn": (byte_level, ENDLESS, {}, {"other_template"}),
    "lower case": (byte_level, LOWERED, {}, {"text_differs"}),
    "contents trimmed": (byte_level, TRIMMED, {}, {"whitespace_differs"}),
    "BOS by template and by server": (lambda: with_bos(CHATML_BOS), CHATML_BOS, {"front": (BOS,)}, {"doubled_bos"}),
    "BOS by the server alone": (lambda: with_bos(CHATML), CHATML, {"front": (BOS,)}, {"added_bos"}),
    "BOS by training alone": (lambda: with_bos(CHATML_BOS), CHATML, {}, {"lost_bos"}),
    "BOS by template and by server, and a line feed": (
        lambda: with_bos(CHATML_BOS),
        CHATML_BOS,
        {"front": (BOS,), "change": lambda text: text + "\n"},
        {"doubled_bos", "trailing_whitespace"},
    ),
    "another special token in front": (lambda: with_bos(CHATML), CHATML, {"front": (2,)}, {"added_bos"}),
    "EOS behind the prompt": (lambda: with_bos(CHATML), CHATML, {"behind": (2,)}, {"added_eos"}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_seen_and_told_by_its_cause(mistake: str) -> None:
    make, template, added, expected = MISTAKES[mistake]
    tokenizer = make()
    found = report(tokenizer, OtherServer(template, tokenizer, **added))
    assert not found.passed and causes(found) == expected
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


def with_end(end: str) -> Any:
    return byte_level(CHATML.replace("<|im_end|>", end), ("<|im_start|>", "<|im_end|>", "<over>"))


EOS, OVER = 1, 2
KEYS = {"tokenizer.ggml.eos_token_id": EOS}
BY_NUMBER = {"ends_by_name": False}


@pytest.mark.parametrize(
    ("end", "keys", "more", "codes"),
    [
        ("<|im_end|>", {"tokenizer.ggml.eos_token_id": 0}, {}, []),  # llama.cpp knows it by its name
        ("<|im_end|>", {"tokenizer.ggml.eos_token_id": 0}, BY_NUMBER, ["stop_token_lost"]),
        ("<|im_end|>", {"tokenizer.ggml.eos_token_id": 0}, {**BY_NUMBER, "stops": ("<|im_end|>",)}, []),
        ("<|im_end|>", {"tokenizer.ggml.eos_token_ids": [0, EOS]}, BY_NUMBER, []),
        ("<over>", {"tokenizer.ggml.eos_token_id": OVER}, {}, []),
        ("<over>", {"tokenizer.ggml.eot_token_id": OVER}, {}, []),
        ("<over>", KEYS, {}, ["stop_token_lost"]),
        ("<over>", KEYS, {"stops": ("<over>", "<|im_start|>")}, []),
        ("<over>", None, {}, []),  # nothing is told of the file
        ("(end)", KEYS, {}, ["stop_token_lost"]),
        ("<|im_end|>", KEYS, {"stops": ("<|im_end|>", "\n\n")}, ["stop_word_added"]),
        ("<|im_end|>", KEYS, {"template": None}, ["file_without_template"]),
        ("<|im_end|>", KEYS, {"template": "{% generation %}x{% endgeneration %}"}, ["training_marks"]),
        ("<|im_end|>", KEYS, {"template": "{%- generation -%}x{%- endgeneration -%}"}, ["training_marks"]),
    ],
)
def test_what_is_known_of_a_file_tells_lost_ends_and_marks_of_training(
    end: str, keys: dict[str, Any] | None, more: dict[str, Any], codes: list[str]
) -> None:
    tokenizer = with_end(end)
    file = ServedFile(**{"keys": keys, "template": CHATML, **more})
    found = file_findings(file, prove(tokenizer, "off"), encode_prompt(tokenizer, end))
    assert [reason.code for reason in found] == codes
    assert all(finding_words(reason) and remedy_words(reason) for reason in found)
    assert ParityReport((), tuple(found)).passed is (not set(codes) - {"stop_word_added"})


def test_what_a_file_lacks_is_told_before_the_prompts_that_come_of_it() -> None:
    tokenizer = byte_level()
    cases = report(tokenizer, OtherServer("{{ messages[-1].content }}", tokenizer)).cases
    found = ParityReport(cases, (Reason("prompt_count"), Reason("file_without_template")))
    assert [one.code for one in found.refused][:2] == ["file_without_template", "no_template"]


def test_a_tokenizer_that_composes_letters_is_told_and_blocks_nothing() -> None:
    """As Qwen's does (NFC), and llama.cpp does not for any of its files. What is not explained by that blocks."""
    trained, raw = qwen3(), qwen3()
    raw.backend_tokenizer.normalizer = None
    other = byte_level(qwen3_template(), QWEN_SPECIAL, QWEN_ADDED, corpus=("zzz",))
    found = report(trained, OtherServer(trained.chat_template, raw))
    assert found.passed and [(case.name, *(one.code for one in case.causes)) for case in found.differing] == [
        ("unicode", "normal_form_differs")
    ]
    assert [(one.code, one.values["form"]) for one in found.told] == [("normal_form_differs", "NFC")]
    document = found.differing[0].to_json()
    assert document["trained"].startswith((" Gru", "Gru", "ru", "u")) and case_words(document)
    assert not report(trained, OtherServer(trained.chat_template, other)).passed


def test_the_system_prompt_that_a_template_puts_in_by_itself_is_told() -> None:
    default = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
    task = TASK.model_copy(update={"system": ""})
    for trained, served in ((default + CHATML, CHATML), (CHATML, default + CHATML)):
        tokenizer = byte_level(trained)
        assert causes(report(tokenizer, OtherServer(served, tokenizer), task=task)) == {"default_system_differs"}
        assert report(tokenizer, OtherServer(served, tokenizer)).passed  # with a system prompt there is none


def test_a_template_that_refuses_a_conversation_is_at_fault_and_a_server_that_fails_is_not() -> None:
    tokenizer = byte_level()
    error = ServerError("no", code="server_refused", status=400, said="Jinja Exception: no empty")

    def refuses(wanted: Callable[[str], bool], raised: ServerError) -> OtherServer:
        def change(text: str) -> str:
            if wanted(text):
                raise raised
            return text

        return OtherServer(CHATML, tokenizer, change=change)

    found = report(tokenizer, refuses(lambda text: "user\n<|im_end|>" in text, error))
    assert [case.name for case in found.differing] == ["empty user"] and causes(found) == {"render_refused"}
    assert "Jinja Exception" in finding_words(found.refused[0])
    with pytest.raises(ServerError):
        report(tokenizer, refuses(lambda text: True, error))
    down = ServerError("away", code="server_down")
    with pytest.raises(ServerError):
        report(tokenizer, refuses(lambda text: "user\n<|im_end|>" in text, down))


def test_a_prompt_that_does_not_fit_into_the_window_blocks() -> None:
    tokenizer = byte_level()
    found = report(tokenizer, OtherServer(CHATML, tokenizer))
    longest = max(len(case.trained.tokens) for case in found.cases if case.name.startswith("golden input"))
    probes = [case for case in found.cases if not case.name.startswith("golden input")]
    assert window_findings(probes, 8) == [], "texts of our own say nothing of the task"
    assert window_findings(found.cases, longest + 1) == []
    (reason,) = window_findings(found.cases, longest)
    assert reason.values["name"] == "golden input long" and finding_words(reason) and remedy_words(reason)
    assert not ParityReport(found.cases, (reason,)).passed


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
    values = {"trained": "a", "served": "b", "text": "<x>", "tokens": 3, "form": "NFC", "said": "no"}
    assert all(finding_words(Reason(code, values)) for code in CAUSES)


def test_the_remedy_names_the_job_that_the_file_is_made_from_or_no_command(tmp_path: Path) -> None:
    records = Records(tmp_path)
    training, merged, converted, quantized = whole_chain(records)
    for job, expected in ((quantized, merged), (converted, merged), (merged, merged), (training, training)):
        assert made_from(records.home, f"job:{job}/gguf") == expected
    assert made_from(records.home, "/models/file.gguf") is None and made_from(records.home, "job:99/gguf") is None
    other = Reason("other_template")
    assert f"`bakehouse export {merged} --to gguf --again`" in remedy_words(other, merged)
    assert remedy_words(other) == "convert the model again with the chat template that trained it"
