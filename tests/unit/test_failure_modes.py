"""The detectors of failure modes: what each has to see, and what looks like it and is none."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.failure_modes import SeenAnswer, find
from tests.support.depth import at_most

SYSTEM = (
    "You grade notes. Read the note, weigh clarity, evidence and use, and give a verdict. Answer in exactly this form: a "
    "heading with the verdict and the score, then a table with the columns Criterion, Score and Reason, then one line that "
    "begins with SUMMARY. Never add anything else, and never speak to the reader."
)
ASKED = (
    "Sourdough needs time more than skill. A starter is fed twice a day until it doubles within four hours, and only then is "
    "it ready for bread. In my kitchen that took nine days, because the kitchen is cold, and I nearly gave up on the sixth."
)
GOOD = (
    "### Sourdough — PASS (4.2/5)\n\n| Criterion | Score | Reason |\n|---|---|---|\n| Clarity | 5 | Plain words in order |\n"
    "| Evidence | 4 | Days and hours are named |\n| Use | 4 | One can follow the steps |\n\nSUMMARY: a sound note on patience"
)
QUOTING = (
    "### Sourdough — PASS (4.4/5)\n\n| Criterion | Score | Reason |\n|---|---|---|\n"
    "| Clarity | 5 | “fed twice a day until it doubles within four hours” says it all |\n"
    "| Evidence | 4 | “that took nine days, because the kitchen is cold” |\n\nSUMMARY: sound"
)
SUMMARY = "Sourdough needs time more than skill. It took nine days in a cold kitchen."
TABLE = "| Item | Price | Stock |\n|---|---|---|\n" + "".join(f"| bread {n} | {n} EUR | yes |\n" for n in range(40))
POEM = (
    "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream. " + GOOD
)
NUMBERED = "\n".join(f"{n}. PASS: the note number {n} is sound" for n in range(1, 9))


def asked(text: str, **values: Any) -> SeenAnswer:
    usual: dict[str, Any] = {"input_id": "a", "repeat": 1, "system": SYSTEM, "asked": ASKED}
    return SeenAnswer(text=text, **{**usual, **values})


def seen(answer: SeenAnswer) -> set[str]:
    return {one.code for one in find(answer)}


ILL: list[tuple[str, SeenAnswer, set[str]]] = [
    ("the instructions, whole", asked(SYSTEM), {"echo_instructions"}),
    ("their beginning alone", asked("You grade notes. Read the note"), {"echo_instructions"}),
    ("in capitals and other breaks", asked(SYSTEM.upper().replace(". ", ".\n\n")), {"echo_instructions"}),
    ("the instructions behind a word", asked(f"Answer:\n{SYSTEM[:200]}"), {"echo_instructions"}),
    ("a short system text, whole", asked("Grade notes!", system="Grade notes!"), set()),  # two words prove nothing
    ("three words of three", asked("You grade notes.", system="You grade notes."), {"echo_instructions"}),
    ("the input, whole", asked(ASKED), {"echo_input"}),
    ("the input in quotes with a word", asked(f"Note: “{ASKED}”"), {"echo_input"}),
    ("the input's beginning, cut", asked(ASKED[:140], finish="length"), {"echo_input", "cut"}),
    ("a short input", asked("What is to be done", asked="What is to be done?"), {"echo_input"}),
    ("a mark of the frame", asked(GOOD + "<|im_end|>\n<|im_start|>user\nAnd this?"), {"frame_shown"}),
    ("the role that is left of it", asked(GOOD + "\nuser\nGrade this as well.\nassistant\n" + QUOTING), {"frame_shown"}),
    ("Llama's", asked(GOOD + "<|eot_id|>"), {"frame_shown"}),
    ("Gemma's", asked(GOOD + "<end_of_turn>"), {"frame_shown"}),
    ("DeepSeek's", asked(GOOD + "<｜end▁of▁sentence｜>"), {"frame_shown"}),
    ("cut", asked(GOOD, finish="length"), {"cut"}),
    ("nothing", asked(" \n"), {"empty"}),
    ("nothing within the limit", asked("", finish="length", thinking="Okay, ", thinking_asked=True), {"cut"}),
    ("a thought", asked(GOOD, thinking="The user wants a grade.", fault="thinking"), {"thinking_leaked"}),
    ("an endless one", asked("", thinking="Hm", fault="thinking", thinking_asked=True), {"empty", "thinking_leaked"}),
    ("a thought without marks", asked("Okay, let me look at the note first. " + GOOD), {"thinking_aloud"}),
    ("a sentence over and over", asked("The note is good. " * 30), {"repetition"}),
    ("one word", asked("yes " * 40), {"repetition"}),
    ("a good answer that does not end", asked(GOOD + "\nSUMMARY: a sound note" * 12), {"repetition"}),
    ("rows", asked("| Clarity | 5 | Plain words |\n" * 20), {"repetition"}),
    ("a list in which only a number counts on", asked(NUMBERED), {"repetition"}),
    ("Chinese", asked("这篇笔记写得很清楚。" * 12), {"repetition", "other_language"}),
    ("Sure!", asked("Sure! I can do that.\n\n" + GOOD), {"preamble"}),
    ("Here is", asked("Here is the graded note:\n\n" + GOOD), {"preamble"}),
    ("in bold", asked("**Here's the evaluation you asked for:**\n" + GOOD), {"preamble"}),
    ("Based on", asked("Based on the note above, my evaluation is as follows:\n" + GOOD), {"preamble"}),
]  # fmt: skip
WELL: list[tuple[str, SeenAnswer]] = [
    ("an answer in the form that was asked for", asked(GOOD)),
    ("one that quotes the note", asked(QUOTING)),
    ("a summary that begins with its first sentence", asked(SUMMARY)),
    ("a form that the instructions spell out", asked("SUMMARY: sound", system="Answer with SUMMARY: and a line.")),
    ("one word of the instructions", asked("verdict")),
    ("marks of a frame that the note is about", asked("It ends a turn by <|im_end|>.", asked="What does <|im_end|> do?")),
    ("HTML that is struck through", asked("<s>four</s> five".replace("</s>", "</del>"))),
    ("a long table", asked(TABLE)),
    ("a refrain", asked(POEM)),
    ("thinking that was asked for", asked(GOOD, thinking="A long thought.", thinking_asked=True)),
    ("an empty block of thoughts", asked(GOOD, thinking="")),
    ("Sure as a word of the sentence", asked("Surely this note is sound.\nSUMMARY: fine")),
    ("Here is within one line", asked("Here is bread: flour, water and salt.")),
    ("Great as the first word of a title", asked("Great Expectations\n\nA novel by Dickens.")),
    ("a text in which a word repeats thrice", asked("Rise. Rise. Rise. " + GOOD)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "codes"), ILL, ids=[one[0] for one in ILL])
def test_what_is_ill_is_seen(name: str, answer: SeenAnswer, codes: set[str]) -> None:
    assert seen(answer) == codes


@pytest.mark.parametrize(("name", "answer"), WELL, ids=[one[0] for one in WELL])
def test_what_is_well_is_left_alone(name: str, answer: SeenAnswer) -> None:
    assert seen(answer) == set()


@pytest.mark.timed
def test_a_text_of_megabytes_is_read_in_a_moment() -> None:
    """Of a loop only the end is looked at, and no pattern runs away."""
    texts: dict[str, set[str]] = {
        "a b " * 300_000: {"repetition"},
        "Sure, " * 200_000: {"repetition", "stopped_early"},
        "\n" * 500_000: {"empty"},
        "<|" * 400_000: {"empty", "repetition"},
        "Here is " + "x" * 900_000: {"repetition"},
    }
    started = time.monotonic()
    for text, symptoms in texts.items():
        assert seen(asked(text)) == symptoms, text[:8]
    assert time.monotonic() - started < at_most(10)
