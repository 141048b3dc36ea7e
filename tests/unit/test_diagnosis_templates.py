"""What `why` says of a file's template where the trained one is still on the disk: both are rendered, and nothing is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.wording.diagnosis import headline
from tests.support.chat_templates import ASKING_PLAINLY, DROPS_SYSTEM, GENERATION, MOVES_SYSTEM, TURNS
from tests.support.diagnosed import codes, told
from tests.support.recorded_lineage import ADAPTER, BAD, Q8_0, Records
from tests.support.tokenizers import CHATML, qwen3_template

SYSTEM_FIRST = "<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n"
QWEN3 = qwen3_template()
# By the mistake: the trained template, the file's, what is told.
MISTAKES: dict[str, tuple[str, str, set[str]]] = {
    "ChatML where Qwen3's belongs": (QWEN3, CHATML, {"thinking_differs"}),
    "thinking rendered whatever is asked": (
        QWEN3,
        QWEN3.replace("enable_thinking is false", "false"),
        {"thinking_differs"},
    ),
    "a trailing newline": (CHATML, TURNS + GENERATION.replace("assistant\n", "assistant\n\n"), {"trailing_whitespace"}),
    "the system prompt dropped": (CHATML, DROPS_SYSTEM, {"system_dropped"}),
    "the system prompt in the user's message": (CHATML, MOVES_SYSTEM, {"system_moved", "other_template"}),
    "the system prompt twice": (CHATML, SYSTEM_FIRST + CHATML, {"system_twice"}),
    "the bare text": (CHATML, "{{ messages[-1].content }}", {"no_template"}),
    "doubled BOS": ("<s>" + CHATML, "<s><s>" + CHATML, {"doubled_bos"}),
    "a BOS that training had not": (CHATML, "<s>" + CHATML, {"added_bos"}),
    "a lost BOS, and a trailing newline": ("<s>" + CHATML, CHATML + "{{ '\\n' }}", {"lost_bos", "trailing_whitespace"}),
    "another frame": (CHATML, ASKING_PLAINLY, {"other_template"}),
    "a template that is none": (CHATML, "{% if %}", {"template_differs"}),
}  # fmt: skip


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_template_that_is_another_is_told_by_what_it_renders(tmp_path: Path, mistake: str, keeps: bool) -> None:
    trained, served, expected = MISTAKES[mistake]
    records = Records(tmp_path, template=trained)
    training = records.train()
    converted = records.convert(records.merge(training, keeps_template=keeps), template=served)
    quantized = records.quantize(converted, template=served)
    found = told(records, records.bakeoff({ADAPTER: training, Q8_0: quantized}, quality={Q8_0: BAD}))
    of_template = {cause.code: cause for cause in found.causes if cause.job in (converted, quantized)}
    assert {one for one in of_template if one != "loss_at_stage"} == (expected if keeps else {"template_differs"})
    assert all(cause.job == converted for code, cause in of_template.items() if code != "loss_at_stage")
    assert "likely: " in headline(found) and codes(found, "likely") >= (expected if keeps else {"template_differs"})


def test_another_text_that_renders_the_same_is_no_fault(tmp_path: Path) -> None:
    records = Records(tmp_path)
    converted = records.convert(records.merge(records.train(), keeps_template=True), template="{# mine #}" + CHATML)
    assert told(records, converted).causes == ()
