"""What the jobs that make GGUF files have in common: the file's place, its check, its artefact, the room on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config.base import writing
from core.config.model import ModelEntry
from core.data.shots import shots_in
from core.data.training_marks import has_training_marks
from core.errors import BakehouseError, InputError
from core.failures import NO_SPACE, refusal_of
from core.files import read_json, sha256_file
from core.format import data_size, listed
from core.home import Home
from core.jobfile.convert import check_words
from core.jobfile.served_as import ServedAs
from core.models.fingerprints import adapter_fingerprint, content_sha256
from core.models.gguf import FILE_TYPES, GgufHeader, check_servable
from core.models.gguf_lora import check_lora
from core.process.child import how_it_ended
from core.shipping.gguf_template import take_out_marks
from jobs.artefacts import Artefact, ArtefactStore
from jobs.context import JobContext
from jobs.hub import require_room
from jobs.modelfile import write_modelfile
from jobs.tools import ToolEnd

MARGIN_BYTES = 200_000_000
"""On the disk, beside the weights: the vocabulary, and what else goes into a header."""
FULL_BYTES = 1_000_000
"""A disk with less left is full: a tool that writes larger pieces fails before the last byte is taken."""
TOO_LARGE = re.compile(r"\[Errno 27\]|File too large")
UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class CheckedGguf:
    """What is known of a file's tensors, as the job's result has it.

    `proof`: what they were held to and how many agree (`gguf_proof.GgufProof`); None where that was not looked at.
    `survival`: how much of an adapter's update survives in the file (`merge_math.survival_document`); None where there is none
    or it is not known, the latter with a reason in `survival_unknown`.
    """

    proof: dict[str, Any] | None = None
    survival: dict[str, Any] | None = None
    survival_unknown: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if value is not None}


@dataclass(frozen=True)
class MadeGguf:
    """A GGUF file that is done: its artefact, the file in it, what its header says and the hash of the file itself."""

    artefact: Artefact
    file: Path
    header: GgufHeader
    sha256: str
    checked: CheckedGguf


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


def weights_of(file: Path, noted: str | None, home: Home, check_stop: Callable[[], None] = lambda: None) -> str:
    """`sha256:…` of a GGUF file: as its job noted it, else computed once for this path, size and time of change."""
    if noted is not None:
        return f"sha256:{noted}"
    return f"sha256:{content_sha256(file, home, check_stop)}"


def lora_on(context: JobContext, reference: str, weights: str) -> tuple[Path, str]:
    """The file of an adapter (`job:12/lora`), and the hash of the base's `weights` together with it.

    Raises `InputError`, `NotFoundError`.
    """
    folder, _ = context.artefacts.resolve(reference, "lora")
    file = the_file_in(folder)
    check_lora(file, file.name)
    own = weights_of(file, noted_sha256(folder), context.home, context.check_stop).removeprefix("sha256:")
    return file, f"sha256:{adapter_fingerprint(weights.removeprefix('sha256:'), own)}"


def require_disk(store: ArtefactStore, weights: int, bits: float, *, twice: bool = False) -> None:
    """Refuse what the disk of the artefacts has no room for: so many weights of so many bits, `twice` for what is written once
    more before it is stored. BakehouseError with both sizes."""
    store.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.sweep()
    require_room(store.root, (2 if twice else 1) * int(weights * bits / 8) + MARGIN_BYTES)


def add_gguf(
    context: JobContext,
    name: str,
    kind: str,
    served: ServedAs,
    lineage: dict[str, Any],
    write: Callable[[Path], dict[str, Any]],
    prove: Callable[[Path, GgufHeader], CheckedGguf],
) -> MadeGguf:
    """Have `write` make the file at a temporary place, look at its header, `prove` its tensors, and store it with a Modelfile
    and its lineage.

    Marks of training in its chat template are taken out: no server knows them.

    What `write` returns is added to the lineage, and so is the hash of the file. Nothing is stored of a file that is not whole,
    or not of the type that was asked for (`kind`).
    """
    made: list[tuple[GgufHeader, str, CheckedGguf]] = []

    def fill(folder: Path) -> dict[str, str]:
        file = folder / name
        lineage.update(write(file))
        if not file.is_file():
            raise BakehouseError("the tool ended without an error and left no file", code="no_output", file=name)
        header = check_servable(file, name)
        if header.file_type is not None and header.file_type != FILE_TYPES[kind]:
            found = {number: one for one, number in FILE_TYPES.items()}.get(
                header.file_type, f"type {header.file_type}"
            )
            raise BakehouseError(
                f"the tool was asked for {kind} and wrote {found}",
                code="other_output",
                file=name,
                remedy="take another version of llama.cpp",
            )
        if has_training_marks(header.chat_template or ""):
            # The copy without them stands beside the file for a while.
            require_room(folder, file.stat().st_size)
        if take_out_marks(file, header):
            lineage["training_marks"] = "removed"
            header = check_servable(file, name)
        lineage.update(write_modelfile(context, file, header, served, shots_in(lineage)))
        context.phase("checking", f"{data_size(file.stat().st_size)}, {len(header.tensors)} tensors")
        checked = prove(file, header)
        made.append((header, sha256_file(file), checked))
        lineage["file_sha256"] = made[0][1]
        return {name: made[0][1]}

    artefact = context.artefacts.add("gguf", lineage, fill)
    header, sha256, checked = made[0]
    if header.chat_template is None:
        context.warn(
            "no_chat_template",
            "the file has no chat template: a server takes one of its own, and answers may differ from the trained ones",
        )
    return MadeGguf(artefact, artefact.path / name, header, sha256, checked)


def finish(context: JobContext, made: MadeGguf, kind: str, made_from: str, seconds: float, **summary: Any) -> None:
    """Leave the result of a job that made a GGUF file."""
    header = made.header
    told = f"{data_size(made.artefact.size_bytes)} GGUF {kind}, {header.architecture}, from {made_from}"
    context.finish(
        "; ".join([told, *check_words(made.checked.to_json())]),
        artefacts=[made.artefact],
        summary={
            "path": str(made.file),
            "bytes": made.artefact.size_bytes,
            "file_sha256": made.sha256,
            "architecture": header.architecture,
            "tensors": len(header.tensors),
            "chat_template": header.chat_template is not None,
            "seconds": seconds,
            **made.checked.to_json(),
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


def files_as_they_are(source: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of the files that are read: what tells a source that changes meanwhile."""
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    found = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            if not file.is_dir():
                found.append((str(file.relative_to(source)), status.st_size, status.st_mtime_ns))
    return found


