"""`bakehouse audit` of several tasks: one table, by length."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from core.cli.output import print_json, say
from core.config.project import Project
from core.data.audit import Audit
from core.errors import BakehouseError
from core.format import share
from core.home import Home
from core.submission.audit_process import audit
from core.text import clip, printable

ALL = "all"
COMMON_LENGTHS = (512, 1024, 2048, 4096)
TASK_WIDTH = 24


def show_table(
    project: Project,
    tasks: str,
    model: str,
    recipe: str,
    max_length: int | None,
    lengths: Sequence[int] | None,
    as_json: bool,
) -> NoReturn:
    """Audit each task and print what fits which length. Exits with the code of the first task that could not be audited,
    else with 3 when a training of one of them would be refused, else with 0."""
    names = project.task_names() if tasks == ALL else [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise click.UsageError(
            "there is no task" if tasks == ALL else "--tasks wants `all`, or names with commas between"
        )
    wanted = sorted(set(lengths or COMMON_LENGTHS))
    home = Home.find()
    found: dict[str, Audit | BakehouseError] = {}
    for name in names:
        try:
            found[name] = audit(home, project, name, model, max_length=max_length, lengths=wanted, recipe=recipe)
        except BakehouseError as error:
            if error.code in ("model_not_found", "model_not_pulled", "recipe_not_found"):
                raise  # it is the same of every task
            found[name] = error
    if as_json:
        audits = {name: one.to_json() for name, one in found.items() if isinstance(one, Audit)}
        errors = {name: one.to_json() for name, one in found.items() if isinstance(one, BakehouseError)}
        print_json({"audits": audits, "errors": errors})
    else:
        for line in table(found, model, wanted):
            say(line)
    failed = [one for one in found.values() if isinstance(one, BakehouseError)]
    refused = any(isinstance(one, Audit) and one.refused for one in found.values())
    sys.exit(failed[0].exit_code if failed else 3 if refused else 0)


def table(found: dict[str, Audit | BakehouseError], model: str, lengths: Sequence[int]) -> list[str]:
    """Tokens of whole examples (prompt and completion) with the share that is whole at each length; then what is wrong."""
    head = f"{'task':<{TASK_WIDTH}}{'examples':>10}{'median':>9}{'max':>9}"
    lines = [f"tokens for {model}; the share of the examples that fits whole", ""]
    lines.append(head + "".join(f"{length:>9}" for length in lengths))
    remarks = []
    for name, one in found.items():
        label = f"{clip(printable(name), TASK_WIDTH - 1):<{TASK_WIDTH}}"
        if isinstance(one, BakehouseError):
            lines.append(f"{label}{'—':>10}")
            remarks.append(f"✗ {name}: {one}")
            continue
        rows = {row.max_length: row for row in one.rows}
        shares = "".join(f"{share(rows[length].whole / rows[length].total):>9}" for length in lengths)
        lines.append(f"{label}{one.examples:>10,}{one.tokens_median:>9,.0f}{one.tokens_max:>9,}{shares}")
        if one.refused:
            remarks.append(f"✗ {name}: training would refuse it; bakehouse audit {name} --model {model} says why")
    return [*lines, *([""] if remarks else []), *remarks]
