"""The same asked of several jobs: each is tried, each gets its line, and the exit code tells whether one was refused."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.cli.common import job_json, job_line
from core.cli.output import print_json, say
from core.errors import BakehouseError, NotFoundError
from core.store.jobs import JobRow

Outcomes = Mapping[int, BakehouseError | None]
"""By job, in the order in which they were named: what went wrong; None where nothing did."""


def each_of(
    job_ids: Sequence[int], act: Callable[[int], None], order: Callable[[Sequence[int]], Sequence[int]]
) -> Outcomes:
    """Do it with each job, in the order that `order` makes of them; an error of one does not keep the next from its turn."""
    found: dict[int, BakehouseError | None] = dict.fromkeys(job_ids)
    for job_id in order(job_ids):
        try:
            act(job_id)
        except BakehouseError as error:
            found[job_id] = error
    return found


def show_outcomes(outcomes: Outcomes, job_of: Callable[[int], JobRow], as_json: bool) -> None:
    """A line for each job, on stderr for what did not work; leaves with an exit code when something did not.

    One job alone that did not work is raised as its error, as of a command that takes one job.
    """
    wrong = refusals(outcomes)
    jobs = {}
    for job_id in outcomes:
        with contextlib.suppress(NotFoundError):
            jobs[job_id] = job_of(job_id)
    if as_json:
        done = [job_json(job) for job_id, job in jobs.items() if job_id not in wrong]
        print_json({"jobs": done, **({"refused": refused_json(wrong)} if wrong else {})})
    else:
        for job_id in outcomes:
            say(f"✗ {job_id:>4}  {wrong[job_id]}", error=True) if job_id in wrong else say(job_line(jobs[job_id]))
    leave_refused(outcomes)


def refusals(outcomes: Outcomes) -> dict[int, BakehouseError]:
    """What did not work, by job. Raises the one error where only one job was asked for."""
    wrong = {job_id: error for job_id, error in outcomes.items() if error is not None}
    if len(outcomes) == 1:
        for error in wrong.values():
            raise error
    return wrong


def refused_json(wrong: Mapping[int, BakehouseError]) -> list[dict[str, Any]]:
    return [{"job": job_id, "error": error.to_json()} for job_id, error in wrong.items()]


def leave_refused(outcomes: Outcomes) -> None:
    """End with an exit code where something did not work: that of the errors where all went wrong alike, else 1."""
    codes = [error.exit_code for error in outcomes.values() if error is not None]
    if codes:
        sys.exit(codes[0] if len(set(codes)) == 1 and len(codes) == len(outcomes) else 1)
