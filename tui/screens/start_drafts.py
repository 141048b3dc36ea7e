"""Production inputs for marking, before they are queued: from which file, and who answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.home import Home, expanded
from core.store.jobs import JobRow
from tui import actions
from tui.screens.field_dialog import FieldDialog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import App

    from core.submission.drafts import WantedDrafts
    from tui.context import Context

NUMBERS = ("20", "50", "100", "200", "500")


class AskDrafts(FieldDialog["WantedDrafts | None"]):
    """Returns what was chosen, or None."""

    question = "Have production inputs answered, to be marked?"
    longest = 1_000
    written = frozenset({"inputs"})

    def __init__(self, job_id: int, task: str, candidates: Sequence[str], pair: Sequence[str]) -> None:
        """`candidates` are those of the bake-off `job_id`; `pair` the two that are chosen at first."""
        super().__init__()
        self.job_id = job_id
        self.of_task = task
        self.candidates = tuple(candidates)
        self.values = {"inputs": "", "left": pair[0], "right": pair[1], "most": "100"}

    @property
    def fields(self) -> list[str]:
        return ["inputs", "left", "right", "most"]

    def options(self, field: str) -> tuple[str, ...]:
        return {"left": self.candidates, "right": self.candidates, "most": NUMBERS}.get(field, ())

    def about(self, field: str) -> str:
        return {"inputs": "a file, or a folder", "most": "drawn by chance, if there are more"}.get(field, "")

    @property
    def problem(self) -> str:
        if not self.values["inputs"]:
            return "the file of the inputs is missing: e writes it"
        try:
            expanded(self.values["inputs"])
        except InputError as error:
            return f"{error.message}; {error.remedy}"
        return "" if self.values["left"] != self.values["right"] else "two candidates are compared: choose another one"

    @property
    def explanation(self) -> list[str]:
        return [
            "What is golden already, nearly the same as another input or in the training data is left out. The two answer the "
            "rest, and M on the job shows their answers without names."
        ]

    @property
    def command(self) -> str:
        return self.chosen().command()

    def chosen(self) -> WantedDrafts:
        from core.submission.drafts import WantedDrafts

        pair = (self.values["left"], self.values["right"])
        file = expanded(self.values["inputs"])
        return WantedDrafts(self.of_task, file, pair, int(self.values["most"]), of_job=self.job_id)


def ask_drafts(
    app: App[Any], context: Context, job_id: int, task: str, candidates: Sequence[str], pair: Sequence[str]
) -> None:
    """Open the dialog, and queue what comes of it."""
    remarks: list[str] = []

    def answered(wanted: WantedDrafts | None) -> None:
        if wanted is None:
            return

        def make(home: Home, project: Any, author: str) -> list[JobRow]:
            from dataclasses import replace

            from core.submission.drafts import submit_drafts

            file = project.root / wanted.inputs
            return [submit_drafts(home, project, replace(wanted, inputs=file), author=author, remarks=remarks)]

        actions.submit(context, make, remarks)

    app.push_screen(AskDrafts(job_id, task, candidates, pair), answered)
