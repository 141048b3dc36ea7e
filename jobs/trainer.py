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
from core.data.render import FittedExample
from jobs.checkpoints import prune, seal
from jobs.ordering import StepOrder
from jobs.recorder import Recorder
from jobs.step.loss import CompletionLoss, Head
from jobs.step.memory_efficient import make_lean
from jobs.step.optimizer import make_optimizer

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


class CheckpointingTrainer(SFTTrainer):
    """SFTTrainer with our order of examples, and checkpoints that appear whole."""

    # The library's types allow for what is never here: no model, no folder, held-out data in several sets.
    model: Any
    args: Any
    eval_dataset: Any

    def __init__(
        self, *, order: StepOrder, recorder: Recorder, dtype: torch.dtype, try_out: bool = True, **kwargs: Any
    ) -> None:
        self._order = order
        self._dtype = dtype
        self._recorder = recorder
        self._staging: Path | None = None
        super().__init__(data_collator=collate, **kwargs)
        make_lean(self.model, try_out=try_out)
        self._set_adapter_dtype()

    def _set_adapter_dtype(self) -> None:
        """Give the adapter the recipe's dtype. PEFT makes it fp32, and again whenever it loads one."""
        recipe = self._recorder.recipe
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(adapter_dtype(recipe, self._dtype))

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_checkpoint(*args, **kwargs)
        self._set_adapter_dtype()

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = make_optimizer(
                [parameter for parameter in self.model.parameters() if parameter.requires_grad],
                lr=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
                moments="8bit" if self._recorder.recipe.optimizer == "adamw-8bit" else "fp32",
            )
        return self.optimizer

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean loss of completion tokens; no logits but those of a few of them at a time."""
        if return_outputs:
            raise ValueError("no outputs are kept: the logits are never whole")
        causal = self.accelerator.unwrap_model(model).get_base_model()
        hidden = causal.base_model(input_ids=inputs["input_ids"], use_cache=False).last_hidden_state
        predicting = hidden.flatten(0, 1).index_select(0, inputs["positions"])
        count = len(inputs["targets"]) if num_items_in_batch is None else num_items_in_batch
        loss = CompletionLoss.apply(predicting, inputs["targets"], Head.of(causal), count)
        if self.model.training:
            self._total_train_tokens += inputs["tokens"]
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss

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
        self._recorder.evaluation_begins(len(held_out))
        model.eval()
        loss = 0.0
        for start in range(0, len(held_out), size):
            batch = [held_out[index] for index in range(start, min(start + size, len(held_out)))]
            inputs = self._prepare_inputs(self.data_collator(batch))
            with torch.no_grad(), self.compute_loss_context_manager():
                loss += self.compute_loss(model, inputs, num_items_in_batch=tokens).item()
        nothing: Any = None  # neither predictions nor labels are kept
        return EvalLoopOutput(nothing, nothing, {f"{metric_key_prefix}_loss": loss}, len(held_out))

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


def settings(recipe: Recipe, folder: Path, device: torch.device, run_name: str) -> SFTConfig:
    """A recipe in TRL's words. Evaluations and checkpoints are left to the recorder, which says when."""
    return SFTConfig(
        output_dir=str(folder),
        max_length=None,  # lengths were settled before: TRL would cut the answer off
        dataset_kwargs={"skip_prepare_dataset": True},
        num_train_epochs=recipe.epochs,
        max_steps=-1 if recipe.steps is None else recipe.steps,  # -1: as many as the epochs have
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
        bf16=False,  # no autocast: the model computes in its own dtype, and nothing is copied into another
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


def adapter_dtype(recipe: Recipe, dtype: torch.dtype) -> torch.dtype:
    """What the adapter's parameters are kept in beside a base in `dtype`."""
    # PEFT's DoRA multiplies in the adapter's dtype: in fp32 that is a hundred times slower on some GPUs.
    narrow = dtype == torch.bfloat16 and (recipe.lora_dtype == "bf16" or recipe.dora)
    return torch.bfloat16 if narrow else torch.float32


def collate(examples: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """A micro-batch: token ids padded on the right, and where the completion tokens are predicted.

    There is no attention mask: attention is causal, so what stands before a token never sees the padding behind it, and the
    padding's own rows are not looked at. `labels` serve the library to count tokens.
    """
    width = max(len(example["input_ids"]) for example in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full((len(examples), width), -100)
    for row, example in enumerate(examples):
        ids[row, : len(example["input_ids"])] = torch.tensor(example["input_ids"])
        labels[row, : len(example["labels"])] = torch.tensor(example["labels"])
    # Position i predicts token i + 1.
    shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100).flatten()
    positions = (shifted != -100).nonzero().flatten()
    return {
        "input_ids": ids,
        "labels": labels,
        "positions": positions,
        "targets": shifted[positions],
        "tokens": sum(len(example["input_ids"]) for example in examples),
    }


def dataset(examples: Sequence[FittedExample]) -> Dataset:
    """Token ids, and labels that leave the prompt out of the loss."""
    return Dataset.from_dict(
        {
            "input_ids": [[*item.prompt_ids, *item.completion_ids] for item in examples],
            "labels": [[-100] * len(item.prompt_ids) + list(item.completion_ids) for item in examples],
        }
    )
