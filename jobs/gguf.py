"""What the jobs that make GGUF files have in common: the file's place, its check, its artefact, the room on the disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config.base import writing
from core.config.model import ModelEntry
from core.errors import BakehouseError, InputError
from core.files import read_json, sha256_file
from core.format import data_size
from core.models.gguf import GgufHeader, check_servable
from jobs.artefacts import Artefact, ArtefactStore
from jobs.child import how_it_ended
from jobs.context import JobContext
from jobs.hub import require_room
from jobs.tools import ToolEnd

MARGIN_BYTES = 200_000_000
"""On the disk, beside the weights: the vocabulary, and what else goes into a header."""
UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class MadeGguf:
    """A GGUF file that is done: its artefact, the file in it, what its header says and the hash of the file itself."""

    artefact: Artefact
    file: Path
    header: GgufHeader
    sha256: str


def file_name(model: str, kind: str) -> str:
    """`SmolLM2-135M-Q8_0.gguf`."""
    return f"{UNSAFE.sub('-', model).strip('.-') or 'model'}-{kind}.gguf"


def gguf_file(context: JobContext, reference: str) -> tuple[Path, str | None]:
    """The file that `job:12/gguf` or a path means, and the hash that its job noted. Raises `InputError`, `NotFoundError`."""
    if not reference.startswith("job:"):
        path = Path(reference)
        if not path.is_file():
            raise InputError("no such GGUF file", code="no_model", file=path)
        return path, None
    folder, _ = context.artefacts.resolve(reference, "gguf")
    return the_file_in(folder), noted_sha256(folder)


def the_file_in(folder: Path) -> Path:
    """The one GGUF file of an artefact."""
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise InputError(f"{len(files)} GGUF files in it, one is expected", code="no_artefact", file=folder)
    return files[0]


def noted_sha256(folder: Path) -> str | None:
    """The hash of an artefact's file, as the job that made it noted it beside."""
    lineage = read_json(folder.parent / "lineage.json")
    found = lineage.get("file_sha256") if isinstance(lineage, dict) else None
    return found if isinstance(found, str) else None


def require_disk(store: ArtefactStore, weights: int, bits: float) -> None:
    """Refuse what the disk of the artefacts has no room for. BakehouseError with both sizes."""
    store.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.sweep()
    require_room(store.root, int(weights * bits / 8) + MARGIN_BYTES)


def add_gguf(
    context: JobContext, name: str, lineage: dict[str, Any], write: Callable[[Path], dict[str, Any]]
) -> MadeGguf:
    """Have `write` make the file at a temporary place, look at its header, and store it with its lineage.

    What `write` returns is added to the lineage, and so is the hash of the file. Nothing is stored of a file that is not whole.
    """
    made: list[tuple[GgufHeader, str]] = []

    def fill(folder: Path) -> None:
        file = folder / name
        lineage.update(write(file))
        if not file.is_file():
            raise BakehouseError("the tool ended without an error and left no file", code="no_output", file=name)
        header = check_servable(file, name)
        context.phase("checking", f"{data_size(file.stat().st_size)}, {len(header.tensors)} tensors")
        made.append((header, sha256_file(file)))
        lineage["file_sha256"] = made[0][1]

    artefact = context.artefacts.add("gguf", lineage, fill)
    header, sha256 = made[0]
    if header.chat_template is None:
        context.warn(
            "no_chat_template",
            "the file has no chat template: a server takes one of its own, and answers may differ from the trained ones",
        )
    return MadeGguf(artefact, artefact.path / name, header, sha256)


def finish(context: JobContext, made: MadeGguf, kind: str, made_from: str, seconds: float, **summary: Any) -> None:
    """Leave the result of a job that made a GGUF file."""
    header = made.header
    context.finish(
        f"{data_size(made.artefact.size_bytes)} GGUF {kind}, {header.architecture}, from {made_from}",
        artefacts=[made.artefact],
        summary={
            "path": str(made.file),
            "bytes": made.artefact.size_bytes,
            "file_sha256": made.sha256,
            "architecture": header.architecture,
            "tensors": len(header.tensors),
            "chat_template": header.chat_template is not None,
            "seconds": seconds,
            **summary,
        },
    )


def base_lineage(context: JobContext, model: ModelEntry | None) -> dict[str, Any]:
    """What the lineage of each GGUF file begins with."""
    known = (
        {}
        if model is None
        else {"model": model.model_dump(mode="json", exclude_none=True, context=writing(context.home))}
    )
    return {"job": context.job.id, "attempt": context.attempt.number, "project": context.job.project_id, **known}


def tool_environment() -> dict[str, str]:
    """The job's environment, in which tools draw the bars that their progress is read from."""
    left_out = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS")
    return {
        **{key: value for key, value in os.environ.items() if key not in left_out},
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }


def require_success(output: ToolEnd, tool: str, why: str | None, folder: Path) -> None:
    """Tell in one line why a tool failed. BakehouseError."""
    if output.code == 0:
        return
    if any("No space left on device" in line for line in output.lines) or shutil.disk_usage(folder).free == 0:
        raise BakehouseError(
            f"{tool}: no space left on the disk", code="disk_full", file=folder, remedy="free some space and retry"
        )
    by_signal = output.code < 0
    ended = how_it_ended(output.code)
    raise BakehouseError(
        f"{tool} {ended}: {why}"
        if why and not by_signal
        else f"{tool} {ended}" + ("" if by_signal else " without saying why"),
        code="tool_failed",
        remedy="the log has all that it printed",
    )
