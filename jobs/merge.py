"""The job `merge`: an adapter merged into its base model, as plain safetensors with the tokenizer beside them."""

from __future__ import annotations

import time
from pathlib import Path

from core.errors import InputError
from core.format import data_size
from core.jobfile.merge import MergeSpec
from jobs import models
from jobs.adapters import load_adapter, require_same_base
from jobs.context import JobContext
from jobs.device import job_device
from jobs.manifest import device_facts, extend_manifest, start_manifest


def run(context: JobContext, spec: MergeSpec) -> None:
    started = time.time()
    context.phase("finding the adapter", spec.adapter)
    start_manifest(context)
    folder, sha256 = context.artefacts.resolve(spec.adapter, "adapter")
    if not (folder / "adapter_config.json").is_file():
        raise InputError("holds no adapter: adapter_config.json is absent", code="no_adapter", file=folder)

    context.phase("loading the model", spec.model.name)

    models.prepare_libraries()
    base = models.locate(spec.model, context.home)
    require_same_base(folder, base)
    device = job_device(context)
    dtype = models.as_torch(spec.dtype)
    tokenizer = models.load_tokenizer(base, context.home)
    model = models.load_model(base, context.home, device, dtype)
    extend_manifest(context, device=device_facts(), dtype=spec.dtype, adapter_sha256=sha256)

    context.phase("merging")
    merged = load_adapter(model, folder).merge_and_unload(safe_merge=True)

    context.phase("saving the merged model")

    def fill(place: Path) -> None:
        merged.save_pretrained(place)
        tokenizer.save_pretrained(place)

    lineage = {
        "job": context.job.id,
        "attempt": context.attempt.number,
        "project": context.job.project_id,
        "model": spec.model.model_dump(mode="json", exclude_none=True),
        "base_fingerprint": base.fingerprint,
        "adapter_sha256": sha256,
        "adapter": spec.adapter,
        "dtype": spec.dtype,
    }
    artefact = context.artefacts.add("merged", lineage, fill)
    summary = {"model": spec.model.name, "adapter": spec.adapter, "bytes": artefact.size_bytes}
    message = f"{data_size(artefact.size_bytes)}, merged from {spec.adapter}"
    context.finish(message, artefacts=[artefact], summary={**summary, "seconds": time.time() - started})
