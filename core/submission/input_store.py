"""A job reads only what was there when it was submitted: copies of its input files, shared between jobs by content."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from core.config.golden import GoldenSet
from core.config.project import Project
from core.config.task import Task
from core.errors import InputError
from core.files import write_atomic
from core.home import Home
from core.jobfile.spec import InputFile


def keep_bytes(home: Home, content: bytes, name: str, source: str) -> InputFile:
    """Store content under its hash (once) and return where it lies. `source` says where it came from."""
    home.create()
    digest = hashlib.sha256(content).hexdigest()
    folder = home.inputs / digest
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        write_atomic(path, content)
    return InputFile(path=str(path), sha256=digest, source=source)


def keep_content(home: Home, content: bytes, path: Path) -> InputFile:
    """Store what was read of the file at `path`. Raises `InputError` when there is no room for it."""
    home.create()
    if len(content) > shutil.disk_usage(home.root).free:
        raise InputError("there is no room for a copy of it", code="disk_full", file=home.root)
    return keep_bytes(home, content, path.name, str(path))


def keep_document(home: Home, document: Any, name: str, source: Path | str) -> InputFile:
    """Store a JSON document."""
    content = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode()
    return keep_bytes(home, content, name, str(source))


def golden_file(home: Home, project: Project, task: Task, golden: GoldenSet) -> InputFile:
    """A copy of a task's golden inputs with their texts filled in."""
    document = [item.model_dump(mode="json") for item in golden.inputs]
    return keep_document(home, document, f"{task.name}.golden.json", golden.file or project.root)
