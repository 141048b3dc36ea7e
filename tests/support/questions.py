"""Questions to served models: a greedy one without a system message, and one that uses every option."""

from __future__ import annotations

from typing import Any

from core.serving.answering import Question


def question(text: str = "hello", **values: Any) -> Question:
    """What a model is asked; `values` are whatever else matters to the test."""
    usual: dict[str, Any] = {
        "messages": (("user", text),),
        "seed": 1,
        "temperature": 0.0,
        "top_p": None,
        "top_k": None,
        "repeat_penalty": 1.0,
        "max_new_tokens": 16,
        "context_length": 256,
        "think": False,
    }
    return Question(**{**usual, **values})


EVERY_OPTION = question(
    messages=(("system", "You judge."), ("user", "Is bread good?")),
    seed=5,
    temperature=0.3,
    top_p=0.9,
    top_k=20,
    repeat_penalty=1.1,
    max_new_tokens=8,
)
