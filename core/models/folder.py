"""Whether a folder holds a model that can be trained and asked, told from its small files and the headers of the large ones.

Every finding is one `InputError` with a remedy. What only loading can tell is told by the job, through the same report.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.models.headers import AGAIN, TensorHeader, read_header, refuse_stand_in
from core.models.layout import compare, refuse_wrapped, text_config
from core.models.report import QUANTISED, named, refuse_unless_whole

CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
# Large JSON files are looked at, not read: their first and last sign tell a torn one.
READ_BELOW_BYTES = 1_000_000
# Any of these is a tokenizer's vocabulary.
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
    "*.tiktoken",
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Weights in formats of other libraries, by what those are called.
OTHER_WEIGHTS = {
    "*.onnx": "ONNX",
    "*.h5": "TensorFlow",
    "*.msgpack": "Flax",
    "*.npz": "MLX",
    "*.tflite": "TensorFlow Lite",
}
SHARD = re.compile(r"model-(\d+)-of-(\d+)\.safetensors")
# How the methods are called by those who use them.
METHODS = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "bitsandbytes": "bitsandbytes",
    "fp8": "FP8",
    "fbgemm_fp8": "FP8",
    "compressed-tensors": "compressed-tensors",
    "mxfp4": "MXFP4",
    "modelopt": "ModelOpt",
    "hqq": "HQQ",
}
# Files that tools leave beside weights they quantised, where config.json has no word of it.
METHOD_FILES = {
    "quantize_config.json": "GPTQ",
    "quant_config.json": "AWQ",
    "hf_quant_config.json": "ModelOpt",
}
QUANTISED_TYPES = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "I8", "U8", "I32", "U32"}
# Models that answer no prompt: what they were made for, by the end of their class's name.
OTHER_PURPOSES = {
    "ForSequenceClassification": "sorts texts",
    "ForTokenClassification": "marks words",
    "ForQuestionAnswering": "marks answers in a text",
    "ForMaskedLM": "fills in masked words",
    "ForRewardModel": "scores answers",
}
# Encoders: the library would build a decoder of them that nobody trained.
ENCODERS = {
    *("bert", "roberta", "distilbert", "xlm-roberta", "camembert", "electra", "albert", "mpnet"),
    *("deberta", "deberta-v2", "modernbert", "nomic_bert"),
}
IN_16_BITS = "take the original in 16 bits; `method: qlora-hqq` quantises while it loads"
EXPORTED = "export it as safetensors in transformers' layout, or name a GGUF file"


def check_folder(path: Path, name: str) -> None:
    """Refuse a folder that holds no whole model of 16 or 32 bits with its tokenizer. Raises `InputError`, `OSError`."""
    if not path.is_dir():
        raise InputError("no such model folder or GGUF file", code="no_model", file=path, key=name)
    _refuse_adapter(path, name)
    if not (path / CONFIG).is_file():
        raise _no_config(path, name)
    config = read_config(path)
    _refuse_method(path, config, name)
    tensors: dict[str, TensorHeader] = {}
    for file in weight_files(path, name):
        tensors |= read_header(file)
    _refuse_quantised_tensors(path, tensors, name)
    _refuse_other_purpose(path, config, name)
    require_tokenizer(path, name)
    refuse_wrapped(path, tensors, name)
    found = {key: tensor.shape for key, tensor in tensors.items()}
    refuse_unless_whole(compare(config, found), name, path)


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a model folder. InputError when it cannot be read."""
    document = read_object(path / CONFIG)
    if text_config(document).get("quantization_config") and "quantization_config" not in document:
        return {**document, "quantization_config": text_config(document)["quantization_config"]}
    return document


def read_object(path: Path) -> dict[str, Any]:
    """A small JSON file that holds an object. InputError when it is torn or something else."""
    content = path.read_bytes()
    refuse_stand_in(path, content[:80])
    if content.startswith(BOM_UTF8):
        remedy = "save the file as UTF-8 without it"
        raise InputError("begins with a byte order mark, and no JSON does", code="bad_model", file=path, remedy=remedy)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}", code="bad_model", file=path, remedy=AGAIN) from error
    if not isinstance(document, dict):
        raise InputError("is no JSON object", code="bad_model", file=path, remedy=AGAIN)
    return document


