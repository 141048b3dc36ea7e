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


def settings(recipe: Recipe, folder: Path, device: torch.device, dtype: torch.dtype, *, evaluate: bool) -> SFTConfig:
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
        gradient_checkpointing=recipe.activation_checkpointing,
        bf16=dtype == torch.bfloat16,
        use_cpu=device.type == "cpu",
        seed=recipe.seed,
        eval_strategy="epoch" if evaluate else "no",
        prediction_loss_only=True,
        save_strategy="no",  # the recorder says when
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
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
