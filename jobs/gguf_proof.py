"""Proves a GGUF file before it counts: its tensors are those of its source, and not the base's where a merge changed them.

A converter may order rows anew (llama.cpp's does so with the queries and keys of some models), so tensors are compared whatever
the order of their rows, in the type that the file holds them in. Rows pass through memory piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.errors import BakehouseError
from core.models.folder import weight_files
from core.models.gguf import GgufHeader, GgufTensor
from core.models.headers import TensorHeader, read_header
from core.models.report import named
from jobs.gguf_rows import (
    Rows,
    can_make,
    can_read,
    gguf_names,
    made,
    pieces,
    row_count,
    rows_in,
    same_rows,
    type_of,
    values_of,
)
from jobs.safetensors_reader import read_rows, row_length
from jobs.threads import one_thread

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType
    from numpy.typing import NDArray

OTHER_VERSION = "take another version of llama.cpp, and look at what its log says of these tensors"
MOST_ERROR = 0.5
"""‖Q(x) − x‖ / ‖x‖ beyond which a tensor is not the quantised one: 2 bits a weight have about 0.3, other weights 1.4."""
MOST_NAMED = 20
WITHOUT_SIGN, INFINITE = np.uint16(0x7FFF), 0x7C00
"""Of a value in F16, as a whole number of 16 bits."""
Progress = Callable[[int, int], None]
Place = tuple[Path, TensorHeader]


@dataclass
class GgufProof:
    """What was found tensor by tensor; names are those of the source.

    `same`: the rows are exactly the source's in the file's type. `near`: they are close to them, in a type that cannot be made
    here. `unknown`: what cannot be compared, with the reason as a code. Of the tensors in `same`, `changed` differ from the
    base's and `swallowed` do not although the merge changed them: the type is too coarse for their update.
    """

    same: list[str] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    swallowed: list[str] = field(default_factory=list)
    base: bool = False
    """Whether the base's files were there to compare with."""

    def to_json(self) -> dict[str, Any]:
        counts: dict[str, Any] = {"same": len(self.same), "near": len(self.near), "unknown": len(self.unknown)}
        if self.base:
            counts |= {"changed": len(self.changed), "swallowed": len(self.swallowed)}
        reasons = [{"tensor": name, "why": why} for name, why in list(self.unknown.items())[:MOST_NAMED]]
        return {**counts, "unknown_tensors": reasons}


@one_thread()
def prove_conversion(
    file: Path,
    header: GgufHeader,
    folder: Path,
    base: Path | None,
    name: str,
    progress: Progress = lambda done, total: None,
) -> GgufProof:
    """Hold a GGUF file to the safetensors folder that it was converted from, and to the base that was merged into that.

    What llama.cpp's map has no name for, what it fuses, splits or computes anew, is unknown. Raises `BakehouseError`:
    `weights_of_base` where a tensor is the base's although the merge changed it, `other_weights` where a tensor is not the
    source's although others of its kind are, `overflow` where a value does not fit into the type, `nothing_changed` where no
    tensor that the merge changed differs from the base's.
    """
    proof = GgufProof(base=base is not None)
    source, before = _places(folder, name), {} if base is None else _places(base, name)
    in_file = {tensor.name: tensor for tensor in header.tensors}
    name_of = gguf_names(header)
    of_base: list[str] = []
    differing: dict[str, str] = {}
    kinds: set[str] = set()
    for number, (key, place) in enumerate(source.items(), start=1):
        progress(number, len(source))
        target = name_of(key)
        tensor = None if target is None else in_file.get(target)
        why = "no_name" if target is None else "not_in_file" if tensor is None else _incomparable(tensor, place[1])
        if why is not None or tensor is None:
            proof.unknown[key] = why or "not_in_file"
            continue
        kind = type_of(tensor)
        assert kind is not None  # what has none is not comparable
        size = row_count(tensor), tensor.shape[0]
        theirs, ours = _finite(rows_in(file, header, tensor), kind, file, tensor.name), _as_rows(place, kind)
        its_base = before.get(key)
        if its_base is not None and its_base[1].shape != place[1].shape:
            its_base = None
        touched = its_base is not None and not _same_values(place, its_base)
        shown = its_base is None or not touched or not _equal(ours, _as_rows(its_base, kind), size)
        if same_rows(theirs, ours, *size):
            proof.same.append(key)
            kinds.add(_kind_of(tensor.name))
            if touched:
                (proof.changed if shown else proof.swallowed).append(key)
        elif touched and its_base is not None and same_rows(theirs, _as_rows(its_base, kind), *size):
            of_base.append(key)
        else:
            differing[key] = _kind_of(tensor.name)
    if of_base:
        raise BakehouseError(
            f"{len(of_base)} tensors of the file are the base's although the merge changed them: {named(of_base)}",
            code="weights_of_base",
            file=file.name,
            remedy=OTHER_VERSION,
        )
    wrong = [key for key, kind_name in differing.items() if kind_name in kinds]
    if wrong:
        raise BakehouseError(
            f"{len(wrong)} tensors of the file are not those of the model that was converted: {named(wrong)}",
            code="other_weights",
            file=file.name,
            remedy=OTHER_VERSION,
        )
    # The converter does to a tensor what it does to all of its kind: it has computed these anew.
    proof.unknown.update(dict.fromkeys(differing, "computed_anew"))
    _refuse_no_change(proof, file)
    return proof