def weight_files(path: Path, name: str) -> list[Path]:
    """The files that hold a model's weights, as transformers finds them: `model.safetensors`, else what the index names.

    Raises `InputError` where there are none, where one that is named is absent, or where the index and they disagree.
    """
    single, index = path / SINGLE, path / INDEX
    if single.is_symlink() and not single.exists():
        raise InputError(
            f"{SINGLE} is a link to {single.readlink()}, which is not there",
            code="incomplete_model",
            file=path,
            key=name,
            remedy="download that file again",
        )
    if single.exists():
        return [single]
    if index.is_file():
        return _indexed(path, index)
    weights = sorted(path.glob("*.safetensors"))
    shards = [match for file in weights if (match := SHARD.fullmatch(file.name))]
    if shards:
        raise InputError(
            f"{INDEX} is absent, which says what is in its {len(shards)} shards",
            code="incomplete_model",
            file=path,
            key=name,
            remedy="download that file too",
        )
    if weights:
        raise InputError(
            f"no {SINGLE} in it, only {named(file.name for file in weights)}",
            code="no_model",
            file=path,
            key=name,
            remedy=f"rename the file of the weights to {SINGLE}, or download the model in transformers' layout",
        )
    pickles = [file.name for pattern in PICKLES for file in path.glob(pattern)]
    if pickles:
        raise InputError(
            f"no .safetensors file in it, only {named(pickles)}, which could run code",
            code="unsafe_model",
            file=path,
            key=name,
            remedy="weights are read as safetensors or GGUF only: convert it first",
        )
    for pattern, library in OTHER_WEIGHTS.items():
        if others := [file.name for file in path.glob(pattern)]:
            raise InputError(
                f"its weights are in the format of {library} ({named(others)})",
                code="no_model",
                file=path,
                key=name,
                remedy=EXPORTED,
            )
    raise _elsewhere(path, name) or InputError(
        "no .safetensors file in it: the weights are absent",
        code="no_model",
        file=path,
        key=name,
        remedy="download the weights too",
    )


def _indexed(path: Path, index: Path) -> list[Path]:
    """The shards that an index names, each there and with the tensors that the index looks for in it."""
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise InputError("names no shards: `weight_map` is absent", code="bad_model", file=index, remedy=AGAIN)
    shards = sorted(set(places.values()))
    outside = [shard for shard in shards if Path(shard).name != shard]
    if outside:
        raise InputError(f"names a file elsewhere: {named(outside)}", code="bad_model", file=index, remedy=AGAIN)
    absent = [shard for shard in shards if not (path / shard).exists()]
    if absent:
        raise InputError(
            f"{len(absent)} of {len(shards)} shards are absent: {named(absent)}",
            code="incomplete_model",
            file=path,
            remedy="download what is absent",
        )
    headers = {shard: read_header(path / shard) for shard in shards}
    lost = [tensor for tensor, shard in places.items() if tensor not in headers[shard]]
    if lost:
        raise InputError(
            f"index and shards disagree: {len(lost)} tensors are not in the shard that is named, {named(lost)}",
            code="incomplete_model",
            file=index,
            remedy="index and shards are of different downloads: download all of them again",
        )
    return [path / shard for shard in shards]


def adapter_base(path: Path) -> str | None:
    """The base model that an adapter's own configuration names; None where it names none. Raises `InputError`."""
    base = read_object(path / ADAPTER_CONFIG).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def _refuse_adapter(path: Path, name: str) -> None:
    """transformers would load the base that an `adapter_config.json` names, whatever weights stand beside it."""
    if not (path / ADAPTER_CONFIG).is_file():
        return
    base = adapter_base(path)
    of = f" of {base}" if base else ""
    raise InputError(
        f"this is an adapter{of}, not a base model: it holds {ADAPTER_CONFIG}",
        code="adapter_as_base",
        file=path,
        key=name,
        remedy=f"name {base or 'its base model'} here, and the adapter's folder as a candidate of a bake-off",
    )


def _no_config(path: Path, name: str) -> InputError:
    if not any(path.iterdir()):
        return InputError("this folder is empty", code="no_model", file=path, key=name, remedy="download the model")
    return _elsewhere(path, name) or InputError(
        f"no {CONFIG}: this is no model folder", code="no_model", file=path, key=name, remedy="download that file too"
    )


