"""Audits of training data, asked for and remembered.

Counting tokens needs the model's tokenizer, and that comes with packages which this process never imports: an audit is made by
a process of its own, under the interpreter of the jobs. What it found is kept under a hash of all that decides it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from core.config.golden import GoldenInput
from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.config.shipped import PLAIN_RECIPE
from core.config.task import Task, TaskData
from core.config.validation import validate
from core.config.yaml import Marked
from core.data.audit import Audit
from core.errors import BakehouseError, GateError, InputError, NotFoundError
from core.files import read_json, sha256_file, sha256_json, write_atomic
from core.home import Home
from core.models.files import check_model_files, hub_copy, needs_pull
from core.submission.known_lengths import longest_known, note_lengths
from core.submission.python_environment import find_python, require, versions

# Raised when an audit of the same data says something else, or is written in another way.
VERSION = 4
# A golden file that is not there, or has nothing in it yet.
NO_GOLDEN_YET = frozenset({"empty_golden", "missing_file"})
PACKAGES = ("torch", "transformers")
# The first examples are shown by every audit, so that paging through them asks for no new one.
SHOWN_ALWAYS = 50
AUDIT_SECONDS = 1800.0
KEPT_AUDITS = 100
TOKENIZER_FILES = ("*token*.json", "*.jinja", "vocab*", "merges.txt", "*.model", "config.json")
ERRORS: dict[int, type[BakehouseError]] = {2: InputError, 3: GateError, 4: NotFoundError}

Show = Sequence[int] | Literal["all"] | None


class AuditRequest(BaseModel):
    """What `jobs.audit` is told. `golden` are the inputs with their texts; None when the task has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    model: ModelEntry
    recipe: Recipe
    train: str
    golden: list[GoldenInput] | None
    lengths: list[int] | None
    show: list[int] | Literal["all"]
    home: str


def audit(
    home: Home,
    project: Project,
    task_name: str,
    model_name: str,
    *,
    max_length: int | None = None,
    lengths: Iterable[int] | None = None,
    show: Show = None,
    recipe: str | Recipe | None = None,
    seconds: float = AUDIT_SECONDS,
) -> Audit:
    """The audit of a task's training data with a model's tokenizer, at the length of the recipe or at `max_length`.

    There is a row for that length and for each of `lengths` (None: chosen around the data). `show` names the examples to
    show, from 1. Takes a second or a few when nothing like it was asked before, `seconds` at most; call it in a thread where
    one may not wait.

    Raises `NotFoundError` (`model_not_pulled`, or an unknown name), `InputError` for wrong files, options and a tokenizer
    that cannot be used, `BakehouseError` when the process that counts fails.
    """
    task = project.task(task_name)
    entry = project.model(model_name)
    chosen = recipe if isinstance(recipe, Recipe) else project.recipe(recipe or PLAIN_RECIPE)
    if max_length is not None:
        document = Marked(
            Path(f"recipe {chosen.name}"), chosen.model_dump(exclude={"name"}) | {"max_length": max_length}, {}
        )
        chosen = validate(Recipe, document, given={"name": chosen.name})
    train = project.train_file(task)
    golden = _golden(project, task)
    python = _counting(home, project, entry)
    beyond: list[int] | Literal["all"] = "all" if show == "all" else sorted({i for i in show or () if i > SHOWN_ALWAYS})
    request = AuditRequest(
        task=task,
        model=entry,
        recipe=chosen,
        train=str(train),
        golden=golden,
        lengths=None if lengths is None else sorted({int(length) for length in lengths}),
        show="all" if beyond == "all" else [*range(1, SHOWN_ALWAYS + 1), *beyond],
        home=str(home.root),
    )
    found = _remembered(home, python, request, train, seconds)
    return replace(found, shown=tuple(item for item in found.shown if show == "all" or item.index in (show or ())))


def audit_text(home: Home, project: Project, model_name: str, lines: str) -> Audit:
    """The audit of lines in the project's form that belong to no task yet: what a template and a tokenizer make of them.

    Every line's own system message counts. Raises as `audit`.
    """
    entry = project.model(model_name)
    python = _counting(home, project, entry)
    home.create()
    folder = home.cache / "audits"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".lines-", suffix=".jsonl", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(lines)
        request = AuditRequest(
            task=Task(name="data", data=TaskData(system="keep")),
            model=entry,
            recipe=project.recipe(PLAIN_RECIPE),
            train=name,
            golden=None,
            lengths=None,
            show=[],
            home=str(home.root),
        )
        return Audit.from_json(_made(python, request, folder))
    finally:
        Path(name).unlink(missing_ok=True)


def _counting(home: Home, project: Project, entry: ModelEntry) -> str:
    """The interpreter under which the model's tokenizer counts. NotFoundError or InputError when that cannot be done."""
    if needs_pull(home, entry):
        raise NotFoundError(
            f"the model {entry.name} is not on the disk, and without its tokenizer nothing can be counted",
            code="model_not_pulled",
            remedy=f"bakehouse models pull {entry.name}",
        )
    check_model_files(home, entry)
    python = find_python(project.settings.jobs.python)
    require(home, python, PACKAGES)
    return python


def _golden(project: Project, task: Task) -> list[GoldenInput] | None:
    """The golden inputs that there are; None before any is written, so that lengths can be had first."""
    if task.golden is None:
        return None
    try:
        return project.golden(task).inputs
    except InputError as error:
        if error.code in NO_GOLDEN_YET:
            return None
        raise


