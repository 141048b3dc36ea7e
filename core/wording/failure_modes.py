"""The words for failure modes: a short name for tables, and what the answers of a candidate do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.format import share

if TYPE_CHECKING:
    from core.bakeoff.mode_counts import ModeCount

NAMES = {
    "echo_instructions": "instructions repeated",
    "echo_input": "input given back",
    "echo_example": "example given back",
    "stopped_early": "stopped early",
    "cut": "cut at the limit",
    "empty": "empty",
    "thinking_leaked": "leaked thinking",
    "thinking_aloud": "thinking aloud",
    "repetition": "repetition",
    "other_language": "another language",
    "preamble": "preamble",
    "fence": "code fence",
    "frame_shown": "signs of a template",
}
SENTENCES = {
    "echo_instructions": "repeat the instructions",
    "echo_input": "give the input back",
    "echo_example": "give an example of the prompt back",
    "stopped_early": "end before the answer is complete",
    "cut": "were cut at the limit of tokens",
    "empty": "are empty",
    "thinking_leaked": "hold thinking that nobody asked for, or that never ends",
    "thinking_aloud": "seem to think aloud, without marks",
    "repetition": "say the same words over and over",
    "other_language": "are in another language than was asked for",
    "preamble": "begin with words to the person",
    "fence": "stand in a code block",
    "frame_shown": "show signs of a chat template: the model wrote beyond its turn",
}
"""Of answers, in the plural."""
NOT_LOOKED_FOR = "scored before failure modes were looked for: rescore with the current checks"
NONE_SEEN = "no failure mode seen"


def counted(mode: ModeCount) -> str:
    """`instructions repeated 21 of 26`."""
    return f"{NAMES[mode.code]} {mode.count:,} of {mode.of:,}"


def share_words(mode: ModeCount) -> str:
    """The share of the answers with its interval: `81 % [62, 92]`; without one where a single source was asked."""
    low, high = mode.interval.low, mode.interval.high
    bounds = "" if low is None or high is None else f" [{low * 100:.0f}, {high * 100:.0f}]"
    return f"{share(mode.share)}{bounds}"


def briefly(modes: Sequence[ModeCount] | None, most: int = 2) -> str:
    """The most frequent ones in a line: `instructions repeated 21 of 26, cut at the limit 3 of 26 and 1 more`."""
    if modes is None:
        return NOT_LOOKED_FOR
    if not modes:
        return NONE_SEEN
    further = len(modes) - most
    return ", ".join(counted(one) for one in modes[:most]) + (f" and {further} more" if further > 0 else "")
