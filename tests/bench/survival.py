"""How much of an adapter's update survives in bf16, in F16 and in Q8_0: of the demo's adapter, and of a weak one.

The share is ⟨Q(W+Δ) − Q(W), Δ⟩ / ‖Δ‖², over all updated tensors; beside it the cosine of what was
written to the update, and how many of the values do not move at all. Once on
the small model's own weights, which come out of a Q4_1 file and lie on no grid of 16 bits, and once on the same weights rounded
to bf16, as a published model's lie. With `--scores` both adapters, merged, converted and quantised by real jobs, are asked the
task's golden inputs at each stage, and the base beside them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.bakeoff.ranking import build_leaderboard
from core.config.project import shipped
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.convert import ConvertSpec, GgufFormat
from core.jobfile.merge import MergeSpec
from core.own_paths import read_result
from core.scoring.answers import read_answers
from core.scoring.scorer import score_answers
from tests.bench.command_line import parser
from tests.bench.small import Bench
from tests.support.llama_cpp import llama_cpp

WEAK_LR = 2e-5
WEAK_EXAMPLES = 16
"""Eight steps of two: what a person has who stops early, or whose learning rate is a hundred times too small."""
WAYS = {
    "merged in bf16": ("bf16",),
    "merged in F16": ("fp16",),
    "fp32, then Q8_0": ("fp32", "Q8_0"),
    "bf16, then Q8_0": ("bf16", "Q8_0"),
    "fp32, F16, then Q8_0": ("fp32", "fp16", "Q8_0"),
}


def rounded(folder: Path, place: Path) -> Path:
    """A copy of a model folder with its weights in bf16."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, place)
    for file in place.glob("*.safetensors"):
        tensors = {key: tensor.to(torch.bfloat16) for key, tensor in load_file(file).items()}
        save_file(tensors, file, {"format": "pt"})
    return place


def measured(base: Path, adapter: Path, way: Sequence[str]) -> tuple[float, float, float, float]:
    """(share that survives, its cosine to the update, share of the values that do not move, ‖Δ‖ / ‖W‖)."""
    from gguf import GGMLQuantizationType

    from jobs.gguf_survival import TYPES, MergedUpdate, update_survival
    from jobs.merge_math import alignment

    chain = [TYPES[name] if name in TYPES else GGMLQuantizationType[name] for name in way]  # type: ignore[index]
    update = MergedUpdate(base, "base", adapter, "fp32")
    found, unknown = update_survival(update, lambda key: chain)
    assert not unknown
    squared, weights = sum(one.squared for one in found), sum(one.weight_squared for one in found)
    unmoved = 1 - sum(one.changed for one in found) / sum(one.values for one in found)
    return sum(one.kept for one in found) / squared, alignment(found), unmoved, (squared / weights) ** 0.5


def show(name: str, adapter: Path, bases: dict[str, Path]) -> None:
    """Print what each way keeps of an adapter, on each base."""
    for kind, base in bases.items():
        for words, way in WAYS.items():
            share, cosine, unmoved, size = measured(base, adapter, way)
            print(
                f"{name}, ‖Δ‖/‖W‖ {size:.1e}, base {kind:<16} {words:<21} "
                f"{share:.3f} survives, cosine {cosine:.3f}, {unmoved:.3f} of the values do not move",
                flush=True,
            )


class Stages:
    """Merges, files and a bake-off of adapters, by real jobs."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.model = bench, bench.workshop.model

    def _result(self, spec: Any) -> dict[str, Any]:
        self.bench.number += 1
        run = self.bench.workshop.submit(self.bench.number, spec)
        if self.bench.workshop.start(run).wait() != 0:
            raise SystemExit(run.attempt(1).log.read_text())
        return read_result(run) or {}

    def merged(self, adapter: Path, dtype: Any) -> str:
        self._result(MergeSpec(adapter=str(adapter), model=self.model, dtype=dtype))
        return f"job:{self.bench.number}/merged"

    def gguf(self, source: str, kind: GgufFormat) -> str:
        converter = str(llama_cpp().require("converter"))
        said = self._result(ConvertSpec(model=self.model, source=source, format=kind, converter=converter))
        print(said["message"], flush=True)
        return str(said["summary"]["path"])

    def of(self, name: str, adapter: Path) -> list[CandidateSpec]:
        """The adapter at each stage."""
        bf16, fp32 = self.merged(adapter, "bf16"), self.merged(adapter, "fp32")
        files = {"fp32, F16": (fp32, "f16"), "fp32, Q8_0": (fp32, "q8_0"), "bf16, Q8_0": (bf16, "q8_0")}
        return [
            CandidateSpec(name=f"{name}, adapter", form="adapter", model=self.model, path=str(adapter)),
            CandidateSpec(name=f"{name}, merged, bf16", form="merged", model=self.model, ref=bf16),
            *(
                CandidateSpec(name=f"{name}, {way}", form="gguf", path=self.gguf(source, kind))  # type: ignore[arg-type]
                for way, (source, kind) in files.items()
            ),
        ]

    def scores(self, adapters: dict[str, Path], limit: int | None) -> None:
        """Ask the base and each adapter at each stage the golden inputs, and print the scores out of 5."""
        task = self.bench.task
        inputs = shipped().golden(task).inputs[:limit]
        documents = json.dumps([one.model_dump(mode="json") for one in inputs])
        golden = self.bench.workshop.input_file("golden.json", documents)
        candidates = [CandidateSpec(name="base", form="base", model=self.model)]
        for name, adapter in adapters.items():
            candidates += self.of(name, adapter)
        server = str(llama_cpp().require("llama-server"))
        began = time.monotonic()
        self._result(BakeoffSpec(task=task, golden=golden, candidates=candidates, repeats=1, llama_server=server))
        answers = read_answers(self.bench.workshop.home.run_dir(self.bench.number).answers)
        print(f"{len(answers)} answers in {time.monotonic() - began:.0f} s", flush=True)
        for row in build_leaderboard(task, inputs, answers, score_answers(task, inputs, answers), "base").rows:
            form, content = (5 * (value or 0.0) for value in (row.format_score, row.content_score))
            print(f"{row.name:<20} format {form:.2f}/5, content {content:.2f}/5, {len(inputs)} inputs", flush=True)


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("survival", __doc__)
    command.add_argument("--adapter", type=Path, help="the demo's adapter, else it is trained first (four minutes)")
    command.add_argument("--weak", type=Path, help="a weak adapter, else it is trained first")
    command.add_argument("--scores", action="store_true", help="ask the golden inputs at each stage (minutes)")
    command.add_argument("--lines", type=int, help="of the training data so many, else all: to see that it works")
    command.add_argument("--inputs", type=int, help="of the golden inputs so many, else all")
    chosen = command.parse_args(arguments)
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root))
        _, folder, lines = bench.load()
        lines = lines[: chosen.lines]
        recipe = shipped().recipe("demo")
        bases = {"as it is": folder, "on the bf16 grid": rounded(folder, Path(root) / "rounded")}
        demo = chosen.adapter or bench.ours(lines, recipe).adapter
        show("demo", demo, bases)
        weak = chosen.weak
        if weak is None:
            less = recipe.model_copy(update={"lr": WEAK_LR, "epochs": 1.0})
            weak = bench.ours(lines[:WEAK_EXAMPLES], less).adapter
        show("weak", weak, bases)
        if chosen.scores:
            Stages(bench).scores({"demo": demo, "weak": weak}, chosen.inputs)


if __name__ == "__main__":
    main(sys.argv[1:])
