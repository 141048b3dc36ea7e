"""What a detector sees of an answer, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

from core.failure_modes.frames import FRAME

EXCERPT = 160
"""Characters of an answer that are shown for a failure mode."""
_AT_THE_END = frozenset({"repetition", "cut", "stopped_early"})


@dataclass(frozen=True)
class AnsweredExample:
    """An answered example that stood before the input, as the candidate was asked."""

    asked: str
    answer: str


@dataclass(frozen=True)
class SeenAnswer:
    """An answer and what was asked for it.

    `text` is the answer without its marked thinking. `system` and `asked` are the texts of the instructions and of the input,
    `examples` those that this candidate was shown in front of it. `finish`, `fault` and `thinking` are as
    `core.scoring.answers.Answer` has them; `thinking_asked`: the model was asked to think. `completion_tokens` is 0 where
    nobody counted. `references` are good answers to this input, `usual` good answers to any input of the task, each empty where
    none is known. `wants_json`: the answer was held to JSON while it was generated. `limit` is how many tokens it might have,
    None where that is not known.
    """

    input_id: str
    repeat: int
    text: str
    system: str
    asked: str
    thinking: str | None = None
    finish: str = "stop"
    fault: str | None = None
    thinking_asked: bool = False
    completion_tokens: int = 0
    examples: tuple[AnsweredExample, ...] = ()
    references: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    wants_json: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Mode:
    """A failure mode of one answer: its code, and a piece of the text that shows it."""

    code: str
    excerpt: str


def excerpt(code: str, text: str) -> str:
    """The piece of an answer that shows a failure mode: of a loop, a cut or a frame the end tells more than the beginning."""
    if code == "frame_shown" and (sign := FRAME.search(text)) is not None:
        return text[max(0, sign.start() - EXCERPT // 2) :][:EXCERPT]
    return text[-EXCERPT:] if code in _AT_THE_END else text[:EXCERPT]
