"""Training with TRL and PEFT: an adapter on a loaded model. Importing this imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PrinterCallback, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from core.config.recipe import Recipe
from core.data.render import FittedExample
from core.files import read_json, write_json
from core.jobfile.train import TrainSpec
from jobs.best import BestAdapter, copy_adapter
from jobs.checkpoints import Checkpoint, find_checkpoint
from jobs.context import JobContext, StopRequested
from jobs.memory import peak_memory_bytes, peak_of_steps
from jobs.ordering import StepOrder, length
from jobs.recorder import Recorder, TrainingOutcome
from jobs.step.memory_efficient import OTHER_TOWERS
from jobs.targets import targets_for
from jobs.trainer import CheckpointingTrainer, dataset, settings


class Training:
    """One training of a loaded model; resumes from the last whole checkpoint of the run directory.

    `recipe` is the submitted one after the ladder; `purpose` is the hash of what was submitted, by which checkpoints are
    known; `held_out` examples are evaluated, and may be none. Held-out losses compare behind the step `compares_from`.
    """

    def __init__(
        self,
        context: JobContext,
        spec: TrainSpec,
        recipe: Recipe,
        purpose: str,
        model: Any,
        tokenizer: Any,
        trained: Sequence[FittedExample],
        held_out: Sequence[FittedExample],
        device: torch.device,
        dtype: torch.dtype,
        compares_from: int = 0,
    ) -> None:
        self.context = context
        self.spec = spec
        recipe = recipe.model_copy(update={"targets": targets_for(model, recipe)})
        checkpoints = context.run.checkpoints
        checkpoints.mkdir(exist_ok=True)
        order = StepOrder([length(item) for item in trained], recipe.batch_size * recipe.accumulation, recipe.seed)
        # Losses of examples that were cut to other lengths do not compare.
        keeper = BestAdapter(checkpoints / "best", f"{purpose}:{recipe.max_length}") if held_out else None
        self.recorder = Recorder(context, recipe, purpose, order, device, keeper, compares_from)
        set_seed(recipe.seed)  # before the adapter's weights are drawn
        self.trainer = CheckpointingTrainer(
            model=model,
            args=settings(recipe, checkpoints, device, run_name=f"job-{context.job.id}"),
            train_dataset=dataset(trained),
            eval_dataset=dataset(sorted(held_out, key=length)) if held_out else None,
            processing_class=tokenizer,
            peft_config=lora_config(recipe),
            callbacks=[self.recorder],
            order=order,
            recorder=self.recorder,
            dtype=dtype,
        )
        self.trainer.remove_callback(PrinterCallback)
        self.recorder.save_adapter = self._save_present

    def run(self) -> TrainingOutcome:
        """Train to the end. StopRequested when asked to stop; a checkpoint of the step reached is there then."""
        found = find_checkpoint(self.context.run.checkpoints, self.recorder.purpose)
        for why in found.refused:
            self.context.warn("checkpoint_refused", f"not resumed from {why}")
        self.context.phase("training", f"from step {found.checkpoint.step}" if found.checkpoint else None)
        if found.checkpoint is None:
            self.trainer.train()
        elif not self._had_stopped_early(found.checkpoint):
            self.trainer.train(resume_from_checkpoint=str(found.checkpoint.path))
        if self.recorder.stopped is not None:
            raise StopRequested(self.recorder.stopped)
        return self._outcome()

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as safetensors with its configuration: the best one where examples were held out."""
        keeper = self.recorder.keeper
        if keeper is not None and keeper.best is not None:
            copy_adapter(keeper.best, folder)
        else:
            self._save_present(folder)

    def _had_stopped_early(self, checkpoint: Checkpoint) -> bool:
        """True when the run was over at this checkpoint, and only its artefact is missing: the state is loaded then."""
        state = TrainerState.load_from_json(str(checkpoint.path / TRAINER_STATE_NAME))
        if state.global_step >= state.max_steps or not self.recorder.patience_spent(
            self.recorder.comparable(state.log_history)
        ):
            return False
        self.trainer.state = state
        self.trainer._load_from_checkpoint(str(checkpoint.path))
        self.recorder.stopped_early = True
        return True

    def _save_present(self, folder: Path) -> None:
        model = self.trainer.model
        entry = self.spec.model
        model.peft_config["default"].base_model_name_or_path = entry.hub or entry.name
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
        # PEFT keeps the targets as a set: sorted, the same adapter has the same hash in every process.
        config = read_json(folder / "adapter_config.json")
        write_json(folder / "adapter_config.json", {**config, "target_modules": sorted(config["target_modules"])})

    def _outcome(self) -> TrainingOutcome:
        state, recorder = self.trainer.state, self.recorder
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        best = recorder.keeper.best if recorder.keeper is not None else None
        return TrainingOutcome(
            steps=state.global_step,
            epochs=float(state.epoch or 0.0),
            first_loss=losses[0],
            last_loss=losses[-1],
            trainable_parameters=sum(p.numel() for p in self.trainer.model.parameters() if p.requires_grad),
            tokens_per_second=recorder.tokens / recorder.seconds if recorder.seconds else None,
            peak_memory_bytes=max(peak_memory_bytes(recorder.device), peak_of_steps(self.context.run)),
            best_step=best.step if best else None,
            best_loss=best.loss if best else None,
            stopped_early=recorder.stopped_early,
            seconds_per_step=recorder.seconds / recorder.timed_steps if recorder.timed_steps else None,
        )


def lora_config(recipe: Recipe) -> LoraConfig:
    """The adapter that a recipe asks for."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # type: ignore[arg-type]  # it divides by the rank: any number will do
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        exclude_modules=OTHER_TOWERS,
    )
