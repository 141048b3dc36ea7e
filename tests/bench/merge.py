"""Peak host memory of a merge and of a conversion, on a model with random weights of more than 2 GB in one file.

Real jobs; the kernel's own peak (VmHWM) of the job's process and of llama.cpp's converter, and beside it the most that was the
process's own (RssAnon), without pages of mapped files, which the kernel takes back when it needs room. CPU time and the time of
the conversion's parts show what the proof of its file costs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from core.config.model import ModelEntry
from core.home import Home
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.own_paths import read_result
from tests.bench.command_line import parser
from tests.support.llama_cpp import llama_cpp
from tests.support.small_model import cache_root
from tests.support.workshop import Workshop, events

HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, RANK = 2048, 5632, 23, 32, 4, 16
LOOK_SECONDS = 0.02


def shapes(vocabulary: int, layers: int = LAYERS) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama of these sizes, head and embedding in one."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    narrow = HIDDEN // HEADS * KV_HEADS
    linears = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (narrow, HIDDEN),
        "self_attn.v_proj": (narrow, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (FFN, HIDDEN),
        "mlp.up_proj": (FFN, HIDDEN),
        "mlp.down_proj": (HIDDEN, FFN),
    }
    for layer in range(layers):
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"model.layers.{layer}.{name}.weight"] = (HIDDEN,)
        found |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in linears.items()}
    return found


def write_model(folder: Path, tokenizer_of: Path, layers: int = LAYERS) -> ModelEntry:
    """The model's folder, written tensor by tensor."""
    import torch
    from transformers import AutoTokenizer

    from jobs.safetensors_writer import SafetensorsWriter

    folder.mkdir()
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of, local_files_only=True)
    tokenizer.save_pretrained(folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.eos_token_id,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    tensors = shapes(len(tokenizer), layers)
    kinds = {name: (torch.bfloat16, shape) for name, shape in tensors.items()}
    with SafetensorsWriter(folder / "model.safetensors", kinds) as writer:
        for name, shape in tensors.items():
            writer.add(name, torch.empty(shape).normal_(std=0.02, generator=generator).bfloat16())
    return ModelEntry(name="random", path=str(folder))


def write_adapter(folder: Path, base: ModelEntry, layers: int = LAYERS) -> Path:
    """A LoRA on every linear layer."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    linears = {name: shape for name, shape in shapes(1, layers).items() if "_proj" in name}
    for name, (out, inside) in ((name, shape) for name, shape in linears.items() if len(shape) == 2):
        start = f"base_model.model.{name.removesuffix('.weight')}"
        tensors[f"{start}.lora_A.weight"] = torch.empty(RANK, inside).normal_(std=0.02, generator=generator)
        tensors[f"{start}.lora_B.weight"] = torch.empty(out, RANK).normal_(std=0.002, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({name.split(".")[-2] for name in linears})
    config = {"peft_type": "LORA", "base_model_name_or_path": base.path, "r": RANK, "lora_alpha": 2 * RANK}
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "target_modules": targets, "task_type": "CAUSAL_LM"})
    )
    return folder


def peaks(process: Any) -> dict[str, dict[str, int]]:
    """Of the process and its children until it ends: by name the kernel's peak, most of its own memory in bytes, CPU time."""
    found: dict[str, dict[str, int]] = {}
    while process.poll() is None:
        with_children = [process.pid]
        with contextlib.suppress(psutil.Error):
            with_children += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        for pid in with_children:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if "VmHWM" not in values:
                continue
            name = "job" if pid == process.pid else next((Path(w).name for w in words if w.endswith(".py")), words[0])
            one = found.setdefault(name, {"VmHWM": 0, "RssAnon": 0, "cpu_ms": 0})
            for key in ("VmHWM", "RssAnon"):
                one[key] = max(one[key], int(values[key].split()[0]) * 1024)
            with contextlib.suppress(psutil.Error):
                spent = psutil.Process(pid).cpu_times()
                one["cpu_ms"] = max(one["cpu_ms"], round(1000 * (spent.user + spent.system)))
        time.sleep(LOOK_SECONDS)
    return found


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("merge", __doc__)
    command.add_argument("--format", default="f16", choices=["f32", "f16", "bf16", "q8_0"])
    chosen = command.parse_args(arguments)
    (real,) = (Home(cache_root()).cache / "dequantised").iterdir()
    with tempfile.TemporaryDirectory() as root:
        base = write_model(Path(root) / "base", real)
        size = (Path(root) / "base/model.safetensors").stat().st_size
        largest = max((shape[0] * shape[-1], name) for name, shape in shapes(49152).items() if len(shape) == 2)
        print(
            f"model {size / 1e9:.2f} GB in one file, largest tensor {largest[1]}: {2 * largest[0] / 1e6:.0f} MB in bf16"
        )
        adapter = write_adapter(Path(root) / "adapter", base)
        shop = Workshop(Home(Path(root) / "home").create(), base)
        converter = str(llama_cpp().require("converter"))
        specs = {
            "merge": MergeSpec(adapter=str(adapter), model=base, dtype="bf16"),
            "convert": ConvertSpec(model=base, source="job:1/merged", format=chosen.format, converter=converter),
        }
        for number, (name, spec) in enumerate(specs.items(), start=1):
            run = shop.submit(number, spec)
            process = shop.start(run)
            found = peaks(process)
            if process.wait() != 0:
                raise SystemExit(run.attempt(1).log.read_text())
            for who, one in found.items():
                print(
                    f"{name}: {who} VmHWM {one['VmHWM'] / 1e6:.0f} MB, RssAnon {one['RssAnon'] / 1e6:.0f} MB, "
                    f"{one['cpu_ms'] / 1000:.1f} s of CPU",
                    flush=True,
                )
            phases = events(run, 1, "phase")
            ends = [*(event["time"] for event in phases[1:]), run.result.stat().st_mtime]
            parts = [f"{event['name']} {end - event['time']:.1f} s" for event, end in zip(phases, ends, strict=True)]
            print(f"{name}: {', '.join(parts)}\n  {(read_result(run) or {})['message']}", flush=True)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
