"""A model folder is told by its small files and headers, in one line with a remedy, before anything is queued or loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model import ModelEntry
from core.errors import InputError
from core.files import write_json
from core.home import Home
from core.models.files import check_model_files, hub_record
from core.models.folder import check_folder, weight_files
from core.models.layout import FAMILIES, compare
from core.models.targets import check_targets
from tests.support.model_folders import (
    INDEX,
    config_of,
    tensors_of,
    write_adapter,
    write_folder,
    write_header,
    write_safetensors,
)

Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def refused(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        check_folder(folder, "mine")
    assert len(str(caught.value).splitlines()) == 1 and caught.value.remedy
    return caught.value


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_model_passes(tmp_path: Path, family: str, shards: int) -> None:
    check_folder(write_folder(tmp_path / "mine", config_of(family), shards=shards), "mine")
    tied = config_of(family, tie_word_embeddings=True)
    assert "lm_head.weight" not in tensors_of(tied)
    check_folder(write_folder(tmp_path / "tied", tied, shards=shards), "tied")


@given(st.sampled_from(FAMILIES), st.data())
def test_any_tensor_that_is_missing_or_of_another_shape_is_told(family: str, data: st.DataObject) -> None:
    config = config_of(family, tie_word_embeddings=data.draw(st.booleans()), attention_bias=data.draw(st.booleans()))
    whole = tensors_of(config)
    assert compare(config, whole) == compare(config, {**whole, "vision_tower.layers.0.x": (3,)})
    lost = data.draw(st.sets(st.sampled_from(sorted(whole)), min_size=1))
    assert set(compare(config, {name: whole[name] for name in whole if name not in lost}).missing) == lost
    name = data.draw(st.sampled_from(sorted(whole)))
    report = compare(config, {**whole, name: (*whole[name][:-1], whole[name][-1] + data.draw(st.integers(1, 99)))})
    assert [item[0] for item in report.mismatched] == [name]


def test_of_a_family_that_is_not_known_absent_layers_and_another_vocabulary_are_told(tmp_path: Path) -> None:
    config = config_of("olmo9")
    tensors = tensors_of(config_of("llama"))
    check_folder(write_folder(tmp_path / "whole", config, tensors), "mine")
    fewer = {name: shape for name, shape in tensors.items() if ".layers.1." not in name}
    assert refused(write_folder(tmp_path / "fewer", config, fewer)).code == "incomplete_model"
    grown = {**tensors, "model.embed_tokens.weight": (48, 16)}
    assert refused(write_folder(tmp_path / "grown", config, grown)).code == "mismatched_model"


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_the_text_model_of_one_that_sees_is_found_under_either_name(tmp_path: Path, prefix: str) -> None:
    """The tower's own layers are as many as they are; whether the head is tied may stand outside of the text's part."""
    text = {key: value for key, value in config_of("gemma3_text").items() if key != "tie_word_embeddings"}
    config = {"model_type": "gemma3", "text_config": text, "tie_word_embeddings": True}
    inner = tensors_of(config_of("gemma3_text", tie_word_embeddings=True))
    tensors = {name.replace("model.", prefix, 1): shape for name, shape in inner.items()}
    tensors["vision_tower.encoder.layers.9.mlp.weight"] = (8, 8)
    check_folder(write_folder(tmp_path / "whole", config, tensors), "mine")
    del tensors[f"{prefix}layers.2.mlp.down_proj.weight"]
    assert "layers.2.mlp.down_proj.weight" in str(refused(write_folder(tmp_path / "torn", config, tensors)))


def change(folder: Path, name: str, **changes: Any) -> None:
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**document, **changes}))


def only(folder: Path, *keep: str) -> None:
    for file in folder.iterdir():
        if file.name not in keep:
            file.unlink()


def lose(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def packed(folder: Path, name: str, dtype: str) -> None:
    tensors = tensors_of(config_of("qwen3"))
    del tensors[Q]
    write_safetensors(folder / "model-00001-of-00003.safetensors", tensors)
    write_safetensors(folder / "model-00002-of-00003.safetensors", {name: (16, 2)}, dtype)
    lose(folder, "model-00003-of-00003.safetensors")
    places = {
        **dict.fromkeys(tensors, "model-00001-of-00003.safetensors"),
        name: "model-00002-of-00003.safetensors",
    }
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))


SHARD = "model-00002-of-00003.safetensors"
# Of a folder of three shards: what is done to it, and the code and a word of what is said.
DAMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a shard absent": (lambda folder: lose(folder, SHARD), "incomplete_model", SHARD),
    "a shard's link to nowhere": (
        lambda folder: (lose(folder, SHARD), (folder / SHARD).symlink_to("../../blobs/0")),
        "incomplete_model",
        SHARD,
    ),
    "index absent": (lambda folder: lose(folder, INDEX), "incomplete_model", "3 shards"),
    "index of another download": (
        lambda folder: write_safetensors(folder / SHARD, {"other.weight": (4, 4)}),
        "incomplete_model",
        "disagree",
    ),
    "index without places": (lambda folder: change(folder, INDEX, weight_map={}), "bad_model", INDEX),
    "index that leads elsewhere": (
        lambda folder: change(folder, INDEX, weight_map={Q: "../secret.safetensors"}),
        "bad_model",
        "elsewhere",
    ),
    "index torn": (lambda folder: (folder / INDEX).write_text('{"weight_map": {"a"'), "bad_model", INDEX),
    "a shard of no bytes": (lambda folder: (folder / SHARD).write_bytes(b""), "bad_model", "empty"),
    "a pointer for a shard": (
        lambda folder: (folder / SHARD).write_text("version https://git-lfs.github.com/spec/v1\nsize 4\n"),
        "bad_model",
        "git lfs pull",
    ),
    "a pointer for the tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "bad_model",
        "git lfs pull",
    ),
    "a login page for a shard": (
        lambda folder: (folder / SHARD).write_text("<!DOCTYPE html><html><body>Sign in</body></html>"),
        "bad_model",
        "web page",
    ),
    "a header cut short": (
        lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:40]),
        "bad_model",
        "torn",
    ),
    "values cut short": (
        lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:-7]),
        "bad_model",
        "torn",
    ),
    "a tensor outside its file": (
        lambda folder: write_header(
            folder / SHARD, {Q: {"dtype": "BF16", "shape": [16, 16], "data_offsets": [512, 1024]}}, 512
        ),
        "bad_model",
        Q,
    ),
    "a tensor shorter than its shape": (
        lambda folder: write_header(
            folder / SHARD, {Q: {"dtype": "F32", "shape": [16, 16], "data_offsets": [0, 512]}}, 512
        ),
        "bad_model",
        Q,
    ),
    "AWQ": (
        lambda folder: change(folder, "config.json", quantization_config={"quant_method": "awq"}),
        "quantised_model",
        "AWQ",
    ),
    "bitsandbytes of old": (
        lambda folder: change(folder, "config.json", quantization_config={"load_in_4bit": True}),
        "quantised_model",
        "bitsandbytes",
    ),
    "FP8 of the text part": (
        lambda folder: change(
            folder, "config.json", text_config={**config_of("qwen3"), "quantization_config": {"quant_method": "fp8"}}
        ),
        "quantised_model",
        "FP8",
    ),
    "MLX": (lambda folder: change(folder, "config.json", quantization={"bits": 4}), "quantised_model", "MLX"),
    "AutoGPTQ of old": (
        lambda folder: (folder / "quantize_config.json").write_text("{}"),
        "quantised_model",
        "GPTQ",
    ),
    "FP8 that nothing names": (lambda folder: packed(folder, Q, "F8_E4M3"), "quantised_model", "F8_E4M3"),
    "packed words that nothing names": (
        lambda folder: packed(folder, Q.replace("weight", "qweight"), "I32"),
        "quantised_model",
        "qweight",
    ),
    "a list for config.json": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "bad_model",
        "config.json",
    ),
    "config.json of nothing": (
        lambda folder: (folder / "config.json").write_bytes(b"\0" * 600),
        "bad_model",
        "config.json",
    ),
    "no model_type": (lambda folder: change(folder, "config.json", model_type=None), "bad_model", "model_type"),
    "a reward model": (
        lambda folder: change(folder, "config.json", architectures=["LlamaForSequenceClassification"]),
        "other_purpose",
        "sorts texts",
    ),
    "an encoder with a decoder": (
        lambda folder: change(folder, "config.json", is_encoder_decoder=True),
        "other_purpose",
        "decoder",
    ),
    "an encoder": (
        lambda folder: change(folder, "config.json", model_type="xlm-roberta", architectures=["XLMRobertaModel"]),
        "other_purpose",
        "encoder",
    ),
    "no tokenizer": (lambda folder: lose(folder, "tokenizer.json"), "no_tokenizer", "tokenizer"),
    "a torn tokenizer": (lambda folder: (folder / "tokenizer.json").write_text('{"mod'), "bad_model", "JSON"),
    "only shards": (lambda folder: only(folder, SHARD), "no_model", "config.json"),
    "nothing": (lambda folder: only(folder), "no_model", "empty"),
    "pickles": (
        lambda folder: (
            (
                only(folder, "config.json", "tokenizer.json"),
                (folder / "pytorch_model.bin").write_bytes(b"PK"),
            )
        ),
        "unsafe_model",
        "pytorch_model.bin",
    ),
    "a GGUF in a folder": (
        lambda folder: (only(folder), (folder / "mine-Q4_K_M.gguf").write_bytes(b"GGUF")),
        "no_model",
        "mine-Q4_K_M.gguf",
    ),
    "ONNX": (
        lambda folder: (only(folder, "config.json"), (folder / "model.onnx").write_bytes(b"x")),
        "no_model",
        "ONNX",
    ),
    "a pipeline that makes pictures": (
        lambda folder: (only(folder), (folder / "model_index.json").write_text("{}")),
        "other_purpose",
        "pictures",
    ),
    "Meta's own layout": (
        lambda folder: (only(folder), (folder / "params.json").write_text("{}")),
        "no_model",
        "layout",
    ),
    "an adapter's configuration beside weights": (
        lambda folder: write_json(folder / "adapter_config.json", {"base_model_name_or_path": "Qwen/Qwen3-4B"}),
        "adapter_as_base",
        "Qwen/Qwen3-4B",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path, damage: str) -> None:
    folder = write_folder(tmp_path / "mine", config_of("qwen3"), shards=3)
    apply, code, word = DAMAGES[damage]
    apply(folder)
    error = refused(folder)
    assert error.code == code
    assert word in str(error)


def test_an_adapter_alone_is_no_base_and_a_model_that_lies_deeper_is_found(tmp_path: Path) -> None:
    assert refused(write_adapter(tmp_path / "lora", "meta-llama/Llama-3.2-1B")).code == "adapter_as_base"
    inner = write_folder(tmp_path / "outer/model", config_of("llama"))
    assert str(inner) in (refused(tmp_path / "outer").remedy or "")
    snapshot = tmp_path / "models--a--b/snapshots/0123"
    shutil.copytree(inner, snapshot)
    assert str(snapshot) in (refused(tmp_path / "models--a--b").remedy or "")


def test_weights_in_another_layout_beside_them_are_left_alone(tmp_path: Path) -> None:
    """Mistral's repositories hold the same weights twice; a stale index stands beside one file."""
    folder = write_folder(tmp_path / "mine", config_of("mistral"), shards=2)
    write_safetensors(folder / "consolidated.safetensors", {"layers.0.attention.wq.weight": (16, 16)})
    check_folder(folder, "mine")
    assert "consolidated.safetensors" not in {file.name for file in weight_files(folder, "mine")}
    write_safetensors(folder / "model.safetensors", tensors_of(config_of("mistral")))
    (folder / "model-00001-of-00002.safetensors").unlink()
    check_folder(folder, "mine")
    only(folder, "config.json", "tokenizer.json", "consolidated.safetensors")
    assert "consolidated.safetensors" in str(refused(folder))


