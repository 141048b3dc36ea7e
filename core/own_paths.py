"""How Bakehouse's own files are named in what it stores: by their place in the home, so that a home can be moved.

A path below the home is stored as `home:artefacts/0123…/adapter`; every other path is stored as it is, absolute. Whoever reads
gets an absolute path in the home as it lies now. Before schema 5 all paths were stored absolute: they are read as if they stood
below the home that the job file of that time names (`home:`). The fields of models that hold paths are `config.base.OwnPath`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.files import read_json
from core.home import Home, RunDir

MARK = "home:"


def stored(home: Home, path: str | Path) -> str:
    """A path as it is stored."""
    text = os.fspath(path)
    for root in dict.fromkeys((home.root, home.root.resolve())):
        if text.startswith(f"{root}/"):
            return MARK + text[len(f"{root}/") :]
    return text


def located(home: Home, text: str, former: str | None = None) -> str:
    """Where the file of a stored path lies now. `former` is the home at the time of an absolute path of ours."""
    if text.startswith(MARK):
        return str(home.root / text.removeprefix(MARK))
    if former is not None and text.startswith(f"{former}/"):
        return str(home.root / text[len(f"{former}/") :])
    return text


def former_home(run: RunDir) -> str | None:
    """The home that the job file of a run names, where it was written before schema 5."""
    import yaml

    try:
        with run.job_file.open(encoding="utf-8") as file:
            line = next((line for line in file if line.startswith("home:")), None)
        named = None if line is None else yaml.safe_load(line)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    home = named.get("home") if isinstance(named, dict) else None
    return home if isinstance(home, str) else None


def stored_result(home: Home, result: dict[str, Any], former: str | None = None) -> dict[str, Any]:
    """A job's result with its paths as they are stored."""
    return _with_paths(result, lambda path: stored(home, located(home, path, former)))


def located_result(home: Home, result: dict[str, Any], former: str | None = None) -> dict[str, Any]:
    """A job's stored result with paths that lead to the files."""
    return _with_paths(result, lambda path: located(home, path, former))


def read_result(run: RunDir) -> dict[str, Any] | None:
    """`result.json` with paths that lead to the files, None where there is none. Raises ValueError for no JSON object."""
    document = read_json(run.result)
    if document is None:
        return None
    if not isinstance(document, dict):
        raise ValueError("result.json is no JSON object")
    return located_result(run.home, document, former_home(run))


def _with_paths(result: dict[str, Any], change: Any) -> dict[str, Any]:
    changed = dict(result)
    if isinstance(artefacts := result.get("artefacts"), list):
        changed["artefacts"] = [_with_path(item, change) for item in artefacts]
    if "summary" in result:
        changed["summary"] = _with_path(result["summary"], change)
    return changed


def _with_path(part: Any, change: Any) -> Any:
    """A part of a result whose `path`, and those of the models in its lineage, are changed."""
    if not isinstance(part, dict):
        return part
    changed = dict(part)
    if isinstance(part.get("path"), str):
        changed["path"] = change(part["path"])
    for key in ("lineage", "model", "made_of"):
        if isinstance(part.get(key), dict):
            changed[key] = _with_path(part[key], change)
    return changed
