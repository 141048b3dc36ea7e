"""`bakehouse ship`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, get_args

import click

from core.cli import submitted
from core.cli.chains import chain_json, chain_lines
from core.cli.common import by, find_project, job_json, json_option, opened, project_option, told_if_slow
from core.cli.output import print_json, say
from core.cli.serving_options import at_boot_option, base_weights_option, name_option, target_option
from core.cli.train import assignments
from core.config.model import BaseWeights, WeightFormat
from core.config.shipped import PLAIN_RECIPE
from core.home import Home
from core.jobfile.deploy import Target
from core.jobfile.quantize import Quantization
from core.store.chains import get_chain
from core.store.jobs import JobRow
from core.submission.wanted_ship import WantedShip


@click.command(epilog="Example: bakehouse ship judge --model SmolLM2-135M --recipe demo --wait")
@click.argument("task", required=False)
@click.option("--model", help="The base model that is trained.")
@click.option("--recipe", help=f"How to train.  [default: {PLAIN_RECIPE}]")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, callback=assignments, help="Any key of the recipe."
)
@click.option("--from", "training", metavar="JOB", type=int, help="Ship the adapter of this training instead.")
@click.option(
    "--quantize",
    type=click.Choice(get_args(Quantization), case_sensitive=False),
    default="Q8_0",
    show_default=True,
    help="What the GGUF file becomes.",
)
@click.option(
    "--dtype",
    type=click.Choice(get_args(WeightFormat)),
    default="bf16",
    show_default=True,
    help="The format of the weights before that: of the merge and the conversion.",
)
@base_weights_option
@target_option
@name_option
@at_boot_option
@click.option("--no-deploy", is_flag=True, help="Prove the file by a parity check, and have nobody serve it.")
@click.option("--no-bakeoff", is_flag=True, help="End with the deployment.")
@click.option(
    "--wait", is_flag=True, help="Follow the chain to its end: the exit code is that of the link that failed."
)
@project_option
@json_option
def ship(
    task: str | None,
    model: str | None,
    recipe: str | None,
    overrides: dict[str, Any],
    training: int | None,
    quantize: Quantization,
    dtype: WeightFormat,
    base_weights: BaseWeights,
    to: Target | None,
    name: str | None,
    at_boot: bool,
    no_deploy: bool,
    no_bakeoff: bool,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue the whole way to a model that serves: training, merge, conversion, quantisation, deployment, bake-off.

    Each link waits for the one before. What was made already is taken. A link that fails stops this chain alone; retried
    (`bakehouse queue retry JOB`), it goes on, and the links behind it follow. Nothing serves before its prompts are proved to
    be those of training. The bake-off compares the base, its adapter and what serves. `bakehouse queue cancel chain:1` and the
    like are asked of all jobs of the chain.
    """
    from core.submission.ship import submit_ship

    if training is not None and (task or model or recipe or overrides):
        raise click.UsageError("--from names a training: TASK, --model, --recipe and --set are known from it.")
    if training is None and not (task and model):
        raise click.UsageError("Missing argument 'TASK' and option '--model', or '--from JOB'.")
    if no_deploy and (to or name or at_boot):
        raise click.UsageError("--to, --name and --at-boot are of a deployment: leave them or --no-deploy out.")
    wanted = WantedShip(
        task=task,
        model=model,
        recipe=recipe or PLAIN_RECIPE,
        training=training,
        overrides=overrides,
        quantization=quantize,
        dtype=dtype,
        base_weights=base_weights,
        deploy=not no_deploy,
        to=to,
        name=name,
        at_boot=at_boot,
        bakeoff=not no_bakeoff,
    )
    home, later, remarks = Home.find(), list[str](), list[str]()
    with told_if_slow("checking every link …"):
        made = submit_ship(home, find_project(project), wanted, author=by(), later=later, remarks=remarks)
    for remark in (*later, *remarks):
        say(f"note: {remark}", error=True)
    chain_id, jobs = made.chain.id, [job_json(job) for job in made.queued]
    if not made.queued:
        say(f"all of this is there already, as chain {chain_id}", error=True)
    if wait:

        def came_to(connection: sqlite3.Connection, last: JobRow) -> dict[str, Any] | str:
            chain = get_chain(connection, chain_id)
            return {"chain": chain_json(chain)} if as_json else "\n".join(chain_lines(chain, 40, {}, {}))

        submitted.submitted(home, made.chain.links[-1].job, wait=True, as_json=as_json, show=came_to)
    submitted.warn_of_launcher(home)
    if as_json:
        print_json({"chain": chain_json(made.chain), "jobs": jobs})
        return
    with opened(home) as connection:
        for line in chain_lines(get_chain(connection, chain_id), 40, {}, {}):
            say(line)
