"""Checkpoints that are whole or absent. A torn one is recognised, and the one before it is used."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.files import fsync_directory, read_json, sha256_file, write_json

SEAL = "complete.json"
NAME = re.compile(r"^checkpoint-(\d+)$")


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int


@dataclass(frozen=True)
class ResumePoint:
    """The newest checkpoint that may be resumed from, and why newer ones were passed over."""

    checkpoint: Checkpoint | None
    refused: tuple[str, ...]


def seal(staged: Path, folder: Path, purpose: str, **record: Any) -> tuple[Checkpoint, int]:
    """Move a folder that was written elsewhere on the same disk to its place among the checkpoints.

    The seal lists each file with size and hash; it and they reach the disk before the name does. `purpose` is the hash of
    what was trained: a checkpoint of other inputs is not resumed from. `record` is kept in the seal.
    Returns the checkpoint and its size in bytes.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(item for item in staged.rglob("*") if item.is_file()):
        _fsync_file(path)
        files[path.relative_to(staged).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    write_json(staged / SEAL, {**record, "purpose": purpose, "files": files})
    place = folder / staged.name
    if place.exists():
        shutil.rmtree(place)
    staged.rename(place)
    fsync_directory(folder)
    return Checkpoint(place, _step(place)), sum(item["bytes"] for item in files.values())


def find_checkpoint(folder: Path, purpose: str) -> ResumePoint:
    """The newest whole checkpoint for this purpose."""
    refused: list[str] = []
    for checkpoint in reversed(_listed(folder)):
        why = _fault(checkpoint.path, purpose)
        if why is None:
            return ResumePoint(checkpoint, tuple(refused))
        refused.append(f"{checkpoint.path.name}: {why}")
    return ResumePoint(None, tuple(refused))


def whole_checkpoints(folder: Path, purpose: str) -> list[tuple[Checkpoint, dict[str, Any]]]:
    """Every whole checkpoint for this purpose with its seal, by step."""
    return [(item, read_json(item.path / SEAL)) for item in _listed(folder) if _fault(item.path, purpose) is None]


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and what a killed attempt left half written."""
    for checkpoint in _listed(folder)[:-keep]:
        shutil.rmtree(checkpoint.path)
    for leftover in folder.glob(".staging-*"):
        if leftover.name != f".staging-{os.getpid()}":
            shutil.rmtree(leftover, ignore_errors=True)


def _listed(folder: Path) -> list[Checkpoint]:
    """Checkpoints by step, whole or not."""
    found = [Checkpoint(path, _step(path)) for path in folder.glob("checkpoint-*") if NAME.match(path.name)]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def _step(path: Path) -> int:
    match = NAME.match(path.name)
    if match is None:
        raise ValueError(f"{path} is not named as a checkpoint")
    return int(match[1])


def _fault(path: Path, purpose: str) -> str | None:
    """What is wrong with a checkpoint; None when it is whole."""
    try:
        document: Any = read_json(path / SEAL)
    except ValueError:
        return "its seal cannot be read"
    if not isinstance(document, dict):
        return "it was not finished"
    if document.get("purpose") != purpose:
        return "it belongs to other inputs"
    for name, expected in document["files"].items():
        file = path / name
        if not file.is_file() or file.stat().st_size != expected["bytes"]:
            return f"{name} is torn"
        if sha256_file(file) != expected["sha256"]:
            return f"{name} is damaged"
    return None


def _fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
