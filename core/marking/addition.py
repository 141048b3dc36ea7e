"""One golden input that a person adds by hand: a text, or what a job asked or answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.authoring.own_copy import require_own
from core.config.golden import GoldenInput
from core.config.project import Project
from core.errors import InputError
from core.home import Home
from core.marking.additions import Use, add_golden, golden_text, new_input, training_examples
from core.marking.answered import answered_job
from core.marking.draft_inputs import UNNAMED
from core.marking.expectations import expectation
from core.marking.golden_file import GoldenText, complete_expectations
from core.marking.written_expect import check_expect


@dataclass(frozen=True)
class Addition:
    """What is added to the golden inputs of `task`. `draft` is what is asked, a text or a whole input. `missing` are keys that
    the checks ask for and that the answer does not show.

    `completes`: the golden input that gets the expectations which it lacks; then nothing is added.
    """

    task: str
    text: str
    draft: GoldenInput | None = None
    expect: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    completes: str | None = None
    name: str | None = None
    source: str | None = None
    use: Use | None = None
    tags: tuple[str, ...] = ()

    def changed(self, **values: Any) -> Addition:
        """With what a person says; None and nothing leave it as it is."""
        return replace(self, **{key: value for key, value in values.items() if value not in (None, ())})


def from_answer(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    job_id: int,
    input_id: str,
    candidate: str,
    *,
    task: str | None = None,
    of_task: str | None = None,
    as_input: bool = False,
    repeat: int | None = None,
) -> Addition:
    """What an answer of a job can add to `task` (by default that of the job): its input with the expectations that the checks
    read in the answer, or with `as_input` the answer's text as an input of its own. Raises `NotFoundError`, `InputError`."""
    job = answered_job(home, connection, project, job_id, of_task, rather=task, repeat=repeat)
    text, item = job.text(candidate, input_id), job.input(input_id)
    meant = project.task(task or job.task.name)
    if as_input or meant.name != job.task.name:
        return Addition(meant.name, text, tags=("own-output",) if meant.name == job.task.name else ("output",))
    found = expectation(meant, text, job.pattern_timeout)
    there = next((one for one in golden_text(project, meant).inputs if one.text() == item.text()), None)
    if there is None:
        return Addition(meant.name, item.text(), item, found.values, found.missing)
    lacking = {key: value for key, value in found.values.items() if key not in there.expect}
    return Addition(
        meant.name,
        item.text(),
        item,
        lacking,
        tuple(key for key in found.missing if key not in there.expect),
        completes=there.id,
    )


def add_one(project: Project, addition: Addition) -> tuple[GoldenInput, GoldenText]:
    """Write it; the golden input as it is now, and its file. Raises as `add_golden`."""
    task = project.task(addition.task)
    require_own(project, task)
    before = golden_text(project, task)
    if addition.completes is not None:
        if not addition.expect:
            raise InputError(
                f"the input is the golden input `{addition.completes}` already, and expects all that the checks ask for",
                code="golden_already",
                file=before.path,
                remedy="`--as-input` makes the answer an input of its own",
            )
        there = next(one for one in before.inputs if one.id == addition.completes)
        check_expect({**there.expect, **addition.expect}, task)
        after = complete_expectations(before, addition.completes, addition.expect)
        return next(one for one in after.inputs if one.id == addition.completes), after
    draft = addition.draft or GoldenInput(id=UNNAMED, input=addition.text)
    if addition.name or addition.source:
        draft = draft.model_copy(update={"id": addition.name or draft.id, "source": addition.source or draft.source})
    item = new_input(task, before.inputs, draft, addition.expect, use=addition.use, tags=addition.tags)
    after = add_golden(project, task, before, [item], training_examples(project, task))
    return after.inputs[-1], after
