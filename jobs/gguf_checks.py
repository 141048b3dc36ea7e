"""What is proved and measured of a GGUF file before it is stored, as far as base, adapter and packages are there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.config.model import ModelEntry
from core.errors import BakehouseError
from core.models.gguf import GgufHeader
from jobs import models
from jobs.context import JobContext
from jobs.gguf import CheckedGguf

if TYPE_CHECKING:
    from jobs.gguf_survival import MergedUpdate

T = TypeVar("T")
PROOF_PACKAGES = ("gguf", "numpy", "torch")
SURVIVAL_PACKAGES = ("transformers", "peft")


class UnknownError(Exception):
    """Something cannot be known; the words say why."""


def check_conversion(
    context: JobContext,
    file: Path,
    header: GgufHeader,
    folder: Path,
    model: ModelEntry,
    made_of: Mapping[str, Any] | None,
    kind: str,
) -> CheckedGguf:
    """Prove that a file of the type `kind` is what was in `folder`, a model that was merged as `made_of` says.

    Raises `BakehouseError` for a file that is not; what cannot be looked at is left unknown.
    """
    from jobs.gguf_proof import prove_conversion

    context.phase("proving", "its tensors are those of the merged model and not the base's")
    base, why = _or_unknown(lambda: _base(context, model, made_of))
    proof = prove_conversion(file, header, folder, base, model.name, _progress(context))
    found = {"of": "the merged model", **proof.to_json(), **({"base_unknown": why} if why else {})}
    return _with_survival(context, found, [header], made_of, kind, base, why)


def check_quantisation(
    context: JobContext,
    file: Path,
    header: GgufHeader,
    source: Path,
    source_header: GgufHeader,
    model: ModelEntry | None,
    made_of: Mapping[str, Any] | None,
    kind: str,
) -> CheckedGguf:
    """Prove that a file of the type `kind` is `source` quantised; `made_of` is the lineage of that.

    Raises `BakehouseError` for a file that is not; what cannot be looked at is left unknown.
    """
    if missing := _missing(PROOF_PACKAGES):
        context.warn("not_proved", f"whether its tensors are those of its source is unknown: {missing}")
        return CheckedGguf()
    from jobs.gguf_proof import prove_quantisation

    context.phase("proving", f"its tensors are those of {source.name}")
    proof = prove_quantisation(file, header, source, source_header, _progress(context))
    merge = _merge_in(made_of)
    found = {"of": source.name, **proof.to_json()}
    base, why = _or_unknown(lambda: _base(context, model, merge)) if merge else (None, None)
    return _with_survival(context, found, [source_header, header], merge, kind, base, why)


def _with_survival(
    context: JobContext,
    proof: dict[str, Any],
    headers: Sequence[GgufHeader],
    merge: Mapping[str, Any] | None,
    kind: str,
    base: Path | None,
    why: str | None,
) -> CheckedGguf:
    """The proof, and how much of the update survives where an adapter was merged."""
    merge = _merge_in(merge)
    if merge is None:
        return CheckedGguf(proof)
    if base is None:
        return CheckedGguf(proof, None, why)
    survival, why = _or_unknown(lambda: _survival(context, headers, merge, kind, base))
    if survival is not None and not any(one["changed"] for one in survival["tensors"]) and not survival["unknown"]:
        raise BakehouseError(
            "no tensor of the file differs from the base's: the update is too small for this type",
            code="nothing_changed",
            remedy="export with --dtype fp32, or train the adapter further",
        )
    return CheckedGguf(proof, survival, why)


def _survival(
    context: JobContext, headers: Sequence[GgufHeader], merge: Mapping[str, Any], kind: str, base: Path
) -> dict[str, Any]:
    if missing := _missing(SURVIVAL_PACKAGES):
        raise UnknownError(missing)
    models.prepare_libraries()
    from jobs.gguf_survival import gguf_survival

    update = _update(context, merge, base)
    context.phase("measuring", "how much of the update survives")
    found = gguf_survival(update, headers, kind, check_stop=context.check_stop)
    if found is None:
        raise UnknownError(f"only llama.cpp writes {kind}")
    return {**found, "merged": merge["dtype"]}


def _update(context: JobContext, merge: Mapping[str, Any], base: Path) -> MergedUpdate:
    """What was merged, from a merge's lineage."""
    from jobs.gguf_survival import MergedUpdate
    from jobs.merge import seen_weights

    adapter, sha256 = context.artefacts.resolve(str(merge["adapter"]), "adapter")
    if sha256 != merge.get("adapter_sha256"):
        raise UnknownError(f"the adapter {merge['adapter']} is another one by now")
    seen = seen_weights(adapter, str(merge["adapter"])) if merge.get("base_weights") == "dequantized" else None
    return MergedUpdate(base, str(_model_name(merge)), adapter, merge["dtype"], seen)


def _base(context: JobContext, model: ModelEntry | None, merge: Mapping[str, Any] | None) -> Path:
    """The safetensors of the base that was merged into."""
    if model is None:
        raise UnknownError("nothing is on record of the base model")
    base = models.locate(model, context.home)
    if merge is not None and merge.get("base_fingerprint") not in (None, base.fingerprint):
        raise UnknownError(f"the files of {model.name} are others by now")
    if models.reads_gguf(base, context.home):
        raise UnknownError(f"what was made of the GGUF file of {model.name} for the merge is no longer in the cache")
    return models.safetensors_folder(base, context.home)


def _merge_in(lineage: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The step of a lineage that merged an adapter."""
    part = lineage
    while isinstance(part, Mapping):
        if "adapter" in part and "dtype" in part:
            return part
        part = part.get("made_of")
    return None


def _model_name(merge: Mapping[str, Any]) -> str:
    model = merge.get("model")
    return str(model.get("name")) if isinstance(model, Mapping) else "the base"


def _missing(packages: Sequence[str]) -> str | None:
    gone = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"the job's Python lacks {', '.join(gone)}" if gone else None


def _or_unknown(look: Callable[[], T]) -> tuple[T | None, str | None]:
    """What was found, or why that cannot be known."""
    try:
        return look(), None
    except (UnknownError, BakehouseError, OSError) as error:
        return None, str(error).splitlines()[0]


def _progress(context: JobContext) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        context.check_stop()
        context.progress(done, total, "tensors", label="proving")

    return tell
