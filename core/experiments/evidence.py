"""What an answer is made of: the scores, costs and ends of an experiment's arms at one task, as `measured` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.scoring.scorer import Part
from core.statistics.seed_scores import SeedScores

ArmEnd = Literal["measured", "partly", "waiting", "failed", "censored"]
"""`measured`: every seed that was asked for has scores. `partly`: some have. Else what became of the arm: its runs still
wait or run, all that ended made nothing, or a race on held-out loss stopped it.
"""


@dataclass(frozen=True)
class RunCost:
    """What one training took. `peak_bytes` is the most GPU memory (of the process, without a GPU); None: not measured."""

    seed: int
    job_id: int
    peak_bytes: int | None = None
    seconds: float | None = None
    seconds_a_step: float | None = None
    joules: float | None = None


@dataclass(frozen=True, eq=False)
class ArmEvidence:
    """One arm at one task. `scores` has a row for each seed in `seeds`, in their order; empty before there are any.

    `weights` are what was asked for, and once one is trained what `auto` came to. `learning_rate` is that of its trainings,
    chosen by trials where there were some; None before one is done. `held_out` is the loss of its best trial in bits a byte,
    None without trials. `place` is its place in the experiment.
    `parameters` and `trainable` count those of the base model and of the adapter, None where that is not known.
    """

    key: str
    name: str
    model: str
    weights: str
    place: int
    values: Mapping[str, Any]
    end: ArmEnd
    scores: Mapping[Part, SeedScores] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    costs: tuple[RunCost, ...] = ()
    learning_rate: float | None = None
    held_out: float | None = None
    parameters: int | None = None
    trainable: int | None = None


@dataclass(frozen=True, eq=False)
class TaskEvidence:
    """All that is known at one task.

    `parts` are those the task has checks for, the leading one first; `cluster_of` the source of each golden input;
    `margin` the least difference that counts. `untrained` are the scores of the models as they are, by model. `block` of
    `blocks` seed blocks are in the bake-off (0: none is done).
    """

    task: str
    parts: tuple[Part, ...]
    margin: float
    cluster_of: Mapping[str, str]
    arms: tuple[ArmEvidence, ...]
    untrained: Mapping[str, Mapping[Part, SeedScores]]
    block: int
    blocks: int
