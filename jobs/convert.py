"""The job `convert`: a model in transformers' layout becomes a GGUF file, by llama.cpp's own converter."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core.data.training_marks import has_training_marks
from core.jobfile.convert import BITS, ConvertSpec
from core.models.fingerprints import chat_template
from core.models.folder import weight_files
from core.models.gguf import GgufHeader
from core.models.headers import read_header
from core.models.llama_cpp import converter_command, converter_version, missing
from jobs import models
from jobs.censored import passes_on_censored
from jobs.context import JobContext
from jobs.gguf import (
    CheckedGguf,
    add_gguf,
    base_lineage,
    file_name,
    files_as_they_are,
    finish,
    require_disk,
    require_success,
    require_unchanged,
    tool_environment,
)
from jobs.gguf_checks import check_conversion
from jobs.manifest import extend_manifest, start_manifest
from jobs.serving_tokenizer import beside_weights
from jobs.tools import run_tool

# tqdm's bar, `Writing:  40%|███▉      | 1.84M/4.59M [00:00<00:00, 15.7Mbyte/s]`, in powers of 1000.
BAR = re.compile(r"^Writing:.*\|\s*([\d.]+)([kMGT]?)/([\d.]+)([kMGT]?) ")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# The last line of a traceback, or what the converter logs before it gives up.
WHY = r"^(?:ERROR:[\w.-]+:)(.+)$|^(\w*(?:Error|Exception|Interrupt)\b.*)$"
# Names that its log has for the same thing: what the tokenizer does before it cuts words into tokens.
UNKNOWN_TOKENIZER = "BPE pre-tokenizer was not recognized"


def run(context: JobContext, spec: ConvertSpec) -> None:
    started = time.monotonic()
    context.phase("finding the model", spec.source or spec.model.name)
    start_manifest(context)
    if passes_on_censored(context, spec.source):
        return
    converter = Path(spec.converter)
    if not converter.is_file():
        raise missing("converter")
    with contextlib.ExitStack() as scratch:
        _convert(context, spec, converter, started, scratch)


def _convert(
    context: JobContext, spec: ConvertSpec, converter: Path, started: float, scratch: contextlib.ExitStack
) -> None:
    name = spec.model.name
    source, sha256, fingerprint = _source(context, spec, scratch)
    weights = sum(
        math.prod(tensor.shape) for file in weight_files(source, name) for tensor in read_header(file).values()
    )
    version = converter_version(converter)
    extend_manifest(context, converter={"path": str(converter), "version": version}, format=spec.format)
    require_disk(context.artefacts, weights, BITS[spec.format], twice=_has_marks(source))

    lineage = {
        **base_lineage(context, spec.model),
        "source": spec.source or name,
        "source_sha256": sha256,
        "base_fingerprint": fingerprint,
        "format": spec.format,
        "tool": {"name": converter.name, "version": version},
    }
    if spec.source is not None and (made_of := context.artefacts.lineage_of(spec.source, "merged", source)) is not None:
        lineage["made_of"] = made_of

    def write(file: Path) -> dict[str, Any]:
        context.phase("converting", f"{spec.source or name}, written as {spec.format}")
        command = [*converter_command(converter, sys.executable), str(source)]
        command += ["--outtype", spec.format, "--outfile", str(file), f"--model-name={name}"]
        before = files_as_they_are(source)
        output = run_tool(context, command, lambda text: _tell(context, text, spec.format), environ=tool_environment())
        why = output.last(WHY)
        if why is not None and UNKNOWN_TOKENIZER in "\n".join(output.lines):
            why = f"its tokenizer is not one that llama.cpp knows ({UNKNOWN_TOKENIZER})"
        require_unchanged(source, before)
        require_success(output, converter.name, why, file.parent)
        return {}

    kind = spec.format.upper()

    def prove(file: Path, header: GgufHeader) -> CheckedGguf:
        if spec.source is None:
            return CheckedGguf()
        return check_conversion(context, file, header, source, spec.model, lineage.get("made_of"), kind)

    made = add_gguf(context, file_name(_named(spec), kind), kind, spec.served, lineage, write, prove)
    finish(
        context,
        made,
        kind,
        spec.source or name,
        time.monotonic() - started,
        model=name,
        source=spec.source,
        format=spec.format,
        tool=lineage["tool"],
    )


def _has_marks(folder: Path) -> bool:
    """Whether the template of a model folder has marks of training, which are taken out of the file that is made."""
    with contextlib.suppress(OSError, ValueError):
        return has_training_marks(chat_template(folder) or "")
    return False


def _named(spec: ConvertSpec) -> str:
    return f"{spec.model.name}-{spec.task}" if spec.task else spec.model.name


def _source(
    context: JobContext, spec: ConvertSpec, scratch: contextlib.ExitStack
) -> tuple[Path, str | None, str | None]:
    """The folder to convert, the hash of an artefact, the fingerprint of a base model.

    Of a base model whose entry gives it a chat template the folder is one of links, which goes with `scratch`.
    """
    if spec.source is not None:
        folder, sha256 = context.artefacts.resolve(spec.source, "merged")
        models.require_whole_files(folder, spec.model.name)
        return folder, sha256, None
    base = models.locate(spec.model, context.home)
    if base.gguf is not None:
        context.warn(
            "from_gguf",
            f"{spec.model.name} is a GGUF file itself: what its own quantisation has lost does not come back",
        )
    if base.gguf is not None or base.template is not None:
        models.prepare_libraries()
    folder = models.safetensors_folder(base, context.home)
    if base.template is not None:
        place = scratch.enter_context(tempfile.TemporaryDirectory(dir=context.attempt.path, prefix="model-"))
        beside_weights(models.load_tokenizer(base, context.home), folder, Path(place) / "model")
        folder = Path(place) / "model"
    return folder, None, base.fingerprint


def _tell(context: JobContext, text: str, kind: str) -> None:
    if (bar := BAR.match(text)) is not None:
        done, total = (round(float(bar[at]) * UNITS[bar[at + 1]]) for at in (1, 3))
        context.progress(done, total, "bytes", label=f"writing, {kind}")
