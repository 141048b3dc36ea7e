"""What a training tells while it runs: events and log lines; and when it is to save, or to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from core.config.recipe import Recipe
from core.time_left import Pace
from jobs.best import BestAdapter, evaluations_since_best, held_out_losses
from jobs.context import JobContext
from jobs.memory import peak_memory_bytes
from jobs.ordering import StepOrder

# Without `save_steps` a checkpoint is written when this time has passed and the last one took no more than a twentieth of it.
CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 20


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training came to. Speed and the mean step are over this attempt; peak memory is the device's, on a CPU the
    process's.

    `best_step` and `best_loss` are of the adapter that was kept for its held-out loss: None where nothing is held out.
    """

    steps: int
    epochs: float
    first_loss: float
    last_loss: float
    trainable_parameters: int
    tokens_per_second: float | None
    peak_memory_bytes: int
    best_step: int | None
    best_loss: float | None
    stopped_early: bool
    seconds_per_step: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Recorder(TrainerCallback):
    """Tells the run's story: events and log lines; asks for evaluations, checkpoints and the stop at a step's end.

    `keeper` keeps the best adapter, where examples are held out; `save_adapter` writes the present one into a folder.
    """

    def __init__(
        self,
        context: JobContext,
        recipe: Recipe,
        purpose: str,
        order: StepOrder,
        device: torch.device,
        keeper: BestAdapter | None,
        compares_from: int = 0,
    ) -> None:
        self.context = context
        self.recipe = recipe
        self.purpose = purpose
        self.order = order
        self.device = device
        self.keeper = keeper
        self.compares_from = compares_from
        self.save_adapter: Callable[[Path], None] | None = None
        self.stopped: str | None = None
        self.stopped_early = False
        self.tokens = 0
        self.seconds = 0.0
        self.timed_steps = 0
        self._step_began = 0.0
        self._pace = Pace()
        self._step_ended: float | None = None
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.order.epoch = state.global_step // self.order.steps

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_began = time.monotonic()
        if self._step_ended is not None:
            # An evaluation, a checkpoint: they come again.
            self._pace.pause(self._step_began - self._step_ended)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Evaluated before the checkpoint of the same step is written, so that a resumed run has seen the same losses.
        control.should_evaluate = self.keeper is not None and self._evaluation_due(state)
        if (why := self.context.stop_reason()) is not None and state.global_step < state.max_steps:
            self.stopped = why
            control.should_save = True
            control.should_training_stop = True
        elif self.recipe.save_steps is not None:
            control.should_save = state.global_step % self.recipe.save_steps == 0
        else:
            interval = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self._save_seconds)
            control.should_save = time.monotonic() - self._saved_at > interval

    def _evaluation_due(self, state: Any) -> bool:
        every = self.recipe.eval_steps or self.order.steps
        return bool(state.global_step % every == 0 or state.global_step == state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        self._step_ended = time.monotonic()
        seconds = self._step_ended - self._step_began
        tokens = int(logs["num_tokens"]) - self.tokens
        self.tokens = int(logs["num_tokens"])
        self.seconds += seconds
        self.timed_steps += 1
        self._pace.step(seconds)
        event = {
            "step": state.global_step,
            "total": state.max_steps,
            "epoch": state.epoch,
            "loss": logs["loss"],
            "lr": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            "tokens": tokens,
            "tokens_per_second": tokens / seconds,
            "peak_memory_bytes": peak_memory_bytes(self.device),
            **self._time_left(state.max_steps - state.global_step),
        }
        self.context.events.write("step", **event)
        self.context.say(
            f"step {event['step']}/{event['total']} loss {event['loss']:.4f} lr {event['lr']:.1e} "
            f"grad {event['grad_norm']:.2f} {event['tokens_per_second']:.0f} tok/s"
        )

    def _time_left(self, steps: int) -> dict[str, float | None]:
        """The fields of a `step` event: one figure, or a range while the pace is unsteady."""
        left, between = self._pace.left(steps), self._pace.between(steps)
        if left is not None or between is None:
            return {"eta_seconds": left}
        return {"eta_low_seconds": between[0], "eta_high_seconds": between[1]}

    def evaluation_begins(self, examples: int) -> None:
        """Say so: no step comes until it is over. The stop request is looked at by the steps, not here."""
        self.context.events.write("phase", name="evaluating", detail=f"{examples} held-out examples")

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        # Nothing is held out without them, and whoever calls this has measured something.
        assert self.keeper is not None and self.save_adapter is not None and metrics is not None
        loss, step = metrics["eval_loss"], state.global_step
        losses = self.comparable(state.log_history)
        best = evaluations_since_best(losses) == 0 and math.isfinite(loss)
        if best or (self.keeper.best is None and math.isfinite(loss)):
            self.keeper.offer(step, loss, self.save_adapter)
        self.context.events.write("eval", step=step, loss=loss, best=best)
        self.context.say(f"held-out loss {loss:.4f} at step {step}" + (", the best so far" if best else ""))
        if self.patience_spent(losses) and step < state.max_steps:
            self.stopped_early = True
            control.should_training_stop = True
            self.context.say(f"stopping early: {self.recipe.early_stopping} evaluations without a lower held-out loss")

    def comparable(self, log_history: Sequence[dict[str, Any]]) -> list[float]:
        """Held-out losses of examples that were cut to the present length."""
        return held_out_losses([entry for entry in log_history if entry.get("step", 0) > self.compares_from])

    def patience_spent(self, losses: Sequence[float]) -> bool:
        """True when early stopping ends a run with these held-out losses."""
        patience = self.recipe.early_stopping
        return patience is not None and evaluations_since_best(losses) >= patience

    def checkpoint_written(self, step: int, path: Path, size: int, seconds: float) -> None:
        self._saved_at = time.monotonic()
        self._save_seconds = seconds
        self.context.events.write("checkpoint", step=step, path=str(path), bytes=size, seconds=seconds)
        self.context.say(f"checkpoint at step {step}")
