"""A merge in fp32, tensor by tensor, is PEFT's own merge in fp32, in every form that is merged; what rounding takes is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.home import Home
from core.models.folder import check_folder, weight_files
from tests.support.forked import CHECKOUT
from tests.support.model_families import change_json, copied, write_family

pytestmark = pytest.mark.train

ATTENTION = ["q_proj", "v_proj", "down_proj"]


@dataclass(frozen=True)
class Bases:
    """Model folders by family, and what makes adapters of them."""

    root: Path

    def folder(self, family: str) -> Path:
        place = self.root / family
        if not place.is_dir():
            if family == "gpt2":
                write_gpt2(place)
            else:
                write_family(family.removesuffix(" in shards"), place, sharded=family.endswith(" in shards"))
        return place

    def load(self, folder: Path) -> Any:
        import torch

        from jobs import models

        return models.load_model(
            models.BaseModel("m", folder, None, ""), Home(self.root), torch.device("cpu"), torch.float32
        )

    def adapted(self, family: str, place: Path, size: float = 0.05, **options: Any) -> Any:
        """The base with a random adapter, which is saved in `place`. `size`: deviation of each value of B."""
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(1)
        given = {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION, "task_type": "CAUSAL_LM", **options}
        model: Any = get_peft_model(self.load(self.folder(family)), LoraConfig(**given)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name or "lora_embedding" in name:
                    torch.nn.init.normal_(parameter, std=size)
                elif "magnitude" in name:
                    parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
                elif "modules_to_save" in name or (name.endswith("bias") and parameter.requires_grad):
                    parameter.add_(size * torch.randn_like(parameter))
        model.save_pretrained(place)
        return model

    def merge(self, family: str, adapter: Path, place: Path, dtype: str = "fp32") -> Any:
        import torch

        from jobs import models
        from jobs.merging import merge_into

        place.mkdir()
        return merge_into(place, self.folder(family), family, adapter, models.as_torch(dtype), torch.device("cpu"))


def write_gpt2(folder: Path) -> None:
    """Its weights are stored in × out."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=420, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bases]:
    from jobs import models

    models.prepare_libraries()
    import torch

    torch.set_num_threads(2)
    yield Bases(tmp_path_factory.mktemp("bases"))


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {}),
    "plain, of a base in shards": ("llama in shards", {}),
    "fused projections": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj", "o_proj"]}),
    "rank-stabilised": ("mistral", {"use_rslora": True}),
    "DoRA": ("qwen3", {"use_dora": True}),
    "ranks and alphas by layer": (
        "gemma3",
        {"rank_pattern": {"layers.1.self_attn.q_proj": 2}, "alpha_pattern": {"v_proj": 32, r"layers\.0\..*down_proj": 1}},
    ),
    "weights stored in × out": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "DoRA, weights stored in × out": ("gpt2", {"target_modules": ["c_fc"], "fan_in_fan_out": True, "use_dora": True}),
    "a head of its own": ("llama", {"modules_to_save": ["lm_head"]}),
    "a LoRA on an untied head": ("llama", {"target_modules": ["q_proj", "lm_head"]}),
    "a norm besides": ("qwen2", {"modules_to_save": ["norm"]}),
    "biases besides": ("qwen2", {"bias": "lora_only"}),
    "a head parted from its embedding": ("qwen2", {"modules_to_save": ["lm_head"]}),
    "an embedding parted from its head": ("gemma3", {"modules_to_save": ["embed_tokens"]}),
    "a LoRA on a tied head": ("qwen2", {"target_modules": ["q_proj", "lm_head"]}),
    "a LoRA on an embedding": ("llama", {"target_modules": ["q_proj", "embed_tokens"]}),
    "a DoRA on an embedding": ("llama", {"target_modules": ["q_proj", "embed_tokens"], "use_dora": True}),
    "ranks, alphas, biases, rank-stabilised, DoRA": (
        "qwen2",
        {"use_rslora": True, "use_dora": True, "bias": "lora_only",
         "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"k_proj": 32}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_merged_model_answers_as_base_and_adapter_do(bases: Bases, tmp_path: Path, form: str) -> None:
    import torch

    family, options = FORMS[form]
    adapted = bases.adapted(family, tmp_path / "adapter", **options)
    ids = torch.tensor([[5, 9, 300, 41, 7, 8]])
    with torch.inference_mode():
        expected = adapted(ids).logits
        with adapted.disable_adapter():
            plain = adapted(ids).logits
    merged = bases.merge(family, tmp_path / "adapter", tmp_path / "merged")
    loaded = bases.load(tmp_path / "merged")
    with torch.inference_mode():
        torch.testing.assert_close(loaded(ids).logits, expected, atol=2e-4, rtol=1e-4)
    assert (expected - plain).abs().max() > 1e-2
    assert merged.untied is ("parted" in form or ("tied head" in form and "untied" not in form))
    assert all(one.share == pytest.approx(1, abs=1e-3) for one in merged.tensors)
    base_files = [file.name for file in weight_files(bases.folder(family), family)]
    assert [file.name for file in weight_files(tmp_path / "merged", "merged")] == base_files
    assert (len(base_files) > 1) is ("in shards" in form)
    # PEFT's own merge of the same adapter, in fp32, gives the same weights where it keeps them apart.
    if not merged.untied:
        own = dict(adapted.merge_and_unload().named_parameters())
        for name, parameter in loaded.named_parameters():
            torch.testing.assert_close(parameter, own[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_each_format_is_rounded_once_from_fp32(bases: Bases, tmp_path: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file

    from jobs import models

    bases.adapted("llama", tmp_path / "adapter")
    bases.merge("llama", tmp_path / "adapter", tmp_path / "exact")
    bases.merge("llama", tmp_path / "adapter", tmp_path / "written", dtype)
    exact, written = (load_file(tmp_path / place / "model.safetensors") for place in ("exact", "written"))
    kind = models.as_torch(dtype)
    assert all(tensor.dtype == kind and torch.equal(tensor, exact[name].to(kind)) for name, tensor in written.items())
    config = json.loads((tmp_path / "written/config.json").read_text())
    assert config["dtype"] == str(kind).removeprefix("torch.") and "torch_dtype" not in config
    (tmp_path / "written/tokenizer.json").write_text("{}")
    check_folder(tmp_path / "written", "written")


# By relative size of the update: the share of bf16 weights that do not move, and the share of the update that survives.
SIMULATED = {1e-2: (0.18, 1.0), 3e-3: (0.47, 0.92), 1e-3: (0.77, 0.5)}


@pytest.mark.parametrize("relative", SIMULATED)
def test_survival_is_what_rounding_leaves_of_the_update_and_no_count_of_weights(relative: float) -> None:
    import torch

    from jobs.merge_math import alignment, survival

    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(1024, 1024, generator=generator).mul(0.02).to(torch.bfloat16)
    delta = torch.randn(1024, 1024, generator=generator) * 0.02 * relative
    found = survival("w", weight, delta, (weight.float() + delta).to(torch.bfloat16))
    unmoved, least = SIMULATED[relative]
    assert 1 - found.changed / found.values == pytest.approx(unmoved, abs=0.03)
    assert found.share is not None and least - 0.02 < found.share < 1.02
    assert found.relative_size == pytest.approx(relative, rel=0.02)
    # The formula in double precision, written out.
    moved = ((weight.double() + delta.double()).float().to(torch.bfloat16)).double() - weight.double()
    assert found.share == pytest.approx(float((moved * delta).sum() / delta.double().square().sum()), rel=1e-3)
    cosine = torch.nn.functional.cosine_similarity(moved.flatten(), delta.double().flatten(), dim=0)
    assert alignment([found]) == pytest.approx(float(cosine), rel=1e-3)
    in_fp16 = survival("w", weight, delta, (weight.float() + delta).to(torch.float16))
    assert in_fp16.share is not None and in_fp16.share > found.share


def test_a_merge_that_changes_nothing_is_refused(bases: Bases, tmp_path: Path) -> None:
    """The update is far below half a unit in the last place of every weight: in fp32 it survives."""
    family = "bf16 base"
    place = copied(bases.folder("llama"), bases.root / family)
    as_bf16(place)
    bases.adapted(family, tmp_path / "adapter", size=1e-8)
    with pytest.raises(InputError) as caught:
        bases.merge(family, tmp_path / "adapter", tmp_path / "merged", "bf16")
    assert caught.value.code == "nothing_changed" and "fp32" in (caught.value.remedy or "")
    assert any(one.changed for one in bases.merge(family, tmp_path / "adapter", tmp_path / "exact").tensors)


def as_bf16(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def set_key(key: str, value: Any) -> Callable[[Path], None]:
    return lambda adapter: change_json(adapter, "adapter_config.json", lambda config: config.update({key: value}))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another kind of adapter": (set_key("peft_type", "IA3"), "bad_adapter"),
    "a base that was changed at the start": (set_key("init_lora_weights", "pissa_niter_16"), "bad_adapter"),
    "layers that are repeated": (set_key("layer_replication", [[0, 2]]), "bad_adapter"),
    "parameters that are no layer": (set_key("target_parameters", ["experts.gate_up"]), "bad_adapter"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_adapter_that_is_more_than_a_lora_is_refused(bases: Bases, tmp_path: Path, case: str) -> None:
    bases.adapted("llama", tmp_path / "adapter")
    change, code = REFUSED[case]
    change(tmp_path / "adapter")
    with pytest.raises(InputError) as caught:
        bases.merge("llama", tmp_path / "adapter", tmp_path / "merged")
    assert caught.value.code == code and caught.value.remedy
    assert not list((tmp_path / "merged").glob("*.safetensors"))


def test_an_adapter_of_another_base_is_refused(bases: Bases, tmp_path: Path) -> None:
    bases.adapted("phi3", tmp_path / "adapter", target_modules=["qkv_proj"])
    with pytest.raises(InputError) as caught:
        bases.merge("llama", tmp_path / "adapter", tmp_path / "merged")
    assert caught.value.code == "other_base"


def test_what_fp16_cannot_hold_is_refused(bases: Bases, tmp_path: Path) -> None:
    bases.adapted("llama", tmp_path / "adapter", size=1e6)
    with pytest.raises(InputError) as caught:
        bases.merge("llama", tmp_path / "adapter", tmp_path / "merged", "fp16")
    assert caught.value.code == "overflow" and "bf16" in (caught.value.remedy or "")


MEASURE = """
import re, sys
from pathlib import Path
from jobs import models
models.prepare_libraries()
import torch
from jobs.merging import merge_into
def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
base, adapter, place = map(Path, sys.argv[1:])
place.mkdir()
merge_into(place, base, "warm-up", adapter, torch.bfloat16, torch.device("cpu"))
for file in place.iterdir():
    file.unlink()
before, most = own(), 0
def look(done, total):
    global most
    most = max(most, own())
merge_into(place, base, "measured", adapter, torch.float32, torch.device("cpu"), look)
print(sum(file.stat().st_size for file in place.glob("*.safetensors")), most - before)
"""


def test_the_host_never_holds_the_model_that_is_merged(bases: Bases, tmp_path: Path) -> None:
    """24 layers of 14 MB each, written in fp32: what is held at once is a tensor and its update."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=420, hidden_size=512, intermediate_size=1536, num_hidden_layers=24, num_attention_heads=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(bases.root / "deep")
    (bases.root / "deep/tokenizer.json").write_text("{}")
    bases.adapted("deep", tmp_path / "adapter")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(bases.root / "deep"), str(tmp_path / "adapter"), str(tmp_path / "merged")],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )
    size, grown = (int(number) for number in done.stdout.split()[-2:])
    assert size > 300e6
    assert grown < 0.15 * size
