"""`bakehouse plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import wrap
from core.config.project import Project
from core.config.recipe import Recipe
from core.config.shipped import PLAIN_RECIPE, QUANTISED_RECIPE
from core.format import data_size, duration, share
from core.home import Home
from core.text import cell_width
from core.vram.plan import Plan, Row, method_words
from core.wording.memory import budget_words, forecast_words
from core.wording.obstacles import not_used

if TYPE_CHECKING:
    from core.vram.budget import Budget

RECIPES = (PLAIN_RECIPE, QUANTISED_RECIPE)


@click.command(epilog="Example: bakehouse plan --vram 16 --max-length 2048")
@click.option("--vram", metavar="SIZE", help="A GPU's memory as it is sold (16), or 16GB, 16GiB. Else this machine's.")
@click.option("--max-length", type=click.IntRange(16), help="Tokens of an example, instead of the recipes' length.")
@click.option("--rank", type=click.IntRange(1, 4096), help="Instead of the recipes' rank.")
@click.option("--model", "models", multiple=True, help="Only this model of models.yaml; may be repeated.")
@click.option(
    "--recipe", "recipes", multiple=True, help=f"How to train; may be repeated. Else {' and '.join(RECIPES)}."
)
@click.option(
    "--compare",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="MODEL:RECIPE MODEL:RECIPE",
    help="Two trainings side by side; may be repeated for more.",
)
@project_option
@json_option
def plan(
    vram: str | None,
    max_length: int | None,
    rank: int | None,
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    project: Path | None,
    as_json: bool,
) -> None:
    """Which models can be trained in a GPU's memory, at which rank and length, and which one to prefer."""
    from core.models.shapes import with_shape
    from core.results.evidence import verdicts
    from core.vram.budget import budget_for, this_machine
    from core.vram.calibration import calibration_of
    from core.vram.plan import plan as make_plan

    home, found = Home.find(), find_project(project)
    if pairs and (models or recipes):
        raise click.UsageError("--compare names models and recipes itself: leave --model and --recipe out")
    budget = budget_for(vram) if vram else this_machine(home)
    if pairs:
        compare(home, found, [said for two in pairs for said in two], budget, max_length, rank, as_json=as_json)
        return
    entries = [found.model(name) for name in models] if models else found.models()
    with opened(home) as connection:
        calibration = calibration_of(connection, home, budget)
        made = make_plan(
            [with_shape(home, entry) for entry in entries],
            [with_rank(recipe, rank) for recipe in chosen_recipes(found, recipes)],
            budget,
            calibration,
            max_length,
            verdicts(connection, home),
        )
    if as_json:
        print_json(
            {
                "budget": budget_json(budget),
                "calibration": {
                    "runs": calibration.runs,
                    "factor": calibration.factor,
                    "spread": calibration.spread,
                    "last_error": calibration.last_error,
                },
                "rows": [row.to_json() for row in made.rows],
                "preferred": None if made.preferred is None else made.preferred.to_json(),
                "why": made.reasons,
            }
        )
        return
    say(budget_words(budget))
    for device in budget.passed_over:
        say(f"▲ {not_used(device)}")
    within = f"a forecast holds within ± {share(calibration.spread)}"
    say(f"{calibration.words}; {'each forecast by those of comparable size' if calibration.runs else within}")
    say()
    for line in lines(made, on_cpu=budget.kind == "cpu"):
        say(line)


def budget_json(budget: Budget) -> dict[str, Any]:
    """A budget as `--json` has it."""
    return {
        "name": budget.name,
        "kind": budget.kind,
        "total_bytes": budget.total_bytes,
        "used_bytes": budget.used_bytes,
        "baseline_bytes": budget.baseline_bytes,
        "limit_bytes": budget.limit_bytes,
    }


def compare(
    home: Home,
    project: Project,
    said: list[str],
    budget: Budget,
    max_length: int | None,
    rank: int | None,
    *,
    as_json: bool,
) -> None:
    """Print trainings side by side: a column each where the terminal is wide enough, else one below the other."""
    from core.submission.plan_comparison import compare_trainings, pair
    from core.wording.plan_comparison import comparison_notes, comparison_table, comparison_words

    pairs = [pair(project, one) for one in said]
    changed = {} if max_length is None else {"max_length": max_length}
    wanted = [
        (model, with_rank(recipe, rank).model_copy(update=changed))
        for model, recipe in dict(zip(said, pairs, strict=True)).values()
    ]
    with opened(home) as connection:
        trainings = compare_trainings(connection, home, project, wanted, budget)
    if as_json:
        print_json({"budget": budget_json(budget), "trainings": [one.to_json() for one in trainings]})
        return
    say(budget_words(budget))
    say()
    table, width = comparison_table(trainings), terminal_width()
    widths = [max(cell_width(line[place]) for line in table) for place in range(len(table[0]))]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        for line in table:
            say("  ".join(cell.ljust(widths[place]) for place, cell in enumerate(line)).rstrip())
    else:
        for one in trainings:
            for figure, value in comparison_words(one):
                for part in wrap(f"{figure}: {value}", width):
                    say(part)
            say()
    for note in comparison_notes(trainings):
        for part in wrap(note, width):
            say(part)


def chosen_recipes(project: Project, names: tuple[str, ...]) -> list[Recipe]:
    """The named recipes, else the two shipped ones: one of each method."""
    return [project.recipe(name) for name in names or RECIPES]


def with_rank(recipe: Recipe, rank: int | None) -> Recipe:
    """The recipe at another rank, its update scaled as before."""
    if rank is None:
        return recipe
    return recipe.model_copy(update={"rank": rank, "alpha": recipe.alpha / recipe.rank * rank})


def lines(made: Plan, *, on_cpu: bool = False) -> list[str]:
    """The table, what is not predicted behind it, and the model to prefer. On a CPU it has the times, too."""
    where = "in memory" if on_cpu else "on the GPU"
    head = (
        f"{'model':<15} {'method':<10} {'rank':>5} {'tokens':>7}  {'allocated':>9} {where:>10}  "
        f"{'':<13} {'highest rank':>12} {'longest':>9}"
    )
    shown = [f"{head}  {'100k tokens':>11}" if on_cpu else head]
    for row in made.rows:
        if row.forecast is not None:
            shown.append(f"{line(row)}  {duration(row.seconds) or 'not known':>11}" if on_cpu else line(row))
    unknown = {row.model.name: row for row in made.rows if row.forecast is None}
    shown += [f"{name:<15} not predicted: {row.not_predicted}; {row.remedy}" for name, row in unknown.items()]
    shown.append("")
    shown.append(f"prefer {made.preferred.words}: {made.reasons}." if made.preferred else f"{made.reasons}.")
    return shown


def line(row: Row) -> str:
    """One model by one method."""
    assert row.forecast is not None
    highest = f"{row.highest_rank:,}" if row.highest_rank else "none"
    longest = f"{row.longest:,}" if row.longest else "none"
    return (
        f"{row.model.name:<15} {method_words(row.recipe):<10} {row.recipe.rank:>5} {row.recipe.max_length:>7,}  "
        f"{data_size(row.forecast.allocated_bytes):>9} {data_size(row.forecast.device_bytes):>10}  "
        f"{forecast_words(row.forecast):<13} {highest:>12} {longest:>9}"
    )
