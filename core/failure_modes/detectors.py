"""The detectors, one for each failure mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.failure_modes.echo import echoes_example, echoes_input, echoes_instructions
from core.failure_modes.ending import is_cut, is_empty, stopped_early
from core.failure_modes.language import is_in_another_language
from core.failure_modes.repetition import repeats_itself
from core.failure_modes.seen import Mode, SeenAnswer, excerpt
from core.failure_modes.speech import has_preamble, leaks_thinking, shows_frame, stands_in_a_fence, thinks_aloud
from core.failure_modes.taken_apart import TakenApart

DETECTORS: Mapping[str, Callable[[TakenApart], bool]] = {
    "echo_instructions": echoes_instructions,
    "echo_input": echoes_input,
    "echo_example": echoes_example,
    "stopped_early": stopped_early,
    "cut": is_cut,
    "empty": is_empty,
    "thinking_leaked": leaks_thinking,
    "thinking_aloud": thinks_aloud,
    "repetition": repeats_itself,
    "other_language": is_in_another_language,
    "preamble": has_preamble,
    "fence": stands_in_a_fence,
    "frame_shown": shows_frame,
}
CODES: tuple[str, ...] = tuple(DETECTORS)
"""Of every failure mode."""


def find(seen: SeenAnswer) -> tuple[Mode, ...]:
    """The failure modes of an answer, in the order of `CODES`; none where nothing was seen. Nothing is raised, whatever
    the text is.
    """
    look = TakenApart(seen)
    # The answer as it is stored, which is where a board shows the piece: a tag of thinking in its midst is a part of it.
    shown = seen.text if seen.text.strip() else seen.thinking or ""
    return tuple(Mode(code, excerpt(code, shown)) for code, holds in DETECTORS.items() if holds(look))
