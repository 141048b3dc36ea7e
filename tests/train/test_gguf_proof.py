"""A GGUF file is proved before it counts: real conversions pass, each way to hold other weights is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config.model import ModelEntry
from core.errors import BakehouseError
from core.files import read_json
from core.home import Home
from core.jobfile.convert import ConvertSpec, GgufFormat
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import Quantization, QuantizeSpec
from core.models.gguf import GgufHeader, check_servable
from core.models.headers import read_header
from core.own_paths import read_result
from tests.support.llama_cpp import convertible_model, gguf_of, llama_cpp
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
UPDATED = 2 * len(TARGETS)


@dataclass(frozen=True)
class Forge:
    """A base model, an adapter on it that was merged in fp32 by job 1, and both models as GGUF files in F16."""

    shop: Workshop
    adapter: Path
    merged: Path
    of_merged: Path
    of_base: Path

    @property
    def base(self) -> Path:
        return Path(self.shop.model.path or "")

    def prove(self, file: Path, header: GgufHeader | None = None) -> Any:
        from jobs.gguf_proof import prove_conversion

        return prove_conversion(file, header or check_servable(file, file.name), self.merged, self.base, "m")

    def job(self, number: int, spec: Any) -> Any:
        run = self.shop.submit(number, spec)
        self.shop.finish(run)
        return run

    def convert(self, number: int, format: GgufFormat, converter: Path | None = None, merge: int = 1) -> Any:
        tool = str(converter or llama_cpp().require("converter"))
        source = f"job:{merge}/merged"
        return self.job(number, ConvertSpec(model=self.shop.model, source=source, format=format, converter=tool))

    def quantize(self, number: int, source: int, kind: Quantization) -> Any:
        tool = str(llama_cpp().require("llama-quantize"))
        spec = QuantizeSpec(source=f"job:{source}/gguf", quantization=kind, program=tool, model=self.shop.model)
        return self.job(number, spec)


def random_adapter(model: ModelEntry, place: Path, size: float) -> None:
    """A LoRA on all projections whose update is of the relative size `size` about."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    base: Any = AutoModelForCausalLM.from_pretrained(model.path, dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=size)
    adapted.save_pretrained(place)


