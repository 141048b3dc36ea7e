"""How much of an adapter's update survives in a GGUF file, through every type on the way from the merge to that file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGMLQuantizationType

from core.config.model import WeightFormat
from core.models.folder import weight_files
from core.models.gguf import GgufHeader
from core.models.headers import read_header
from jobs.gguf_rows import can_make, can_read, gguf_names, pieces, through, type_of
from jobs.load_report import Warn, require_whole
from jobs.merge_math import Survival, difference, survival_document, survival_of, survival_sums
from jobs.merging import parameters_of, read_updates, untie
from jobs.safetensors_reader import read_tensor
from jobs.tensor_names import own_name
from jobs.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

    from jobs.quantised import SeenWeights

TYPES = {
    "bf16": GGMLQuantizationType.BF16,
    "fp16": GGMLQuantizationType.F16,
    "fp32": GGMLQuantizationType.F32,
}
Types = Callable[[str], Sequence[GGMLQuantizationType] | None]
"""From a tensor's name in the checkpoint to the types that it goes through, in turn; None where that is not known."""


@dataclass(frozen=True)
class MergedUpdate:
    """What a merge was made of: `base` is the folder of the base's safetensors, `dtype` what the merge was written as.

    `seen` where the base was merged as a training on quantised weights saw it.
    """

    base: Path
    name: str
    adapter: Path
    dtype: WeightFormat
    seen: SeenWeights | None = None


def types_in(dtype: WeightFormat, *headers: GgufHeader) -> Types:
    """The types of a tensor that is merged in one format and written in one GGUF file after the other."""
    name_of = gguf_names(headers[0])
    files: list[Mapping[str, Any]] = [{tensor.name: tensor for tensor in header.tensors} for header in headers]

    def types(key: str) -> Sequence[GGMLQuantizationType] | None:
        name = name_of(key)
        found = [TYPES[dtype]]
        for file in files:
            tensor = None if name is None else file.get(name)
            kind = None if tensor is None else type_of(tensor)
            if kind is None or not (can_make(kind) and can_read(kind)):
                return None
            found.append(kind)
        return found

    return types


def update_survival(
    update: MergedUpdate,
    types: Types,
    warn: Warn | None = None,
    check_stop: Callable[[], None] = lambda: None,
) -> tuple[list[Survival], list[str]]:
    """What each updated tensor keeps of its update, and the names of those whose types are not known.

    One tensor is held at a time. Raises `InputError` where base and adapter do not belong together, as the merge does.
    """
    model = require_whole(update.name, update.base, warn)
    updates, _ = untie(model, read_updates(update.adapter, model), update.adapter)
    names = parameters_of(model)
    seen = None if update.seen is None else update.seen.of(model, torch.device("cpu"), update.base)
    found: list[Survival] = []
    unknown: list[str] = []
    in_files: set[str] = set()
    for file in weight_files(update.base, update.name):
        for key, header in read_header(file).items():
            parameter = own_name(key, names)
            changed = None if parameter is None else updates.get(parameter)
            if changed is None or parameter is None:
                continue
            check_stop()
            in_files.add(parameter)
            chain = types(key)
            if chain is None:
                unknown.append(key)
                continue
            weight = read_tensor(file, header)
            weight = weight if seen is None else seen(parameter, weight)
            found.append(_survival(key, weight, difference(weight, changed), chain))
    # A head that shared the embedding's weights has none of its own in the base's files.
    return found, [*unknown, *sorted(updates.keys() - in_files)]


def gguf_survival(
    update: MergedUpdate,
    headers: Sequence[GgufHeader],
    written_as: str,
    warn: Warn | None = None,
    check_stop: Callable[[], None] = lambda: None,
) -> dict[str, Any] | None:
    """As `merge_math.survival_document`, in the last of the files that a merge has become, with `unknown` tensors counted.

    None where the types of no updated tensor are known: those that only llama.cpp writes.
    """
    found, unknown = update_survival(update, types_in(update.dtype, *headers), warn, check_stop)
    if not any(one.squared for one in found):
        return None
    return {**survival_document(found, written_as), "unknown": len(unknown)}


def _survival(name: str, weight: Tensor, delta: Tensor, chain: Sequence[GGMLQuantizationType]) -> Survival:
    """Of one tensor. Its rows go piece by piece, for blocks of the types lie within a row, and several pieces at once."""
    length = weight.shape[-1] if weight.dim() else 1
    rows, deltas = weight.reshape(-1, length), delta.reshape(-1, length)

    def sums(piece: tuple[int, int]) -> Tensor:
        w, d = rows[slice(*piece)].float(), deltas[slice(*piece)]
        written, before = (torch.from_numpy(through(one.numpy(), chain)) for one in (w + d, w))
        return survival_sums(w, d, written, before)

    with one_thread() as threads, ThreadPoolExecutor(threads) as pool:
        return survival_of(name, pool.map(sums, pieces(len(rows), length)), weight.numel())
