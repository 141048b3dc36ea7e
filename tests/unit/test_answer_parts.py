"""An answer while it comes: what is held of it, and no more."""

from __future__ import annotations

import pytest

from core.serving.answer_parts import LONGEST_ANSWER_CHARACTERS, AnswerParts


@pytest.mark.parametrize("beyond", [0, 1, 1000])
def test_what_comes_with_the_piece_that_fills_an_answer_is_not_held(beyond: int) -> None:
    parts = AnswerParts(0.0)
    parts.add("x" * (LONGEST_ANSWER_CHARACTERS + beyond), "a thought" * 1000)
    assert parts.is_full
    assert (len(parts.text), parts.thinking) == (LONGEST_ANSWER_CHARACTERS, None)


def test_text_and_thinking_share_what_is_held() -> None:
    parts = AnswerParts(0.0)
    parts.add("x" * 10, "y" * LONGEST_ANSWER_CHARACTERS)
    assert parts.is_full and parts.thinking is not None
    assert (len(parts.text), len(parts.thinking)) == (10, LONGEST_ANSWER_CHARACTERS - 10)