@one_thread()
def prove_quantisation(
    file: Path,
    header: GgufHeader,
    source: Path,
    source_header: GgufHeader,
    progress: Progress = lambda done, total: None,
) -> GgufProof:
    """Hold a quantised GGUF file to the one of full precision that it was made of.

    In a type that can be made here the rows must be just those, else close to them. Raises `BakehouseError`: `other_weights`.
    """
    proof = GgufProof()
    theirs = {tensor.name: tensor for tensor in header.tensors}
    wrong: list[str] = []
    for number, tensor in enumerate(source_header.tensors, start=1):
        progress(number, len(source_header.tensors))
        quantised = theirs.get(tensor.name)
        if quantised is None or quantised.shape != tensor.shape:
            wrong.append(tensor.name)
            continue
        kind, from_kind = type_of(quantised), type_of(tensor)
        if kind is None or from_kind is None or not can_read(from_kind) or not (can_make(kind) or can_read(kind)):
            proof.unknown[tensor.name] = "unknown_type"
            continue
        size = row_count(tensor), tensor.shape[0]
        ours, rows = rows_in(source, source_header, tensor), rows_in(file, header, quantised)
        if _is_quantised(ours, from_kind, rows, kind, size):
            proof.same.append(tensor.name)
        elif can_read(kind) and _error(ours, from_kind, rows, kind, size) < MOST_ERROR:
            proof.near.append(tensor.name)
        else:
            wrong.append(tensor.name)
    if wrong:
        raise BakehouseError(
            f"{len(wrong)} tensors of the file are not those of the file that was quantised: {named(wrong)}",
            code="other_weights",
            file=file.name,
            remedy=OTHER_VERSION,
        )
    return proof


def _refuse_no_change(proof: GgufProof, file: Path) -> None:
    if proof.swallowed and not proof.changed:
        raise BakehouseError(
            "no tensor of the file differs from the base's: the update is too small for this type",
            code="nothing_changed",
            file=file.name,
            remedy="export with --dtype fp32, or train the adapter further",
        )


def _places(folder: Path, name: str) -> dict[str, Place]:
    return {key: (file, tensor) for file in weight_files(folder, name) for key, tensor in read_header(file).items()}


def _kind_of(name: str) -> str:
    """`blk.3.attn_q.weight` without the number of its block."""
    return re.sub(r"\d+", "N", name)


def _incomparable(tensor: GgufTensor, source: TensorHeader) -> str | None:
    """Why a tensor of a file cannot be held to one of a checkpoint; None where that can be done."""
    kind = type_of(tensor)
    if kind is None or not can_make(kind):
        return "unknown_type"
    if source.dtype not in ("F64", "F32", "F16", "BF16"):
        return "no_floats"
    if row_length(source) != tensor.shape[0] or _count(source) != row_count(tensor):
        return "other_shape"
    return None


def _count(source: TensorHeader) -> int:
    rows = 1
    for length in source.shape[:-1]:
        rows *= length
    return rows


def _as_rows(place: Place, kind: GGMLQuantizationType) -> Rows:
    """A checkpoint's tensor as the converter would write it, but for the order of its rows."""
    return lambda begin, end: made(read_rows(*place, begin, end).float().numpy(), kind)


def _same_values(merged: Place, base: Place) -> bool:
    """Whether a merge left a tensor as it was: the base's values in the type that the merge has written."""
    size = _count(merged[1]), row_length(merged[1])
    for begin, end in pieces(*size):
        written = read_rows(*merged, begin, end)
        if not torch.equal(written, read_rows(*base, begin, end).to(written.dtype)):
            return False
    return True


def _equal(one: Rows, other: Rows, size: tuple[int, int]) -> bool:
    return all(np.array_equal(one(begin, end), other(begin, end)) for begin, end in pieces(*size))


def _finite(rows: Rows, kind: GGMLQuantizationType, file: Path, name: str) -> Rows:
    """The rows, looked at while they are read.

    F16 ends at 65,504: a larger value is infinite in the file, and the model answers with rubbish.
    """
    if kind.name != "F16":
        return rows

    def looked_at(begin: int, end: int) -> NDArray[np.uint8]:
        read = rows(begin, end)
        # All bits of the exponent are those of an infinite value or of none at all.
        if read.size and int((read.view(np.uint16) & WITHOUT_SIGN).max()) >= INFINITE:
            raise BakehouseError(
                f"{name} has values beyond the range of F16",
                code="overflow",
                file=file.name,
                remedy="export with --dtype bf16 or fp32",
            )
        return read

    return looked_at


def _is_quantised(
    ours: Rows, from_kind: GGMLQuantizationType, rows: Rows, kind: GGMLQuantizationType, size: tuple[int, int]
) -> bool:
    if not can_make(kind):
        return False
    return _equal(lambda begin, end: made(values_of(ours(begin, end), from_kind), kind), rows, size)


def _error(
    ours: Rows, from_kind: GGMLQuantizationType, rows: Rows, kind: GGMLQuantizationType, size: tuple[int, int]
) -> float:
    """‖Q(x) − x‖ / ‖x‖ of a tensor; 0 where both are zero."""
    squared = away = 0.0
    for begin, end in pieces(*size):
        x, q = values_of(ours(begin, end), from_kind), values_of(rows(begin, end), kind)
        squared += float(_square(x))
        away += float(_square(q - x))
    return (away / squared) ** 0.5 if squared else float(away > 0)


def _square(values: NDArray[np.float32]) -> float:
    return float(np.square(values, dtype=np.float64).sum())
