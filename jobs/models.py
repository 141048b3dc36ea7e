"""Base models and their tokenizers: from the hub, a folder or a GGUF file; safetensors or GGUF only, no remote code."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.config.model import ModelEntry
from core.errors import InputError, NotFoundError
from core.files import sha256_file, sha256_json, tail
from core.home import Home
from core.models.files import hub_copy, hub_record

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Above this size a file is known by its size, its first and its last MiB: hashing 16 GB would take a minute a job.
HASH_WHOLE_BELOW_BYTES = 2_000_000_000
MIB = 1 << 20
# Parameters of mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
# A GGUF file of this size and above is cached as bfloat16: float32 would be eight times its size.
LARGE_GGUF_BYTES = 1_000_000_000


@dataclass(frozen=True)
class BaseModel:
    """Where a base model is: a folder of safetensors or a GGUF file.

    `fingerprint` names the weights: it keys what was made from them.
    """

    name: str
    folder: Path | None
    gguf: Path | None
    fingerprint: str


def prepare_libraries() -> None:
    """Called before torch and transformers are imported: one GPU, huge pages for tensors, no progress bars or advice."""
    # One GPU is what a job is lent; with several visible the trainer would split its batches among them.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Only the job `pull` talks to the hub: PEFT would ask it about a configuration whenever an adapter is saved.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.filterwarnings("ignore", module=r"(transformers|trl|peft|accelerate|datasets|torch)\b.*")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def locate(entry: ModelEntry, home: Home) -> BaseModel:
    """Find the files of a model entry. NotFoundError when they are not there, InputError when they are no model."""
    if entry.hub is not None:
        copy = hub_copy(home, entry)
        if copy is None:
            raise _not_pulled(entry, hub_record(home, entry))
        return BaseModel(entry.name, copy.folder, None, sha256_json([copy.hub, copy.commit]))
    if entry.wheel is not None:
        path = home.models / entry.name / Path(entry.wheel.member).name
        if not path.is_file():
            raise _not_pulled(entry, path)
        if path.stat().st_size != entry.wheel.size_bytes:
            raise InputError(
                f"has {path.stat().st_size} bytes, expected {entry.wheel.size_bytes}: it is damaged",
                code="bad_model",
                file=path,
                remedy=f"bakehouse models pull {entry.name}",
            )
        return BaseModel(entry.name, None, path, entry.wheel.sha256)
    assert entry.path is not None  # a model entry has exactly one source
    return locate_path(entry.name, Path(entry.path).expanduser())


def locate_path(name: str, path: Path) -> BaseModel:
    """The model in a folder of safetensors or in a GGUF file."""
    if path.is_file():
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise InputError("is not a GGUF file: it does not begin with GGUF", code="bad_model", file=path)
        return BaseModel(name, None, path, fingerprint_file(path))
    if not path.is_dir():
        raise InputError(f"the model {name} is not there", code="no_such_model", file=path)
    weights = sorted(path.glob("*.safetensors"))
    if not (path / "config.json").is_file() or not weights:
        raise InputError(
            "holds no model: expected config.json and *.safetensors",
            code="bad_model",
            file=path,
            remedy="models are read as safetensors or GGUF only",
        )
    digest = hashlib.sha256()
    for item in sorted([path / "config.json", *weights]):
        digest.update(f"{item.name}\0{fingerprint_file(item)}\n".encode())
    return BaseModel(name, path, None, digest.hexdigest())


def fingerprint_file(path: Path) -> str:
    """Hex SHA-256 of a file; of its size, first and last MiB when it is large."""
    size = path.stat().st_size
    if size < HASH_WHOLE_BELOW_BYTES:
        return sha256_file(path)
    with path.open("rb") as file:
        head = file.read(MIB)
    return hashlib.sha256(f"{size}\0".encode() + head + tail(path, MIB)).hexdigest()


def _not_pulled(entry: ModelEntry, file: Path) -> NotFoundError:
    return NotFoundError(
        f"the model {entry.name} is not on the disk",
        code="model_not_pulled",
        file=file,
        remedy=f"bakehouse models pull {entry.name}",
    )


def choose_device() -> torch.device:
    """The GPU when torch sees one (CUDA or ROCm), else the CPU with all of its cores."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    _keep_freed_memory()
    return torch.device("cpu")


