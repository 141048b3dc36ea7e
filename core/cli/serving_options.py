"""Options of the commands by which a model comes to serve, each as all of them have it."""

from __future__ import annotations

from typing import get_args

import click

from core.config.model import BaseWeights
from core.jobfile.deploy import Target

base_weights_option = click.option(
    "--base-weights",
    type=click.Choice(get_args(BaseWeights)),
    default="original",
    show_default=True,
    help="What an adapter that was trained on quantised weights is merged into: the base as it is, or as training saw it.",
)
target_option = click.option(
    "--to",
    type=click.Choice(get_args(Target)),
    help="Who serves it.  [default: Ollama where one answers now, else llama-server]",
)
name_option = click.option(
    "--name", help="The name that it serves under.  [default: TASK:MODEL-JOB, with `-` for llama-server]"
)
at_boot_option = click.option("--at-boot", is_flag=True, help="A served model of llama-server starts with the machine.")
