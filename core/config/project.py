"""A project: a folder with `bakehouse.yaml`, its tasks, models and recipes, and the shipped ones behind it."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.config.base import NAME_PATTERN, Loaded
from core.config.check_files import with_files
from core.config.experiment import Experiment
from core.config.golden import GoldenSet, load_golden
from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.settings import ProjectFile, Settings, load_settings
from core.config.shipped import MODELS, shipped_root
from core.config.task import Task
from core.config.validation import validate
from core.config.yaml import KeyPath, Marked, found, is_there, load_mapping
from core.errors import BakehouseError, InputError, NotFoundError
from core.home import expanded

PROJECT_FILE = "bakehouse.yaml"
TASKS = Path("configs/tasks")
RECIPES = Path("configs/recipes")
EXPERIMENTS = Path("configs/experiments")
DATA = Path("configs/data")
GOLDEN = Path("golden")
CHAT_TEMPLATES = Path("configs/chat_templates")
JINJA = ".jinja"
SHIPPED = "shipped"


@dataclass(frozen=True)
class Project:
    """What a person wrote, read when it is asked for. An own object hides the shipped one of the same name."""

    root: Path
    id: str
    name: str
    settings: Settings
    fallback: Project | None = None

    @classmethod
    def find(cls, start: Path | None = None, explicit: Path | None = None) -> Project:
        """The project of `explicit` (a folder or its `bakehouse.yaml`), else the nearest one from `start` upwards, else
        the shipped one alone. InputError when `explicit` is no project or the file is wrong."""
        if explicit is not None:
            folder = expanded(explicit, key="--project").absolute()
            folder = folder.parent if folder.name == PROJECT_FILE else folder
            if not (folder / PROJECT_FILE).is_file():
                remedy = "`bakehouse new project FOLDER` makes one"
                raise InputError(f"no project: it has no {PROJECT_FILE}", code="no_project", file=folder, remedy=remedy)
            return load_project(folder)
        here = (start or Path.cwd()).absolute()
        for folder in (here, *here.parents):
            if is_there(folder / PROJECT_FILE):
                return load_project(folder)
        return shipped()

    @property
    def is_shipped(self) -> bool:
        return self.fallback is None

    def owner(self, obj: Loaded) -> Project:
        """The project whose file `obj` was read from: the shipped one or this one, which also owns what has no file."""
        if obj.file is None or self.fallback is None:
            return self
        # The deepest folder decides: a project may lie inside the checkout that ships the rest.
        within = [project for project in (self, self.fallback) if obj.file.is_relative_to(project.root)]
        return max(within, key=lambda project: len(project.root.parts), default=self)

    def origin(self, obj: Loaded) -> Path:
        """The file `obj` was read from. BakehouseError when it was not read from one."""
        if obj.file is None:
            raise BakehouseError(f"this {type(obj).__name__.lower()} was not read from a file of a project")
        return obj.file

    def resolve(self, path: str | Path, obj: Loaded | None = None) -> Path:
        """The absolute path of what a file names: relative paths start at the folder of the project that owns `obj`."""
        root = self.root if obj is None else self.owner(obj).root
        return Path(os.path.normpath(root / expanded(path, file=obj.file if obj else None)))

    # Each kind: all names (own first), all objects, one object.

    def task_names(self) -> list[str]:
        """Names of all tasks, without reading them."""
        return self._names(TASKS)

    def own_task_names(self) -> list[str]:
        """Names of the tasks that this project has written itself; the shipped project's are its own."""
        return [
            name for name in self.task_names() if self.fallback is None or is_there(self.root / TASKS / f"{name}.yaml")
        ]

    def tasks(self) -> list[Task]:
        """All tasks; raises the first problem."""
        return [self.task(name) for name in self.task_names()]

    def task(self, name: str) -> Task:
        """One task; NotFoundError with a suggestion when there is none of that name."""
        return load_task(self._file_of(TASKS, name, "task", self.task_names()))

    def recipe_names(self) -> list[str]:
        """Names of all recipes, without reading them."""
        return self._names(RECIPES)

    def recipes(self) -> list[Recipe]:
        """All recipes; raises the first problem."""
        return [self.recipe(name) for name in self.recipe_names()]

    def recipe(self, name: str) -> Recipe:
        """One recipe; NotFoundError with a suggestion when there is none of that name."""
        return load_recipe(self._file_of(RECIPES, name, "recipe", self.recipe_names()))

    def experiment_names(self) -> list[str]:
        """Names of all experiments, without reading them."""
        return self._names(EXPERIMENTS)

    def experiment(self, name: str) -> Experiment:
        """One experiment; NotFoundError with a suggestion when there is none of that name."""
        return load_experiment(self._file_of(EXPERIMENTS, name, "experiment", self.experiment_names()))

    def model_names(self) -> list[str]:
        """Names of all models, own first."""
        return list(self._model_documents())

    def models(self) -> list[ModelEntry]:
        """All models; raises the first problem."""
        return [self._model(name, document) for name, document in self._model_documents().items()]

    def model(self, name: str) -> ModelEntry:
        """One model; NotFoundError with a suggestion when there is none of that name."""
        documents = self._model_documents()
        if name not in documents:
            raise self._not_found("model", name, documents)
        return self._model(name, documents[name])

    def golden(self, task: Task) -> GoldenSet:
        """The golden inputs of a task, their files read. InputError when the task names no golden file."""
        if task.golden is None:
            message = f"the task `{task.name}` names no golden inputs"
            remedy = f"write `golden: golden/{task.name}.yaml`"
            raise InputError(message, code="no_golden", file=task.file, key="golden", remedy=remedy)
        file = self._named_file(task, ("golden",), task.golden)
        return load_golden(file, self.owner(task).root)

    def train_file(self, task: Task) -> Path:
        """The training data of a task. InputError when the task names none or there is no such file."""
        if task.data.train is None:
            message = f"the task `{task.name}` names no training data"
            remedy = f"write `data: {{train: {DATA}/{task.name}.train.jsonl}}`"
            raise InputError(message, code="no_train_data", file=task.file, key="data.train", remedy=remedy)
        return self._named_file(task, ("data", "train"), task.data.train)

    def _named_file(self, task: Task, path: KeyPath, value: str) -> Path:
        """The file that a task names at `path`; when it is missing, the error points into the task."""
        file = self.resolve(value, task)
        if file.is_file():
            return file
        is_other = f"{file} is a folder" if file.is_dir() else f"{file} is no file that can be read twice"
        message = is_other if file.exists() else f"there is no file {file}"
        if task.file is None:
            raise InputError(message, code="missing_file", file=file)
        raise load_mapping(task.file).error(message, path, code="missing_file")

    def _names(self, folder: Path) -> list[str]:
        own = sorted(file.stem for file in (self.root / folder).glob("*.yaml") if not file.name.startswith("."))
        behind = self.fallback._names(folder) if self.fallback else []
        return own + [name for name in behind if name not in own]

    def _file_of(self, folder: Path, name: str, kind: str, names: list[str]) -> Path:
        if not re.match(NAME_PATTERN, name) or name not in names:
            raise self._not_found(kind, name, names)
        own = self.root / folder / f"{name}.yaml"
        if is_there(own) or self.fallback is None:
            return own
        return self.fallback.root / folder / f"{name}.yaml"

    def _not_found(self, kind: str, name: str, names: Iterable[str]) -> NotFoundError:
        by_lower = {known.lower(): known for known in names}
        near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
        known = f"there are: {', '.join(by_lower.values())}" if by_lower else "there is none yet"
        remedy = f"did you mean `{by_lower[near[0]]}`?" if near else known
        if self.is_shipped:
            remedy += (
                f"; you are in no project: there is no {PROJECT_FILE} here or above (`--project FOLDER` names one)"
            )
        return NotFoundError(f"no {kind} `{name}`", code=f"{kind}_not_found", remedy=remedy)

    def _model_documents(self) -> dict[str, Marked]:
        """The document that each model's entry stands in."""
        documents: dict[str, Marked] = {}
        file = self.root / MODELS
        if is_there(file):
            document = load_mapping(file)
            documents = dict.fromkeys(document.data, document)
        behind = self.fallback._model_documents() if self.fallback else {}
        return documents | {name: document for name, document in behind.items() if name not in documents}

    def _model(self, name: str, document: Marked) -> ModelEntry:
        entry = load_model(name, document)
        changes = {}
        if entry.path is not None:
            changes["path"] = str(self.resolve(entry.path, entry))
        if entry.chat_template is not None:
            changes["template_text"] = read_template(self._template_file(entry, document), entry, document)
        return entry.model_copy(update=changes) if changes else entry

    def chat_template_names(self) -> list[str]:
        """Names of the chat templates that a model's entry can be given, own first."""
        own = sorted(file.stem for file in (self.root / CHAT_TEMPLATES).glob(f"*{JINJA}"))
        behind = self.fallback.chat_template_names() if self.fallback else []
        return own + [name for name in behind if name not in own]

    def _template_file(self, entry: ModelEntry, document: Marked) -> Path:
        """The file of the chat template that an entry names: of its name, or at its path."""
        given = entry.chat_template
        assert given is not None  # who calls has looked
        if given.endswith(JINJA):
            return self.resolve(given, entry)
        names = self.chat_template_names()
        if given not in names:
            near = difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.5)
            known = f"write one of {', '.join(names)}, or the path of a {JINJA} file"
            raise document.error(
                f"no chat template `{given}`",
                (entry.name, "chat_template"),
                code="no_such_template",
                remedy=f"did you mean `{near[0]}`?" if near else known,
            )
        own = self.root / CHAT_TEMPLATES / f"{given}{JINJA}"
        if is_there(own) or self.fallback is None:
            return own
        return self.fallback.root / CHAT_TEMPLATES / f"{given}{JINJA}"


