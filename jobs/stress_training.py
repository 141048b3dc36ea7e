"""One training of the stress test: a Llama with random weights, random tokens, and the trainer of the job `train`."""

from __future__ import annotations

import time
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, PrinterCallback, set_seed

from core.config.recipe import Recipe
from core.data.render import FittedExample
from jobs.ordering import StepOrder, length
from jobs.recorder import Recorder
from jobs.stress_layouts import Layout, Shape, StressRun
from jobs.trainer import CheckpointingTrainer, dataset, settings
from jobs.training import lora_config

PROMPT_SHARE = 0.7
EPOCHS = 1000.0  # the time ends it


class StressRecorder(Recorder):
    """Tells each step to the test, and ends the training when its time is over. Nothing is saved."""

    test: StressRun

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = self.test.over()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.test.step(float(logs["loss"]), time.monotonic() - self._step_began)


def recipe_of(layout: Layout, device: torch.device) -> Recipe:
    """A plain LoRA: one example a step, so that the number of tokens of each product is odd."""
    return Recipe(
        name="stress",
        method="lora",
        rank=layout.rank,
        alpha=2.0 * layout.rank,
        lora_dtype="bf16" if device.type == "cuda" else "fp32",
        max_length=layout.longest,
        epochs=EPOCHS,
        batch_size=1,
        lr=1e-4,
        schedule="constant",
        dtype="bf16" if device.type == "cuda" else "fp32",
        seed=layout.seed,
    )


def examples(layout: Layout, vocabulary: int) -> list[FittedExample]:
    """One of each odd length of the layout, of random tokens."""
    generator = torch.Generator().manual_seed(layout.seed)
    made = []
    for number, tokens in enumerate(range(layout.shortest, layout.longest + 1, 2)):
        ids = torch.randint(0, vocabulary, (tokens,), generator=generator).tolist()
        cut = round(PROMPT_SHARE * tokens)
        made.append(FittedExample(tuple(ids[:cut]), tuple(ids[cut:]), number + 1))
    return made


def make_trainer(test: StressRun, layout: Layout, shape: Shape, device: torch.device) -> CheckpointingTrainer:
    recipe = recipe_of(layout, device)
    dtype = torch.bfloat16 if recipe.dtype == "bf16" else torch.float32
    set_seed(layout.seed)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).to(device)
    data = examples(layout, shape.vocabulary)
    order = StepOrder([length(item) for item in data], recipe.batch_size, recipe.seed)
    recorder = StressRecorder(test.context, recipe, "", order, device, None)
    recorder.test = test
    trainer = CheckpointingTrainer(
        model=model,
        args=settings(recipe, test.context.attempt.path / "nothing", device, run_name="stress"),
        train_dataset=dataset(data),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel({"x": 0}, "x")), pad_token="x", eos_token="x"
        ),
        peft_config=lora_config(recipe),
        callbacks=[recorder],
        order=order,
        recorder=recorder,
        dtype=dtype,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
