"""The best adapter so far by held-out loss, kept in `checkpoints/best`: whole or absent, whatever is killed."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.checkpoints import SEAL, seal, whole_checkpoints


@dataclass(frozen=True)
class Best:
    """`path` holds the adapter; `loss` is the held-out loss that it reached at `step`."""

    step: int
    loss: float
    path: Path


class BestAdapter:
    """Keeps one adapter in a folder: that with the lowest loss which was ever offered for this purpose."""

    def __init__(self, folder: Path, purpose: str) -> None:
        self.folder = folder
        self.purpose = purpose
        self.best = self._find()

    def offer(self, step: int, loss: float, save: Callable[[Path], None]) -> bool:
        """Keep what `save` writes into a folder, if it is better than what is kept; True when it was.

        The same step reached again after a crash is no better: its adapter is there already.
        """
        if self.best is not None and (not loss < self.best.loss or step == self.best.step):
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        staged = self.folder / f".staging-{os.getpid()}" / f"checkpoint-{step}"
        try:
            save(staged)
            checkpoint, _ = seal(staged, self.folder, self.purpose, loss=loss)
        finally:
            shutil.rmtree(staged.parent, ignore_errors=True)
        self.best = Best(step, loss, checkpoint.path)
        for leftover in [*self.folder.glob("checkpoint-*"), *self.folder.glob(".staging-*")]:
            if leftover != checkpoint.path:
                shutil.rmtree(leftover)
        return True

    def _find(self) -> Best | None:
        """The kept adapter. A crash between keeping one and removing the former leaves two."""
        kept = [Best(item.step, seal["loss"], item.path) for item, seal in whole_checkpoints(self.folder, self.purpose)]
        return min(kept, key=lambda best: (best.loss, best.step), default=None)


def copy_adapter(best: Best, folder: Path) -> None:
    """Copy the files of a kept adapter into an existing folder, without the seal."""
    shutil.copytree(best.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SEAL))


def held_out_losses(log_history: Sequence[dict[str, Any]]) -> list[float]:
    """The held-out losses of a trainer's history, oldest first; infinite where one was not a number."""
    losses = [entry["eval_loss"] for entry in log_history if "eval_loss" in entry]
    return [loss if math.isfinite(loss) else math.inf for loss in losses]


def evaluations_since_best(losses: Sequence[float]) -> int:
    """How many evaluations followed the (first) lowest loss; 0 when there is none."""
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