def _keep_freed_memory() -> None:
    """Make glibc keep what tensors free, in one arena, instead of giving it back to the kernel at every operation.

    A training step on a CPU frees and takes the same gigabytes again and again; with glibc's defaults each time costs a
    page fault for every 4 KiB of it. The settings are those of mallopt(3); a C library without it stays as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_ARENA_MAX, 1)
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_TOP_PAD, 256 * MIB)


def as_torch(name: Literal["bf16", "fp32"]) -> torch.dtype:
    import torch

    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def load_tokenizer(base: BaseModel, home: Home) -> PreTrainedTokenizerBase:
    """The model's own tokenizer with its chat template. InputError when it cannot be read."""
    from transformers import AutoTokenizer

    where, options = _where(base, home)
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False, **options)
    except Exception as error:
        raise _unreadable(base, "tokenizer", error) from error


def load_model(base: BaseModel, home: Home, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """The model in `dtype` on `device`, in evaluation mode. InputError when it cannot be read.

    A GGUF file is de-quantised once; the result stays in the cache as safetensors.
    """
    import torch
    from transformers import AutoModelForCausalLM

    safetensors_folder(base, home)
    where, options = _where(base, home)
    if device.type == "cuda":
        options["device_map"] = {"": device}
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            where, dtype=dtype, use_safetensors=True, trust_remote_code=False, **options
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _unreadable(base, "model", error) from error
    model.eval()
    return model


def safetensors_folder(base: BaseModel, home: Home) -> Path:
    """The folder with the weights of a model as safetensors; a GGUF file is de-quantised into the cache first."""
    if base.folder is not None:
        return base.folder
    folder = _cache_folder(base, home)
    if not folder.is_dir():
        _dequantise(base, folder)
    return folder


def _where(base: BaseModel, home: Home) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` is told about the place of a model."""
    if base.folder is not None:
        return str(base.folder), {"local_files_only": True}
    assert base.gguf is not None  # a base model has exactly one place
    cached = _cache_folder(base, home)
    if cached.is_dir():
        return str(cached), {"local_files_only": True}
    return str(base.gguf.parent), {"gguf_file": base.gguf.name, "local_files_only": True}


def reads_gguf(base: BaseModel, home: Home) -> bool:
    """True when the tokenizer is read out of the GGUF file itself: nothing of it is de-quantised yet."""
    return base.gguf is not None and not _cache_folder(base, home).is_dir()


def _cache_folder(base: BaseModel, home: Home) -> Path:
    return home.cache / "dequantised" / base.fingerprint


def _dequantise(base: BaseModel, folder: Path) -> None:
    """Write a GGUF model and its tokenizer as safetensors into `folder`, whole or not at all.

    Stored as float32, which holds the quantised values exactly; as bfloat16 when the file is large.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert base.gguf is not None
    where, options = str(base.gguf.parent), {"gguf_file": base.gguf.name, "local_files_only": True}
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".tmp-{os.getpid()}-{folder.name}")
    try:
        dtype = torch.bfloat16 if base.gguf.stat().st_size >= LARGE_GGUF_BYTES else torch.float32
        model: Any = AutoModelForCausalLM.from_pretrained(where, dtype=dtype, **options)
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        # What from_pretrained leaves behind of the quantisation would make save_pretrained refuse.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(folder)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _unreadable(base, "model", error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unreadable(base: BaseModel, what: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        f"the {what} of {base.name} cannot be read: {lines[0]}",
        code="bad_model",
        file=base.gguf or base.folder,
        remedy="the log has the details" if len(lines) > 1 else None,
    )


def load_adapter(model: PreTrainedModel, folder: Path, name: str = "default") -> PeftModel:
    """The model with an adapter on top, in evaluation mode. InputError when the adapter cannot be read."""
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError("holds no adapter: adapter_model.safetensors is absent", code="bad_adapter", file=folder)
    try:
        adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=name).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"the adapter cannot be read: {lines[0]}", code="bad_adapter", file=folder) from error
    _require_same_names(adapted, folder, name)
    return adapted


def _require_same_names(adapted: PeftModel, folder: Path, name: str) -> None:
    """InputError when the adapter belongs to other layers: PEFT would leave those as they are, with a warning at most."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    wanted = set(get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False))
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as opened:
        found = set(opened.keys())
    if wanted != found:
        strange = sorted(wanted ^ found)[0]
        raise InputError(
            f"the adapter does not belong to this model: {len(wanted ^ found)} tensors differ, {strange} among them",
            code="bad_adapter",
            file=folder,
            remedy="name the base model it was trained on",
        )
