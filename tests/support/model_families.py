"""Model folders of six families of transformers: two layers, random weights, a small tokenizer; and ways to damage them.

A damage changes a whole folder into one that must be told; it is written in terms of files, as they arrive on a disk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.greetings import GREETINGS, SYSTEM
from tests.support.tokenizers import CORPUS, byte_level

LAYERS = 2
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
# (class of the configuration, what it is told beside the sizes)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"head_dim": 16, "tie_word_embeddings": False}),
    "gemma3": ("Gemma3TextConfig", {"head_dim": 16, "tie_word_embeddings": True, "sliding_window": 64}),
    "phi3": ("Phi3Config", {"tie_word_embeddings": False}),
    "mistral": ("MistralConfig", {"head_dim": 16, "tie_word_embeddings": False}),
}
DEVIATION = 0.12
"""Of the weights: with it an adapter on frozen random layers moves the loss within a few steps."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def write_family(family: str, folder: Path, *, sharded: bool = False) -> Path:
    """Write a model of the family, the same weights each time; `sharded` into several files with an index."""
    import torch
    import transformers

    kind, more = FAMILIES[family]
    tokenizer = byte_level(corpus=[*CORPUS, *(f"{SYSTEM} {name} {text}" for name, text in GREETINGS)] * 4)
    config = getattr(transformers, kind)(
        vocab_size=len(tokenizer),
        initializer_range=DEVIATION,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
        **SIZES,
        **more,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder, max_shard_size="100KB" if sharded else "5GB")
    tokenizer.save_pretrained(folder)
    return folder


def copied(folder: Path, place: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folder, place))


def change_tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the weights of a folder that has them in one file, after `change` to the tensors by name."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / SINGLE)
    change(tensors)
    save_file(tensors, folder / SINGLE, metadata={"format": "pt"})


def change_json(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


# Damages that the small files and headers show.


def lose_half_the_layers(folder: Path) -> None:
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if ".layers.1." in name])


def lose_one_norm(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop("model.norm.weight"))


def lose_the_head_or_embedding(folder: Path) -> None:
    """The untied head; where it is tied, the embedding that both are."""
    change_tensors(
        folder,
        lambda tensors: tensors.pop("lm_head.weight" if "lm_head.weight" in tensors else "model.embed_tokens.weight"),
    )


def tear(folder: Path) -> None:
    file = folder / SINGLE
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size * 2 // 3)


def leave_a_pointer(folder: Path) -> None:
    (folder / SINGLE).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 16060522496\n"
    )


def say_gptq(folder: Path) -> None:
    change_json(
        folder, "config.json", lambda config: config.update(quantization_config={"quant_method": "gptq", "bits": 4})
    )


def pack_in_bytes(folder: Path) -> None:
    """Weights as bitsandbytes packs them, in a folder whose configuration has no word of it."""
    import torch

    def pack(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.endswith("down_proj.weight")]:
            tensors[name] = torch.zeros(tensors[name].numel() // 2, 1, dtype=torch.uint8)
            tensors[f"{name}.absmax"] = torch.ones(8)

    change_tensors(folder, pack)


def describe_another_size(folder: Path) -> None:
    change_json(folder, "config.json", lambda config: config.update(intermediate_size=128))


def lose_the_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def break_the_configuration(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text[: len(text) // 2])


# Damages that only a load shows.


def put_nan(folder: Path) -> None:
    def put(tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
        tensors[name][3, 5] = float("nan")

    change_tensors(folder, put)


def leave_a_hole(folder: Path) -> None:
    """Zeros where a download stopped in a file that was given its full length beforehand."""

    def zero(tensors: dict[str, Any]) -> None:
        next(tensor for name, tensor in tensors.items() if name.endswith("layers.1.self_attn.o_proj.weight")).zero_()

    change_tensors(folder, zero)


def describe_fewer_layers(folder: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["num_hidden_layers"] = 1
        if config.get("layer_types"):
            config["layer_types"] = config["layer_types"][:1]

    change_json(folder, "config.json", change)


AT_SUBMISSION: dict[str, Callable[[Path], None]] = {
    "half the layers missing": lose_half_the_layers,
    "the last norm missing": lose_one_norm,
    "head or embedding missing": lose_the_head_or_embedding,
    "torn": tear,
    "a Git LFS pointer": leave_a_pointer,
    "quantised, as config.json says": say_gptq,
    "quantised, as its tensors show": pack_in_bytes,
    "of another size than config.json says": describe_another_size,
    "without a tokenizer": lose_the_tokenizer,
    "with half of its config.json": break_the_configuration,
}
AT_LOAD: dict[str, Callable[[Path], None]] = {
    "NaN in one weight": put_nan,
    "zeros in one matrix": leave_a_hole,
    "more layers than config.json says": describe_fewer_layers,
}
