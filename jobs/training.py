"""Training with TRL and PEFT: an adapter on a loaded model. Importing this imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PrinterCallback, set_seed

from core.config.recipe import Recipe
from core.data.render import Fitted
from core.errors import BakehouseError, InputError
from core.files import read_json, sha256_json, write_json
from core.queue.spec import TrainSpec
from jobs.checkpoints import find_checkpoint
from jobs.context import JobContext, StopRequested
from jobs.ordering import StepOrder, split
from jobs.recorder import Outcome, Recorder, peak_memory_bytes
from jobs.trainer import CheckpointingTrainer, dataset, settings


class Training:
    """One training of a loaded model; resumes from the last whole checkpoint of the run directory."""

    def __init__(
        self,
        context: JobContext,
        spec: TrainSpec,
        model: Any,
        tokenizer: Any,
        examples: Sequence[Fitted],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.context = context
        self.spec = spec
        recipe = spec.recipe
        _require_targets(model, recipe)
        held_out, trained = split(examples, recipe)
        per_step = recipe.batch_size * recipe.accumulation
        order = StepOrder([len(item.prompt_ids) + len(item.completion_ids) for item in trained], per_step, recipe.seed)
        # A retry with other inputs must not go on where the former ones had led.
        purpose = sha256_json(spec.model_dump(mode="json"))
        self.recorder = Recorder(context, recipe, purpose, order, device)
        context.run.checkpoints.mkdir(exist_ok=True)
        set_seed(recipe.seed)  # before the adapter's weights are drawn
        self.trainer = CheckpointingTrainer(
            model=model,
            args=settings(recipe, context.run.checkpoints, device, dtype, evaluate=bool(held_out)),
            train_dataset=dataset(trained),
            eval_dataset=dataset(held_out) if held_out else None,
            processing_class=tokenizer,
            peft_config=lora_config(recipe),
            callbacks=[self.recorder],
            order=order,
            recorder=self.recorder,
        )
        self.trainer.remove_callback(PrinterCallback)

    def run(self) -> Outcome:
        """Train to the end. StopRequested when asked to stop; a checkpoint of the step reached is there then."""
        found = find_checkpoint(self.context.run.checkpoints, self.recorder.purpose)
        for why in found.refused:
            self.context.warn("checkpoint_refused", f"not resumed from {why}")
        detail = f"from step {found.checkpoint.step}" if found.checkpoint else None
        self.context.phase("training", detail)
        try:
            self.trainer.train(resume_from_checkpoint=str(found.checkpoint.path) if found.checkpoint else None)
        except torch.OutOfMemoryError as error:
            raise BakehouseError(
                f"the card's memory does not hold this training: {str(error).splitlines()[0]}",
                code="out_of_memory",
                remedy="lower batch_size (raise accumulation instead) or max_length, or set activation_checkpointing",
            ) from error
        if self.recorder.stopped is not None:
            raise StopRequested(self.recorder.stopped)
        return self._outcome()

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as safetensors with its configuration."""
        model = self.trainer.model
        entry = self.spec.model
        model.peft_config["default"].base_model_name_or_path = entry.hub or entry.name
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
        # PEFT keeps the targets as a set: sorted, the same adapter has the same hash in every process.
        config = read_json(folder / "adapter_config.json")
        write_json(folder / "adapter_config.json", {**config, "target_modules": sorted(config["target_modules"])})

    def _outcome(self) -> Outcome:
        losses = [entry["loss"] for entry in self.trainer.state.log_history if "loss" in entry]
        return Outcome(
            steps=self.trainer.state.global_step,
            epochs=float(self.trainer.state.epoch or 0.0),
            first_loss=losses[0],
            last_loss=losses[-1],
            trainable_parameters=sum(p.numel() for p in self.trainer.model.parameters() if p.requires_grad),
            tokens_per_second=self.recorder.tokens / self.recorder.seconds if self.recorder.seconds else None,
            peak_memory_bytes=peak_memory_bytes(self.recorder.device),
        )


def lora_config(recipe: Recipe) -> LoraConfig:
    """The adapter that a recipe asks for."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
    )


def _require_targets(model: Any, recipe: Recipe) -> None:
    """InputError for a target that the model has no layer of: PEFT would leave it out without a word."""
    names = [name for name, _ in model.named_modules()]
    for target in recipe.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise InputError(
                f"the model has no layer named {target}",
                code="no_such_layer",
                key="targets",
                remedy="the names of a model's linear layers are in its model card",
            )
