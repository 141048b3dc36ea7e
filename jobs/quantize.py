"""The job `quantize`: a GGUF file of full precision becomes a smaller one, by `llama-quantize`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from core.data.training_marks import has_training_marks
from core.files import sha256_file
from core.jobfile.quantize import BITS, QuantizeSpec
from core.models.gguf import GgufHeader, check_servable, require_full_precision
from core.models.llama_cpp import missing, version_in
from jobs.censored import passes_on_censored
from jobs.context import JobContext
from jobs.gguf import (
    CheckedGguf,
    add_gguf,
    base_lineage,
    file_name,
    files_as_they_are,
    finish,
    gguf_file,
    require_disk,
    require_success,
    require_unchanged,
    tool_environment,
    weights_of,
)
from jobs.gguf_checks import check_quantisation
from jobs.manifest import extend_manifest, start_manifest
from jobs.tools import run_tool

# `[   1/ 272]                    output_norm.weight - [  576, 1, 1, 1], type = f32, size = 0.002 MB`
TENSOR = re.compile(r"^\[\s*(\d+)/\s*(\d+)\]\s+(\S+)")
WHY = r"(?:failed to quantize: |error(?: loading model)?: |GGML_ASSERT)(.+)$"
FALLBACK = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")
ENDING = re.compile(r"-(?:f16|f32|bf16|fp16|fp32)$", re.IGNORECASE)


def run(context: JobContext, spec: QuantizeSpec) -> None:
    started = time.monotonic()
    context.phase("finding the file", spec.source)
    start_manifest(context)
    if passes_on_censored(context, spec.source):
        return
    program = Path(spec.program)
    if not program.is_file():
        raise missing("llama-quantize")
    source, noted = gguf_file(context, spec.source)
    before = files_as_they_are(source)
    name = ENDING.sub("", source.stem)
    header = check_servable(source, source.name)
    precision = require_full_precision(header, source)
    marked = has_training_marks(header.chat_template or "")
    require_disk(context.artefacts, header.values, BITS[spec.quantization], twice=marked)
    sha256 = weights_of(source, noted, context.home, context.check_stop).removeprefix("sha256:")
    lineage: dict[str, Any] = {
        **base_lineage(context, spec.model),
        "source": spec.source,
        "source_sha256": sha256,
        "source_format": precision,
        "quantization": spec.quantization,
    }
    if (made_of := context.artefacts.lineage_of(spec.source, "gguf", source.parent)) is not None:
        lineage["made_of"] = made_of

    versions: list[str] = []
    """What it printed of its version, the first first: of a large model that is no longer among the lines that are kept."""

    def at_line(text: str) -> None:
        if (tensor := TENSOR.match(text)) is not None:
            context.progress(int(tensor[1]), int(tensor[2]), "tensors", label=f"quantising, {spec.quantization}")
        elif (version := version_in(text)) is not None:
            versions.append(version)

    def write(file: Path) -> dict[str, Any]:
        context.phase("quantising", f"{source.name} to {spec.quantization}")
        command = [str(program), str(source), str(file), spec.quantization]
        output = run_tool(context, command, at_line, environ=tool_environment())
        require_unchanged(source, before)
        require_success(output, program.name, output.last(WHY), file.parent)
        printed = "\n".join(output.lines)
        # One that does not say its version is told apart by what it is.
        tool = {"name": program.name, "version": versions[0] if versions else f"sha256:{sha256_file(program)}"}
        extend_manifest(context, quantizer={"path": str(program), **tool}, quantization=spec.quantization)
        if (fallback := FALLBACK.search(printed)) is not None:
            context.warn(
                "fallback_types",
                f"{fallback[1]} of {fallback[2]} tensors do not divide into blocks of {spec.quantization}: they take "
                "another type, and the file is larger than usual",
            )
        return {"tool": tool}

    def prove(file: Path, found: GgufHeader) -> CheckedGguf:
        made_of = lineage.get("made_of")
        return check_quantisation(context, file, found, source, header, spec.model, made_of, spec.quantization)

    wanted = file_name(name, spec.quantization)
    made = add_gguf(context, wanted, spec.quantization, spec.served, lineage, write, prove)
    finish(
        context,
        made,
        spec.quantization,
        spec.source,
        time.monotonic() - started,
        model=spec.model.name if spec.model else None,
        source=spec.source,
        quantization=spec.quantization,
        tool=lineage["tool"],
    )
