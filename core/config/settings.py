"""Settings of a person (`settings.yaml`) and of a project (`bakehouse.yaml`, which overrides them)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from core.config.base import Label, Loaded, Name, NonEmpty, Written
from core.config.servers import ServerSettings, checked_servers
from core.config.validation import validate
from core.config.yaml import is_there, load_mapping
from core.errors import KeyedError
from core.home import Home, expanded, of_this_person


class JobSettings(Written):
    """`python`: the interpreter that jobs run under; None is the one Bakehouse runs under."""

    python: NonEmpty | None = None


class QueueSettings(Written):
    """How the queue behaves when something ends a job early or the disk gets full.

    `stop_grace_seconds`: how long a job has after each request and signal to stop before the next one. `min_free_disk_bytes`:
    below so much free no job starts, and what runs is stopped at a checkpoint. `on_restart`: what becomes of a job that a
    restart of the machine interrupted.
    """

    stop_grace_seconds: float = Field(default=60, ge=1, le=3600)
    min_free_disk_bytes: int = Field(default=2_000_000_000, ge=0)
    on_restart: Literal["requeue", "hold"] = "requeue"


class GpuSettings(Written):
    """When a job may have the GPU, and what is done about others on it.

    `tolerance_bytes`: how much more than its idle use a GPU may hold and still count as free. `settle_seconds`: how long the
    model server must stay empty before that is believed. `clear_seconds`: how long it may take to become so; then the job
    waits and the models come back. `retry_seconds`: how long after a clearing that came to nothing the next one is tried, twice
    as long each time. `return_seconds`: how long an ended job's memory may take to come back. `reload_seconds`: how long after
    a model could not be loaded again that is tried once more, twice as long each time. `intruder`: what is done when a client
    has a model loaded while a job holds the GPU. `clients_quiet_seconds`: how long clients must have asked for nothing before a
    job that made room for one goes on. `environment`: variables of the jobs, over those of
    the profile of the GPU; null keeps a variable as it is.
    """

    tolerance_bytes: int = Field(default=300_000_000, ge=0)
    settle_seconds: float = Field(default=2.0, ge=0, le=60)
    clear_seconds: float = Field(default=120.0, ge=1, le=3600)
    return_seconds: float = Field(default=30.0, ge=1, le=600)
    retry_seconds: float = Field(default=30.0, ge=1, le=3600)
    reload_seconds: float = Field(default=30.0, ge=1, le=3600)
    clients_quiet_seconds: float = Field(default=30.0, ge=1, le=3600)
    intruder: Literal["warn", "unload", "pause"] = "unload"
    environment: dict[str, str | None] = Field(default_factory=dict)


class OllamaSettings(Written):
    """The model server beside the jobs. `url`: None is `OLLAMA_HOST`, else 127.0.0.1:11434.

    `managed: false` leaves its models where they are. `stop_command` ends the whole service before a job, `start_command`
    brings it back: only where unloading is not enough.
    """

    url: NonEmpty | None = None
    managed: bool = True
    stop_command: list[NonEmpty] | None = None
    start_command: list[NonEmpty] | None = None

    @model_validator(mode="after")
    def _comes_back(self) -> OllamaSettings:
        if self.stop_command and not self.start_command:
            raise KeyedError("`stop_command` without a `start_command`: nothing would serve again", key="stop_command")
        return self


class LlamaCppSettings(Written):
    """`folder`: where llama.cpp is, its source tree, a build or a release; None is `LLAMA_CPP_DIR`, else PATH."""

    folder: NonEmpty | None = None


Policy = Literal["off", "warn", "stop"]


class WatchSettings(Written):
    """What the runner looks for in a run, and what it does about it: nothing, a warning, or a warning and a stop.

    A run hangs when no step comes for `hang_steps` usual steps and `hang_seconds`; a first step may take `first_step_seconds`.
    """

    hang: Policy = "stop"
    spill: Policy = "warn"
    vram: Policy = "warn"
    throttling: Policy = "warn"
    nan: Policy = "stop"
    exploding: Policy = "warn"
    zero_loss: Policy = "warn"
    hang_steps: float = Field(default=5.0, ge=1, le=1000)
    hang_seconds: float = Field(default=50.0, ge=1, le=86400)
    first_step_seconds: float = Field(default=1800.0, ge=1, le=86400)


class BakeoffSettings(Written):
    """`pattern_timeout_seconds`: how long one pattern may search one answer."""

    pattern_timeout_seconds: float = Field(default=1.0, gt=0, le=60)


class FleetSettings(Written):
    """`drift`: whether the runner has what serves checked by itself, where the server or a model has changed."""

    drift: Literal["auto", "off"] = "auto"


class Settings(Loaded):
    """Paths are absolute once a project has loaded them. `artefacts`: the folder for large files (None: the home's).

    `servers` answer for candidates of a bake-off, by the name in `SERVER:MODEL`; `ollama` is one without an entry.
    """

    jobs: JobSettings = JobSettings()
    artefacts: NonEmpty | None = None
    queue: QueueSettings = QueueSettings()
    bakeoff: BakeoffSettings = BakeoffSettings()
    gpu: GpuSettings = GpuSettings()
    ollama: OllamaSettings = OllamaSettings()
    llama_cpp: LlamaCppSettings = LlamaCppSettings()
    watch: WatchSettings = WatchSettings()
    fleet: FleetSettings = FleetSettings()
    servers: dict[Name, ServerSettings] = Field(default_factory=dict)

    @field_validator("servers")
    @classmethod
    def _servers_can_be_named(cls, value: dict[str, ServerSettings]) -> dict[str, ServerSettings]:
        return checked_servers(value)

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
        for part in ("gpu", "ollama", "llama_cpp", "watch", "fleet"):
            if part in self.model_fields_set:
                remedy = "write it into ~/.config/bakehouse/settings.yaml"
                raise KeyedError("this is the machine's, not a project's", key=part, remedy=remedy)
        return self


def settings_file() -> Path:
    """`$XDG_CONFIG_HOME/bakehouse/settings.yaml`, in Bakehouse's home where no home directory is known; it need not exist."""
    return (of_this_person("config") or Home.find().root) / "settings.yaml"


def load_settings(project: ProjectFile | None = None) -> Settings:
    """The person's settings with the project's on top; relative paths of each start at its file's folder."""
    layers: list[dict[str, Any]] = []
    file = settings_file()
    if is_there(file) and says_something(file):
        layers.append(_layer(validate(Settings, load_mapping(file)), file))
    if project is not None and project.file is not None:
        layers.append(_layer(project, project.file))
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    settings = Settings.model_validate(merged)
    for server in settings.servers.values():
        server.remember_key()
    return settings


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
    if folder := values.get("llama_cpp", {}).get("folder"):
        values["llama_cpp"]["folder"] = _absolute(folder, file)
    return values


def _absolute(path: str, file: Path) -> str:
    """Not resolved: an environment's `python` is a link, and must stay one to be in its environment."""
    return os.path.normpath(file.parent / expanded(path, file=file))
