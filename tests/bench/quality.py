"""Does the step that holds less learn as well? The shipped recipe against plain fp32 Adam, over several seeds.

Each seed draws its own held-out examples. One side is a job with the recipe `lora-bf16` as it is shipped: bf16 weights, the
lean layers, bf16 adapters whose fp32 remainder the optimizer holds. The other is TRL alone in fp32 throughout, with torch's
AdamW and the same settings. Both adapters are then measured in the same way: the mean loss of all held-out completion tokens,
in fp32, through transformers' own logits. Scores on the golden inputs stand beside it.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.config.project import shipped
from core.data.render import FittedExample
from tests.bench.command_line import parser
from tests.bench.small import THREADS, Bench

SEEDS = (0, 1, 2)
TRAINED = 24
HELD_OUT = 24
# The longest whole answer of the task has 284 tokens.
MAX_NEW_TOKENS = 320
RECIPE = "lora-bf16"


def held_out_loss(folder: Path, adapter: Path | None, fitted: Sequence[FittedExample]) -> float:
    """Nats a completion token."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for item in fitted:
            ids = torch.tensor([[*item.prompt_ids, *item.completion_ids]])
            logits = model(input_ids=ids, use_cache=False).logits[0, len(item.prompt_ids) - 1 : -1]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(item.completion_ids), reduction="sum")
            total, tokens = total + loss.item(), tokens + len(item.completion_ids)
    return total / tokens


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("quality", __doc__)
    command.add_argument("--lr", type=float, help="learning rate of both sides, else the recipe's")
    chosen = command.parse_args(arguments)
    from scipy import stats

    recipe = shipped().recipe(RECIPE)
    if chosen.lr is not None:
        recipe = recipe.model_copy(update={"lr": chosen.lr})
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root))
        tokenizer, folder, lines = bench.load()
        differences = []
        print(f"recipe {recipe.name}, lr {recipe.lr:g}, {TRAINED} examples trained, {HELD_OUT} held out")
        for seed in SEEDS:
            drawn = random.Random(seed).sample(lines, TRAINED + HELD_OUT)
            seeded = recipe.model_copy(update={"seed": seed, "max_length": 768})
            held_out = bench.fitted(tokenizer, drawn[TRAINED:], seeded.max_length)
            ours = bench.ours(drawn[:TRAINED], seeded)
            bare = bench.bare(folder, bench.fitted(tokenizer, drawn[:TRAINED], seeded.max_length), seeded)
            losses = [held_out_loss(folder, adapter, held_out) for adapter in (None, bare.adapter, ours.adapter)]
            differences.append(losses[2] / losses[1] - 1)
            scores = bench.golden({"plain": bare.adapter, "ours": ours.adapter}, MAX_NEW_TOKENS)
            print(
                f"seed {seed}: held-out loss {losses[0]:.4f} untrained, {losses[1]:.4f} plain fp32 Adam, "
                f"{losses[2]:.4f} {recipe.name}: {differences[-1]:+.3%}; "
                f"golden format {scores['plain'][0]:.2f} and {scores['ours'][0]:.2f}, "
                f"content {scores['plain'][1]:.2f} and {scores['ours'][1]:.2f} of 5; "
                f"{bare.tokens_per_second:.0f} and {ours.tokens_per_second:.0f} tok/s",
                flush=True,
            )
        half = stats.t.ppf(0.975, len(SEEDS) - 1) * statistics.stdev(differences) / math.sqrt(len(SEEDS))
        middle = statistics.mean(differences)
        print(f"relative difference {middle:+.3%}, 95 % interval [{middle - half:+.3%}, {middle + half:+.3%}]")


if __name__ == "__main__":
    main(sys.argv[1:])
