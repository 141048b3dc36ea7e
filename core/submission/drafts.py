"""Putting a set of drafts into the queue: production inputs without expectations, and the candidates that answer them."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from core.config.golden import GoldenInput, GoldenSet
from core.config.project import Project
from core.config.task import Task
from core.data.turns import ReadOptions
from core.errors import InputError, NotFoundError
from core.format import plural
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.drafts import DraftsSpec
from core.jobfile.servers import known_servers
from core.jobfile.spec import JobFile
from core.marking.additions import training_examples
from core.marking.draft_inputs import LEFT_OUT, MOST, Drafts, read_drafts
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.bakeoff import GoldenTask, check_bakeoff
from core.submission.candidates import require_files
from core.submission.enqueue import store
from core.submission.wanted_bakeoff import WantedBakeoff


@dataclass(frozen=True)
class WantedDrafts:
    """`inputs` is a file or a folder, `most` how many of its inputs are taken at the most. `candidates` are references, or with
    `of_job` names of candidates of that bake-off or set of drafts."""

    task: str
    inputs: Path
    candidates: tuple[str, ...]
    most: int = MOST
    options: ReadOptions | None = None
    of_job: int | None = None

    def command(self, project: tuple[str, ...] = ()) -> str:
        """The command that asks for the same; `project` is the option by which it finds the project."""
        words = ["bakehouse", "golden", "draft", self.task, "--inputs", str(self.inputs)]
        words += [] if self.of_job is None else ["--of", str(self.of_job)]
        words += ["--candidates", *self.candidates]
        words += [] if self.most == MOST else ["--most", str(self.most)]
        return " ".join(shlex.quote(word) for word in [*words, *project])


def submit_drafts(
    home: Home, project: Project, wanted: WantedDrafts, *, author: str, remarks: list[str] | None = None
) -> JobRow:
    """Queue a set of drafts; what was left out of the file is added to `remarks`. Raises `InputError`, `NotFoundError`."""
    told: list[str] = [] if remarks is None else remarks
    if len(wanted.candidates) < 2:
        raise InputError(
            "drafts need two candidates: what they disagree on is what is worth marking",
            code="one_candidate",
            key="candidates",
        )
    task, seed = project.task(wanted.task), secrets.randbits(31)
    drafts = read_drafts(
        wanted.inputs,
        task,
        golden_so_far(project, task),
        training_examples(project, task),
        options=wanted.options,
        most=wanted.most,
        seed=seed,
    )
    told += drafts_words(drafts)
    # One answer to each: a mark is of one answer, and a person's time is what is short.
    asked = WantedBakeoff(tasks=(task.name,), candidates=wanted.candidates, repeats=1)
    given = [GoldenTask(task, GoldenSet(inputs=list(drafts.inputs)))]
    with contextlib.closing(open_database(home)) as connection:
        known = None if wanted.of_job is None else candidates_of(home, connection, project, wanted)
        checked = check_bakeoff(home, connection, project, asked, told, given=given, answering=known)
    spec = DraftsSpec(asked=checked.keep(home, project), source=str(wanted.inputs), left_out=drafts.left_out, seed=seed)
    return store(home, project, spec, author=author)


def candidates_of(
    home: Home, connection: sqlite3.Connection, project: Project, wanted: WantedDrafts
) -> list[CandidateSpec]:
    """The named candidates of a job, on the servers as the settings say they are now. Raises `InputError`, `NotFoundError`."""
    assert wanted.of_job is not None  # else references are meant
    spec = JobFile.load(home.run_dir(wanted.of_job)).spec
    asked = spec.asked if isinstance(spec, DraftsSpec) else spec
    if not isinstance(asked, BakeoffSpec):
        raise InputError(f"job {wanted.of_job} has no candidates", code="no_candidate", key="of")
    servers, found = known_servers(project.settings), []
    for name in wanted.candidates:
        one = next((candidate for candidate in asked.candidates if candidate.name == name), None)
        if one is None:
            known = ", ".join(asked.forms)
            raise NotFoundError(
                f"job {wanted.of_job} has no candidate `{name}`", code="no_candidate", remedy=f"its candidates: {known}"
            )
        if one.server is not None:
            one = one.model_copy(update={"server": servers.get(one.server.name, one.server)})
        require_files(home, connection, one)
        found.append(one)
    return found


def golden_so_far(project: Project, task: Task) -> list[GoldenInput]:
    """The golden inputs of a task; none where it has none yet. InputError for a golden file that is wrong."""
    try:
        return list(project.golden(task).inputs)
    except InputError as error:
        if error.code in {"no_golden", "missing_file", "empty_golden", "empty_file"}:
            return []
        raise


def drafts_words(drafts: Drafts) -> list[str]:
    """How many inputs are asked, and what was left out of the file."""
    told = [f"{plural(len(drafts.inputs), 'draft input')} of {drafts.read}"]
    if drafts.left_out:
        left = ", ".join(f"{number} {LEFT_OUT[code]}" for code, number in drafts.left_out.items())
        told.append(f"left out: {left}")
    if drafts.problem is not None:
        told.append(f"the first that cannot be read: {drafts.problem}")
    return told
