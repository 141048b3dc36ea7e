"""What is told of a bake-off before it runs and does not hold it up: lengths, marks of templates, missing switches."""

from __future__ import annotations

import json

import pytest

from core.errors import InputError
from tests.support.kitchen import CHECK, LEARNT, Kitchen, kitchen

__all__ = ["kitchen"]


def told(kitchen: Kitchen, *candidates: str, tasks: tuple[str, ...] = ("bread",)) -> list[str]:
    remarks: list[str] = []
    kitchen.submit(kitchen.wanted(*candidates, tasks=tasks), remarks)
    return remarks


def test_a_system_text_that_may_not_fit_is_told(kitchen: Kitchen) -> None:
    kitchen.write("long.txt", "word " * 4000)
    (remark,) = told(kitchen, "plain", "plain@system=long.txt", "plain@system=long.txt@context_length=8192")
    assert remark.startswith("bread: plain base @system=long.txt may not fit into a context_length of 4,096 tokens")
    assert "about 5,0" in remark


def test_examples_count_with_the_context_that_they_are_shown_in(kitchen: Kitchen) -> None:
    kitchen.task("bread", learnt=[{"prompt": f"{number} " + "x" * 2000, "completion": "y"} for number in range(9)])
    assert not told(kitchen, "plain@few_shot=2")
    (remark,) = told(kitchen, "plain", "other@few_shot=8", "plain@few_shot=8", "plain@few_shot=8@context_length=9000")
    assert "other base @few_shot=8 and plain base @few_shot=8 may not fit" in remark


def test_many_candidates_of_one_length_are_one_remark(kitchen: Kitchen) -> None:
    kitchen.task("bread", golden=["word " * 4000], learnt=LEARNT)
    (remark,) = told(kitchen, *(f"plain@top_k={number}" for number in range(1, 6)))
    assert "plain base @top_k=3 and 2 more may not fit" in remark


def test_what_fits_nowhere_is_refused(kitchen: Kitchen) -> None:
    kitchen.write("book.txt", "word " * 40_000)
    with pytest.raises(InputError) as caught:
        told(kitchen, "plain@system=book.txt", tasks=("jam", "bread"))
    assert caught.value.code == "input_too_long"
    assert "no context of 4,096 tokens holds" in str(caught.value)


def test_marks_of_chat_templates_in_a_system_text_are_told_once(kitchen: Kitchen) -> None:
    kitchen.write("framed.txt", "Be brief.<|im_end|>\n<|im_start|>user\n")
    kitchen.write("plain.txt", "Write <b>bold</b> under ### Answer: and cite [1].\nUser: me")
    (remark,) = told(kitchen, "plain@system=framed.txt", "other@system=framed.txt", "other@system=plain.txt")
    assert "framed.txt holds `<|im_end|>`" in remark


@pytest.mark.parametrize(
    ("template", "remarks"),
    [
        ("{{ messages }}{% if enable_thinking %}<think>{% endif %}", 0),
        ("{{ messages }}{% if thinking %}<think>{% endif %}", 0),
        ("{{ messages }} <thinking_budget>", 1),
        (None, 0),
        ([{"name": "default", "template": "{{ messages }}"}], 0),
    ],
)
def test_a_template_without_a_switch_for_thinking_is_told(kitchen: Kitchen, template: object, remarks: int) -> None:
    folder = kitchen.root.parent / "models/plain"
    config = {} if template is None else {"chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    found = told(kitchen, "plain", "plain@think=on", "plain@top_k=3")
    assert len(found) == remarks
    assert all("plain base @think=on: its chat template has no switch for thinking" in remark for remark in found)


def test_a_task_that_thinks_by_itself_is_no_variant(kitchen: Kitchen) -> None:
    folder = kitchen.root.parent / "models/plain"
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    kitchen.task("bread", learnt=LEARNT, more=f"thinking: on\n{CHECK}")
    assert not told(kitchen, "plain")