def require_unchanged(source: Path, before: list[tuple[str, int, int]]) -> None:
    """Refuse what was made of files that have changed meanwhile: nobody could say of what. BakehouseError."""
    now = files_as_they_are(source)
    if now == before:
        return
    gone = sorted({name for name, _, _ in before} - {name for name, _, _ in now})
    what = f"{listed(gone[:3])} gone" if gone and source.is_dir() else "gone" if gone else "changed"
    raise BakehouseError(
        f"the model that is read has {what} while the tool worked",
        code="source_changed",
        file=source,
        remedy="retry once its files are whole",
    )


def tool_environment() -> dict[str, str]:
    """The job's environment, in which tools draw the bars that their progress is read from, and look for nothing on the hub."""
    left_out = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS")
    return {
        **{key: value for key, value in os.environ.items() if key not in left_out},
        "PYTHONUTF8": "1",
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
    }


def _at_limit(folder: Path) -> bool:
    """Whether a file in it is as large as any may become: llama-quantize says `iostream error` then, as of everything else."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return most != resource.RLIM_INFINITY and any(
        one.is_file() and one.stat().st_size >= most for one in folder.iterdir()
    )


def require_success(output: ToolEnd, tool: str, why: str | None, folder: Path) -> None:
    """Tell in one line why a tool failed. BakehouseError."""
    if output.code == 0:
        return
    if output.code == -signal.SIGXFSZ or any(TOO_LARGE.search(line) for line in output.lines) or _at_limit(folder):
        raise refusal_of(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), folder)
    if any(NO_SPACE.search(line) for line in output.lines) or shutil.disk_usage(folder).free < FULL_BYTES:
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
