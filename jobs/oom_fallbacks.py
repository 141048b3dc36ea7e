"""Too little memory: step down the ladder of `core.vram.oom_fallbacks`, a rung each time, and never without saying so.

Which rung was reached stays in the run directory: another attempt starts there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.config.recipe import Recipe
from core.errors import BakehouseError
from core.files import read_json, write_json
from core.vram.oom_fallbacks import Changes, next_fallback
from jobs.checkpoints import find_checkpoint
from jobs.context import JobContext, StartAgain
from jobs.memory import is_out_of_memory

SCHEMA = 1
FILE = "ladder.json"


LOADING_REMEDY = "free the GPU of others, take a smaller model, or method: qlora-hqq"
BOTTOM_REMEDY = "take a smaller model, a lower rank or method: qlora-hqq"
FAIL_REMEDY = "set out_of_memory: ladder, or lower batch_size (raise accumulation instead) or max_length"


@dataclass(frozen=True)
class Rung:
    """One step down. `changes` is key → (before, after); `from_step` is the checkpoint the next process goes on from."""

    rung: int
    changes: Changes
    reason: str
    from_step: int | None
    attempt: int
    time: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def words(self) -> str:
        """As a person reads it: batch_size 4 → 2, accumulation 1 → 2."""
        return ", ".join(f"{key} {_word(before)} → {_word(after)}" for key, (before, after) in self.changes.items())


@dataclass
class Ladder:
    """The rungs that a job has taken. `purpose` is the hash of what was submitted: other inputs start at the top."""

    path: Path
    purpose: str
    rungs: list[Rung] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, purpose: str) -> Ladder:
        """The ladder of a run directory."""
        document = read_json(folder / FILE) or {}
        known = document.get("rungs", []) if document.get("purpose") == purpose else []
        rungs = [Rung(**{**item, "changes": {k: (a, b) for k, (a, b) in item["changes"].items()}}) for item in known]
        return cls(folder / FILE, purpose, rungs)

    def recipe(self, submitted: Recipe) -> Recipe:
        """The submitted recipe with the changes of every rung taken."""
        for rung in self.rungs:
            submitted = submitted.model_copy(update={key: after for key, (_, after) in rung.changes.items()})
        return submitted

    def step_down(
        self, recipe: Recipe, longest: int, *, reason: str, from_step: int | None, attempt: int
    ) -> Rung | None:
        """Take the next rung and store it; None when there is none left."""
        below = next_fallback(recipe, longest)
        if below is None:
            return None
        rung = Rung(len(self.rungs) + 1, below[1], reason, from_step, attempt, time.time())
        self.rungs.append(rung)
        self._save()
        return rung

    def withdraw(self) -> None:
        """Forget the last rung, which a gate refused: a retry begins on the one before."""
        self.rungs.pop()
        self._save()

    @property
    def compares_from(self) -> int:
        """The step behind which held-out losses are of examples as they are cut now."""
        return max((rung.from_step or 0 for rung in self.rungs if "max_length" in rung.changes), default=0)

    @property
    def changed_length(self) -> bool:
        return any("max_length" in rung.changes for rung in self.rungs)

    def to_json(self) -> list[dict[str, Any]]:
        return [rung.to_json() for rung in self.rungs]

    def _save(self) -> None:
        write_json(self.path, {"schema": SCHEMA, "purpose": self.purpose, "rungs": self.to_json()})


def _word(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


@contextmanager
def loading() -> Iterator[None]:
    """Where the memory does not even hold the model: no rung would help. BakehouseError with what would."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BakehouseError(
            f"the memory does not hold the model: {reason}", code="out_of_memory", remedy=LOADING_REMEDY
        ) from error


@contextmanager
def stepping_down(context: JobContext, ladder: Ladder, recipe: Recipe, longest: int) -> Iterator[None]:
    """Where the memory does not suffice inside, take the next rung and begin anew in a fresh process (StartAgain).

    BakehouseError when the recipe wants no ladder, or no rung is left.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        found = find_checkpoint(context.run.checkpoints, ladder.purpose).checkpoint
        from_step = found.step if found else None
        rung = None
        if recipe.out_of_memory == "ladder":
            number = context.attempt.number
            rung = ladder.step_down(recipe, longest, reason=reason, from_step=from_step, attempt=number)
        if rung is None:
            raise BakehouseError(
                f"the memory does not hold this training: {reason}",
                code="out_of_memory",
                remedy=BOTTOM_REMEDY if recipe.out_of_memory == "ladder" else FAIL_REMEDY,
            ) from error
        context.check_stop()  # the fresh process would know nothing of a signal that has come
        context.events.write("ladder", rung=rung.rung, changes=rung.changes, reason=reason, from_step=from_step)
        context.say(f"out of memory: {reason}")
        begins = f"from step {from_step}" if from_step else "from the start"
        context.say(f"rung {rung.rung} of the ladder: {rung.words}; starting again {begins}")
        raise StartAgain from None
