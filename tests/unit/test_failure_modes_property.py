"""Whatever a model writes, the detectors say something of it, the same each time, and soon."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.failure_modes import CODES, AnsweredExample, SeenAnswer, find
from tests.support.depth import at_most

MARKUP = [
    "```",
    "|",
    "---",
    "#",
    "- ",
    "1. ",
    "\n",
    " ",
    "{",
    "}",
    '"',
    "[",
    "]",
    ":",
    "<think>",
    "</think>",
    "<|im_end|>",
]
WORDS = [
    "Sure!",
    "Here is",
    "the user",
    "wait,",
    "swim",
    "fjord",
    "Der",
    "Fluss",
    "水",
    "0",
    "64,",
    "user",
    "Q1:",
    "“",
    "(",
    "\x00",
    "\ud800",
    "́",
]
TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(st.sampled_from([*MARKUP, *WORDS]), max_size=120).map("".join),
    st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join),
)
ANSWERS = st.builds(
    SeenAnswer,
    input_id=st.just("i"),
    repeat=st.just(1),
    text=TEXTS,
    system=TEXTS,
    asked=TEXTS,
    thinking=st.none() | TEXTS,
    finish=st.sampled_from(["stop", "length"]),
    fault=st.sampled_from([None, "empty", "length", "thinking"]),
    thinking_asked=st.booleans(),
    completion_tokens=st.integers(0, 50),
    examples=st.lists(st.builds(AnsweredExample, TEXTS, TEXTS), max_size=2).map(tuple),
    references=st.lists(TEXTS, max_size=1).map(tuple),
    usual=st.lists(TEXTS, max_size=2).map(tuple),
    wants_json=st.booleans(),
    limit=st.none() | st.integers(1, 50),
)


@given(ANSWERS)
@example(SeenAnswer(input_id="i", repeat=1, text="0<think></think>:", system="", asked=""))
def test_every_answer_is_told_of_and_the_same_each_time(answer: SeenAnswer) -> None:
    found = find(answer)
    codes = [mode.code for mode in found]
    assert codes == [code for code in CODES if code in codes], "each at most once, in their order"
    assert find(answer) == found
    assert all(
        mode.excerpt in answer.text or mode.excerpt in (answer.thinking or "") or not mode.excerpt for mode in found
    )
    assert ("cut" in codes) or answer.finish != "length"
    assert not {"cut", "empty"} <= set(codes) and not {"cut", "stopped_early"} <= set(codes)


@given(ANSWERS, st.sampled_from(["  ", "\n", "\n\n\n"]))
def test_blanks_around_an_answer_change_nothing(answer: SeenAnswer, blanks: str) -> None:
    plain = replace(answer, text=answer.text.strip())
    around = replace(answer, text=f"{blanks}{plain.text}{blanks}")
    assert [mode.code for mode in find(plain)] == [mode.code for mode in find(around)]


@given(st.lists(st.text("abcdefghij", min_size=3, max_size=8), min_size=20, max_size=60, unique=True))
def test_an_input_given_back_is_an_echo_of_it_and_of_nothing_else(words: list[str]) -> None:
    asked = " ".join(words)
    answer = SeenAnswer("i", 1, asked.upper(), "Grade the note by one word.", asked)
    assert {"echo_input", "echo_instructions", "echo_example"} & {mode.code for mode in find(answer)} == {"echo_input"}


HOSTILE = (
    "a b ",
    "Sure, ",
    "\n",
    "`",
    "```\n",
    "| a ",
    '{"a":[',
    "Wait, ",
    "# a\n",
    "“a",
    "I will ",
    "这",
    "<think>",
    "the user wants ",
    "(",
    "x",
    "Here is ",
    "Q1: a\n",
    "[a",
    "😀",
    "User: a\n\n",
    "1. \n",
    "a\t",
    "**",
    "_",
    "<a",
    "Based on the ",
    " \n",
    "0,",
    "\u0301",
)


@pytest.mark.timed
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_are_read_in_a_moment(piece: str) -> None:
    """As an answer, and as all that was shown, of 200,000 characters."""
    text = (piece * (200_000 // len(piece) + 1))[:200_000]
    answer = SeenAnswer("i", 1, text, "Grade the note.", "A note about bees that fly over the fjord in August.")
    started = time.monotonic()
    find(answer)
    find(
        replace(
            answer,
            text="A good note.",
            system=text,
            asked=text,
            usual=(text,),
            examples=(AnsweredExample(text, text),) * 2,
        )
    )
    find(replace(answer, system=text, asked=text))
    assert time.monotonic() - started < at_most(5)
