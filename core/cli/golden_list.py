"""`bakehouse golden list`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.format import plural
from core.home import Home


@click.command("list", epilog="Example: bakehouse golden list judge")
@click.argument("task")
@project_option
@json_option
def list_command(task: str, project: Path | None, as_json: bool) -> None:
    """The golden inputs of TASK: what each is for and how it was chosen; and the answers that can be marked."""
    from core.marking.additions import golden_text
    from core.marking.answered import text_sha256
    from core.marking.overview import markable_jobs
    from core.store.marks import list_marks

    home, found = Home.find(), find_project(project)
    of_task = found.task(task)
    golden = golden_text(found, of_task)
    with opened(home) as connection:
        marked = list_marks(connection, found.id, task)
        jobs = markable_jobs(connection, found.id, task)
    of_text = Counter(one.input_sha256 for one in marked)
    marks = {item.id: of_text[text_sha256(item.text())] for item in golden.inputs}
    if as_json:
        document = {
            "task": task,
            "file": str(golden.path),
            "inputs": [{**item.model_dump(mode="json"), "marks": marks[item.id]} for item in golden.inputs],
            "jobs": [one.to_json() for one in jobs],
        }
        print_json(document, data=True)
        return
    confirming = sum(item.use == "confirm" for item in golden.inputs)
    say(f"{golden.path}: {plural(len(golden.inputs), 'input')}, {confirming} to confirm by")
    for item in golden.inputs:
        parts = [item.use or "", f"chosen: {item.chosen}" if item.chosen else "", item.source or ""]
        marks_said = plural(marks[item.id], "mark") if marks[item.id] else ""
        say(f"  {item.id:<40} {' · '.join(part for part in (*parts, marks_said) if part)}".rstrip(), data=True)
    for one in jobs:
        say(f"job {one.job_id}  {one.title}: {plural(one.answers, 'answer')}; `bakehouse golden mark {one.job_id}`")
