"""By which keys a record or a message says whether it is to be learnt, and which names speak of that in another way."""

from __future__ import annotations

import re
from typing import Any

# Whether an assistant turn is learnt: OpenAI's, Mistral's and Together's `weight`, axolotl's `train` and `training`, ms-swift's
# `loss`, verl's `trainable` and `loss_mask`. Each is true or false, or 1 or 0.
LEARN_KEYS = ("weight", "train", "training", "trainable", "loss", "loss_mask")
_LEARN_WORDS = frozenset(
    ("weight", "weights", "loss", "losses", "mask", "masks", "masked", "unmasked", "train", "trained", "untrained")
) | {"trainable", "training", "learn", "learnt", "learned", "learnable", "supervise", "supervised"}
# What such names have beside these words: negations, and what is meant.
_LEARN_BESIDE = frozenset(
    (
        "no",
        "not",
        "non",
        "do",
        "dont",
        "without",
        "skip",
        "ignore",
        "exclude",
        "include",
        "with",
        "only",
        "in",
        "from",
        "for",
    )
).union(
    ("compute", "calculate", "use", "apply", "should", "to", "be", "is", "on", "the", "this", "of", "at", "by", "flag"),
    (
        "sample",
        "example",
        "token",
        "tokens",
        "turn",
        "turns",
        "message",
        "messages",
        "role",
        "roles",
        "detail",
        "eos",
        "eot",
    ),
    (
        "assistant",
        "completion",
        "completions",
        "answer",
        "response",
        "responses",
        "output",
        "outputs",
        "target",
        "targets",
    ),
    ("user", "prompt", "prompts", "input", "inputs", "label", "labels"),
)
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")


def truth(value: Any) -> bool | None:
    """True or false of 1, 0, true, false, also as words; None of anything else."""
    if isinstance(value, (bool, int, float)):
        return True if value == 1 else False if value == 0 else None
    if isinstance(value, str):
        said = value.strip().lower()
        return True if said in _YES else False if said in _NO else None
    return None


def speaks_of_learning(key: str) -> bool:
    """True of a name like `loss_mask`, `trainOnTurn`, `no_loss`, `sample_weight`; not of one that has other words in it."""
    words = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", key)]
    return any(part in _LEARN_WORDS for part in words) and all(
        part in _LEARN_WORDS or part in _LEARN_BESIDE for part in words
    )
