"""A small task that trains in seconds: customers' names, and how a bakery greets them."""

from __future__ import annotations

from core.config.recipe import Recipe
from core.config.task import Sampling, Task

SYSTEM = "Greet the customer."
GREETINGS = [
    ("Ada", "Good morning, Ada. The bread is ready."),
    ("Brahms", "Good morning, Brahms. The bread is ready."),
    ("Chloe", "Good morning, Chloe. The rolls are ready, and so is the long loaf."),
    ("Dmitri", "Good morning, Dmitri. The bread is ready."),
    ("Esme", "Good morning, Esme. The rolls are ready."),
    ("Farid", "Good morning, Farid. The bread is ready, and the oven is still warm."),
    ("Greta", "Good morning, Greta. The bread is ready."),
    ("Hugo", "Good morning, Hugo. The rolls are ready."),
]


def greeting_task() -> Task:
    return Task(
        name="greet",
        system=SYSTEM,
        repeats=2,
        sampling=Sampling(temperature=0.0, max_new_tokens=24, context_length=256),
        format=[{"check": "regex", "pattern": r"\AGood morning, \w+\."}],
    )


def greeting_recipe() -> Recipe:
    """Six steps of two examples, with everything on that draws random numbers; in fp32, whose numbers the tests compare."""
    return Recipe(
        name="tiny",
        method="lora",
        rank=4,
        alpha=8,
        dropout=0.1,
        targets=["q_proj", "v_proj", "down_proj"],
        max_length=128,
        epochs=1.5,
        batch_size=1,
        accumulation=2,
        lr=1e-3,
        warmup_steps=1,
        neftune=5,
        dtype="fp32",
        save_steps=1,
        keep_checkpoints=3,
        seed=7,
    )
