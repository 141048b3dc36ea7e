"""The job `merge`: an adapter merged into its base model in fp32, as safetensors with the tokenizer beside them."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.config.base import writing
from core.config.model import WeightFormat
from core.config.recipe import Recipe
from core.errors import InputError
from core.files import read_json
from core.format import data_size
from core.jobfile.merge import MergeSpec, not_quantized, survival_words
from core.models.adapters import check_adapter
from core.models.folder import weight_files
from core.models.headers import read_header
from jobs import models
from jobs.adapters import require_same_base
from jobs.censored import passes_on_censored
from jobs.context import JobContext
from jobs.device import job_device
from jobs.gguf import require_disk
from jobs.manifest import device_facts, extend_manifest, start_manifest
from jobs.serving_tokenizer import save_for_serving

if TYPE_CHECKING:
    from jobs.merging import Merged
    from jobs.quantised import SeenWeights

WEIGHT_BITS: dict[WeightFormat, int] = {"bf16": 16, "fp16": 16, "fp32": 32}


def run(context: JobContext, spec: MergeSpec) -> None:
    started = time.monotonic()
    context.phase("finding the adapter", spec.adapter)
    start_manifest(context)
    if passes_on_censored(context, spec.adapter):
        return
    folder, sha256 = context.artefacts.resolve(spec.adapter, "adapter")
    if not (folder / "adapter_config.json").is_file():
        raise InputError("holds no adapter: adapter_config.json is absent", code="no_adapter", file=folder)

    context.phase("finding the model", spec.model.name)
    models.prepare_libraries()
    base = models.locate(spec.model, context.home)
    require_same_base(folder, base)
    seen = seen_weights(folder, spec.adapter) if spec.base_weights == "dequantized" else None
    device = job_device(context)
    tokenizer = models.load_tokenizer(base, context.home)
    source = models.safetensors_folder(base, context.home)
    extend_manifest(context, device=device_facts(), dtype=spec.dtype, adapter_sha256=sha256)
    require_disk(context.artefacts, _weights(source, base.name, folder), WEIGHT_BITS[spec.dtype])

    from jobs.merge_math import survival_document
    from jobs.merging import merge_into

    into = "" if seen is None else f", into the base of {seen.options.bits} bits made whole again"
    context.phase("merging", f"in fp32{into}, written as {spec.dtype}")
    done: list[Merged] = []

    def tell(bytes_done: int, total: int) -> None:
        context.check_stop()
        context.progress(bytes_done, total, "bytes", label=f"merging, {spec.dtype}")

    def fill(place: Path) -> None:
        dtype = models.as_torch(spec.dtype)
        done.append(merge_into(place, source, base.name, folder, dtype, device, tell, context.warn, seen))
        save_for_serving(tokenizer, place)

    lineage = {
        "job": context.job.id,
        "attempt": context.attempt.number,
        "project": context.job.project_id,
        "model": spec.model.model_dump(mode="json", exclude_none=True, context=writing(context.home)),
        "base_fingerprint": base.fingerprint,
        "adapter_sha256": sha256,
        "adapter": spec.adapter,
        "dtype": spec.dtype,
        "base_weights": spec.base_weights,
    }
    if (made_of := context.artefacts.lineage_of(spec.adapter, "adapter", folder)) is not None:
        lineage["made_of"] = made_of
    artefact = context.artefacts.add("merged", lineage, fill)
    survived = survival_document(done[0].tensors, spec.dtype)
    if done[0].untied:
        context.warn("untied", "output head and embedding shared their weights and are two tensors now")
    summary = {
        "model": spec.model.name,
        "adapter": spec.adapter,
        "base_weights": spec.base_weights,
        "path": str(artefact.path),
        "bytes": artefact.size_bytes,
        "survival": survived,
        "seconds": time.monotonic() - started,
    }
    message = f"{data_size(artefact.size_bytes)}, merged from {spec.adapter}; {survival_words(survived)}"
    context.finish(message, artefacts=[artefact], summary=summary)


def _weights(base: Path, name: str, adapter: Path) -> int:
    """The most weights that the merged model can have: a head that the adapter parts from its embedding is one more tensor."""
    sizes = [math.prod(tensor.shape) for file in weight_files(base, name) for tensor in read_header(file).values()]
    parts = any(key in tensor for tensor in check_adapter(adapter)[1] for key in ("lm_head", "embed"))
    return sum(sizes) + (max(sizes, default=0) if parts else 0)


def seen_weights(adapter: Path, named: str) -> SeenWeights:
    """What an adapter's training saw of its base, as its lineage has it.

    Raises `InputError`: `not_quantized` where that was the base itself, `no_lineage` where nothing is known of the training.
    """
    from jobs.quantised import SeenWeights

    lineage = read_json(adapter.parent / "lineage.json")
    recipe = lineage.get("recipe") if isinstance(lineage, dict) else None
    if not isinstance(recipe, dict):
        raise InputError(
            "nothing on record tells how the base was quantised when this adapter was trained",
            code="no_lineage",
            file=adapter,
            remedy="merge it into the original weights: leave out `--base-weights dequantized`",
        )
    used = Recipe.model_validate(recipe)
    if used.hqq is None:
        raise not_quantized(named)
    # A training notes what it computed in, not the recipe's `auto`.
    return SeenWeights(used.hqq, models.as_torch("fp32" if used.dtype == "auto" else used.dtype))
