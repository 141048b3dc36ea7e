"""What a training chooses by trials: the learning rate with the lowest held-out loss, and in a race whether it is done at all.

Golden inputs have no part in it: an arm that was chosen by what it is compared on later would look better than it is. Losses
per token do not compare over tokenizers, bits per byte of the same texts do:

    bits per byte = loss (nats a token) · tokens / bytes / ln 2
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.errors import GateError
from core.jobfile.train import TrialChoice, TrialRef

RaceOff = Literal["different_examples"]
"""Why arms that were to be raced were not: their trials held out different examples, so their figures do not compare."""


@dataclass(frozen=True)
class HeldOut:
    """What an adapter does with examples that were held out.

    `loss` is the mean of their completion tokens, in nats; `tokens` how many these are; `bytes` the completions in UTF-8 as
    the data has them, without what a template writes around them. `lines_sha256` tells which examples these were.
    """

    loss: float
    tokens: int
    bytes: int
    lines_sha256: str | None = None

    @property
    def bits_per_byte(self) -> float:
        return self.loss * self.tokens / self.bytes / math.log(2)

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> HeldOut | None:
        """Of a training's summary; None where it held nothing out, or no loss was a number."""
        found = summary.get("held_out")
        if not isinstance(found, Mapping):
            return None
        loss, tokens, size = (found.get(name) for name in ("loss", "tokens", "bytes"))
        if not (isinstance(loss, float | int) and math.isfinite(loss) and tokens and size):
            return None
        return cls(float(loss), int(tokens), int(size), found.get("lines_sha256"))


@dataclass(frozen=True)
class Trial:
    """A trial as it was seen when the choice was made. Without `loss` it made nothing that can be chosen."""

    arm: str
    job: int
    lr: float
    loss: float | None
    bits_per_byte: float | None


@dataclass(frozen=True)
class Chosen:
    """The arm goes on with this learning rate. `rank` is its place among the `of` arms whose trials were seen, from 1, and
    None where nothing was raced; `race_off` says why nothing was though it was asked for."""

    lr: float
    trials: tuple[Trial, ...]
    rank: int | None = None
    of: int | None = None
    keep: int | None = None
    race_off: RaceOff | None = None


@dataclass(frozen=True)
class Censored:
    """The arm is not trained on: it is the `rank`-th of `of` by the held-out bits per byte of its best trial, and the rule was
    that the best `keep` go on."""

    rank: int
    of: int
    keep: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class ArmPlace:
    """The place of an arm in its race, from 1, by the best of its trials."""

    arm: str
    rank: int
    lr: float
    bits_per_byte: float


def places(trials: Iterable[TrialRef], seen: Mapping[int, HeldOut | None]) -> list[ArmPlace]:
    """The arms that have a figure, the best first.

    Of learning rates that do equally well the lowest is taken, and arms that are level share a place, so that nobody is out by
    a name.
    """
    bests: dict[str, tuple[float, float]] = {}
    """By arm: (bits per byte, learning rate) of its best trial."""
    for trial in trials:
        if (held_out := seen.get(trial.job)) is not None:
            reached = (held_out.bits_per_byte, trial.lr)
            bests[trial.arm] = min(bests.get(trial.arm, reached), reached)
    ordered = sorted(bits for bits, _ in bests.values())
    found = [ArmPlace(arm, 1 + bisect_left(ordered, bits), lr, bits) for arm, (bits, lr) in bests.items()]
    return sorted(found, key=lambda place: (place.rank, place.arm))


def race_off(seen: Iterable[HeldOut | None]) -> RaceOff | None:
    """Why arms with these figures cannot be raced; None where they can."""
    examples = {held_out.lines_sha256 for held_out in seen if held_out is not None}
    return "different_examples" if len(examples) > 1 else None


def choose(choice: TrialChoice, seen: Mapping[int, HeldOut | None]) -> Chosen | Censored:
    """What a training is to do, from the held-out figures of its trials' jobs; a function of these alone.

    Arms without a figure have no place in the race. Raises `GateError` where no trial of the own arm can be chosen.
    """
    placed = {place.arm: place for place in places(choice.trials, seen)}
    own = tuple(
        Trial(
            trial.arm,
            trial.job,
            trial.lr,
            None if held_out is None else held_out.loss,
            None if held_out is None else held_out.bits_per_byte,
        )
        for trial in choice.trials
        if trial.arm == choice.arm
        for held_out in [seen.get(trial.job)]
    )
    mine = placed.get(choice.arm)
    if mine is None:
        raise GateError(
            f"no trial has a held-out loss to choose by: {_numbered([trial.job for trial in own])}",
            code="no_trial",
            remedy=f"retry job {own[0].job}, then this one",
        )
    if choice.keep is None:
        return Chosen(mine.lr, own)
    if (off := race_off(seen.get(trial.job) for trial in choice.trials)) is not None:
        return Chosen(mine.lr, own, keep=choice.keep, race_off=off)
    if mine.rank > choice.keep:
        return Censored(mine.rank, len(placed), choice.keep, own)
    return Chosen(mine.lr, own, mine.rank, len(placed), choice.keep)


def to_json(decision: Chosen | Censored) -> dict[str, Any]:
    """As it is stored: a summary's `choice`, or its `censored`."""
    return asdict(decision)


def from_json(document: Mapping[str, Any]) -> Chosen | Censored:
    """What `to_json` made. KeyError or TypeError where it is something else."""
    fields = {**document, "trials": tuple(Trial(**trial) for trial in document["trials"])}
    return Chosen(**fields) if "lr" in fields else Censored(**fields)


def _numbered(jobs: Sequence[int]) -> str:
    return f"job{'s' if len(jobs) > 1 else ''} {', '.join(map(str, jobs))}"
