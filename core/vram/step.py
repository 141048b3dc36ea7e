"""What of a recipe costs memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.config.recipe import Recipe

Device = Literal["gpu", "cpu"]


@dataclass(frozen=True)
class Step:
    """What of a recipe costs memory.

    `lean` says that the LoRA layers are ours; else PEFT's under autocast, which keeps bf16 copies of fp32 adapters.
    `full_logits` and `fp32_casts` are the settings of the write-up that this planner is checked against: a loss over whole
    logits, and embeddings, head and norms in fp32, which carry the activations along.
    """

    method: Literal["lora", "qlora-hqq"]
    rank: int
    targets: tuple[str, ...]
    max_length: int
    batch_size: int = 1
    lora_dtype: Literal["fp32", "bf16"] = "fp32"
    optimizer: Literal["adamw", "adamw-8bit"] = "adamw"
    dora: bool = False
    dropout: float = 0.0
    activation_checkpointing: bool = True
    every_n_layers: int = 1
    bits: int = 4
    group_size: int = 64
    dtype: Literal["bf16", "fp32"] = "bf16"
    device: Device = "gpu"
    full_logits: bool = False
    fp32_casts: bool = False
    lean: bool = True

    @classmethod
    def of(cls, recipe: Recipe, device: Device = "gpu") -> Step:
        """The step of a recipe. `dtype: auto` is bf16 on a GPU; on a CPU the job decides, and fp32 takes more."""
        dtype = ("bf16" if device == "gpu" else "fp32") if recipe.dtype == "auto" else recipe.dtype
        # Beside weights in fp32 the adapter is in fp32 whatever the recipe says.
        lora_dtype = recipe.lora_dtype if dtype == "bf16" else "fp32"
        return cls(
            method=recipe.method,
            rank=recipe.rank,
            targets=tuple(recipe.targets),
            max_length=recipe.max_length,
            batch_size=recipe.batch_size,
            lora_dtype=lora_dtype,
            optimizer=recipe.optimizer,
            dora=recipe.dora,
            dropout=recipe.dropout,
            activation_checkpointing=recipe.activation_checkpointing,
            every_n_layers=recipe.every_n_layers,
            bits=recipe.hqq.bits if recipe.hqq else 4,
            group_size=recipe.hqq.group_size if recipe.hqq else 64,
            dtype=dtype,
            device=device,
        )

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch whose examples all have the full length."""
        return self.max_length * self.batch_size

    @property
    def value_bytes(self) -> int:
        """Bytes of a number in which the model computes."""
        return 2 if self.dtype == "bf16" else 4
