"""What was last queued from a form, by project and task: kept in the home, and offered when the form opens again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from core.files import read_json, write_json
from core.home import Home

MOST_PROJECTS = 50
MOST_TASKS = 200


@dataclass(frozen=True)
class FormValues:
    """Names, and the recipe's keys whose values were other than its own (`fit` among them), as the fields hold them."""

    model: str
    recipe: str
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Remembered:
    """Of one project: the task that was queued last, and the values of each."""

    last: str | None = None
    tasks: Mapping[str, FormValues] = field(default_factory=dict)


def recall(home: Home, project: str) -> Remembered:
    """What is remembered of a project. What cannot be read is as if nothing had been kept: it is a convenience."""
    tasks = _project(_document(home), project)
    found = {name: values for name, entry in tasks.items() if (values := _values(entry)) is not None}
    return Remembered(next(reversed(found), None), found)


def remember(home: Home, project: str, task: str, values: FormValues) -> None:
    """Keep what was queued. Raises `OSError` where the home takes no file."""
    document = _document(home)
    tasks = {name: entry for name, entry in _project(document, project).items() if name != task}
    kept = [*tasks.items(), (task, {**asdict(values), "changed": dict(values.changed)})][-MOST_TASKS:]
    others = [(name, entry) for name, entry in document.items() if name != project]
    write_json(home.form_values, dict([*others, (project, dict(kept))][-MOST_PROJECTS:]))


def _document(home: Home) -> dict[str, Any]:
    try:
        found = read_json(home.form_values)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _project(document: Mapping[str, Any], project: str) -> dict[str, Any]:
    found = document.get(project)
    return found if isinstance(found, dict) else {}


def _values(entry: Any) -> FormValues | None:
    if not isinstance(entry, dict):
        return None
    model, recipe, changed = entry.get("model"), entry.get("recipe"), entry.get("changed")
    if not (isinstance(model, str) and isinstance(recipe, str) and isinstance(changed, dict)):
        return None
    usual = {key: value for key, value in changed.items() if isinstance(value, int | float | str | None)}
    return FormValues(model, recipe, usual)
