"""The pieces of an answer: codes and values, without a sentence. Scores and differences are on the scores' scale of 0 to
1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.scoring.scorer import Part
from core.statistics.recipe_effect import Effect

GainVerdict = Literal["gained", "lost", "cannot_tell"]
CaveatCode = Literal[
    "nothing_measured",
    "provisional",
    "one_seed",
    "two_seeds",
    "seeds_missing",
    "seeds_far_apart",
    "arms_waiting",
    "arms_failed",
    "arms_censored",
    "untrained_missing",
    "inputs_missing",
    "few_inputs",
    "ceiling",
    "floor",
    "chosen_on_same_inputs",
    "no_matched_arms",
    "asked_on_original_weights",
]
NextCode = Literal[
    "wait",
    "retry",
    "add_seeds",
    "add_inputs",
    "add_seeds_and_inputs",
    "harder_inputs",
    "choose_by_cost",
    "drop_arms",
    "add_models",
    "promote",
]


@dataclass(frozen=True)
class ArmScore:
    """The score of an arm, tuned, and of its model as it is (`untrained`; None where that was not asked)."""

    arm: str
    part: Part
    tuned: Effect
    untrained: Effect | None


@dataclass(frozen=True)
class Gain:
    """Tuned less untrained. `p_adjusted` holds over all arms and parts; a gain or loss counts from the margin on."""

    arm: str
    model: str
    part: Part
    effect: Effect
    p_adjusted: float
    verdict: GainVerdict


@dataclass(frozen=True)
class FactorEffect:
    """What `level` of a varied key does less `against`: the mean over `pairs` pairs of arms that are alike in all other
    keys.

    `p_adjusted` holds over all keys, levels and parts of the task. `shown`: the two differ, by at least the margin.
    """

    key: str
    level: Any
    against: Any
    part: Part
    effect: Effect
    pairs: int
    p_adjusted: float
    shown: bool


@dataclass(frozen=True)
class ArmCost:
    """What a training of an arm takes: the most memory of any seed, the mean of the rest over the seeds where it was
    measured.
    """

    arm: str
    peak_bytes: int | None
    seconds: float | None
    seconds_a_step: float | None
    joules: float | None
    parameters: int | None
    trainable: int | None


@dataclass(frozen=True)
class SizeTrade:
    """What a smaller arm costs and frees, against the one that leads. `points` is the smaller less the leader on each part.

    `worse`: shown to be so, on any part. Bytes, seconds and joules are what a training of the leader takes more; None:
    unknown.
    """

    arm: str
    against: str
    points: Mapping[Part, Effect]
    worse: bool
    bytes_freed: int | None
    seconds_saved: float | None
    joules_saved: float | None


@dataclass(frozen=True)
class Caveat:
    """What a reader must know before believing the answer. `values` by code:

    `nothing_measured` {}; `provisional` {block, blocks}; `one_seed`, `two_seeds` {}; `seeds_missing` {arms: {key:
    seeds}}; `seeds_far_apart` {part, arms: {key: [lowest, highest]}}, the mean scores of an arm's seeds; `arms_waiting`,
    `arms_failed`, `arms_censored` {arms: [key]}; `untrained_missing` {models: [name]};
    `inputs_missing` {most, inputs}; `few_inputs` {sources, least}; `ceiling`, `floor` {part, inputs: [id], of};
    `chosen_on_same_inputs` {among}; `no_matched_arms` {keys: [key]};
    `asked_on_original_weights` {arms: [key]}.
    """

    code: CaveatCode
    values: Mapping[str, Any]


@dataclass(frozen=True)
class NextStep:
    """What would sharpen the answer, the most useful first. `values` by code:

    `wait` {block, blocks}; `retry` {arms}; `add_seeds` {seeds, to, pair, half_width, then} (`half_width` None where
    there is no interval yet); `add_inputs` {inputs, to, pair, half_width, then}; `add_seeds_and_inputs` {seeds, inputs,
    pair, half_width, then}; `harder_inputs` {part, inputs, of}; `choose_by_cost` {arms, margin}; `drop_arms` {arms};
    `add_models` {models, least}; `promote` {arm}. `to` is the number there will be, `pair` the keys of the two arms that
    it is about.
    """

    code: NextCode
    values: Mapping[str, Any]
