"""The job `drafts`: every candidate answers every draft input. Nothing is scored: the inputs have no expectations yet."""

from __future__ import annotations

from core.format import plural
from core.jobfile.drafts import DraftsSpec
from jobs.bakeoff.job import ask_candidates
from jobs.context import JobContext


def run(context: JobContext, spec: DraftsSpec) -> None:
    inputs, record = ask_candidates(context, spec.asked)
    (drafts,) = inputs.values()
    given = sum(answer.fault != "server" for answer in record.answers)
    context.finish(
        f"{plural(given, 'answer')} to {plural(len(drafts), 'draft input')}, ready to be marked",
        summary={"task": spec.asked.tasks[0].name, "inputs": len(drafts), "answers": given},
    )
