"""The figures of a job out of its events: one fold for the runner, which stores them, and the console, which reads the files.

A figure is of the newest attempt and empty until that has told it, with two exceptions: the checkpoint is where the next
attempt resumes, and the peak is the highest of all attempts since the last step of the ladder (it was another recipe's before).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from core.format import duration, duration_range

STEPS = "steps"
_ETA = ("eta_seconds", "eta_low_seconds", "eta_high_seconds")


@dataclass(frozen=True)
class Progress:
    """The newest figures of a job. None is "not known"; `done` and `total` count in `unit`.

    What is left is one figure, or a range where `eta_seconds` is None: `left` has the words.
    """

    phase: str | None = None
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    eta_seconds: float | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    checkpoint_step: int | None = None
    warnings: int = 0
    message: str | None = None
    time: float | None = None
    eta_low_seconds: float | None = None
    eta_high_seconds: float | None = None
    tokens_coming: int | None = None
    """Of the answers that are being given now, while nobody knows how long they become."""

    @property
    def left(self) -> str:
        """The time left for a person: `9 min`, or `4–9 min`; empty where it is not known."""
        if self.eta_seconds is not None or self.eta_low_seconds is None or self.eta_high_seconds is None:
            return duration(self.eta_seconds)
        return duration_range(self.eta_low_seconds, self.eta_high_seconds)

    @property
    def fraction(self) -> float | None:
        """Share done, 0 to 1."""
        return None if not self.total or self.done is None else min(1.0, self.done / self.total)

    @property
    def step(self) -> int | None:
        """The newest step of a training."""
        return self.done if self.unit == STEPS else None

    @property
    def total_steps(self) -> int | None:
        return self.total if self.unit == STEPS else None

    def to_json(self) -> str:
        """For SQLite, which reads no NaN: a loss that is not finite is not known."""
        figures = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }
        return json.dumps(figures, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | None) -> Progress | None:
        if not text:
            return None
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


def next_attempt(progress: Progress | None) -> Progress:
    """The figures with which another attempt begins."""
    if progress is None:
        return Progress()
    return Progress(checkpoint_step=progress.checkpoint_step, peak_memory_bytes=progress.peak_memory_bytes)


def fold(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """The figures after one more event of the same attempt."""
    progress = replace(progress, time=event.get("time"))
    match event["kind"]:
        case "phase":
            return replace(progress, phase=event.get("name"), tokens_coming=None, **_no_eta())
        case "step":
            return replace(
                progress,
                phase=None,
                done=event.get("step"),
                total=event.get("total"),
                unit=STEPS,
                **_eta(event),
                loss=event.get("loss"),
                tokens_per_second=event.get("tokens_per_second"),
                peak_memory_bytes=_higher(progress.peak_memory_bytes, event.get("peak_memory_bytes")),
            )
        case "progress":
            return replace(
                progress,
                done=event.get("done"),
                total=event.get("total"),
                unit=event.get("unit"),
                **_eta(event),
                message=event.get("label") or progress.message,
                tokens_per_second=event.get("tokens_per_second") or progress.tokens_per_second,
                tokens_coming=event.get("tokens_coming"),
            )
        case "memory":
            return replace(progress, peak_memory_bytes=_higher(progress.peak_memory_bytes, event.get("peak_bytes")))
        case "checkpoint":
            return replace(progress, checkpoint_step=event.get("step"))
        case "ladder":
            phase = "restarting_with_less_memory"
            return replace(progress, phase=phase, message=event.get("reason"), peak_memory_bytes=None)
        case "warning":
            return replace(progress, warnings=progress.warnings + 1, message=event.get("message"))
        case "result":
            return replace(progress, message=event.get("message"), tokens_coming=None, **_no_eta())
        case _:
            return progress


def fold_attempts(attempts: Iterable[Iterable[Mapping[str, Any]]]) -> Progress:
    """The figures after all events of a job, attempt by attempt."""
    progress = Progress()
    for events in attempts:
        progress = next_attempt(progress)
        for event in events:
            progress = fold(progress, event)
    return progress


def _eta(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in _ETA}


def _no_eta() -> dict[str, Any]:
    return dict.fromkeys(_ETA)


def _higher(former: int | None, told: object) -> int | None:
    if not isinstance(told, int | float) or not told > 0:
        return former
    return max(former or 0, int(told))
