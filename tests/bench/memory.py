"""The peak of a training step of full-size models: traced, predicted, and against what was published and what is wanted.

Bytes allocated (`max_memory_allocated` on a GPU); GB = 1e9. The shipped recipes are traced unchanged but for `max_length` and
the model. With a GPU the same step is also measured there, on random weights, with its time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from core.config.project import shipped
from core.config.recipe import LINEAR_LAYERS, Recipe
from core.vram.budget import Budget
from core.vram.calibration import calibrate
from core.vram.estimate import Step, estimate
from core.vram.forecast import forecast_step
from tests.bench.command_line import parser

# The GPU of the write-up: sold as 16 GB.
CARD_BYTES = 16 * 2**30


@dataclass(frozen=True)
class Case:
    """A run of the shipped recipe; `published` is the write-up's own peak in GB, "out" where its GPU did not hold it."""

    model: str
    recipe: str
    max_length: int
    wanted: float
    published: str


CASES = (
    Case("Qwen3-4B", "lora-bf16", 2048, 9.7, "13.37"),
    Case("Qwen3-8B", "qlora-hqq4", 2048, 9.0, "out"),
    Case("Qwen3-14B", "qlora-hqq4", 2048, 15.0, ""),
    Case("Qwen3-4B", "lora-bf16", 8192, 16.0, ""),
)


# Peak GB of the write-up's runs on that GPU (Sarkissian, qlora-rdna4): method, rank, length; None ran out of memory.
PUBLISHED = (
    ("Qwen3-4B", "lora", 32, 2048, 13.37),
    ("Qwen3-8B", "qlora-hqq", 16, 2048, 15.95),
    ("Qwen3-8B", "qlora-hqq", 16, 1024, 13.44),
    ("Qwen2.5-7B", "qlora-hqq", 16, 1024, 12.22),
    ("Qwen2.5-7B", "qlora-hqq", 16, 2048, 14.53),
    ("Qwen3-8B", "qlora-hqq", 32, 2048, None),
)


def published() -> float:
    """Print what is predicted of the published runs with their settings; the largest deviation."""
    gpu = Budget(CARD_BYTES, 0, "16 GB", "gpu")
    print("the published runs with their settings: whole logits, PEFT's layers, fp32 casts before quantised training")
    worst = 0.0
    for name, method, rank, length, peak in PUBLISHED:
        step = Step(
            method,
            rank,
            tuple(LINEAR_LAYERS),
            length,
            dropout=0.05,
            full_logits=True,
            fp32_casts=method == "qlora-hqq",
            lean=False,
        )
        found = forecast_step(shipped().model(name), step, gpu, calibrate([], "gpu"))
        said = "fits" if found.fits else "out of memory"
        off = ""
        if peak is not None:
            worst = max(worst, abs(found.allocated_bytes / (peak * 1e9) - 1))
            off = f"{found.allocated_bytes / (peak * 1e9) - 1:+.1%}"
        measured = "out" if peak is None else f"{peak:.2f}"
        print(
            f"{name:<10} {method:<10} rank {rank} {length:>6}  measured {measured:>5}  "
            f"predicted {found.allocated_bytes / 1e9:.2f} {off:>5}  {said}"
        )
    print(f"at most {worst:.1%} off")
    return worst


def main(arguments: Sequence[str] = ()) -> None:
    parser("memory", __doc__).parse_args(arguments)
    import torch

    from tests.bench.trace import configuration, trace

    project = shipped()
    print(
        f"{'model':<10} {'recipe':<11} {'length':>6}  {'wanted':>6} {'traced':>6} {'predicted':>9} {'off':>6}  published"
    )
    worst = 0.0
    missed = []
    for case in CASES:
        model = project.model(case.model)
        recipe = at_length(project.recipe(case.recipe), case.max_length)
        assert model.shape is not None and model.family is not None  # the shipped entries say both
        began = time.perf_counter()
        found = trace(configuration(model.family, model.shape), recipe)
        predicted = estimate(model, Step.of(recipe)).allocated_bytes
        off = predicted / found.peak_bytes - 1
        worst = max(worst, abs(off))
        if found.peak_bytes > case.wanted * 1e9:
            missed.append(case)
        print(
            f"{case.model:<10} {case.recipe:<11} {case.max_length:>6}  {case.wanted:>6.2f} {found.peak_bytes / 1e9:>6.2f} "
            f"{predicted / 1e9:>9.2f} {off:>+6.1%}  {case.published:<6} "
            f"fp32 products {found.fp32_product_flops / found.product_flops:.1e} of all; "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )
    strayed = published() > 0.10
    print(f"prediction at most {worst:.1%} off the trace; {len(missed)} of {len(CASES)} above what is wanted")
    if torch.cuda.is_available():
        from tests.bench.gpu import measure_cases

        measure_cases(CASES)
    else:
        print("no GPU here: nothing was measured on one")
    if missed or strayed or worst > 0.05:
        sys.exit(1)


def at_length(recipe: Recipe, max_length: int) -> Recipe:
    return recipe.model_copy(update={"max_length": max_length})


if __name__ == "__main__":
    main(sys.argv[1:])
