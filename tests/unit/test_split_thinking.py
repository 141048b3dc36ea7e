"""Thinking that stands in an answer: the forms that models write, what is left alone, and what is only suspected."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.thinking import _PAIRS, seems_to_think_aloud, split_thinking
from tests.support.depth import at_most

FORMS = [*_PAIRS, ("<thought>", "</thought>"), ("<reasoning>", "</reasoning>"), ("<Thinking>", "</Thinking>")]


@pytest.mark.parametrize(("opening", "closing"), FORMS)
def test_each_form_is_cut_out(opening: str, closing: str) -> None:
    split = split_thinking(f"{opening}\nso\nso\n{closing}\n\nYes.")
    assert (split.text, split.thinking, split.open) == ("Yes.", "so\nso", False)
    split = split_thinking(f"{opening}so on and on")
    assert (split.text, split.thinking, split.open) == ("", "so on and on", True)


@pytest.mark.parametrize(("opening", "closing"), _PAIRS)
def test_a_block_that_the_prompt_opened_ends_with_its_closing_mark(opening: str, closing: str) -> None:
    split = split_thinking(f"so{closing}Yes.")
    assert (split.text, split.thinking, split.open) == ("Yes.", "so", False)


@pytest.mark.parametrize(
    ("raw", "text", "thinking", "is_open"),
    [
        # Harmony, as a server that keeps special tokens and one that drops them hand it on.
        (
            "<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
            "Yes.",
            "so",
            False,
        ),
        (
            "<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>commentary<|message|>do<|call|>",
            "",
            "so\ndo",
            True,
        ),
        ("<|channel|>analysis<|message|>so on", "", "so on", True),
        ("<|channel|>final <|constrain|>json<|message|>{}", "{}", "", False),
        ("analysisThe user asks.assistantfinalYes.", "Yes.", "The user asks.", False),
        # What stands around the answer goes with the thinking.
        ("<|START_THINKING|>so<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Yes.", "so", False),
        ("<|begin_of_thought|>so<|end_of_thought|>\n<|begin_of_solution|>Yes.<|end_of_solution|>", "Yes.", "so", False),
        ("Here is my thought process: so. Here is my response: Yes.", "Yes.", "so.", False),
        ("Here's my thought process: so on", "", "so on", True),
        # Two forms in one text: a server that opened one block and a model that wrote another.
        ("so</think><thought>more</thought>Yes.", "Yes.", "so\nmore", False),
    ],
)
def test_forms_that_are_more_than_a_pair(raw: str, text: str, thinking: str, is_open: bool) -> None:
    split = split_thinking(raw)
    assert (split.text, split.thinking, split.open) == (text, thinking, is_open)


@pytest.mark.parametrize(
    "raw",
    [
        "Yes.",
        "  Yes. ",
        "analysis: the note is good",
        "analysis of the assistantfinal",
        "A note. <reasoning>It is short.</reasoning>",
        "The tag <thought> opens a thought.",
        "Okay, let me see. The answer is yes.",
        "Thinking Process:\n1. Read the note.",
        "<|im_start|>assistant",
        "[think] is a word",
    ],
)
def test_what_marks_no_thinking_is_left_as_it_is(raw: str) -> None:
    split = split_thinking(raw)
    assert (split.text, split.thinking) == (raw, None)


def test_a_tag_that_the_task_speaks_of_belongs_to_the_answer() -> None:
    raw = "<reasoning>It is short.</reasoning><score>3</score>"
    asked_for = '{"system": "Write <Reasoning>, then <score>."}'
    assert split_thinking(raw, lambda: asked_for).text == raw
    assert split_thinking(raw, lambda: "Write a score.").text == "<score>3</score>"
    thought = split_thinking("<think>so</think>Yes.", lambda: "Use <think> tags.")
    assert thought.text == "Yes.", "a mark of the model's own stays one"


@pytest.mark.parametrize(
    "text",
    [
        "Thinking Process:\n\n1.  **Analyze the Request:**",
        "**Thinking Process:**\n1. Read",
        "Okay, let me think about this note.",
        "Okay, so I need to judge this.",
        "Alright, let's see what it says.",
        "Hmm, the user wants a summary.",
        "The user is asking whether bread is good.",
        "We need to determine the capital.",
        "Let me think.",
        "<reasoning>so</reasoning>",
    ],
)
def test_thinking_without_marks_is_suspected(text: str) -> None:
    assert seems_to_think_aloud(text)
    assert split_thinking(f"x {text}").thinking is None, "and not cut out"


@pytest.mark.parametrize(
    "text",
    ["Yes.", "", "Okay.", "SUMMARY: The user wants bread.", "The user guide is short.", "First, mix flour and water.",
     "We need bread.", "I need to inform you that it is late.", "So it goes.", '{"thinking": "so"}', "Well done."],
)  # fmt: skip
def test_an_answer_is_not_suspected(text: str) -> None:
    assert not seems_to_think_aloud(text)


MARKS = [mark for pair in FORMS for mark in pair]
MARKS += ["<|channel|>", "analysis", "final", "<|message|>", "<|end|>", "assistantfinal", "a", "B", "\n", " ", "<", "é"]


@given(st.lists(st.sampled_from(MARKS), max_size=12).map("".join))
def test_whatever_comes_is_parted_and_nothing_is_made_up(raw: str) -> None:
    split = split_thinking(raw)
    assert len(split.text) + len(split.thinking or "") <= len(raw) + len(MARKS)
    assert all(part in raw for part in (split.text.split("\n") if split.thinking is None else []))
    assert "</think>" not in split.text or "<think>" not in split.text


@pytest.mark.timed
def test_an_answer_of_a_million_characters_takes_no_longer_than_reading_it() -> None:
    started = time.monotonic()
    for text in ("<think>" * 150_000, "<|channel|>" * 100_000, "analysisA" * 120_000, "so " * 350_000, " " * 1_000_000):
        split_thinking(text)
        seems_to_think_aloud(text)
    assert time.monotonic() - started < at_most(5)
