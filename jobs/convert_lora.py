"""The job `convert_lora`: an adapter becomes a GGUF file that llama-server puts on its base, by llama.cpp's own converter."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import BakehouseError, InputError
from core.files import sha256_file, write_json
from core.format import data_size
from core.jobfile.convert_lora import ConvertLoraSpec
from core.models.adapters import ADAPTER_WEIGHTS, UNLESS_SAID, check_adapter
from core.models.folder import ADAPTER_CONFIG
from core.models.gguf import GgufHeader
from core.models.gguf_lora import ALPHA, check_lora, layers_of
from core.models.headers import TensorHeader
from core.models.llama_cpp import converter_command, converter_version, missing
from jobs import models
from jobs.adapters import require_same_base
from jobs.censored import passes_on_censored
from jobs.context import JobContext
from jobs.convert import WHY
from jobs.gguf import (
    base_lineage,
    file_name,
    files_as_they_are,
    require_disk,
    require_success,
    require_unchanged,
    tool_environment,
)
from jobs.manifest import extend_manifest, start_manifest
from jobs.tools import run_tool

FORMAT = "f16"
BITS = 16.0
CLOSE = 1e-5
"""Alpha is stored in fp32."""


def run(context: JobContext, spec: ConvertLoraSpec) -> None:
    started = time.monotonic()
    context.phase("finding the adapter", spec.adapter)
    start_manifest(context)
    if passes_on_censored(context, spec.adapter):
        return
    converter = Path(spec.converter)
    if not converter.is_file():
        raise missing("lora-converter")
    folder, sha256 = context.artefacts.resolve(spec.adapter, "adapter")
    config, tensors = check_adapter(folder)
    alpha = served_alpha(config, folder)
    base = models.locate(spec.model, context.home)
    require_same_base(folder, base)
    if base.gguf is not None:
        models.prepare_libraries()
    source = models.safetensors_folder(base, context.home)
    version = converter_version(converter)
    extend_manifest(context, converter={"path": str(converter), "version": version}, adapter_sha256=sha256)
    require_disk(context.artefacts, sum(math.prod(one.shape) for one in tensors.values()), BITS)

    lineage: dict[str, Any] = {
        **base_lineage(context, spec.model),
        "adapter": spec.adapter,
        "adapter_sha256": sha256,
        "base_fingerprint": base.fingerprint,
        "format": FORMAT,
        "alpha": alpha,
        "tool": {"name": converter.name, "version": version},
    }
    if (made_of := context.artefacts.lineage_of(spec.adapter, "adapter", folder)) is not None:
        lineage["made_of"] = made_of
    name = file_name(f"{spec.model.name}-{spec.task}" if spec.task else spec.model.name, "LoRA-F16")
    made: list[GgufHeader] = []

    def fill(place: Path) -> dict[str, str]:
        context.phase("converting", f"{spec.adapter}, written as {FORMAT}")
        file = place / name
        before = files_as_they_are(folder)
        with tempfile.TemporaryDirectory(dir=context.attempt.path, prefix="adapter-") as scratch:
            as_read = with_alpha(folder, config, alpha, Path(scratch) / Path(name).stem)
            command = [*converter_command(converter, sys.executable), str(as_read)]
            command += ["--base", str(source), "--outtype", FORMAT, "--outfile", str(file)]
            output = run_tool(context, command, lambda text: None, environ=tool_environment())
        require_unchanged(folder, before)
        require_success(output, converter.name, output.last(WHY), place)
        made.append(require_whole(file, tensors, alpha))
        lineage["file_sha256"] = sha256_file(file)
        return {name: lineage["file_sha256"]}

    artefact = context.artefacts.add("lora", lineage, fill)
    layers = layers_of(made[0])
    context.finish(
        f"{data_size(artefact.size_bytes)} GGUF LoRA, {layers} layers, from {spec.adapter}",
        artefacts=[artefact],
        summary={
            "model": spec.model.name,
            "adapter": spec.adapter,
            "path": str(artefact.path / name),
            "bytes": artefact.size_bytes,
            "file_sha256": lineage["file_sha256"],
            "layers": layers,
            "alpha": alpha,
            "seconds": time.monotonic() - started,
        },
    )


def served_alpha(config: Mapping[str, Any], folder: Path) -> float:
    """The alpha to write for an adapter, so that llama.cpp's scale, alpha / r, is the one that it was trained with.

    A rank-stabilised one has the scale alpha / √r (Kalajdzievski, arXiv 2312.03732): alpha · √r is written. InputError for what
    a GGUF adapter cannot hold: DoRA, an alpha for each layer, weights that are replaced, biases.
    """
    patterns, ranks = config.get("alpha_pattern") or {}, config.get("rank_pattern") or {}
    stabilised = bool(config.get("use_rslora"))
    held_back = {
        "use_dora": "it is a DoRA, whose magnitudes llama.cpp does not know" if config.get("use_dora") else None,
        "alpha_pattern": "it has an alpha for some layers of their own" if patterns else None,
        "rank_pattern": "it is rank-stabilised with several ranks, which one alpha cannot scale"
        if ranks and stabilised
        else None,
        "modules_to_save": "it replaces whole weights of the base" if config.get("modules_to_save") else None,
        "target_parameters": "it changes tensors of several experts" if config.get("target_parameters") else None,
        "bias": "it trains biases" if config.get("bias", "none") != "none" or config.get("lora_bias") else None,
    }
    for key, why in held_back.items():
        if why is not None:
            raise InputError(
                f"the adapter cannot be served as a GGUF file of its own: {why}",
                code="no_gguf_lora",
                file=folder / ADAPTER_CONFIG,
                key=key,
                remedy="merge it with `bakehouse export`",
            )
    alpha, rank = float(config.get("lora_alpha", UNLESS_SAID)), float(config.get("r", UNLESS_SAID))
    return alpha * math.sqrt(rank) if stabilised else alpha


def with_alpha(folder: Path, config: Mapping[str, Any], alpha: float, scratch: Path) -> Path:
    """The adapter as the converter is to read it: the same weights, and the alpha that is to be written.

    The converter writes the folder's name into the file: it must be the same whenever the same adapter is converted.
    """
    scratch.mkdir(exist_ok=True)
    write_json(scratch / ADAPTER_CONFIG, {**config, "lora_alpha": alpha})
    (scratch / ADAPTER_WEIGHTS).symlink_to((folder / ADAPTER_WEIGHTS).resolve())
    return scratch


def require_whole(file: Path, tensors: Mapping[str, TensorHeader], alpha: float) -> GgufHeader:
    """Refuse a file that has not every factor of the adapter, or another scale than the trained one. BakehouseError."""
    if not file.is_file():
        raise BakehouseError("the tool ended without an error and left no file", code="no_output", file=file.name)
    header = check_lora(file, file.name)
    wanted = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if header.values != wanted or not math.isclose(header.keys[ALPHA], alpha, rel_tol=CLOSE):
        raise BakehouseError(
            f"the adapter has {wanted:,} values and alpha {alpha:g}; the tool wrote {header.values:,} and "
            f"{header.keys[ALPHA]:g}",
            code="other_output",
            file=file.name,
            remedy="take another version of llama.cpp",
        )
    return header
