"""What can be checked of what servers have: their models by reference, and what each was deployed for. In a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.errors import BakehouseError
from core.home import Home
from tui.queries.bakeoff_form import read_server

if TYPE_CHECKING:
    from core.config.project import Project


ASKED_SECONDS = 8.0


@dataclass(frozen=True)
class ServedNames:
    """`references` as candidates are named, served models of the home first; `deployed` (task, model) of those that are.

    `silent` says which servers did not tell their models, and why; `problem` why nothing could be read.
    """

    references: tuple[str, ...] = ()
    deployed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    problem: str = ""


def read_served_names(home: Home, project: Project) -> ServedNames:
    """Raises `BakehouseError` where the project cannot be read."""
    from core.jobfile.servers import known_servers
    from core.served.record import read_records
    from core.serving.side_by_side import ask_side_by_side

    records, _ = read_records(home)
    deployed = {f"served:{record.name}": (record.task, record.model) for record in records}
    references, silent = list(deployed), []
    servers = list(known_servers(project.settings))
    told = ask_side_by_side(
        {name: name for name in servers},
        lambda name: _told(project, name),
        seconds=ASKED_SECONDS,
        server_of=str,
        is_away=lambda answer: False,
    )
    for server in servers:
        answer = told.get(server, "it has not answered yet")
        if isinstance(answer, str):
            silent.append(f"{server}: {answer}")
        else:
            # A served model of the home comes first under its name: a tag that is called the same has its server's.
            references += (f"{server}:{one.partition(':')[2]}" if one in deployed else one for one in answer)
    return ServedNames(
        tuple(dict.fromkeys(references)),
        deployed,
        tuple(project.task_names()),
        tuple(project.model_names()),
        tuple(silent),
    )


def _told(project: Project, name: str) -> tuple[str, ...] | str:
    """The references of a server's models, or why it does not tell them."""
    try:
        return read_server(lambda: project, name).references
    except BakehouseError as error:
        return error.message
