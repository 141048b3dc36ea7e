"""`bakehouse bakeoff`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import by, find_project, json_option, project_option, told_if_slow
from core.cli.output import say
from core.cli.submitted import submitted
from core.home import Home

ALL = "all"


def listed(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Names with commas between them, also of an option that is given several times."""
    names = tuple(name for value in values for name in (part.strip() for part in value.split(",")) if name)
    if values and not names:  # a variable of a script that is not set
        raise click.BadParameter("expected names with commas between them, found nothing", ctx, option)
    return names


@click.command(epilog="Example: bakehouse bakeoff judge SmolLM2-135M SmolLM2-135M@few_shot=2 job:2 --wait")
@click.argument("words", metavar="[TASK] CANDIDATES…", nargs=-1)
@click.option("--tasks", metavar="A,B", multiple=True, callback=listed, help="Tasks, or `all` that have golden inputs.")
@click.option(
    "--models",
    metavar="A,B",
    multiple=True,
    callback=listed,
    help="Candidates without a comma in them, beside CANDIDATES.",
)
@click.option("--repeats", type=click.IntRange(1), help="Answers to each input, instead of the task's number.")
@click.option(
    "--incumbent",
    help="The candidate the others are compared with; by default the first base model, else the first candidate.",
)
@click.option("--concurrency", type=click.IntRange(1), help="Answers that a server is asked for at a time.")
@click.option("--curtail/--no-curtail", default=None, help="Stop asking a candidate that can't win any more.")
@click.option("--extend", metavar="JOB", type=int, help="Go on from an ended bake-off: only what is new is asked.")
@click.option("--wait", is_flag=True, help="Follow it to its end and print the leaderboard.")
@project_option
@json_option
def bakeoff(
    words: tuple[str, ...],
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    repeats: int | None,
    incumbent: str | None,
    concurrency: int | None,
    curtail: bool | None,
    extend: int | None,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue a comparison of CANDIDATES on the golden inputs of TASK, or of several `--tasks`.

    A candidate is a model of models.yaml, `job:ID` (what a job makes, also of one not yet done), `artefact:SHA`, `served:TAG`
    (of Ollama), `SERVER:MODEL` (of `servers:` in the settings) or the path of a model. Behind it may stand how it is asked:
    `@think=on`, `@few_shot=3`, `@system=FILE`, `@format=json` (or a FILE.json, FILE.gbnf), `@temperature=0` and the like.
    """
    from core.cli.results_boards import leaderboard_of
    from core.submission.bakeoff import submit_bakeoff
    from core.submission.wanted_bakeoff import WantedBakeoff

    if words and not tasks and extend is None:
        tasks, words = words[:1], words[1:]
    if not tasks and extend is None:
        raise click.UsageError("Missing argument 'TASK', or --tasks.")
    every = ALL in tasks
    if every and len(tasks) > 1:
        raise click.UsageError("`--tasks all` names every task: leave the others out.")
    wanted = WantedBakeoff(
        tasks=() if every else tasks,
        every_task=every,
        candidates=(*words, *models),
        repeats=repeats,
        incumbent=incumbent,
        concurrency=concurrency,
        curtail=curtail,
        extend=extend,
    )
    home, remarks = Home.find(), list[str]()
    with told_if_slow("asking the servers what they can do …"):
        job = submit_bakeoff(home, find_project(project), wanted, author=by(), remarks=remarks)
    for remark in remarks:
        say(f"note: {remark}", error=True)
    submitted(home, job, wait=wait, as_json=as_json, show=leaderboard_of(home, as_json=as_json))
