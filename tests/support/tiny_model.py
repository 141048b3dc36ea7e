"""A two-layer Llama with random weights and a tokenizer of its own: a real model folder that trains in milliseconds a step.

What it learns is worth nothing; how a training stops, resumes, runs out of memory and is refused is the same as on a large one.
"""

from __future__ import annotations

from pathlib import Path

from core.config.model import ModelEntry
from tests.support.greetings import GREETINGS, SYSTEM
from tests.support.tokenizers import CORPUS, byte_level

LAYERS = 2
# Weights of this deviation let an adapter on frozen random layers move the loss within a few steps.
DEVIATION = 0.12


def tiny_model(
    folder: Path, *, layers: int = LAYERS, hidden: int = 128, intermediate: int = 256, tokenizer_of: Path | None = None
) -> ModelEntry:
    """Write the model into `folder`, the same weights each time, and return its entry.

    `tokenizer_of` is the folder of a published model whose tokenizer it takes: llama.cpp's converter knows no other.
    """
    import torch

    from jobs import models

    models.prepare_libraries()
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    tokenizer = (
        byte_level(corpus=[*CORPUS, *(f"{SYSTEM} {name} {text}" for name, text in GREETINGS)] * 4)
        if tokenizer_of is None
        else AutoTokenizer.from_pretrained(tokenizer_of, local_files_only=True)
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        initializer_range=DEVIATION,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelEntry(name=f"tiny-{layers}x{hidden}x{intermediate}", path=str(folder))
