"""A recipe: how to train. The task says what is learnt, the recipe how."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from core.config.base import Loaded, Name, NonEmpty, Written
from core.errors import KeyedError

LINEAR_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# Bounds far beyond every use: what is computed of a value stays a number that a float can hold.
LONGEST = 16_777_216  # tokens
MOST_EXAMPLES = 1_000_000  # of a batch, and batches of a step
MOST_STEPS = 1_000_000_000


class HqqOptions(Written):
    """Half-quadratic quantisation of the frozen weights."""

    bits: Literal[2, 3, 4, 8] = 4
    group_size: int = Field(default=64, ge=8, le=1024, multiple_of=8)


class FewShot(Written):
    """Other examples of the data set set in front of a prompt as turns that were already answered."""

    count: int = Field(default=2, ge=1, le=16)  # turns in front of one example
    share: float = Field(default=0.5, gt=0, le=1)  # of the examples that get them


class Recipe(Loaded):
    """A LoRA fine-tuning. Lengths are tokens; `alpha / rank` is the scale (`alpha / √rank` with `rslora`)."""

    name: Name
    method: Literal["lora", "qlora-hqq"]
    rank: int = Field(ge=1, le=4096)
    alpha: float = Field(gt=0, le=1e9)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[NonEmpty] = Field(default=LINEAR_LAYERS, min_length=1)
    rslora: bool = False
    dora: bool = False
    # bf16: a step computes with 16-bit adapters; the optimizer holds what is missing to fp32.
    lora_dtype: Literal["fp32", "bf16"] = "fp32"
    max_length: int = Field(ge=16, le=LONGEST)
    epochs: float = Field(gt=0, le=1000)
    # Exactly so many optimizer steps, in place of the epochs.
    steps: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    batch_size: int = Field(ge=1, le=MOST_EXAMPLES)
    accumulation: int = Field(default=1, ge=1, le=MOST_EXAMPLES)
    lr: float = Field(gt=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0, le=MOST_STEPS)
    neftune: float | None = Field(default=None, ge=0)
    optimizer: Literal["adamw", "adamw-8bit"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    # Recompute a layer's inner activations in the backward pass; of every n-th layer only, the others keep theirs.
    activation_checkpointing: bool = False
    every_n_layers: int = Field(default=1, ge=1, le=MOST_STEPS)
    # auto: batch_size, checkpointing and optimizer are picked at submission so that the run fits the GPU.
    fit: Literal["auto"] | None = None
    # What to do when the GPU's memory does not hold the run: step down a declared ladder, or end.
    out_of_memory: Literal["ladder", "fail"] = "ladder"
    save_steps: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    keep_checkpoints: int = Field(default=2, ge=1, le=MOST_STEPS)
    eval_fraction: float = Field(default=0.0, ge=0, le=0.5)
    eval_steps: int | None = Field(default=None, ge=1, le=MOST_STEPS)  # absent: once an epoch
    early_stopping: int | None = Field(default=None, ge=1, le=MOST_STEPS)  # evaluations without a better held-out loss
    few_shot: FewShot | None = None
    skeletons: int = Field(default=0, ge=0, le=64)  # examples of the bare format, made of the task's checks
    max_skipped: float = Field(default=0.2, ge=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    report_to: Literal["none", "tensorboard", "mlflow", "trackio", "wandb"] = "none"
    hqq: HqqOptions | None = None

    # The words of TRL, PEFT and transformers.
    also_called: ClassVar[dict[str, str]] = {
        "learning_rate": "lr",
        "r": "rank",
        "lora_r": "rank",
        "lora_alpha": "alpha",
        "lora_dropout": "dropout",
        "target_modules": "targets",
        "use_rslora": "rslora",
        "use_dora": "dora",
        "max_seq_length": "max_length",
        "num_train_epochs": "epochs",
        "max_steps": "steps",
        "per_device_train_batch_size": "batch_size",
        "gradient_accumulation_steps": "accumulation",
        "grad_accum": "accumulation",
        "lr_scheduler_type": "schedule",
        "warmup": "warmup_steps",
        "neftune_noise_alpha": "neftune",
        "optim": "optimizer",
        "gradient_checkpointing": "activation_checkpointing",
        "early_stopping_patience": "early_stopping",
        "save_total_limit": "keep_checkpoints",
        "quantization": "hqq",
    }

    @model_validator(mode="before")
    @classmethod
    def _quantised_by_default_options(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("method") == "qlora-hqq" and data.get("hqq") is None:
            return data | {"hqq": {}}
        return data

    def steps_of(self, examples: int) -> int:
        """Optimizer steps of a training on so many examples: those that are asked for, else what the epochs come to."""
        if self.steps is not None:
            return self.steps
        return math.ceil(math.ceil(examples / (self.batch_size * self.accumulation)) * self.epochs)

    @field_validator("targets")
    @classmethod
    def _only_layers_lora_can_change(cls, targets: list[str]) -> list[str]:
        for index, target in enumerate(targets):
            if target.rsplit(".", 1)[-1] in ("lm_head", "embed_tokens"):
                remedy = "take linear layers inside the blocks: q_proj, v_proj, up_proj, …"
                raise KeyedError(f"`{target}` cannot carry a LoRA here", key=str(index), remedy=remedy)
            if target in targets[:index]:
                raise KeyedError(f"`{target}` stands twice", key=str(index))
        return targets

    @model_validator(mode="after")
    def _options_of_the_method(self) -> Recipe:
        if self.hqq is not None and self.method != "qlora-hqq":
            raise KeyedError(f"method {self.method} quantises nothing", key="hqq", remedy="set method: qlora-hqq")
        if self.early_stopping is not None and not self.eval_fraction:
            raise KeyedError(
                "without held-out examples nothing says when to stop",
                key="early_stopping",
                remedy="set eval_fraction: 0.1",
            )
        if self.every_n_layers > 1 and not self.activation_checkpointing:
            raise KeyedError(
                "it chooses among the layers that are checkpointed",
                key="every_n_layers",
                remedy="set activation_checkpointing: true",
            )
        return self
