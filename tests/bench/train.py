"""Speed and memory of a training: `bakehouse train`'s job against a script with TRL alone.

The same model (SmolLM2-135M in fp32), examples and settings, each run a process of its own, the two sides in turn. Counted are
the tokens of the examples, without padding, over the seconds of the training loop: loading is in neither side.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.config.recipe import Recipe
from tests.bench.command_line import parser
from tests.bench.small import Bench

PAIRS = 5
EXAMPLES = 16
RECIPE = Recipe(
    name="bench",
    method="lora",
    rank=16,
    alpha=32,
    dropout=0.05,
    max_length=768,
    epochs=1,
    batch_size=2,
    accumulation=2,
    lr=1e-3,
    warmup_steps=2,
    neftune=5,
    dtype="fp32",
)


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the mean of the logarithms' differences, as a ratio (Student's t over the pairs)."""
    import math

    from scipy import stats

    logs = [math.log(value) for value in values]
    half = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.mean(logs)
    return math.exp(middle - half), math.exp(middle + half)


def main(arguments: Sequence[str] = ()) -> None:
    parser("train", __doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        tokenizer, model, lines = bench.load()
        fitted = bench.fitted(tokenizer, lines[:EXAMPLES], RECIPE.max_length)
        speeds, peaks = [], []
        print(f"{'pair':>4}  {'TRL alone':>20}  {'bakehouse train':>20}  {'speed':>6}  {'memory':>6}")
        for pair in range(PAIRS):
            order = ("bare", "ours") if pair % 2 == 0 else ("ours", "bare")
            found = {
                side: bench.bare(model, fitted, RECIPE) if side == "bare" else bench.ours(lines[:EXAMPLES], RECIPE)
                for side in order
            }
            bare, ours = found["bare"], found["ours"]
            speeds.append(ours.tokens_per_second / bare.tokens_per_second)
            peaks.append(ours.peak_bytes / bare.peak_bytes)
            cells = [f"{one.tokens_per_second:7.0f} tok/s {one.peak_bytes / 1e9:5.2f} GB" for one in (bare, ours)]
            print(f"{pair + 1:>4}  {cells[0]:>20}  {cells[1]:>20}  {speeds[-1]:6.2f}  {peaks[-1]:6.2f}", flush=True)
            print(f"      last loss {bare.last_loss:.3f} against {ours.last_loss:.3f}", flush=True)
        for name, ratios in (("speed", speeds), ("peak memory", peaks)):
            low, high = interval(ratios)
            print(f"{name}: median ratio {statistics.median(ratios):.2f}, 95 % interval [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main(sys.argv[1:])
