"""Files that a task's checks name: read when the task is, so that a definition holds what it was made of.

From then on the content goes where the definition goes: into the job file at submission, into a stored rescoring, into the hash
of the check. Nobody reads the file later, and a job does what the file said when the job was submitted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.checks.json_text import NotJsonError, read_document
from core.checks.python import code_fault, imported_names
from core.checks.schemas import schema_fault
from core.config.yaml import KeyPath, Marked, load_marked, read_text
from core.errors import InputError

LARGEST_BYTES = 200_000
"""Of one file: each job file and each rescoring of the task holds a copy."""


def with_files(document: Marked) -> tuple[Marked, list[InputError]]:
    """The document of a task with the content of each file that a check names, and all that is wrong with those files.

    A file with a fault is replaced by content that every answer passes, so that what else is wrong with the task is told too.
    """
    data, wrong = document.data, []
    for part in ("format", "content"):
        checks = data.get(part)
        if not isinstance(checks, list):
            continue
        changed = list(checks)
        for index, item in enumerate(checks):
            if isinstance(item, dict) and (kind := KINDS.get(str(item.get("check")))):
                key, read, harmless = kind
                try:
                    changed[index] = _with_content(document, (part, index), item, key, read)
                except InputError as problem:
                    wrong.append(problem)
                    changed[index] = {**item, key: harmless}
        data = {**data, part: changed}
    return replace(document, data=data), wrong


def _with_content(
    document: Marked, place: KeyPath, item: dict[str, Any], key: str, read: Callable[[Path, dict[str, Any]], Any]
) -> dict[str, Any]:
    file = item.get("file")
    if not isinstance(file, str) or not file:
        return item
    if key in item:
        message = f"`file` and `{key}` are given: exactly one may be"
        raise document.error(message, (*place, key), remedy="take one of them out")
    return {**item, key: read(_inside(document, (*place, "file"), file), item)}


def _inside(document: Marked, at: KeyPath, written: str) -> Path:
    """The file that is meant: one in the project's folder, whatever links lead to it."""
    root = document.file.absolute().parent.parent.parent  # configs/tasks/NAME.yaml
    path = Path(written)
    remedy = "put a copy into the project, `checks/` say; the path starts at the project's folder"
    if path.is_absolute() or ".." in path.parts or written.startswith("~"):
        raise document.error("the file of a check lies in the project's own folder", at, remedy=remedy)
    found = root / path
    if found.exists() and not found.resolve().is_relative_to(root.resolve()):
        raise document.error(f"{written} is a link that leads out of the project's folder", at, remedy=remedy)
    if not found.is_file():
        is_other = f"{found} is no file" if found.exists() else f"there is no file {found}"
        raise document.error(is_other, at, code="missing_file", remedy="the path starts at the project's folder")
    if found.stat().st_size > LARGEST_BYTES:
        raise document.error(f"{written} has more than {LARGEST_BYTES:,} bytes", at, code="large_file")
    return found


def _read_schema(file: Path, item: dict[str, Any]) -> Any:
    """The schema in a JSON or YAML file; InputError points at its line."""
    if file.suffix in (".yaml", ".yml"):
        written = load_marked(file)
        schema = written.data
    else:
        try:
            schema = read_document(read_text(file), frozenset(("bom",)))
        except NotJsonError as problem:
            raise InputError(str(problem), code="wrong_value", file=file, line=_line(file)) from None
        written = _marked(file, schema)
    if not isinstance(schema, dict | bool):
        raise InputError("a schema is an object, or true or false", code="wrong_value", file=file)
    if fault := schema_fault(schema):
        raise written.error(fault.message, fault.path)
    return schema


def _line(file: Path) -> int | None:
    """The line of the first fault of a JSON file, as far as the parser names one."""
    try:
        json.loads(read_text(file))
    except json.JSONDecodeError as error:
        return error.lineno
    except (ValueError, RecursionError):
        return None
    return None


def _marked(file: Path, data: Any) -> Marked:
    """A JSON document with the lines of its keys where YAML reads it as well: most of JSON is YAML."""
    try:
        return replace(load_marked(file), data=data)
    except InputError:
        return Marked(file, data, {})


def _read_code(file: Path, item: dict[str, Any]) -> str:
    """The code of a check, one file that needs no other one of the project; InputError points at its line."""
    code = read_text(file)
    function = item.get("function", "score")
    if isinstance(function, str) and (fault := code_fault(code, function)):
        raise InputError(fault[1], code="wrong_code", file=file, line=fault[0])
    folders = [file.parent, *(folder for folder in file.absolute().parents if (folder / "bakehouse.yaml").is_file())]
    for line, name, relative in imported_names(code):
        own = any((folder / f"{name}.py").is_file() or any((folder / name).glob("*.py")) for folder in folders)
        if relative or (own and name not in sys.stdlib_module_names):
            message = (
                f"`{name or '.'}` is a file of the project, and a check is one file: a job has a copy of that one alone"
            )
            remedy = "write what is needed into this file; several checks may use functions of one"
            raise InputError(message, code="wrong_code", file=file, line=line, remedy=remedy)
    return code


KINDS: dict[str, tuple[str, Callable[[Path, dict[str, Any]], Any], Any]] = {
    "json_schema": ("schema", _read_schema, True),
    "python": ("code", _read_code, ""),
}
"""By the name of a check: the key that its file stands for, how the file is read, and what every answer passes."""
