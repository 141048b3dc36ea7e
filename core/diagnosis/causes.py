"""A cause on record: what is wrong on the way from a training to its answers, how sure that is, and by which figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.diagnosis.symptoms import CODES
from core.reasons import Reason

Certainty = Literal["shown", "likely", "possible"]
"""`shown`: a record proves it. `likely`: a record says so, and something else could look the same. `possible`: nothing on
record speaks against it."""
CERTAINTIES: tuple[Certainty, ...] = ("shown", "likely", "possible")

_RUBBISH = (
    *("echo_instructions", "echo_input", "echo_example", "repetition", "short_and_alike", "preamble", "fence"),
    *("frame_shown", "cut", "stopped_early", "other_language"),
)
"""What a model writes that is asked in other words than it was trained with."""
_UNTRAINED = (
    *("preamble", "fence", "echo_instructions", "echo_input", "echo_example", "repetition", "cut", "short_and_alike"),
    *("stopped_early", "other_language"),
)
_ENDLESS = ("frame_shown", "cut", "repetition")
_THINKING = ("thinking_leaked", "thinking_aloud", "empty", "cut")
EXPLAINS: Mapping[str, tuple[str, ...]] = {
    # Prompts: the codes of `core.parity`.
    "doubled_bos": _RUBBISH,
    "added_bos": _RUBBISH,
    "lost_bos": _RUBBISH,
    "added_eos": ("empty", "short_and_alike", *_RUBBISH),
    "tokens_differ": _RUBBISH,
    "system_dropped": ("preamble", "fence", "echo_input", "short_and_alike", "thinking_aloud", "other_language"),
    "system_twice": _RUBBISH,
    "default_system_differs": (
        "preamble",
        "fence",
        "echo_input",
        "short_and_alike",
        "thinking_aloud",
        "other_language",
    ),
    "system_moved": _RUBBISH,
    "no_template": (*_RUBBISH, "empty"),
    "trailing_whitespace": ("empty", *_RUBBISH),
    "whitespace_differs": _RUBBISH,
    "thinking_differs": (*_THINKING, "preamble"),
    "other_template": _RUBBISH,
    "text_differs": _RUBBISH,
    "file_without_template": (*_RUBBISH, "empty"),
    "training_marks": (*_RUBBISH, "empty"),
    "stop_token_lost": _ENDLESS,
    "end_in_answer": _ENDLESS,
    "prompt_count": _RUBBISH,
    "render_refused": (*_RUBBISH, "empty"),
    "normal_form_differs": _RUBBISH,
    "stop_word_added": ("empty", "short_and_alike", "stopped_early"),
    "prompt_over_window": ("preamble", "echo_input", "cut", "empty"),
    "template_differs": (*_RUBBISH, *_THINKING),
    "prompt_tokens_differ": (*_RUBBISH, *_THINKING),
    "prompts_differ": (*_RUBBISH, *_THINKING),
    # How the bake-off asked.
    "thinking_policy_differs": _THINKING,
    "system_prompt_differs": ("preamble", "fence", "echo_input", "short_and_alike", "other_language"),
    "few_shot_not_sent": ("preamble", "fence", "echo_input", "short_and_alike", "other_language"),
    "limit_too_low": ("cut", "empty"),
    # What serves.
    "served_weights_changed": (*_RUBBISH, *_THINKING),
    "served_template_changed": (*_RUBBISH, *_THINKING),
    "server_version_changed": (*_RUBBISH, *_THINKING),
    "served_by_hand": (*_RUBBISH, *_THINKING),
    # Training and weights.
    "completions_skipped": ("short_and_alike", "cut", "stopped_early"),
    "prompts_cut": ("echo_input",),
    "length_lowered": ("short_and_alike", "cut", "stopped_early"),
    "too_few_steps": _UNTRAINED,
    "loss_not_fallen": _UNTRAINED,
    "loss_not_finite": (*_UNTRAINED, "empty"),
    "weights_unchanged": _UNTRAINED,
    "update_lost": _UNTRAINED,
    "original_base_weights": _UNTRAINED,
    "no_gain": _UNTRAINED,
    "behind_base": (),
    "loss_at_stage": (),
}
"""Every cause, and the symptoms that it can have (codes of `core.diagnosis.symptoms`)."""
CONSEQUENCES = ("loss_at_stage", "behind_base", "prompt_tokens_differ", "no_gain")
"""Causes that tell where something is lost, and not what loses it."""
assert {code for codes in EXPLAINS.values() for code in codes} <= set(CODES)


@dataclass(frozen=True)
class Evidence:
    """A figure of a job's record: the file below its run directory, the key in it, and what stands there, no list."""

    job: int
    file: str
    key: str
    value: str | int | float | bool | None

    def to_json(self) -> dict[str, Any]:
        return {"job": self.job, "file": self.file, "key": self.key, "value": self.value}


@dataclass(frozen=True)
class Cause:
    """`reason` is a code of `EXPLAINS` with the values of its words; `job` is the one at which it came in."""

    reason: Reason
    certainty: Certainty
    job: int
    evidence: tuple[Evidence, ...]

    @property
    def code(self) -> str:
        return self.reason.code

    @property
    def explains(self) -> tuple[str, ...]:
        return EXPLAINS.get(self.code, ())

    def to_json(self) -> dict[str, Any]:
        return {
            **self.reason.to_json(),
            "certainty": self.certainty,
            "job": self.job,
            "explains": list(self.explains),
            "evidence": [one.to_json() for one in self.evidence],
        }
