"""The stream of one answer of a server with OpenAI's API: its pieces taken up, its figures kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.serving.answer_parts import AnswerParts
from core.serving.errors import one_line
from core.serving.openai import text_and_thought

_AT_LIMIT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
"""As OpenAI, gateways to Anthropic's and Google's models, and Mistral write that an answer ran to its limit."""


@dataclass
class StreamFigures:
    """What the pieces of one answer told beside its text."""

    finish: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    pieces: int = 0
    model: str | None = None


def follow(body: Mapping[str, Any], parts: AnswerParts, course: StreamFigures) -> None:
    """Take up one object of a stream, or the whole answer of a server that does not stream."""
    if isinstance(usage := body.get("usage"), dict):
        course.usage = usage
    if isinstance(timings := body.get("timings"), dict):
        course.timings = timings
    if isinstance(model := body.get("model"), str) and model:
        course.model = model
    choices = body.get("choices")
    if not isinstance(choices, list):
        return
    course.pieces += 1
    for choice in choices[:1]:
        if not isinstance(choice, dict):
            continue
        part = choice.get("delta") or choice.get("message")
        if isinstance(part, dict):
            text, thought = text_and_thought(part)
            parts.add(text, thought)
        if isinstance(finish := choice.get("finish_reason"), str) and finish:
            course.finish = "length" if finish.lower() in _AT_LIMIT else one_line(finish)


def part_of(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def count_in(body: Mapping[str, Any], key: str) -> int | None:
    value = body.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def seconds_in(body: Mapping[str, Any], key: str) -> float | None:
    value = body.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        return None
    return value / 1000
