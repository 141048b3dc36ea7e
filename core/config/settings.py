"""Settings of a person (`settings.yaml`) and of a project (`bakehouse.yaml`, which overrides them)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from core.config.base import KeyedError, Label, Loaded, NonEmpty, Written
from core.config.validation import validate
from core.config.yaml import load_mapping


class JobSettings(Written):
    """`python`: the interpreter that jobs run under; None is the one Bakehouse runs under."""

    python: NonEmpty | None = None


class QueueSettings(Written):
    """How the queue behaves when something ends a job early or the disk gets full."""

    stop_grace_seconds: float = Field(default=60, ge=1, le=3600)
    min_free_disk_bytes: int = Field(default=2_000_000_000, ge=0)
    on_restart: Literal["requeue", "hold"] = "requeue"


class BakeoffSettings(Written):
    """`pattern_timeout_seconds`: how long one pattern may search one answer."""

    pattern_timeout_seconds: float = Field(default=1.0, gt=0, le=60)


class Settings(Loaded):
    """Paths are absolute once a project has loaded them. `artefacts`: the folder for large files (None: the home's)."""

    jobs: JobSettings = JobSettings()
    artefacts: NonEmpty | None = None
    queue: QueueSettings = QueueSettings()
    bakeoff: BakeoffSettings = BakeoffSettings()

    also_called: ClassVar[dict[str, str]] = {"python": "jobs", "artifacts": "artefacts", "bake-off": "bakeoff"}


class ProjectFile(Settings):
    """`bakehouse.yaml`: the project's id and name, and its settings."""

    id: Label
    name: Label | None = None

    @field_validator("id")
    @classmethod
    def _not_the_shipped_one(cls, value: str) -> str:
        if value == "shipped":
            raise KeyedError("`shipped` is the id of what comes with Bakehouse", remedy="take any other word")
        return value

    @model_validator(mode="after")
    def _one_runner_serves_all_projects(self) -> ProjectFile:
        for key in ("stop_grace_seconds", "min_free_disk_bytes"):
            if key in self.queue.model_fields_set:
                remedy = "write it into ~/.config/bakehouse/settings.yaml"
                raise KeyedError("this is the machine's, not a project's", key=f"queue.{key}", remedy=remedy)
        return self


def settings_file() -> Path:
    """`$XDG_CONFIG_HOME/bakehouse/settings.yaml`; it need not exist."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser().absolute() / "bakehouse" / "settings.yaml"


def load_settings(project: ProjectFile | None = None) -> Settings:
    """The person's settings with the project's on top; relative paths of each start at its file's folder."""
    layers: list[dict[str, Any]] = []
    file = settings_file()
    if file.is_file() and says_something(file):
        layers.append(_layer(validate(Settings, load_mapping(file)), file))
    if project is not None and project.file is not None:
        layers.append(_layer(project, project.file))
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    return Settings.model_validate(merged)


def says_something(file: Path) -> bool:
    """A settings file of comments only is a file that sets nothing."""
    lines = file.read_bytes().splitlines()
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in lines)


def _layer(settings: Settings, file: Path) -> dict[str, Any]:
    values = settings.model_dump(exclude_unset=True, exclude={"id", "name"})
    if values.get("artefacts"):
        values["artefacts"] = _absolute(values["artefacts"], file)
    python = values.get("jobs", {}).get("python")
    if python and ("/" in python or python.startswith("~")):  # a bare word is looked up in PATH
        values["jobs"]["python"] = _absolute(python, file)
    return values


def _absolute(path: str, file: Path) -> str:
    """Not resolved: an environment's `python` is a link, and must stay one to be in its environment."""
    return os.path.normpath(file.parent / Path(path).expanduser())
