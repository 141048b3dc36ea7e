"""The artefact store: what jobs made, each under the hash of its content, with its lineage beside it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BakehouseError, InputError, NotFoundError
from core.failures import OF_THE_DISK, refusal_of
from core.files import fsync_directory, read_json, sha256_tree, write_json
from core.home import Home
from core.jobfile.references import parse_reference
from core.own_paths import read_result
from core.process.leftovers import sweep, temporary_name

LEFT_OUT = "it was left out of its experiment by its trials"
MOST_TRIES = 5
"""To take a place that another job takes at the same moment."""


@dataclass(frozen=True)
class Artefact:
    """`path` is the folder of the content; `size_bytes` is that of all its files."""

    sha256: str
    kind: str
    path: Path
    size_bytes: int
    lineage: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "kind": self.kind,
            "path": str(self.path),
            "bytes": self.size_bytes,
            "lineage": self.lineage,
        }


@dataclass(frozen=True)
class ArtefactStore:
    root: Path
    home: Home

    def add(self, kind: str, lineage: dict[str, Any], fill: Callable[[Path], Mapping[str, str] | None]) -> Artefact:
        """Let `fill` write a folder, and store it under its hash. The same content is stored once.

        What `fill` returns are the SHA-256 of files that it has computed already, by their name in the folder.

        The folder is written beside its place and renamed: a crash leaves a temporary one, never half an artefact. One that
        has lost a file since it was stored, or is damaged, is replaced. A disk that is full, read-only or failing is a
        BakehouseError with the folder of the artefacts; nothing is left of what was written then.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sweep()
        temporary = self.root / temporary_name(kind)
        shutil.rmtree(temporary, ignore_errors=True)
        content = temporary / kind
        content.mkdir(parents=True)
        try:
            sha256 = sha256_tree(content, fill(content))
            write_json(temporary / "lineage.json", {"kind": kind, "sha256": sha256, **lineage})
            _sync(content)
            place = self.root / sha256
            if not _is_whole(place / kind, sha256):
                self._replace(place, temporary)
        except OSError as error:
            if error.errno not in OF_THE_DISK:
                raise
            # An error of a file that is open names none.
            raise refusal_of(error, error.filename or self.root) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        size = sum(path.stat().st_size for path in (place / kind).rglob("*") if path.is_file())
        return Artefact(sha256, kind, place / kind, size, lineage)

    def _replace(self, place: Path, temporary: Path) -> None:
        """Have what was written at its place; what is there already goes. Another job may do the same at the same moment."""
        for _ in range(MOST_TRIES):
            if place.exists():
                aside = temporary.with_name(f"{temporary.name}-former")
                with contextlib.suppress(FileNotFoundError):
                    place.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
            try:
                temporary.rename(place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if any(place.is_dir() and _is_whole(kind, place.name) for kind in place.iterdir() if kind.is_dir()):
                    return
                continue
            fsync_directory(self.root)
            return
        raise BakehouseError(
            "its place in the artefacts can't be taken", code="artefact_busy", file=place, remedy="retry"
        )

    def lineage_of(self, reference: str, kind: str, folder: Path) -> dict[str, Any] | None:
        """Kind, hash and lineage of an artefact that `resolve` found: as its job noted them, for a path as they lie beside.

        None for a folder of somebody else.
        """
        if job := parse_reference(reference):
            # As it is stored: a path in it is that of its place in the home.
            result = read_json(self.home.run_dir(job.job_id).result) or {}
            wanted = job.makes or kind
            for item in result.get("artefacts", ()):
                if item["kind"] == wanted:
                    return {"kind": wanted, "sha256": item["sha256"], **item.get("lineage", {})}
            return None
        try:
            found = read_json(folder.parent / "lineage.json")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def lineage_of_file(self, digest: str | None) -> dict[str, Any] | None:
        """Lineage of the artefact that is the file of a digest (`sha256:…`), as it lies beside it; None where none here is."""
        for place in self.root.glob("*/lineage.json"):
            with contextlib.suppress(OSError, ValueError):
                found = read_json(place)
                if isinstance(found, dict) and digest == f"sha256:{found.get('file_sha256')}":
                    return found
        return None

    def sweep(self) -> None:
        """Remove what jobs that were killed left half written: these are gigabytes."""
        sweep(self.root)

    def resolve(self, reference: str, kind: str) -> tuple[Path, str]:
        """Folder and hash of `job:12`, `job:12/adapter` or a path.

        NotFoundError when the job left no such artefact, InputError when it names neither a job nor a folder.
        """
        if job := parse_reference(reference):
            wanted = job.makes or kind
            result = read_result(self.home.run_dir(job.job_id))
            if result is None:
                raise NotFoundError(f"job {job.job_id} has no result", code="no_result", remedy="retry that job first")
            for item in result["artefacts"]:
                if item["kind"] == wanted:
                    return self._present(Path(item["path"]), item["sha256"], reference)
            if result.get("summary", {}).get("censored"):
                raise NotFoundError(f"job {job.job_id} made no {wanted}: {LEFT_OUT}", code="censored")
            raise NotFoundError(f"job {job.job_id} made no {wanted}", code="no_artefact")
        folder = Path(reference)
        if not folder.is_dir():
            raise InputError("there is no such folder", code="no_such_folder", file=folder)
        return folder, sha256_tree(folder)

    def _present(self, path: Path, sha256: str, reference: str) -> tuple[Path, str]:
        if not path.is_dir():
            raise NotFoundError(
                f"the files of {reference} are gone from {path}", code="artefact_gone", remedy="run its job again"
            )
        return path, sha256


def _is_whole(folder: Path, sha256: str) -> bool:
    """Whether a folder still holds what its hash says."""
    return folder.is_dir() and sha256_tree(folder) == sha256


def _sync(folder: Path) -> None:
    """Bring every file and folder below `folder` to the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        else:
            fsync_directory(path)
    fsync_directory(folder)
    fsync_directory(folder.parent)
