"""What a chain from a training to a model that serves is made of, before it is queued: the training is there, or a new one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from textual.message import Message

from core.config.model import BaseWeights, WeightFormat
from core.config.project import Project
from core.errors import BakehouseError
from core.jobfile.deploy import Target
from core.jobfile.quantize import Quantization
from core.store.jobs import JobRow
from core.submission.wanted_ship import WantedShip
from core.text import printable
from tui.context import Context
from tui.model.snapshot import Snapshot
from tui.queries.failures import ask_beside
from tui.screens.field_dialog import FieldDialog


@dataclass(frozen=True)
class ShipNames:
    """What a new training can be made of, by name; `problem` where that could not be read.

    `quantised` are the recipes that train on quantised weights.
    """

    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    problem: str = ""
    quantised: frozenset[str] = frozenset()


NEW = "a new training"
QUANTIZATIONS: tuple[str, ...] = ("Q8_0", *(one for one in get_args(Quantization) if one != "Q8_0"))
WEIGHTS: tuple[str, ...] = ("bf16", *(one for one in get_args(WeightFormat) if one != "bf16"))
BASES: tuple[str, ...] = get_args(BaseWeights)
WHOEVER, NOBODY = "Ollama if it answers", "no"
DEPLOY: tuple[str, ...] = (WHOEVER, *get_args(Target), NOBODY)
NOTHING: Mapping[str, str] = {}
PARTS = {"task": "tasks", "model": "models", "recipe": "recipes"}
ABOUT = {
    "from": "its adapter is shipped, for the task as it is now",
    "quantise": "what the GGUF file becomes",
    "weights": "of merge and conversion",
    "base": "what the adapter is merged into",
    "deploy": "who serves it, once it is proved",
    "bake-off": "base, adapter and what serves",
}


def names_data(project: Project, task: str) -> bool:
    """Whether there is something to train the task with; a task that cannot be read has nothing."""
    with contextlib.suppress(BakehouseError):
        return project.task(task).data.train is not None
    return False


def ship_names(project: Project) -> ShipNames:
    """The names of a project; of its tasks those with training data first, as a new training begins with the first."""
    own = project.own_task_names()
    tasks = [*own, *(name for name in project.task_names() if name not in own)]
    tasks.sort(key=lambda name: not names_data(project, name))
    recipes, quantised = tuple(project.recipe_names()), set()
    for name in recipes:
        with contextlib.suppress(BakehouseError):  # one that cannot be read is told when it is asked for
            if project.recipe(name).hqq is not None:
                quantised.add(name)
    return ShipNames(tuple(tasks), tuple(project.model_names()), recipes, quantised=frozenset(quantised))


class AskShip(FieldDialog["WantedShip | None"]):
    """Returns what was chosen, or None."""

    question = "Ship: train, merge, convert, quantise, deploy, bake off?"
    act = "ship"

    class NamesRead(Message):
        def __init__(self, names: ShipNames) -> None:
            super().__init__()
            self.names = names

    def __init__(
        self,
        context: Context,
        job: JobRow | None,
        snapshot: Snapshot,
        like: JobRow | None = None,
        begun: Mapping[str, str] = NOTHING,
    ) -> None:
        """`job` is the training to ship, None for a new one; that is at first as `begun` says, as `like` was, or as the newest
        training."""
        super().__init__()
        self.context = context
        self.job = job
        self.names: ShipNames | None = None
        """None until it was read."""
        last = like or job or next((one for one in snapshot.jobs if one.kind == "train"), None)
        self.values = {
            "from": NEW if job is None else f"job {job.id}",
            "task": (last.task if last is not None else None) or "",
            "model": (last.model if last is not None else None) or "",
            "recipe": str(last.settings.get("recipe", "")) if last is not None else "",
            "quantise": QUANTIZATIONS[0],
            "weights": WEIGHTS[0],
            "base": BASES[0],
            "deploy": WHOEVER,
            "bake-off": "yes",
            **begun,
        }

    def on_mount(self) -> None:
        super().on_mount()
        if self.context.live:
            ask_beside(
                "names to ship", self._read, lambda line: self.NamesRead(ShipNames(problem=line)), self.post_message
            )

    def _read(self) -> NamesRead:
        return self.NamesRead(ship_names(self.context.find_project()))

    def on_ask_ship_names_read(self, message: NamesRead) -> None:
        self.names = message.names
        for field, part in PARTS.items():
            known: tuple[str, ...] = getattr(message.names, part)
            if self.values[field] not in known:
                self.values[field] = known[0] if known else ""
        self.fit()

    @property
    def is_new(self) -> bool:
        """The chain begins with a training of its own."""
        return self.values["from"] == NEW

    @property
    def on_quantised(self) -> bool:
        """The training is one on quantised weights: then its adapter can be merged into the base as it was seen."""
        if self.is_new:
            return self.names is not None and self.values["recipe"] in self.names.quantised
        return self.job is not None and "bits" in self.job.settings

    @property
    def fields(self) -> list[str]:
        """Those that can be chosen, in their order."""
        head = ["from"] if self.job is not None else []
        base = ["base"] if self.on_quantised else []
        return [*head, *(PARTS if self.is_new else ()), "quantise", "weights", *base, "deploy", "bake-off"]

    def options(self, field: str) -> tuple[str, ...]:
        """What a field can be."""
        if field in PARTS:
            return () if self.names is None else getattr(self.names, PARTS[field])
        fixed = {
            "quantise": QUANTIZATIONS,
            "weights": WEIGHTS,
            "base": BASES,
            "deploy": DEPLOY,
            "bake-off": ("yes", "no"),
        }
        return fixed.get(field, (f"job {self.job.id}" if self.job is not None else NEW, NEW))

    @property
    def wanted(self) -> WantedShip:
        values = self.values
        new = self.is_new
        return WantedShip(
            task=values["task"] if new else None,
            model=values["model"] if new else None,
            recipe=values["recipe"] if new else None,
            training=None if new or self.job is None else self.job.id,
            quantization=values["quantise"],  # type: ignore[arg-type]  # of the type's own values
            dtype=values["weights"],  # type: ignore[arg-type]  # as above
            base_weights=values["base"] if self.on_quantised else "original",  # type: ignore[arg-type]  # as above
            deploy=values["deploy"] != NOBODY,
            to=values["deploy"] if values["deploy"] in get_args(Target) else None,  # type: ignore[arg-type]  # as above
            bakeoff=values["bake-off"] == "yes",
        )

    @property
    def problem(self) -> str:
        """Why this cannot be queued yet."""
        if not self.is_new:
            return ""
        if self.names is None:
            return "reading tasks, models and recipes …"
        missing = [field for field in PARTS if not self.values[field]]
        return self.names.problem or (f"this project has no {missing[0]}" if missing else "")

    def value(self, field: str) -> str:
        if field == "from" and not self.is_new and self.job is not None:
            return f"{self.values[field]}, {printable(self.job.title)}"
        return self.values[field]

    def about(self, field: str) -> str:
        return ABOUT.get(field, "")

    @property
    def command(self) -> str:
        return self.wanted.command

    def chosen(self) -> WantedShip | None:
        return self.wanted
