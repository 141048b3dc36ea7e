"""What the checks of a GGUF file cost beside the conversion: its tensors proved, the survival of its update measured.

On a model with random weights of Llama's shape that an adapter was merged into, as the jobs `convert` and `quantize` check
their files. Seconds of CPU and of the clock, the median of the rounds; each round is a process of its own. `--beside` names a
checkout of another version, whose rounds are interleaved with these: the ratio is to it.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from core.config.model import ModelEntry
from core.home import Home
from tests.bench.command_line import parser
from tests.bench.merge import write_adapter, write_model
from tests.support.forked import CHECKOUT
from tests.support.llama_cpp import gguf_of, llama_cpp
from tests.support.small_model import cache_root

ROUND = """
import json, sys, time
from pathlib import Path
from jobs import models
models.prepare_libraries()
from core.models.gguf import check_servable
from jobs.gguf_proof import prove_conversion, prove_quantisation
from jobs.gguf_survival import MergedUpdate, gguf_survival, update_survival
root = Path(sys.argv[1])
f16, q8_0 = root / "F16.gguf", root / "Q8_0.gguf"
of_f16, of_q8_0 = (check_servable(file, file.name) for file in (f16, q8_0))
update = MergedUpdate(root / "base", "base", root / "adapter", "bf16")
update_survival(update, lambda key: None)  # what is imported for it
checks = {
    "proof, F16": lambda: prove_conversion(f16, of_f16, root / "merged", root / "base", "base"),
    "survival, F16": lambda: gguf_survival(update, [of_f16], "F16"),
    "proof, Q8_0": lambda: prove_quantisation(q8_0, of_q8_0, f16, of_f16),
    "survival, Q8_0": lambda: gguf_survival(update, [of_f16, of_q8_0], "Q8_0"),
}
took = {"which": str(Path(models.__file__).parents[1])}
for name, check in checks.items():
    began, computed = time.monotonic(), time.process_time()
    check()
    took[name] = (time.process_time() - computed, time.monotonic() - began)
print(json.dumps(took))
"""
CHECKS = ("proof, F16", "survival, F16", "proof, Q8_0", "survival, Q8_0")
Took = dict[str, list[tuple[float, float]]]


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print what the programs that are started within took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name}: {computed:.1f} s of CPU, {time.monotonic() - began:.1f} s", flush=True)


def written(root: Path, layers: int) -> None:
    """Base, adapter, merged model and its files, in `root`."""
    import torch

    from jobs.merging import merge_into

    (real,) = (Home(cache_root()).cache / "dequantised").iterdir()
    base = write_model(root / "base", real, layers)
    adapter = write_adapter(root / "adapter", base, layers)
    merged = root / "merged"
    merged.mkdir()
    merge_into(merged, root / "base", "base", adapter, torch.bfloat16, torch.device("cpu"))
    for file in (root / "base").iterdir():
        if not (merged / file.name).exists():
            shutil.copy(file, merged / file.name)
    values = (merged / "model.safetensors").stat().st_size // 2
    print(f"{values / 1e6:.0f} million values in {layers} layers", flush=True)
    tool = llama_cpp().require("llama-quantize")
    with timed("llama.cpp's converter, F16"):
        gguf_of(ModelEntry(name="merged", path=str(merged)), root / "F16.gguf", "f16")
    with timed("llama-quantize, Q8_0"):
        subprocess.run([tool, root / "F16.gguf", root / "Q8_0.gguf", "Q8_0"], check=True, capture_output=True)


def one_round(checkout: Path, root: Path, took: Took) -> None:
    environ = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", ROUND, str(root)], capture_output=True, text=True, env=environ, cwd=root
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    if Path(said["which"]).resolve() != checkout.resolve():
        raise SystemExit(f"{said['which']} was measured, not {checkout}")
    for name in CHECKS:
        took.setdefault(name, []).append(tuple(said[name]))


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("proof", __doc__)
    command.add_argument("--layers", type=int, default=4, help="of the model: 23 are 2.2 GB (default 4, 0.55 GB)")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--beside", type=Path, help="a checkout of another version")
    chosen = command.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written(root, chosen.layers)
        ours: Took = {}
        theirs: Took = {}
        for _ in range(chosen.rounds):
            one_round(CHECKOUT, root, ours)
            if chosen.beside is not None:
                one_round(chosen.beside, root, theirs)
        for name in CHECKS:
            computed, waited = (median(one[at] for one in ours[name]) for at in (0, 1))
            line = f"{name}: {computed:.2f} s of CPU, {waited:.2f} s"
            if theirs:
                before, then = (median(one[at] for one in theirs[name]) for at in (0, 1))
                line += (
                    f"; beside {before:.2f} s of CPU, {then:.2f} s: {before / computed:.1f} × and {then / waited:.1f} ×"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
