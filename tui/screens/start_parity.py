"""A parity check of a model that a server has: which one, its task, and the model whose template trained it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from textual.message import Message

from tui.context import Context
from tui.queries.failures import ask_beside
from tui.queries.served_names import ServedNames, read_served_names
from tui.screens.field_dialog import FieldDialog

ABOUT = {
    "of": "what a server has: nothing of it is changed",
    "task": "that it is to do: its conversations are compared",
    "model": "the base model, whose template trained",
}


@dataclass(frozen=True)
class ParityAsked:
    """`source` as a candidate is named (`served:NAME`, `SERVER:MODEL`); task and model by name."""

    source: str
    task: str
    model: str

    @property
    def command(self) -> str:
        return shlex.join(["bakehouse", "parity", self.source, "--task", self.task, "--model", self.model])


class AskParity(FieldDialog["ParityAsked | None"]):
    """Returns what was chosen, or None."""

    question = "Does a served model get the prompts it was trained on?"
    act = "check it"
    about_at = 46
    written = frozenset({"of"})

    class NamesRead(Message):
        def __init__(self, names: ServedNames) -> None:
            super().__init__()
            self.names = names

    def __init__(self, context: Context, source: str = "", task: str = "", model: str = "") -> None:
        super().__init__()
        self.context = context
        self.names: ServedNames | None = None
        """None until it was read."""
        self.values = {"of": source, "task": task, "model": model}

    def on_mount(self) -> None:
        super().on_mount()
        if self.context.live:
            ask_beside(
                "names of served models",
                lambda: self.NamesRead(read_served_names(self.context.home, self.context.find_project())),
                lambda line: self.NamesRead(ServedNames(problem=line)),
                self.post_message,
            )

    def on_ask_parity_names_read(self, message: NamesRead) -> None:
        self.names = names = message.names
        if not self.values["of"] and names.references:
            self.values["of"] = names.references[0]
        self.turned("of")
        for field, known in (("task", names.tasks), ("model", names.models)):
            if not self.values[field] and known:
                self.values[field] = known[0]
        self.fit()

    def turned(self, field: str) -> None:
        """What the model was deployed for is what it is checked for, where that is known."""
        if field == "of" and self.names is not None:
            task, model = self.names.deployed.get(self.values["of"], ("", ""))
            self.values["task"], self.values["model"] = task or self.values["task"], model or self.values["model"]

    @property
    def fields(self) -> list[str]:
        return ["of", "task", "model"]

    def options(self, field: str) -> tuple[str, ...]:
        names = self.names or ServedNames()
        return {"of": names.references, "task": names.tasks, "model": names.models}[field]

    def about(self, field: str) -> str:
        return ABOUT[field]

    @property
    def problem(self) -> str:
        if self.names is None:
            return "asking the servers for their models …"
        if self.names.problem:
            return self.names.problem
        if not self.values["of"]:
            return "; ".join(["no server has a model", *self.names.silent])
        missing = [field for field in ("task", "model") if not self.values[field]]
        return f"this project has no {missing[0]}" if missing else ""

    @property
    def explanation(self) -> list[str]:
        return list(self.names.silent) if self.names is not None and self.values["of"] else []

    @property
    def command(self) -> str:
        return self.chosen().command

    def chosen(self) -> ParityAsked:
        return ParityAsked(self.values["of"], self.values["task"], self.values["model"])
