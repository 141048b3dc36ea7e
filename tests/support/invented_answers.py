"""An answer that nobody gave, for what reads answers."""

from __future__ import annotations

from typing import Any

from core.scoring.answers import Answer


def answer(candidate: str, task: str, input_id: str, repeat: int, text: str, **values: Any) -> Answer:
    """The answer of a candidate to an input; `values` are whatever else matters to the test."""
    usual: dict[str, Any] = {
        "key": f"{candidate}/{task}/{input_id}/{repeat}",
        "seed": repeat,
        "thinking": None,
        "finish": "stop",
        "fault": None if text else "empty",
        "prompt_tokens": 30,
        "completion_tokens": 50,
        "characters": len(text),
        "seconds": 2.0,
        "batch_size": 4,
        "tokens_per_second": 25.0,
        "prompt_sha256": "0" * 64,
        "time": 0.0,
    }
    return Answer(candidate=candidate, task=task, input_id=input_id, repeat=repeat, text=text, **{**usual, **values})