def test_the_copy_of_a_hub_model_is_looked_at_and_its_remedy_is_a_pull(home: Home, tmp_path: Path) -> None:
    entry = ModelEntry(name="small", hub="me/small")
    check_model_files(home, entry)  # still to be pulled
    folder = write_folder(tmp_path / "snapshot", config_of("llama"), shards=2)
    hub_record(home, entry).parent.mkdir(parents=True)
    write_json(hub_record(home, entry), {"hub": "me/small", "commit": "0", "folder": str(folder)})
    check_model_files(home, entry)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        check_model_files(home, entry)
    assert caught.value.code == "incomplete_model" and caught.value.remedy == "bakehouse models pull small"


def test_one_file_of_a_model_is_no_model(home: Home, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", config_of("llama"))
    with pytest.raises(InputError) as caught:
        check_model_files(home, ModelEntry(name="mine", path=str(folder / "model.safetensors")))
    assert caught.value.remedy == f"write path: {folder}"


def test_a_target_that_no_layer_is_called_by_is_told_with_the_names_that_there_are(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", config_of("phi3"))
    usual = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    check_targets(folder, "mine", usual)  # all of them: whatever the model calls its own
    check_targets(folder, "mine", ["qkv_proj", "mlp.down_proj"])
    for targets in (["q_proj"], ["down_proj", "c_attn"], ["attn.o_proj"]):
        with pytest.raises(InputError) as caught:
            check_targets(folder, "mine", targets)
        assert caught.value.code == "no_such_layer" and "qkv_proj" in (caught.value.remedy or "")
