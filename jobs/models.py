"""Base models and their tokenizers: from the hub, a folder or a GGUF file; safetensors or GGUF only, no remote code."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.model import ModelEntry, WeightFormat
from core.errors import InputError, NotFoundError
from core.failures import NO_SPACE, refusal_of
from core.home import Home, expanded
from core.models.files import hub_copy, hub_record
from core.models.fingerprints import fingerprint_file, folder_fingerprint, hub_fingerprint
from core.models.folder import check_folder, require_tokenizer
from core.models.gguf import check_gguf
from core.process.leftovers import sweep, take_place, temporary_name
from jobs.hub import require_room

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from jobs.load_report import Warn

MIB = 1 << 20
# Parameters of mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
# A GGUF file of this size and above is cached as bfloat16: float32 would be eight times its size.
LARGE_GGUF_BYTES = 1_000_000_000


@dataclass(frozen=True)
class BaseModel:
    """Where a base model is: a folder of safetensors or a GGUF file.

    `fingerprint` names the weights: it keys what was made from them. `template` is the chat template that the model's entry
    gives it in place of its own.
    """

    name: str
    folder: Path | None
    gguf: Path | None
    fingerprint: str
    template: str | None = None


def prepare_libraries() -> None:
    """Called before torch and transformers are imported: one GPU, huge pages for tensors, no progress bars or advice."""
    # One GPU is what a job is lent; with several visible the trainer would split its batches among them.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # Threads that wait for one another sleep. Otherwise they spin for milliseconds at the end of each operation, and beside
    # other programs they spin for one that has no core at the moment: a training on a busy CPU took ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
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
    return replace(_files_of(entry, home), template=entry.template_text)


def _files_of(entry: ModelEntry, home: Home) -> BaseModel:
    if entry.hub is not None:
        copy = hub_copy(home, entry)
        if copy is None:
            raise _not_pulled(entry, hub_record(home, entry))
        require_whole_files(copy.folder, entry.name, f"bakehouse models pull {entry.name}")
        return BaseModel(entry.name, copy.folder, None, hub_fingerprint(copy.hub, copy.commit))
    if entry.wheel is not None:
        path = home.models / entry.name / entry.wheel.file_name
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
    return locate_path(entry.name, expanded(entry.path))


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
    require_whole_files(path, name)
    return BaseModel(name, path, None, folder_fingerprint(path))


def require_whole_files(folder: Path, name: str, remedy: str | None = None) -> None:
    """What submission looked at, once more: files may have changed while the job waited. Raises `InputError`."""
    try:
        check_folder(folder, name)
    except OSError as error:
        where = error.filename or folder
        raise InputError(f"cannot be read: {error.strerror}", code="bad_model", file=where, remedy=remedy) from error


def _not_pulled(entry: ModelEntry, file: Path) -> NotFoundError:
    return NotFoundError(
        f"the model {entry.name} is not on the disk",
        code="model_not_pulled",
        file=file,
        remedy=f"bakehouse models pull {entry.name}",
    )


def choose_device() -> torch.device:
    """The GPU when torch sees one (CUDA or ROCm), else the CPU with all of its cores, or with `OMP_NUM_THREADS` of them."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    torch.set_num_threads(int(asked) if asked.isdigit() and int(asked) else len(os.sched_getaffinity(0)))
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


def as_torch(name: WeightFormat) -> torch.dtype:
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]


def load_tokenizer(base: BaseModel, home: Home) -> PreTrainedTokenizerBase:
    """The model's own tokenizer, with the chat template that it is given or else its own. InputError when it cannot be read."""
    return give_template(own_tokenizer(base, home), base)


def give_template(tokenizer: PreTrainedTokenizerBase, base: BaseModel) -> PreTrainedTokenizerBase:
    """The tokenizer, its chat template replaced by the one that the model's entry gives.

    InputError `template_without_bos` where the tokenizer begins each text with a sign that the template does not write: a
    server puts it in front of each prompt, and training would not.
    """
    if base.template is None:
        return tokenizer
    sign: Any = tokenizer.bos_token
    begins = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    if begins and "bos_token" not in base.template and sign not in base.template:
        raise InputError(
            f"the chat_template that {base.name} is given does not write {sign}, with which its tokenizer begins each text",
            code="template_without_bos",
            key=base.name,
            remedy="write {{ bos_token }} at the beginning of the template",
        )
    tokenizer.chat_template = base.template
    return tokenizer


def own_tokenizer(base: BaseModel, home: Home) -> PreTrainedTokenizerBase:
    """The tokenizer as it lies beside the model's weights, or in its GGUF file. InputError when it cannot be read."""
    from transformers import AutoTokenizer

    where, options = _where(base, home)
    if base.folder is not None:
        # Without the files the library makes an empty tokenizer for some families.
        require_tokenizer(base.folder, base.name)
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False, **options)
    except Exception as error:
        raise _unreadable(base, "tokenizer", error) from error


def load_model(
    base: BaseModel, home: Home, device: torch.device, dtype: torch.dtype, warn: Warn | None = None
) -> PreTrainedModel:
    """The model in `dtype` on `device`, in evaluation mode; `warn` is told of what its files hold beside it.

    InputError when it cannot be read or is not whole. A GGUF file is de-quantised once; the result stays in the cache as
    safetensors.
    """
    import torch

    from jobs.load_report import load_checked

    folder = safetensors_folder(base, home)
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    try:
        model: PreTrainedModel = load_checked(
            base.name, folder, str(folder), warn, dtype=dtype, use_safetensors=True, local_files_only=True, **options
        )
    except (MemoryError, torch.OutOfMemoryError, InputError):
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
    from transformers import AutoTokenizer

    from jobs.load_report import load_checked

    assert base.gguf is not None
    where, options = str(base.gguf.parent), {"gguf_file": base.gguf.name, "local_files_only": True}
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    temporary = folder.with_name(temporary_name(folder.name))
    is_large = base.gguf.stat().st_size >= LARGE_GGUF_BYTES
    require_room(folder.parent, (2 if is_large else 4) * check_gguf(base.gguf, base.name).values)
    try:
        dtype = torch.bfloat16 if is_large else torch.float32
        model: Any = load_checked(base.name, base.gguf, where, None, dtype=dtype, **options)
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        # What from_pretrained leaves behind of the quantisation would make save_pretrained refuse.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        take_place(temporary, folder)
    except (MemoryError, torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:
        if NO_SPACE.search(str(error)):  # safetensors' own error has no number
            raise refusal_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder.parent) from error
        raise _unreadable(base, "model", error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unreadable(base: BaseModel, what: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if len(lines) > 1:
        print(error, flush=True)
    return InputError(
        f"the {what} of {base.name} cannot be read: {lines[0]}",
        code="bad_model",
        file=base.gguf or base.folder,
        remedy="the log has the details" if len(lines) > 1 else None,
    )
