"""Putting a set of drafts into the queue: production inputs without expectations, and the candidates that answer them."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from core.config.golden import GoldenInput, GoldenSet
from core.config.project import Project
from core.config.task import Task
from core.data.turns import ReadOptions
from core.errors import InputError
from core.format import plural
from core.home import Home
from core.jobfile.drafts import DraftsSpec
from core.marking.additions import training_examples
from core.marking.draft_inputs import LEFT_OUT, MOST, Drafts, read_drafts
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.bakeoff import GoldenTask, check_bakeoff
from core.submission.enqueue import store
from core.submission.wanted_bakeoff import WantedBakeoff


@dataclass(frozen=True)
class WantedDrafts:
    """`inputs` is a file or a folder, `most` how many of its inputs are taken at the most. `candidates` are references."""

    task: str
    inputs: Path
    candidates: tuple[str, ...]
    most: int = MOST
    options: ReadOptions | None = None


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
        checked = check_bakeoff(home, connection, project, asked, told, given=given)
    spec = DraftsSpec(asked=checked.keep(home, project), source=str(wanted.inputs), left_out=drafts.left_out, seed=seed)
    return store(home, project, spec, author=author)


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
