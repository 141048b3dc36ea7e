"""What a load of a base model reports decides: the one place through which every load of training, bake-off and merge goes.

transformers fills what a checkpoint lacks with random numbers and says so in a log only. Here whatever is missing, of another
shape, left out, not finite or constant ends the job in one line; what the model passes over harmlessly is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from core.errors import InputError
from core.models.report import LoadReport, named, refuse_unless_whole

Warn = Callable[[str, str], None]
"""Tells the person (code, message) while the job goes on."""
# Types whose extremes torch computes on every device.
CHECKED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def read_report(info: Mapping[str, Any], expected: int | None = None) -> LoadReport:
    """The report in the `output_loading_info` of `from_pretrained`, from which transformers has left out tied tensors."""
    return LoadReport(
        missing=tuple(sorted(info["missing_keys"])),
        mismatched=tuple(sorted((name, tuple(found), tuple(model)) for name, found, model in info["mismatched_keys"])),
        unexpected=tuple(sorted(info["unexpected_keys"])),
        expected=expected,
    )


def load_checked(name: str, file: Path, where: str, warn: Warn | None, **options: Any) -> Any:
    """`AutoModelForCausalLM.from_pretrained(where, **options)`, whole or not at all.

    `name` and `file` are the model's for messages. Raises `InputError` for what the report refuses, and whatever the library
    raises for files it cannot read.
    """
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        where, output_loading_info=True, ignore_mismatched_sizes=True, trust_remote_code=False, **options
    )
    model, info = loaded
    refuse_unless_whole(read_report(info, len(model.state_dict())), name, file)
    if info["error_msgs"]:
        raise InputError(
            f"{name} cannot be loaded: {str(info['error_msgs'][0]).splitlines()[0]}", code="bad_model", file=file
        )
    if warn is not None:
        tell_passed_over(read_report(info), name, warn)
    refuse_unless_whole(value_report(model.named_parameters()), name, file)
    return model


def require_whole(name: str, folder: Path, warn: Warn | None = None) -> Any:
    """Refuse a folder whose tensors are not those of its model, without reading a value; the model on the meta device."""
    return load_checked(name, folder, str(folder), warn, use_safetensors=True, local_files_only=True, device_map="meta")


def tell_passed_over(report: LoadReport, name: str, warn: Warn) -> None:
    """Tell of tensors in the files that the loaded model has no use for."""
    if report.passed_over:
        count, names = len(report.passed_over), named(report.passed_over)
        warn("tensors_passed_over", f"{count:,} tensors of {name} are no part of its text model: {names}")


def value_report(tensors: Iterable[tuple[str, Tensor]]) -> LoadReport:
    """Which tensors are not finite, and which matrices have one value throughout. Tensors without values are passed over.

    One pass over each tensor on its own device: extremes are NaN where any value is. A vector may be constant (the weight of
    a fresh norm).
    """
    not_finite, constant = [], []
    for name, tensor in tensors:
        if tensor.is_meta or tensor.dtype not in CHECKED or not tensor.numel():
            continue
        least, most = _extremes(tensor)
        if not (abs(least) < float("inf") and abs(most) < float("inf")):
            not_finite.append(name)
        elif tensor.ndim > 1 and least == most:
            constant.append(name)
    return LoadReport(not_finite=tuple(not_finite), constant=tuple(constant))


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is infinite or none at all, as `torch.isfinite(tensor).all()` says in twenty times the time."""
    if not tensor.numel() or tensor.dtype not in CHECKED:
        return True
    least, most = _extremes(tensor)
    return abs(least) < float("inf") and abs(most) < float("inf")


def _extremes(tensor: Tensor) -> tuple[float, float]:
    """Its least and its most value, both NaN where any value is."""
    least, most = torch.aminmax(tensor.detach())
    return float(least), float(most)


def require_rows(model: Any, tokenizer: Any, ids: Iterable[int], name: str) -> None:
    """Refuse texts with a token that the embedding has no row for: the tokenizer is another model's, or has grown since.

    Only tokens that are met count: some models are published with a token more than they have rows (Gemma 3's for images).
    """
    rows, highest = model.get_input_embeddings().weight.shape[0], max(ids, default=0)
    if highest >= rows:
        token = str(tokenizer.convert_ids_to_tokens(highest))
        raise InputError(
            f"the tokenizer of {name} gives {token} the number {highest}, the model has tokens 0 to {rows - 1}",
            code="mismatched_tokenizer",
            key=name,
            remedy="take the tokenizer's files of just this model",
        )
