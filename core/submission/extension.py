"""An ended bake-off that is extended: its tasks, candidates and answers, with which the next one begins."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.config.project import Project
from core.errors import BakehouseError, InputError
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.servers import known_servers
from core.jobfile.spec import InputFile
from core.results.load import bakeoff_file
from core.scoring.answers import Answer, read_answers
from core.store.jobs import ENDED, get_job
from core.submission.candidates import apart_from_name, require_files, with_own_names
from core.submission.input_store import keep_content


@dataclass(frozen=True)
class Extended:
    """A bake-off that has ended. Its servers are where the settings say they are now."""

    job_id: int
    spec: BakeoffSpec

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.spec.tasks)

    def task(self, name: str) -> TaskUnderTest | None:
        return next((task for task in self.spec.tasks if task.name == name), None)

    def answer_files(self, home: Home) -> list[Path]:
        """Where its answers stand, and those that it was itself handed; a file need not be there."""
        handed = [] if self.spec.earlier is None else [Path(self.spec.earlier.path)]
        return [*(home.run_dir(job).answers for job in (self.job_id, *self.spec.takes_over)), *handed]

    def keep_answers(self, home: Home) -> InputFile:
        """A copy of its answers, with those that it was itself handed and did not come to use."""
        files = self.answer_files(home)
        kept: dict[tuple[str, str], Answer] = {}
        for file in files:
            for answer in read_answers(file) if file.exists() else ():
                if answer.fault != "server":
                    kept.setdefault((answer.candidate, answer.key), answer)
        lines = "".join(json.dumps(answer.to_json(), ensure_ascii=False) + "\n" for answer in kept.values())
        return keep_content(home, lines.encode("utf-8", "surrogatepass"), files[0])


def extended(home: Home, connection: sqlite3.Connection, project: Project, job_id: int) -> Extended:
    """The bake-off of that job. Raises `InputError` while it runs, and for one of another project."""
    job = get_job(connection, job_id)
    file, spec = bakeoff_file(home, job_id)
    if job.state not in ENDED:
        raise InputError(
            f"bake-off {job_id} has not ended yet ({job.state}), so its answers are still to come",
            code="not_ended",
            key="extend",
            remedy=f"wait for it, or end it: `bakehouse queue cancel {job_id}`",
        )
    if file.project_id != project.id:
        raise InputError(
            f"bake-off {job_id} is of another project, `{file.project_id}`",
            code="other_project",
            key="extend",
            remedy=f"--project {file.project_root}",
        )
    servers = known_servers(project.settings)
    now = [
        candidate
        if candidate.server is None
        else candidate.model_copy(update={"server": servers.get(candidate.server.name, candidate.server)})
        for candidate in spec.candidates
    ]
    return Extended(job_id, spec.model_copy(update={"candidates": now}))


def require_former(home: Home, connection: sqlite3.Connection, before: Extended) -> None:
    """Refuse an extension whose former candidates have lost their files. Raises `InputError`, `NotFoundError`."""
    with told_of_former(before):
        for candidate in before.spec.candidates:
            require_files(home, connection, candidate)


@contextlib.contextmanager
def told_of_former(before: Extended | None, only: Collection[str] | None = None) -> Iterator[None]:
    """Say of an error that it is about what an extended bake-off has, which nobody has named here. `only` about these keys."""
    try:
        yield
    except BakehouseError as error:
        if before is not None and (only is None or error.key in only):
            own = f"bake-off {before.job_id} has it: have it there again, or start a bake-off of its own"
            error.remedy = f"{error.remedy}; {own}" if error.remedy else own
        raise


def united(
    before: Extended, added: Sequence[CandidateSpec], references: Sequence[str], incumbent: str | None
) -> tuple[list[CandidateSpec], str | None]:
    """The former candidates under their names and the added ones under others, and the incumbent's name among them.

    One that is there already is not added. None as incumbent is the former one.
    """
    former = before.spec.candidates
    shown = {apart_from_name(candidate): candidate.name for candidate in former}
    new, of_new, renamed = [], [], {}
    for candidate, reference in zip(added, references, strict=True):
        known = shown.get(apart_from_name(candidate))
        if known is not None:
            renamed[candidate.name] = known
        else:
            new.append(candidate)
            of_new.append(reference)
    # The former ones keep their names, under which their answers are stored.
    named = with_own_names(new, of_new, taken=[candidate.name for candidate in former])
    renamed |= {old.name: now.name for old, now in zip(new, named, strict=True)}
    new = named
    return [*former, *new], renamed.get(incumbent, incumbent) if incumbent is not None else before.spec.incumbent