def load_project(folder: Path) -> Project:
    """The project of a folder that has a `bakehouse.yaml`."""
    written = read_project_file(folder)
    return Project(folder, written.id, written.name or folder.name, load_settings(written), shipped())


def read_project_file(folder: Path) -> ProjectFile:
    """`bakehouse.yaml` itself."""
    return validate(ProjectFile, load_mapping(folder / PROJECT_FILE))


def load_task(file: Path) -> Task:
    """The task in a file, with what the files of its checks hold; its name is the file's."""
    document, wrong = with_files(named(file))
    if wrong:
        raise wrong[0]
    return validate(Task, document, given={"name": file.stem})


def load_recipe(file: Path) -> Recipe:
    """The recipe in a file; its name is the file's."""
    return validate(Recipe, named(file), given={"name": file.stem})


def load_experiment(file: Path) -> Experiment:
    """The experiment in a file; its name is the file's."""
    return validate(Experiment, named(file), given={"name": file.stem})


def load_model(name: str, document: Marked) -> ModelEntry:
    """The entry `name` of a `models.yaml`, its path as written."""
    entry = document.data[name]
    if not isinstance(entry, dict):
        raise document.error(f"expected a mapping of keys, found {found(entry)}", (name,))
    if "template_text" in entry:
        raise document.error(
            "unknown key `template_text`", (name, "template_text"), code="unknown_key", remedy="write `chat_template:`"
        )
    return validate(ModelEntry, document, (name,), {"name": name})


