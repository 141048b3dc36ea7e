"""The candidates that a bake-off did without, since nothing was made of them, as its job notes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.files import read_json, write_json
from core.home import RunDir

Lack = Literal["censored", "failed", "not_ended", "not_started", "gone", "no_model", "bad_model"]
"""What became of the job that was to make it: left out by its own trials, an error, an attempt without result or error, no
attempt; what it made is gone; the base model could not be fetched; or its files are torn."""


@dataclass(frozen=True)
class LackingCandidate:
    """A candidate that is not asked. `job` is the one that was to make it, None of a base model. `censored` is what the
    training says of the race that it lost."""

    candidate: str
    job: int | None
    state: Lack
    censored: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None or name == "job"}


def note_lacking(run: RunDir, lacking: Sequence[LackingCandidate]) -> None:
    write_json(run.left_out, [one.to_json() for one in lacking])


def read_lacking(run: RunDir) -> tuple[LackingCandidate, ...]:
    """Those of a bake-off's newest attempt; none of one that does without nobody."""
    return tuple(LackingCandidate(**one) for one in read_json(run.left_out) or ())
