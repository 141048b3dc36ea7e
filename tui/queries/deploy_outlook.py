"""What a deployment would be, to either target, before it is asked for. Read in a thread: an Ollama is asked."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from core.errors import BakehouseError
from core.home import Home
from core.jobfile.deploy import Target

if TYPE_CHECKING:
    from core.config.project import Project

TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass(frozen=True)
class WantedDeploy:
    """The GGUF file of a job, who serves it, and under which name; `name` None: the one that follows from the job.

    A llama-server gives `slots` answers at a time, and is started `at_boot` where that is wanted.
    """

    job_id: int
    to: Target
    name: str | None = None
    at_boot: bool = False
    slots: int = 1

    @property
    def command(self) -> str:
        """The command that asks for the same."""
        words = ["bakehouse", "deploy", str(self.job_id), "--to", self.to]
        words += [] if self.name is None else ["--name", self.name]
        words += [] if self.slots == 1 else ["--slots", str(self.slots)]
        return shlex.join([*words, *(["--at-boot"] if self.at_boot else [])])


@dataclass(frozen=True)
class DeployOutlook:
    """By target: the name that follows from the job (`usual`), the names that serve there now, where that is (`place`), and why
    it cannot be. `best` is who is taken where nobody is named. `problem`: why nothing could be found out. `served`: the home's
    served models by name, (slots, at boot) of each.

    `boot_problem`: why nothing would start a llama-server with the machine. `kept`: what a person should know of what keeps it
    running, by whether it is to start at boot.
    """

    best: Target = "ollama"
    usual: Mapping[Target, str] = field(default_factory=dict)
    taken: Mapping[Target, tuple[str, ...]] = field(default_factory=dict)
    place: Mapping[Target, str] = field(default_factory=dict)
    problems: Mapping[Target, str] = field(default_factory=dict)
    problem: str = ""
    boot_problem: str = ""
    kept: Mapping[bool, tuple[str, ...]] = field(default_factory=dict)
    served: Mapping[str, tuple[int, bool]] = field(default_factory=dict)


def read_deploy_outlook(home: Home, project: Project, job_id: int) -> DeployOutlook:
    """Raises `BakehouseError` for a job whose file cannot be deployed at all."""
    from core.config.servers import BUILT_IN
    from core.jobfile.servers import known_servers, login_of
    from core.models.llama_cpp import LlamaCpp
    from core.served.control import choose_keeper
    from core.served.record import read_records
    from core.serving.servers import model_names
    from core.store.database import open_database
    from core.submission.deploy import default_name, target
    from core.submission.meant_gguf import meant_gguf, meant_task_and_model
    from core.wording.served import note_words

    source = f"job:{job_id}"
    with contextlib.closing(open_database(home)) as connection:
        found = meant_gguf(home, connection, project, source)
    task, model = meant_task_and_model(project, source, found, None, None)
    server = known_servers(project.settings)[BUILT_IN]
    problems: dict[Target, str] = {}
    tags: tuple[str, ...] = ()
    best: Target = "llama-server"
    try:
        tags = tuple(model_names(server, login=login_of(server)))
        best = target(project, None, at_boot=False)
    except BakehouseError as error:
        problems["ollama"] = error.message
    try:
        LlamaCpp.find(project.settings.llama_cpp.folder).require("llama-server")
    except BakehouseError as error:
        problems["llama-server"] = f"{error.message}; {error.remedy}" if error.remedy else error.message
    boot_problem, kept = "", {}
    for at_boot in (False, True):
        try:
            kept[at_boot] = tuple(map(note_words, choose_keeper(at_boot=at_boot).notes))
        except BakehouseError as error:
            boot_problem = error.message
    served = {record.name: (record.slots, record.at_boot) for record in read_records(home)[0]}
    return DeployOutlook(
        best,
        {to: default_name(task, model, found, to) for to in TARGETS},
        {"ollama": tags, "llama-server": tuple(served)},
        {"ollama": server.url, "llama-server": "127.0.0.1"},
        problems,
        boot_problem=boot_problem,
        kept=kept,
        served=served,
    )
