"""The report of an experiment, before it is written: into which file, as HTML or as Markdown."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from core.clock import SYSTEM_CLOCK
from core.errors import InputError
from core.home import expanded
from tui.actions import RequestDone, in_background
from tui.screens.field_dialog import FieldDialog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import App

    from tui.context import Context

ENDINGS = {"HTML": ".html", "Markdown": ".md"}
OPTIONS = {"HTML": "--html", "Markdown": "--markdown"}
ABOUT = {"HTML": "one page that needs nothing else", "Markdown": "charts are text"}


@dataclass(frozen=True)
class WantedReport:
    """`form` is a key of `ENDINGS`; `file` is absolute. `project` is the option by which a command finds the project."""

    experiment: str
    form: str
    file: Path
    project: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        words = ("bakehouse", "experiment", "report", self.experiment, OPTIONS[self.form], str(self.file))
        return " ".join(map(shlex.quote, (*words, *self.project)))


class AskReport(FieldDialog["WantedReport | None"]):
    """Returns what was chosen, or None."""

    question = "Write a report of the experiment?"
    act = "write it"
    longest = 1_000
    written: ClassVar[frozenset[str]] = frozenset({"file"})

    def __init__(self, experiment: str, folder: Path, project: Sequence[str] = ()) -> None:
        """The file is proposed in `folder`."""
        super().__init__()
        self.experiment = experiment
        self.project = tuple(project)
        self.values = {"form": "HTML", "file": str(folder / f"{experiment}.html")}

    @property
    def fields(self) -> list[str]:
        return ["form", "file"]

    def options(self, field: str) -> tuple[str, ...]:
        return tuple(ENDINGS) if field == "form" else ()

    def about(self, field: str) -> str:
        return ABOUT[self.values["form"]] if field == "form" else ""

    def turned(self, field: str) -> None:
        """The ending of the file follows the form, where it was that of the other one."""
        file = Path(self.values["file"])
        if field == "form" and file.suffix in ENDINGS.values():
            self.values["file"] = str(file.with_suffix(ENDINGS[self.values["form"]]))

    @property
    def problem(self) -> str:
        try:
            expanded(self.values["file"])
        except InputError as error:
            return f"{error.message}; {error.remedy}"
        return ""

    @property
    def explanation(self) -> list[str]:
        return [
            "It has the answer with its caveats, charts, tables and the method. A file that is there is not written over."
        ]

    @property
    def command(self) -> str:
        return self.chosen().command

    def chosen(self) -> WantedReport:
        file = expanded(self.values["file"]).absolute()
        return WantedReport(self.experiment, self.values["form"], file, self.project)


def ask_report(app: App[Any], context: Context, experiment: str) -> None:
    """Open the dialog, and write what comes of it beside the console."""

    def answered(wanted: WantedReport | None) -> None:
        if wanted is not None:
            in_background(context, lambda: _write(context, wanted))

    app.push_screen(AskReport(experiment, Path.cwd(), context.snapshot.project_option), answered)


def _write(context: Context, wanted: WantedReport) -> RequestDone:
    """Loads the bake-offs that count. Raises `InputError` for a file that is there, or that cannot be written."""
    from core.authoring.new_files import write_new_files
    from core.experiments.shown import shown_experiment
    from core.experiments.tables import table_source
    from core.reports.experiment_report import html_report, markdown_report
    from core.store.database import open_database

    if wanted.file.exists():
        raise InputError(
            "the file is there already", code="exists", file=wanted.file, remedy="name another file, or remove this one"
        )
    home, project = context.home, context.find_project()
    with contextlib.closing(open_database(home)) as connection:
        source = table_source(home, connection, shown_experiment(home, connection, project, wanted.experiment))
    make = {"HTML": html_report, "Markdown": markdown_report}[wanted.form]
    write_new_files({wanted.file: make(source, SYSTEM_CLOCK.time())})
    return RequestDone(f"written: {wanted.file}")
