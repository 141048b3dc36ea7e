"""SFTTrainer as this project uses it: the recipe as its settings, our order of examples, checkpoints that appear whole."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTConfig, SFTTrainer

from core.config.recipe import Recipe
from core.data.render import Fitted
from jobs.checkpoints import prune, seal
from jobs.ordering import StepOrder
from jobs.recorder import Recorder

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


class CheckpointingTrainer(SFTTrainer):
    """SFTTrainer with our order of examples, and checkpoints that appear whole."""

    def __init__(self, *args: Any, order: StepOrder, recorder: Recorder, **kwargs: Any) -> None:
        self._order = order
        self._recorder = recorder
        self._staging: Path | None = None
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._order

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        """The mean loss of all held-out completion tokens: the same however they are batched.

        The library's own loop means the means of batches, and draws random numbers, so that evaluating more often would
        change the training.
        """
        held_out = self.eval_dataset
        tokens = sum(label != -100 for labels in held_out["labels"] for label in labels)
        size = self.args.per_device_eval_batch_size
        model = self.model_wrapped
        model.eval()
        loss = 0.0
        for start in range(0, len(held_out), size):
            batch = [held_out[index] for index in range(start, min(start + size, len(held_out)))]
            inputs = self._prepare_inputs(self.data_collator(batch))
            with torch.no_grad(), self.compute_loss_context_manager():
                loss += self.compute_loss(model, inputs, num_items_in_batch=tokens).item()
        return EvalLoopOutput(None, None, {f"{metric_key_prefix}_loss": loss}, len(held_out))

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging or self.args.output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        started = time.monotonic()
        folder = Path(self.args.output_dir)
        self._staging = folder / f".staging-{os.getpid()}"
        try:
            # TRL's own method would write a model card first.
            Trainer._save_checkpoint(self, model, trial)
            staged = self._staging / f"checkpoint-{self.state.global_step}"
            checkpoint, size = seal(staged, folder, self._recorder.purpose)
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
        prune(folder, self._recorder.recipe.keep_checkpoints)
        self._recorder.checkpoint_written(checkpoint.step, checkpoint.path, size, time.monotonic() - started)


def settings(recipe: Recipe, folder: Path, device: torch.device, dtype: torch.dtype, run_name: str) -> SFTConfig:
    """A recipe in TRL's words. Evaluations and checkpoints are left to the recorder, which says when."""
    return SFTConfig(
        output_dir=str(folder),
        max_length=None,  # lengths were settled before: TRL would cut the answer off
        dataset_kwargs={"skip_prepare_dataset": True},
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.lr,
        lr_scheduler_type=SCHEDULES[recipe.schedule],
        warmup_steps=recipe.warmup_steps,
        optim="adamw_torch",
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        neftune_noise_alpha=recipe.neftune,
        activation_checkpointing=recipe.activation_checkpointing,
        activation_checkpointing_kwargs={"every_n_layers": recipe.every_n_layers},
        bf16=dtype == torch.bfloat16,
        use_cpu=device.type == "cpu",
        seed=recipe.seed,
        eval_strategy="no",
        prediction_loss_only=True,
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=recipe.report_to,
        run_name=run_name,
        project="bakehouse",
        disable_tqdm=True,
        dataloader_pin_memory=device.type == "cuda",
    )


def dataset(examples: Sequence[Fitted]) -> Dataset:
    """Token ids, and labels that leave the prompt out of the loss."""
    return Dataset.from_dict(
        {
            "input_ids": [[*item.prompt_ids, *item.completion_ids] for item in examples],
            "labels": [[-100] * len(item.prompt_ids) + list(item.completion_ids) for item in examples],
        }
    )
