"""What a job's own files say of its memory: the forecast that was written at its submission, the steps of its ladder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.files import read_json
from core.home import Home
from core.jobfile.kinds import kind_of
from core.jobfile.raw import read_key
from core.store.jobs import ACTIVE, JobRow

Changed = tuple[str, Any, Any]
"""(key of the recipe, before, after)"""
LADDERS_LOOKED_AT = 100


@dataclass(frozen=True)
class RunForecast:
    """The forecast of a training in bytes, as its job file keeps it; `why` says why there is none."""

    allocated_bytes: int = 0
    plus_minus_bytes: int = 0
    device_bytes: int = 0
    limit_bytes: int = 0
    budget: str = ""
    components: tuple[tuple[str, int], ...] = ()
    calibrated_by: int = 0
    ladder: str = ""
    why: str = ""
    length: str = ""
    """`at 634 tokens, its longest example`; empty in a job of an older version."""
    larger_dtype: str = ""
    """With `dtype: auto` on a CPU: what the forecast is for, the larger of the two that the job chooses between."""
    fitted: tuple[Changed, ...] = ()
    """What submission changed in the recipe: `fit: auto`, or the ladder gone down at once."""

    @property
    def known(self) -> bool:
        return self.allocated_bytes > 0


@dataclass(frozen=True)
class OomFallback:
    """One step down the ladder: what was changed, why, and from which step the training went on (None: from the start)."""

    rung: int
    time: float
    attempt: int
    changes: tuple[Changed, ...]
    reason: str
    from_step: int | None


def spoken(value: object) -> str:
    """A recipe's value as a person writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else f"{value}"


def changes_in_words(changes: Iterable[Changed]) -> str:
    """`batch_size 4 → 2, accumulation 1 → 2`."""
    return ", ".join(f"{key} {spoken(before)} → {spoken(after)}" for key, before, after in changes)


def run_forecast(spec: Mapping[str, Any]) -> RunForecast | None:
    """The forecast in a job file's `spec`; None where there is none: another kind of job, an older version."""
    if not {"forecast", "not_predicted"} & set(spec):
        return None
    note, fitted = spec.get("forecast"), spec.get("fitted") or []
    changed = tuple((str(one["key"]), one["before"], one["after"]) for one in fitted)
    if not isinstance(note, dict):
        return RunForecast(why=str(spec.get("not_predicted") or "nothing was predicted"), fitted=changed)
    return RunForecast(
        allocated_bytes=note["allocated_bytes"],
        plus_minus_bytes=note["plus_minus_bytes"],
        device_bytes=note["device_bytes"],
        limit_bytes=note["limit_bytes"],
        budget=str(note["budget_name"]),
        components=tuple(note["components"].items()),
        calibrated_by=note["calibrated_by"],
        ladder=str(note.get("ladder") or ""),
        length=forecast_length(note),
        larger_dtype=larger_dtype(spec, note),
        fitted=changed,
    )


def forecast_length(note: Mapping[str, Any]) -> str:
    length = note.get("length")
    if not isinstance(length, int):
        return ""
    return f"at {length:,} tokens{', its longest example' if note.get('of_data') else ' (max_length)'}"


def larger_dtype(spec: Mapping[str, Any], note: Mapping[str, Any]) -> str:
    """`fp32` where the job chooses its dtype and may take the smaller one; else empty."""
    recipe = spec.get("recipe")
    chooses = isinstance(recipe, dict) and recipe.get("dtype") == "auto"
    return "fp32" if chooses and note.get("dtype") == "fp32" else ""


def read_rung(event: Mapping[str, Any], attempt: int) -> OomFallback:
    """A rung from an event `ladder`. Raises KeyError, TypeError or ValueError for one of another version."""
    changes = tuple((str(key), before, after) for key, (before, after) in event["changes"].items())
    step = event.get("from_step")
    return OomFallback(int(event["rung"]), float(event["time"]), attempt, changes, str(event["reason"]), step)


class Forecasts:
    """Reads each job file once. Used by the feed's thread alone."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._known: dict[int, RunForecast | None] = {}
        self._ladders: dict[tuple[int, int, str], int] = {}

    def of(self, job: JobRow | None) -> RunForecast | None:
        if job is None or not kind_of(job.kind).has_forecast:
            return None
        if job.id not in self._known:
            try:
                self._known[job.id] = run_forecast(read_key(self.home.run_dir(job.id), "spec", dict))
            except (InputError, KeyError, TypeError):
                return None  # not written yet, or by another version: nothing is said of its memory
        return self._known[job.id]

    def ladders(self, jobs: Iterable[JobRow]) -> dict[int, int]:
        """How many steps of the ladder each training has taken, of those that took any."""
        found = {}
        for job in [job for job in jobs if kind_of(job.kind).has_forecast and job.attempt][:LADDERS_LOOKED_AT]:
            key = (job.id, job.attempt, job.state)
            count = self._ladders.get(key)
            if count is None:
                count = self._count(job)
                if job.state not in ACTIVE:
                    self._ladders[key] = count
            if count:
                found[job.id] = count
        return found

    def _count(self, job: JobRow) -> int:
        try:
            document = read_json(self.home.run_dir(job.id).path / "ladder.json")
        except (OSError, ValueError):
            return 0
        rungs = document.get("rungs") if isinstance(document, dict) else None
        return len(rungs) if isinstance(rungs, list) else 0