def read_template(file: Path, entry: ModelEntry, document: Marked) -> str:
    """The text of the chat template that an entry is given; the error points into the entry."""
    place = (entry.name, "chat_template")
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise document.error(f"there is no file {file}", place, code="missing_file") from None
    except OSError as error:
        raise document.error(f"{file} cannot be read: {error.strerror}", place, code="missing_file") from error
    except ValueError:
        raise document.error(f"{file} is no text in UTF-8", place, code="bad_template") from None
    if not text.strip():
        raise document.error(f"{file} is empty", place, code="bad_template")
    return text


def named(file: Path) -> Marked:
    """The document of a file that holds one object, whose `name` (when it says one) must be the file's."""
    document = load_mapping(file)
    name = document.data.get("name", file.stem)
    if name != file.stem:
        message = f"expected the name of the file, `{file.stem}`, found {found(name)}"
        raise document.error(message, ("name",), remedy="rename one of them")
    return document


def shipped() -> Project:
    """What comes with Bakehouse, as a project of its own with the id "shipped"."""
    return Project(shipped_root(), SHIPPED, "Bakehouse", load_settings())


def project_option(project: Project) -> tuple[str, ...]:
    """What a command needs to find this project from the present folder: nothing, or `--project FOLDER`."""
    if project.is_shipped:
        return ()
    try:
        here: Path | None = Project.find().root
    except BakehouseError:
        here = None
    return () if here == project.root else ("--project", str(project.root))
