"""`bakehouse train`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import click

from core.cli.common import by, find_project, json_option, project_option, told_if_slow
from core.cli.output import say
from core.cli.submitted import submitted
from core.config.shipped import PLAIN_RECIPE
from core.home import Home
from core.store.jobs import JobRow


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


class RecipeNumber(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A value of a recipe's key, read and refused as the form of a new run does."""

    name = "number"

    def __init__(self, key: str) -> None:
        self.key = key

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from core.config.overrides import typed_value

        return typed_value(self.key, value) if isinstance(value, str) else value


@click.command(epilog="Example: bakehouse train judge --model SmolLM2-135M --recipe demo --set epochs=2 --wait")
@click.argument("task")
@click.option("--model", required=True, help="A base model of models.yaml.")
@click.option("--recipe", default=PLAIN_RECIPE, show_default=True, help="How to train.")
@click.option("--rank", type=RecipeNumber("rank"), help="Instead of the recipe's rank.")
@click.option("--max-length", type=RecipeNumber("max_length"), help="Instead of the recipe's length, in tokens.")
@click.option("--epochs", type=RecipeNumber("epochs"), help="Instead of the recipe's epochs.")
@click.option(
    "--batch-size", type=RecipeNumber("batch_size"), help="Examples computed at once, instead of the recipe's."
)
@click.option("--accumulation", type=RecipeNumber("accumulation"), help="Batches of one optimizer step.")
@click.option("--lr", type=RecipeNumber("lr"), help="Instead of the recipe's learning rate.")
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
    batch_size: int | None,
    accumulation: int | None,
    lr: float | None,
    overrides: dict[str, Any],
    after: tuple[int, ...],
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue the training of an adapter for TASK and return; --wait follows it."""
    from core.submission.submit import submit_train

    named = {
        "rank": rank,
        "max_length": max_length,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulation": accumulation,
        "lr": lr,
    }
    overrides |= {key: value for key, value in named.items() if value is not None}
    home = Home.find()
    later: list[str] = []
    with told_if_slow(f"counting the tokens of {task} …"):
        job = submit_train(home, find_project(project), task, model, recipe, overrides, after, author=by(), later=later)
    for remark in later:
        say(f"note: {remark}", error=True)

    def next_step(connection: sqlite3.Connection, ended: JobRow) -> dict[str, Any] | str:
        command = f"bakehouse bakeoff {task} {model} job:{ended.id} --wait"
        return {"next": command} if as_json else f"next: {command}"

    submitted(home, job, wait=wait, as_json=as_json, show=next_step)
