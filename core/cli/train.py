"""`bakehouse train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from core.cli.common import by, find_project, job_line, json_option, opened, print_json, project_option
from core.cli.follow import wait_and_exit
from core.home import Home


def assignments(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """`KEY=VALUE` options as recipe keys, their values read as YAML reads them."""
    from core.config.yaml import parse_scalar

    found = {}
    for value in values:
        key, sign, text = value.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"`{value}` is not KEY=VALUE", ctx, option)
        found[key] = parse_scalar(text)
    return found


@click.command(epilog="Example: bakehouse train judge --model SmolLM2-135M --recipe demo --set epochs=2 --wait")
@click.argument("task")
@click.option("--model", required=True, help="A base model of models.yaml.")
@click.option("--recipe", default="lora-bf16", show_default=True, help="How to train.")
@click.option("--rank", type=int, help="Instead of the recipe's rank.")
@click.option("--max-length", type=int, help="Instead of the recipe's length, in tokens.")
@click.option("--epochs", type=float, help="Instead of the recipe's epochs.")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, callback=assignments, help="Any other key of the recipe."
)
@click.option("--after", metavar="JOB", type=int, multiple=True, help="Start only when this job is done.")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@project_option
@json_option
def train(
    task: str,
    model: str,
    recipe: str,
    rank: int | None,
    max_length: int | None,
    epochs: float | None,
    overrides: dict[str, Any],
    after: tuple[int, ...],
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue the training of an adapter for TASK and return; --wait follows it."""
    from core.queue.protection import choose_protection
    from core.queue.submit import submit_train

    named = {"rank": rank, "max_length": max_length, "epochs": epochs}
    overrides |= {key: value for key, value in named.items() if value is not None}
    home = Home.find()
    job = submit_train(home, find_project(project), task, model, recipe, overrides, after, author=by())
    if warning := choose_protection().warning:
        print(f"▲ {warning}", file=sys.stderr)
    if as_json:
        print_json({"job": job.to_json()})
    else:
        print(job_line(job))
    if wait:
        with opened(home) as connection:
            sys.exit(wait_and_exit(home, connection, [job.id]))