@pytest.fixture(scope="module")
def forge(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("forge")
    model = convertible_model(model_cache, root / "base")
    random_adapter(model, root / "adapter", 0.01)
    shop = Workshop(Home(tmp_path_factory.mktemp("home")).create(), model, forked=True, threads=1)
    run = shop.submit(1, MergeSpec(adapter=str(root / "adapter"), model=model, dtype="fp32"))
    assert shop.finish(run) == 0, run.attempt(1).log.read_text()
    (artefact,) = read_json(run.result)["artefacts"]
    merged = shop.home.artefacts / artefact["sha256"] / "merged"
    of_merged = gguf_of(ModelEntry(name="merged", path=str(merged)), root / "merged.gguf", "f16")
    of_base = gguf_of(model, root / "base.gguf", "f16")
    yield Forge(shop, root / "adapter", merged, of_merged, of_base)
    shop.close()


def summary(run: Any) -> Any:
    assert run.result.exists(), run.attempt(1).log.read_text()
    return (read_result(run) or {})["summary"]


@pytest.fixture(scope="module")
def in_q8_0(forge: Forge) -> Any:
    return forge.convert(10, "q8_0")


@pytest.fixture(scope="module")
def in_f16(forge: Forge) -> Any:
    return forge.convert(11, "f16")


@pytest.mark.parametrize("made", ["in_q8_0", "in_f16"])
def test_a_conversion_of_a_merged_model_is_proved(forge: Forge, request: pytest.FixtureRequest, made: str) -> None:
    run = request.getfixturevalue(made)
    came_to = summary(run)
    proof, survival = came_to["proof"], came_to["survival"]
    tensors = len(read_header(forge.merged / "model.safetensors"))
    assert (proof["same"], proof["unknown"], proof["changed"], proof["swallowed"]) == (tensors, 0, UPDATED, 0)
    assert (survival["dtype"], survival["updated"], survival["unknown"]) == (came_to["format"].upper(), UPDATED, 0)
    message = read_json(run.result)["message"]
    assert f"its {tensors} tensors are those of the merged model, {UPDATED} differ from the base's" in message
    assert f"of the update survives in {came_to['format'].upper()}" in message


def test_what_survives_is_what_a_file_holds_of_the_update(forge: Forge, in_q8_0: Any) -> None:
    """Against the definition, on tensors whose rows the converter leaves where they are, read by another library."""
    from gguf import GGMLQuantizationType, GGUFReader, dequantize, quantize
    from safetensors.torch import load_file

    found = {one["name"]: one["share"] for one in summary(in_q8_0)["survival"]["tensors"]}
    reader = GGUFReader(summary(in_q8_0)["path"])
    read = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    merged, before = load_file(forge.merged / "model.safetensors"), load_file(forge.base / "model.safetensors")
    kind = GGMLQuantizationType.Q8_0
    for layer, name in (("mlp.down_proj", "ffn_down"), ("self_attn.v_proj", "attn_v")):
        key = f"model.layers.1.{layer}.weight"
        delta = (merged[key].double() - before[key].double()).numpy()
        moved = read[f"blk.1.{name}.weight"] - dequantize(quantize(before[key].numpy(), kind), kind)
        assert found[key] == pytest.approx((moved.astype(np.float64) * delta).sum() / (delta * delta).sum(), abs=1e-4)


def test_a_quantised_file_is_held_to_its_source_and_its_update_followed(forge: Forge, in_f16: Any) -> None:
    exact = summary(forge.quantize(21, 11, "Q8_0"))
    tensors = len(check_servable(Path(exact["path"]), "made").tensors)
    assert (exact["proof"]["same"], exact["proof"]["near"]) == (tensors, 0)
    assert exact["survival"]["dtype"] == "Q8_0" and 0.9 < exact["survival"]["share"] < 1.1
    near = summary(forge.quantize(22, 11, "Q4_K_M"))
    assert near["proof"]["same"] + near["proof"]["near"] == tensors and near["proof"]["unknown"] == 0


def test_a_job_whose_converter_took_the_base_is_refused_and_leaves_nothing(forge: Forge, tmp_path: Path) -> None:
    script = tmp_path / "convert_hf_to_gguf.py"
    script.write_text(
        f"import shutil, sys\nshutil.copyfile({str(forge.of_base)!r}, sys.argv[sys.argv.index('--outfile') + 1])\n"
    )
    before = sorted(forge.shop.home.artefacts.iterdir())
    run = forge.convert(30, "f16", script)
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "weights_of_base" and f"{UPDATED} tensors" in error["message"]
    assert not run.result.exists() and sorted(forge.shop.home.artefacts.iterdir()) == before


def test_values_become_q8_0_as_the_package_makes_them_and_back() -> None:
    """Bit for bit: halves, which go away from zero, blocks of zeros, of the largest and the smallest values there are."""
    from gguf import GGMLQuantizationType, quants

    from jobs.gguf_rows import made, values_of

    kind = GGMLQuantizationType.Q8_0
    random = np.random.default_rng(0)
    halves = (np.arange(-16, 16) + 0.5).astype(np.float32)
    halves[0] = 127.0  # the scale is then 1
    sizes = np.concatenate([10.0 ** np.arange(-45, 39, 4, dtype=np.float64), [0.02, 3.3e38, 0.0]]).astype(np.float32)
    blocks = [random.normal(size=32).astype(np.float32) * size for size in sizes]
    values = np.concatenate([np.clip(blocks, -3.4e38, 3.4e38).astype(np.float32), halves[None], -halves[None]])
    values = np.tile(values, (70, 3))
    with np.errstate(all="ignore"):
        expected = quants.quantize(values, kind)
    np.testing.assert_array_equal(made(values, kind), expected)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(values_of(expected, kind), quants.dequantize(expected, kind))


def place_in(file: Path, name: str) -> tuple[int, Any, tuple[int, ...]]:
    """Where a tensor begins in a file, with its type and shape."""
    header = check_servable(file, file.name)
    tensor = next(tensor for tensor in header.tensors if tensor.name == name)
    return header.tensors_at + tensor.offset, np.float16 if tensor.kind == 1 else np.float32, tensor.shape[::-1]


def values_in(file: Path, name: str) -> Any:
    at, dtype, shape = place_in(file, name)
    return np.fromfile(file, dtype, int(np.prod(shape)), offset=at).reshape(shape)


def tampered(forge: Forge, file: Path, name: str, change: Any) -> Path:
    """A copy of the merged model's file with a tensor changed: `change` gets its values and the base's."""
    shutil.copyfile(forge.of_merged, file)
    at, dtype, _ = place_in(file, name)
    changed = np.ascontiguousarray(change(values_in(file, name), values_in(forge.of_base, name)), dtype=dtype)
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(changed.tobytes())
    return file


def last_value_changed(ours: Any, base: Any) -> Any:
    changed = ours.copy()
    changed[-1, -1] *= -1
    return changed


REFUSED = {
    "the base's tensor": ("blk.1.attn_q.weight", lambda ours, base: base, "weights_of_base"),
    "the base's tensor, its rows in another order": (
        "blk.0.ffn_up.weight",
        lambda ours, base: base[::-1],
        "weights_of_base",
    ),
    "one value changed": ("blk.0.ffn_down.weight", last_value_changed, "other_weights"),
    "one value changed where rows are in another order": ("blk.0.attn_k.weight", last_value_changed, "other_weights"),
    "a row twice": (
        "blk.1.attn_v.weight",
        lambda ours, base: np.vstack([ours[:1], ours[:1], ours[2:]]),
        "other_weights",
    ),
    "zeros": ("blk.1.attn_output.weight", lambda ours, base: ours * 0, "other_weights"),
    "a value beyond the type": (
        "token_embd.weight",
        lambda ours, base: np.where(np.arange(ours.size).reshape(ours.shape) == 7, np.inf, ours),
        "overflow",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_file_with_other_weights_is_refused(forge: Forge, tmp_path: Path, how: str) -> None:
    name, change, code = REFUSED[how]
    file = tampered(forge, tmp_path / "tampered.gguf", name, change)
    with pytest.raises(BakehouseError) as refused:
        forge.prove(file)
    assert refused.value.code == code and "\n" not in str(refused.value)


def test_the_order_of_rows_is_the_converters(forge: Forge, tmp_path: Path) -> None:
    file = tampered(forge, tmp_path / "ordered.gguf", "blk.0.ffn_up.weight", lambda ours, base: ours[::-1])
    assert not forge.prove(file).unknown


def test_what_cannot_be_mapped_or_was_computed_anew_is_unknown_and_not_refused(forge: Forge, tmp_path: Path) -> None:
    file = forge.of_merged
    for layer in (0, 1):  # as Gemma's converter adds 1 to the norms, to all of them
        name = f"blk.{layer}.attn_norm.weight"
        place = tmp_path / f"norms-{layer}.gguf"
        file = tampered(replace(forge, of_merged=file), place, name, lambda ours, base: ours + 1)
    header = check_servable(file, "m")
    fused = [
        replace(one, name="blk.0.ffn_gate_up.weight") if one.name == "blk.0.ffn_up.weight" else one
        for one in header.tensors
    ]
    split = [
        replace(one, shape=(one.shape[0] // 2, one.shape[1] * 2)) if one.name == "blk.1.ffn_up.weight" else one
        for one in fused
    ]
    proof = forge.prove(file, replace(header, tensors=tuple(split)))
    assert proof.unknown == {
        "model.layers.0.mlp.up_proj.weight": "not_in_file",
        "model.layers.1.mlp.up_proj.weight": "other_shape",
        "model.layers.0.input_layernorm.weight": "computed_anew",
        "model.layers.1.input_layernorm.weight": "computed_anew",
    }
    assert len(proof.changed) == UPDATED - 2
    strange = replace(header, keys={**header.keys, "general.architecture": "never-heard-of"})
    assert set(forge.prove(file, strange).unknown.values()) == {"no_name"}


def weak(forge: Forge, place: Path, spared: str) -> tuple[Path, Path]:
    """An adapter whose update F16 swallows but for layers of that name, and the base with it merged in fp32."""
    import torch
    from safetensors.torch import load_file, save_file

    from jobs.merging import merge_into

    adapter, merged = place / "weak", place / "merged"
    shutil.copytree(forge.adapter, adapter)
    tensors = load_file(adapter / "adapter_model.safetensors")
    less = {key: one * 1e-8 if "lora_B" in key and spared not in key else one for key, one in tensors.items()}
    save_file(less, adapter / "adapter_model.safetensors")
    merged.mkdir()
    merge_into(merged, forge.base, "m", adapter, torch.float32, torch.device("cpu"))
    return adapter, merged


def test_an_update_that_a_type_swallows_is_counted_as_such(forge: Forge, tmp_path: Path) -> None:
    from jobs.gguf_survival import MergedUpdate, gguf_survival

    adapter, merged = weak(forge, tmp_path, "down_proj")
    weaker = replace(forge, merged=merged)
    of_both = forge.of_base
    for layer in (0, 1):  # what the converter makes of it: the base's tensors but for those two
        name = f"blk.{layer}.ffn_down.weight"
        ours = values_in(forge.of_merged, name)
        base = replace(forge, of_merged=of_both)
        of_both = tampered(base, tmp_path / f"{layer}.gguf", name, lambda was, _, ours=ours: ours)
    proof = weaker.prove(of_both)
    assert (len(proof.changed), len(proof.swallowed), proof.unknown) == (2, UPDATED - 2, {})
    update = MergedUpdate(forge.base, "m", adapter, "fp32")
    survival = gguf_survival(update, [check_servable(of_both, "both")], "F16")
    assert survival is not None and survival["unchanged"] == UPDATED - 2 and survival["share"] > 0.9
    assert survival["worst"]["share"] == 0


def test_a_file_that_holds_nothing_of_the_update_is_refused(forge: Forge, tmp_path: Path) -> None:
    _, merged = weak(forge, tmp_path, "no layer")
    with pytest.raises(BakehouseError) as refused:
        replace(forge, merged=merged).prove(forge.of_base)
    assert refused.value.code == "nothing_changed"


def test_an_adapter_or_a_base_that_is_gone_leaves_that_unknown(forge: Forge, tmp_path: Path) -> None:
    from core.jobfile.convert import proof_words
    from jobs.gguf_proof import prove_conversion

    adapter = tmp_path / "adapter"
    shutil.copytree(forge.adapter, adapter)
    forge.job(50, MergeSpec(adapter=str(adapter), model=forge.shop.model, dtype="bf16"))
    shutil.rmtree(adapter)
    run = forge.convert(51, "bf16", merge=50)
    assert summary(run)["proof"]["changed"] > 0 and "survival" not in summary(run)
    assert "how much of the update survives is unknown" in read_json(run.result)["message"]
    header = check_servable(forge.of_merged, "m")
    proof = prove_conversion(forge.of_merged, header, forge.merged, None, "m").to_json()
    assert "changed" not in proof and proof["unknown"] == 0
    words = proof_words({"of": "the merged model", **proof, "base_unknown": "the model m is not there"})
    assert words.endswith("whether they differ from the base's is unknown: the model m is not there")
