"""Projects of a test that are a few files in a folder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.config.project import Project, load_project, shipped


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    """Write texts below a folder, by name; the folder."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def one_task_project(
    root: Path, task: str, told: str, inputs: Mapping[str, str], models: Mapping[str, Mapping[str, Any]]
) -> Project:
    """The project `kiln`, whose jobs run with this interpreter. `told` is the file of its task, of which the golden inputs are
    `golden/TASK.yaml`: texts by id. `models` are the entries of its models."""
    files = {
        "bakehouse.yaml": f"id: kiln\njobs: {{python: {sys.executable}}}\n",
        "configs/models.yaml": json.dumps(models),
        f"configs/tasks/{task}.yaml": told,
        f"golden/{task}.yaml": json.dumps([{"id": one, "input": text} for one, text in inputs.items()]),
    }
    return load_project(write_files(root, files))


def hello_project(root: Path, model: str, path: Path, *, repeats: int, max_new_tokens: int, context: int) -> Project:
    """With one model, and the task `hello` of two golden inputs: an answer has to hold a hello."""
    told = f"""\
system: Answer in one short sentence.
golden: golden/hello.yaml
repeats: {repeats}
sampling: {{temperature: 0, max_new_tokens: {max_new_tokens}, context_length: {context}}}
format:
- {{check: contains_any, values: [hello]}}
"""
    inputs = {"a": "Say hello.", "b": "Name a flour."}
    return one_task_project(root, "hello", told, inputs, {model: {"path": str(path)}})


def with_shipped_tasks(project: Project, behind: Path, *names: str) -> Project:
    """The project, with only these of the shipped tasks behind it: a picture of it stays as it is when others are shipped."""
    for folder in ("configs", "golden"):
        shutil.copytree(shipped().root / folder, behind / folder)
    for name in set(shipped().task_names()) - set(names):
        (behind / f"configs/tasks/{name}.yaml").unlink()
    return replace(project, fallback=replace(shipped(), root=behind))
