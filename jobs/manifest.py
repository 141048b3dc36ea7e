"""The manifest of an attempt: what a person needs to run it again and to tell why two runs differ."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from core.files import read_json, sha256_file, write_json
from core.jobfile.spec import InputFile
from jobs.context import JobContext

PACKAGES = (
    "bakehouse",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "hqq",
    "gguf",
    "numpy",
)
MANIFEST_SCHEMA = 1
GIT_TIMEOUT_SECONDS = 5
FILE_KEYS = set(InputFile.model_fields)


def start_manifest(context: JobContext) -> float:
    """Write what is known before anything heavy is imported; returns when the attempt began, by the monotonic clock.

    A job that started itself again within its attempt began with its first process.
    """
    job = context.job
    known: dict[str, Any] = read_json(context.attempt.manifest) or {}
    started_at: float = known.get("started_at", time.time())
    started: float = known.get("started_monotonic", time.monotonic())
    write_json(
        context.attempt.manifest,
        {
            "schema": MANIFEST_SCHEMA,
            "job": job.id,
            "kind": job.kind,
            "attempt": context.attempt.number,
            "started_at": started_at,
            "started_monotonic": started,
            "job_file_sha256": sha256_file(context.run.job_file),
            "inputs": _inputs(job.spec.model_dump(mode="json")),
            "project": {"id": job.project_id, "root": job.project_root, "git": git_state(Path(job.project_root))},
            "python": {"executable": sys.executable, "version": platform.python_version()},
            "packages": versions(),
            "gpu_profile": gpu_profile(context),
            "host": {"name": platform.node(), "system": platform.platform(), "cpus": len(os.sched_getaffinity(0))},
        },
    )
    return started


def extend_manifest(context: JobContext, **more: Any) -> None:
    """Add what has become known since."""
    known = read_json(context.attempt.manifest) or {}
    write_json(context.attempt.manifest, {**known, **more})


def device_facts() -> dict[str, Any]:
    """The device that torch computes on, and the threads of a CPU."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return {
            "type": "cuda",
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "rocm": torch.version.hip,
        }
    return {"type": "cpu", "name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}


def versions() -> dict[str, str | None]:
    """Installed versions of the packages that decide a result; None for one that is absent."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def gpu_profile(context: JobContext) -> dict[str, Any] | None:
    """What the profile of the GPU made of this job's environment; None where the queue did not start it."""
    start: dict[str, Any] = read_json(context.attempt.path / "start.json") or {}
    return start.get("gpu_profile")


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the folder's repository and whether it has changes; None outside of a repository."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=GIT_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": bool(status) if status is not None else None}


def _inputs(spec: dict[str, Any]) -> dict[str, Any]:
    """The copied files of a job by their role: what a spec holds as an `InputFile`."""
    return {role: value for role, value in spec.items() if isinstance(value, dict) and set(value) == FILE_KEYS}
