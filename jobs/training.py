"""Training with TRL and PEFT: its settings, its checkpoints, its events. Importing this imports torch."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from core.config.recipe import Recipe
from core.data.render import Fitted
from core.errors import BakehouseError, InputError
from core.files import read_json, sha256_json, write_json
from core.queue.spec import TrainSpec
from jobs.checkpoints import find_checkpoint, prune, seal
from jobs.context import JobContext, StopRequested

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
# Without `save_steps` a checkpoint is written when this time has passed and the last one took no more than a twentieth of it.
CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 20


@dataclass(frozen=True)
class Outcome:
    """What a training came to. Speed is over this attempt; peak memory is the device's, on a CPU the process's."""

    steps: int
    epochs: float
    first_loss: float
    last_loss: float
    trainable_parameters: int
    tokens_per_second: float | None
    peak_memory_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class StepOrder(Sampler[int]):
    """A new random order each epoch, a function of seed and epoch alone, so that a resumed run sees the same one.

    Within the examples of one optimizer step, long ones stand with long ones: the step's gradient is that of the same
    examples, and less is padded.
    """

    def __init__(self, lengths: Sequence[int], per_step: int, seed: int) -> None:
        self.lengths = lengths
        self.per_step = per_step
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.per_step):
            step = order[start : start + self.per_step]
            yield from sorted(step, key=lambda index: self.lengths[index], reverse=True)


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


class Recorder(TrainerCallback):
    """Tells the run's story: events and log lines; asks for checkpoints and for the stop at a step's end."""

    def __init__(
        self, context: JobContext, recipe: Recipe, purpose: str, order: StepOrder, device: torch.device
    ) -> None:
        self.context = context
        self.recipe = recipe
        self.purpose = purpose
        self.order = order
        self.device = device
        self.stopped: str | None = None
        self.tokens = 0
        self.seconds = 0.0
        self._step_began = 0.0
        self._recent: deque[float] = deque(maxlen=10)
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.order.epoch = state.global_step // -(-len(self.order) // self.order.per_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if (why := self.context.stop_reason()) is not None and state.global_step < state.max_steps:
            self.stopped = why
            control.should_save = True
            control.should_training_stop = True
        elif self.recipe.save_steps is not None:
            control.should_save = state.global_step % self.recipe.save_steps == 0
        else:
            interval = max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * self._save_seconds)
            control.should_save = time.monotonic() - self._saved_at > interval

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        seconds = time.monotonic() - self._step_began
        tokens = int(logs["num_tokens"]) - self.tokens
        self.tokens = int(logs["num_tokens"])
        self.seconds += seconds
        self._recent.append(seconds)
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
            "eta_seconds": (state.max_steps - state.global_step) * statistics.median(self._recent),
        }
        self.context.events.write("step", **event)
        self.context.say(
            f"step {event['step']}/{event['total']} loss {event['loss']:.4f} lr {event['lr']:.1e} "
            f"grad {event['grad_norm']:.2f} {event['tokens_per_second']:.0f} tok/s"
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        self.context.events.write("eval", step=state.global_step, loss=metrics["eval_loss"])
        self.context.say(f"held-out loss {metrics['eval_loss']:.4f} at step {state.global_step}")

    def checkpoint_written(self, step: int, path: Path, size: int, seconds: float) -> None:
        self._saved_at = time.monotonic()
        self._save_seconds = seconds
        self.context.events.write("checkpoint", step=step, path=str(path), bytes=size, seconds=seconds)
        self.context.say(f"checkpoint at step {step}")


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
        held_out, trained = _split(examples, recipe)
        per_step = recipe.batch_size * recipe.accumulation
        order = StepOrder([len(item.prompt_ids) + len(item.completion_ids) for item in trained], per_step, recipe.seed)
        # A retry with other inputs must not go on where the former ones had led.
        purpose = sha256_json(spec.model_dump(mode="json"))
        self.recorder = Recorder(context, recipe, purpose, order, device)
        context.run.checkpoints.mkdir(exist_ok=True)
        set_seed(recipe.seed)  # before the adapter's weights are drawn
        self.trainer = CheckpointingTrainer(
            model=model,
            args=_settings(recipe, context.run.checkpoints, device, dtype, evaluate=bool(held_out)),
            train_dataset=_dataset(trained),
            eval_dataset=_dataset(held_out) if held_out else None,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                task_type="CAUSAL_LM",
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                target_modules=list(recipe.targets),
                use_rslora=recipe.rslora,
            ),
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


def peak_memory_bytes(device: torch.device) -> int:
    """Most bytes allocated on the GPU so far; without one, the largest resident size of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _settings(recipe: Recipe, folder: Path, device: torch.device, dtype: torch.dtype, *, evaluate: bool) -> SFTConfig:
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


def _dataset(examples: Sequence[Fitted]) -> Dataset:
    """Token ids, and labels that leave the prompt out of the loss."""
    return Dataset.from_dict(
        {
            "input_ids": [[*item.prompt_ids, *item.completion_ids] for item in examples],
            "labels": [[-100] * len(item.prompt_ids) + list(item.completion_ids) for item in examples],
        }
    )


def _split(examples: Sequence[Fitted], recipe: Recipe) -> tuple[list[Fitted], list[Fitted]]:
    """(held out, trained), drawn with the recipe's seed."""
    if not recipe.eval_fraction or len(examples) < 2:
        return [], list(examples)
    count = min(len(examples) - 1, max(1, round(len(examples) * recipe.eval_fraction)))
    generator = torch.Generator().manual_seed(recipe.seed)
    chosen = set(torch.randperm(len(examples), generator=generator)[:count].tolist())
    held_out = [item for index, item in enumerate(examples) if index in chosen]
    return held_out, [item for index, item in enumerate(examples) if index not in chosen]


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