def _remembered(home: Home, python: str, request: AuditRequest, train: Path, seconds: float) -> Audit:
    """The audit from the cache, else made and put there; a broken entry is made anew."""
    home.create()
    folder = home.cache / "audits"
    folder.mkdir(mode=0o700, exist_ok=True)
    data_sha256 = _sha256(train)
    path = folder / f"{_key(home, python, request, data_sha256)}.json"
    with contextlib.suppress(OSError, KeyError, TypeError, ValueError):
        if (kept := read_json(path)) is not None and kept["sha256"] == sha256_json(kept["audit"]):
            found = replace(Audit.from_json(kept["audit"]), cached=True)
            _note(home, request, data_sha256, found)
            return found
    document = _made(python, request, folder, seconds)
    found = Audit.from_json(document)
    # Whoever changed the file meanwhile gets the figures, but they are no longer those of the key.
    if _sha256(train) == data_sha256:
        kept = {"sha256": sha256_json(document), "audit": document}
        write_atomic(path, json.dumps(kept, ensure_ascii=False))
        _prune(folder)
        _note(home, request, data_sha256, found)
    return found


def _note(home: Home, request: AuditRequest, data_sha256: str, found: Audit) -> None:
    tokenizer = _tokenizer_fingerprint(home, request.model)
    note_lengths(home, tokenizer, data_sha256, request.task, request.model, request.recipe, found)


def longest_example(home: Home, project: Project, task: Task, model: ModelEntry, recipe: Recipe) -> int | None:
    """Tokens of the longest example that a training will see, where an audit of just this data has counted them.

    None where none has, or where the data cannot be read: that is told by who reads it.
    """
    try:
        if needs_pull(home, model):
            return None
        data_sha256 = _sha256(project.train_file(task))
        return longest_known(home, _tokenizer_fingerprint(home, model), data_sha256, task, model, recipe)
    except (BakehouseError, OSError):
        return None


def _sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", code="unreadable", file=path) from error


def _key(home: Home, python: str, request: AuditRequest, data_sha256: str) -> str:
    """A hash over all that decides an audit."""
    task, recipe = request.task, request.recipe
    return sha256_json(
        {
            "version": VERSION,
            "data": [request.train, data_sha256],
            "golden": None if request.golden is None else [[item.id, item.text()] for item in request.golden],
            "task": [task.name, task.system, task.system_role, task.thinking, task.data.loss, task.data.system],
            "model": request.model.name,
            "tokenizer": _tokenizer_fingerprint(home, request.model),
            "transformers": versions(home, python, PACKAGES)["transformers"],
            "recipe": [recipe.name, recipe.max_length, recipe.max_skipped, recipe.seed, recipe.skeletons],
            "few_shot": None if recipe.few_shot is None else recipe.few_shot.model_dump(),
            "lengths": request.lengths,
            "show": request.show,
        }
    )


def _tokenizer_fingerprint(home: Home, entry: ModelEntry) -> Any:
    """What changes when the tokenizer of a model that is on the disk does, or the chat template that it is given; found
    without reading weights."""
    own = _own_tokenizer_fingerprint(home, entry)
    return own if entry.template_text is None else [own, sha256_json(entry.template_text)]


def _own_tokenizer_fingerprint(home: Home, entry: ModelEntry) -> Any:
    if entry.hub is not None:
        copy = hub_copy(home, entry)
        return None if copy is None else [copy.hub, copy.commit]
    if entry.wheel is not None:
        return entry.wheel.sha256
    path = Path(entry.path or "")
    if path.is_file():
        stat = path.stat()
        return [str(path), stat.st_size, stat.st_mtime_ns]
    files = {file for pattern in TOKENIZER_FILES for file in path.glob(pattern) if file.is_file()}
    return [[file.name, sha256_file(file)] for file in sorted(files)]


def _made(python: str, request: AuditRequest, folder: Path, seconds: float = AUDIT_SECONDS) -> dict[str, Any]:
    """Run `jobs.audit`; its audit as a document. An error of it is raised here as what it was there."""
    descriptor, name = tempfile.mkstemp(prefix=".request-", suffix=".json", dir=folder)
    asked = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(request.model_dump_json())
        done = subprocess.run(
            [python, "-P", "-m", "jobs.audit", str(asked)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BakehouseError(f"the audit took more than {seconds:.0f} s", code="audit_timeout") from error
    finally:
        asked.unlink(missing_ok=True)
    try:
        answer = json.loads(done.stdout)
        if "error" not in answer:
            return dict(answer["audit"])
        told = answer["error"]
        raise ERRORS.get(answer["exit_code"], BakehouseError)(
            told["message"],
            code=told["code"],
            file=told["file"],
            line=told["line"],
            key=told["key"],
            remedy=told["remedy"],
        )
    except (ValueError, TypeError, KeyError) as error:
        said = done.stderr.strip().splitlines()
        raise BakehouseError(
            f"the process of the audit ended with {done.returncode}" + (f": {said[-1]}" if said else ""),
            code="audit_failed",
            remedy=f"try `{python} -P -m jobs.audit`: it must find Bakehouse",
        ) from error


def _prune(folder: Path) -> None:
    """Keep the newest audits."""

    def age(path: Path) -> float:
        with contextlib.suppress(OSError):  # another audit may have removed it
            return -path.stat().st_mtime
        return 0.0

    order: Callable[[Path], float] = age
    for path in sorted(folder.glob("*.json"), key=order)[KEPT_AUDITS:]:
        if not path.name.startswith("."):
            path.unlink(missing_ok=True)