def _elsewhere(path: Path, name: str) -> InputError | None:
    """What a folder without weights or configuration holds instead, where that is known."""
    ggufs = sorted(path.glob("*.gguf"))
    if ggufs:
        return InputError(
            f"it holds {named(file.name for file in ggufs)}: a GGUF model is named by its file",
            code="no_model",
            file=path,
            key=name,
            remedy=f"write path: {ggufs[0]}",
        )
    if (path / "model_index.json").is_file():
        return InputError(
            "it is a pipeline that makes pictures, no language model",
            code="other_purpose",
            file=path,
            key=name,
            remedy="name a decoder's folder",
        )
    if (path / "params.json").is_file():
        return InputError("it is in its makers' own layout", code="no_model", file=path, key=name, remedy=EXPORTED)
    snapshots = sorted(path.glob("snapshots/*/config.json"))
    if snapshots:
        return InputError(
            "this is the hub's cache of a model, which lies deeper",
            code="no_model",
            file=path,
            key=name,
            remedy=f"write path: {snapshots[-1].parent}",
        )
    inside = sorted(path.glob(f"*/{CONFIG}"))
    if inside:
        return InputError(
            "the model lies one folder deeper",
            code="no_model",
            file=path,
            key=name,
            remedy=f"write path: {inside[0].parent}",
        )
    return None


def _quantised(path: Path, name: str, method: str) -> InputError:
    return InputError(
        f"its weights are quantised with {method}: they can neither be trained on nor merged into",
        code="quantised_model",
        file=path,
        key=name,
        remedy=IN_16_BITS,
    )


def _refuse_method(path: Path, config: dict[str, Any], name: str) -> None:
    """Refuse a model that a configuration calls quantised."""
    said = config.get("quantization_config") or config.get("compression_config")
    if isinstance(said, dict):
        method = str(said.get("quant_method") or "")
        if not method and (said.get("load_in_4bit") or said.get("load_in_8bit")):
            method = "bitsandbytes"
        raise _quantised(path, name, METHODS.get(method.lower(), method or "an unknown method"))
    if isinstance(config.get("quantization"), dict):
        raise _quantised(path, name, "MLX")
    for file, method in METHOD_FILES.items():
        if (path / file).is_file():
            raise _quantised(path, name, method)


def _refuse_quantised_tensors(path: Path, tensors: dict[str, TensorHeader], name: str) -> None:
    """Refuse weights whose names or types show what no configuration says."""
    packed = [
        key
        for key, tensor in tensors.items()
        if QUANTISED.fullmatch(key) or (len(tensor.shape) > 1 and tensor.dtype in QUANTISED_TYPES)
    ]
    if packed:
        kind = tensors[min(packed)].dtype
        raise _quantised(path, name, f"a method that config.json does not name ({kind}: {named(packed)})")


def _refuse_other_purpose(path: Path, config: dict[str, Any], name: str) -> None:
    """Refuse a configuration of no decoder that answers prompts."""
    if not isinstance(config.get("model_type"), str):
        raise InputError("does not name its `model_type`", code="bad_model", file=path / CONFIG, key=name, remedy=AGAIN)
    classes = config.get("architectures")
    first = str(classes[0]) if isinstance(classes, list) and classes else ""
    for ending, purpose in OTHER_PURPOSES.items():
        if first.endswith(ending):
            raise InputError(
                f"is a {first}: it {purpose} and answers no prompt",
                code="other_purpose",
                file=path,
                key=name,
                remedy="take the language model it was made from",
            )
    if config["model_type"] in ENCODERS:
        raise InputError(
            f"is an encoder ({config['model_type']}), for embeddings say: it answers no prompt",
            code="other_purpose",
            file=path,
            key=name,
            remedy="take a decoder, such as Qwen3 or Llama",
        )
    if config.get("is_encoder_decoder"):
        raise InputError(
            "is an encoder with a decoder: only decoders are trained here",
            code="other_purpose",
            file=path,
            key=name,
            remedy="take a decoder, such as Qwen3 or Llama",
        )


def require_tokenizer(path: Path, name: str) -> None:
    """Refuse a folder without a tokenizer's vocabulary, or with a torn file of it."""
    if not any(file.is_file() for pattern in TOKENIZERS for file in path.glob(pattern)):
        raise InputError(
            "no tokenizer in it (tokenizer.json or tokenizer.model)",
            code="no_tokenizer",
            file=path,
            key=name,
            remedy="download the tokenizer's files too, or copy them from the model this one was made from",
        )
    for file_name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        file = path / file_name
        if not file.is_file():
            continue
        if file.stat().st_size < READ_BELOW_BYTES:
            read_object(file)
        else:
            _look_at_ends(file)
    for file in path.glob("*.model"):
        with file.open("rb") as opened:
            refuse_stand_in(file, opened.read(80))


def _look_at_ends(file: Path) -> None:
    with file.open("rb") as opened:
        head = opened.read(80)
        opened.seek(-80, 2)
        tail = opened.read()
    refuse_stand_in(file, head)
    if not (head.lstrip().startswith(b"{") and tail.rstrip().endswith(b"}")):
        raise InputError("is no JSON object: torn", code="bad_model", file=file, remedy=AGAIN)
