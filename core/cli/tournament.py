"""`bakehouse tournament`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from core.cli.common import find_project, json_option, project_option, told_if_slow
from core.cli.experiment_run import carry_out, run_options
from core.cli.output import say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import wrap
from core.home import Home

WAYS = ("fp32", "bf16", "auto", "8-bit", "4-bit", "3-bit", "2-bit")


@click.command(
    epilog="Example: bakehouse tournament judge planner --model Qwen3-1.7B --model Qwen3-4B --hours 8 --dry-run"
)
@click.argument("tasks", nargs=-1, required=True)
@click.option("--model", "models", multiple=True, help="Only this model; may be repeated. Else every one that fits.")
@click.option(
    "--way",
    "ways",
    type=click.Choice(WAYS),
    multiple=True,
    help="What the frozen weights are; may be repeated. Else bf16 and 4-bit on a GPU, as the recipe says on a CPU.",
)
@click.option("--recipe", help="What all arms start from. Else lora-bf16 on a GPU and demo on a CPU.")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Trainings of each arm.")
@click.option(
    "--steps", type=click.IntRange(1), help="Optimizer steps, the same for all. Else those of the recipe's epochs."
)
@click.option(
    "--lr",
    "learning_rates",
    type=float,
    multiple=True,
    help="A learning rate to try; one: no trials. Else three around the recipe's.",
)
@click.option("--keep", type=click.IntRange(1), help="Race: only so many arms go on from their trials.")
@click.option(
    "--measure", default="adapter", show_default=True, help="What is asked: the adapter, or a GGUF such as Q4_K_M."
)
@click.option("--repeats", type=click.IntRange(1, 1000), help="Answers to each golden input, instead of the task's.")
@click.option("--name", help="Instead of tournament-TASK.")
@run_options
@project_option
@json_option
def tournament(
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    ways: tuple[Any, ...],
    recipe: str | None,
    seeds: int,
    steps: int | None,
    learning_rates: tuple[float, ...],
    keep: int | None,
    measure: str,
    repeats: int | None,
    name: str | None,
    project: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Which model deserves to be trained for TASKS: every model that fits, trained alike and baked off together.

    Each is trained in the ways in which it fits, with the same data and as many steps, three times with other seeds; its
    learning rate is the best of a few by held-out loss. Untrained and tuned models answer the same golden inputs. Run again, it
    queues what is missing.
    """
    from core.experiment_submission.tournament import plan_tournament
    from core.experiments.tournament import WantedTournament
    from core.wording.tournament import left_out_lines

    home, found = Home.find(), find_project(project)
    wanted = WantedTournament(tasks, models, ways, recipe, seeds, steps, learning_rates, keep, measure, repeats, name)
    with told_if_slow("looking at each model: which way it fits …"):
        made = plan_tournament(home, found, wanted)
    if not as_json:
        for line in left_out_lines(made.left_out):
            for part in wrap(line, terminal_width()):
                say(part)
    carry_out(home, found, made.experiment, kind="tournament", about=made.about, as_json=as_json, **options)
