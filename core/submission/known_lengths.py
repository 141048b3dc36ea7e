"""How long the longest example of a training will be, in tokens, as far as an audit has counted it.

An audit is made by a process with a tokenizer; what it found of the lengths is kept here by what decides them, so that a
forecast can ask in a millisecond. Of data that nobody has audited nothing is known.
"""

from __future__ import annotations

import contextlib
from typing import Any

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.data.audit import Audit
from core.files import read_json, sha256_json, write_json
from core.home import Home

VERSION = 1
KEPT = 200


def note_lengths(
    home: Home, tokenizer: Any, data_sha256: str, task: Task, model: ModelEntry, recipe: Recipe, audit: Audit
) -> None:
    """Keep the lengths of an audit; a cache that cannot be written costs a better forecast and nothing else."""
    key = _key(tokenizer, data_sha256, task, model, recipe)
    with contextlib.suppress(OSError):
        known = _read(home)
        rows = {**known.pop(key, {}).get("rows", {}), **{f"{row.max_length}": row.longest for row in audit.rows}}
        known[key] = {"rows": rows, "whole": audit.tokens_max}
        newest = list(known)[-KEPT:]
        write_json(home.cache / "lengths.json", {"version": VERSION, "lengths": {name: known[name] for name in newest}})


def longest_known(
    home: Home, tokenizer: Any, data_sha256: str, task: Task, model: ModelEntry, recipe: Recipe
) -> int | None:
    """Tokens of the longest example that the recipe trains on, padded ones included; None when it was not counted.

    At a length of which there was no row it follows from the longest whole example, unless the recipe adds to the examples.
    """
    found = _read(home).get(_key(tokenizer, data_sha256, task, model, recipe))
    if not isinstance(found, dict):
        return None
    row, whole = found.get("rows", {}).get(f"{recipe.max_length}"), found.get("whole")
    if isinstance(row, int) and row > 0:
        return min(row, recipe.max_length)
    if recipe.few_shot is None and not recipe.skeletons and isinstance(whole, int) and whole > 0:
        return min(whole, recipe.max_length)
    return None


def _read(home: Home) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        document = read_json(home.cache / "lengths.json")
        if isinstance(document, dict) and document.get("version") == VERSION:
            lengths = document.get("lengths")
            return dict(lengths) if isinstance(lengths, dict) else {}
    return {}


def _key(tokenizer: Any, data_sha256: str, task: Task, model: ModelEntry, recipe: Recipe) -> str:
    """A hash over what decides how long an example is, but for `max_length`."""
    return sha256_json(
        {
            "data": data_sha256,
            "task": [task.name, task.system, task.system_role, task.thinking, task.data.loss, task.data.system],
            "model": model.name,
            "tokenizer": tokenizer,
            "recipe": [recipe.seed, recipe.skeletons],
            "few_shot": None if recipe.few_shot is None else recipe.few_shot.model_dump(),
        }
    )
