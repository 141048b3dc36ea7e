"""Which base model challenges the fleet, and by what recipe the tasks are trained of which no training is on record."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from textual.message import Message

from tui.context import Context
from tui.queries.failures import ask_beside
from tui.screens.field_dialog import FieldDialog

NO_RECIPE = "none: leave such tasks out"
ABOUT = {"model": "trained for every task of the fleet", "recipe": "of tasks whose own is not on record"}


@dataclass(frozen=True)
class ChallengeAsked:
    """By name; `recipe` None: tasks of which no training is on record are left out."""

    model: str
    recipe: str | None

    @property
    def command(self) -> str:
        recipe = [] if self.recipe is None else ["--recipe", self.recipe]
        return shlex.join(["bakehouse", "challenge", self.model, *recipe])


class AskChallenge(FieldDialog["ChallengeAsked | None"]):
    """Returns what was chosen, or None."""

    question = "Which base model challenges the fleet?"
    act = "look at what would be queued"

    class ModelsRead(Message):
        def __init__(self, models: tuple[str, ...], recipes: tuple[str, ...] = (), problem: str = "") -> None:
            super().__init__()
            self.models = models
            self.recipes = recipes
            self.problem = problem

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.models: tuple[str, ...] = ()
        self.recipes: tuple[str, ...] = ()
        self.fault = "reading models and recipes …"
        self.values = {"model": "", "recipe": NO_RECIPE}

    def on_mount(self) -> None:
        super().on_mount()
        if self.context.live:
            ask_beside("models", self._read, lambda line: self.ModelsRead((), problem=line), self.post_message)

    def _read(self) -> ModelsRead:
        project = self.context.find_project()
        return self.ModelsRead(tuple(project.model_names()), tuple(project.recipe_names()))

    def on_ask_challenge_models_read(self, message: ModelsRead) -> None:
        self.models, self.recipes = message.models, message.recipes
        self.fault = message.problem or ("" if message.models else "this project has no model")
        self.values["model"] = self.models[0] if self.models else ""
        self.fit()

    @property
    def fields(self) -> list[str]:
        return ["model", "recipe"]

    def options(self, field: str) -> tuple[str, ...]:
        return self.models if field == "model" else (NO_RECIPE, *self.recipes)

    def about(self, field: str) -> str:
        return ABOUT[field]

    @property
    def problem(self) -> str:
        return self.fault

    @property
    def asked(self) -> ChallengeAsked:
        recipe = self.values["recipe"]
        return ChallengeAsked(self.values["model"], None if recipe == NO_RECIPE else recipe)

    @property
    def command(self) -> str:
        return self.asked.command

    def chosen(self) -> ChallengeAsked | None:
        return self.asked
