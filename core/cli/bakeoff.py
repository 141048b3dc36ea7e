"""`bakehouse bakeoff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.cli.common import by, find_project, job_line, json_option, project_option, told_if_slow
from core.cli.output import say
from core.cli.submitted import submitted
from core.home import Home

if TYPE_CHECKING:
    from core.jobfile.quantize import Quantization
    from core.submission.wanted_stages import WantedStages

ALL = "all"


def listed(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Names with commas between them, also of an option that is given several times."""
    names = tuple(name for value in values for name in (part.strip() for part in value.split(",")) if name)
    if values and not names:  # a variable of a script that is not set
        raise click.BadParameter("expected names with commas between them, found nothing", ctx, option)
    return names


def quantizations(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[Quantization, ...]:
    """Formats of `llama-quantize`, however they are cased."""
    from core.jobfile.quantize import BITS

    known = {name.upper(): name for name in BITS}
    found = []
    for name in listed(ctx, option, values):
        if name.upper() not in known:
            raise click.BadParameter(f"no format `{name}`: there are {', '.join(BITS)}", ctx, option)
        found.append(known[name.upper()])
    return tuple(found)


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
@click.option(
    "--stages",
    "training",
    metavar="JOB",
    type=int,
    help="Compare the stages of what this training made: base, adapter, merged, GGUF F16 and Q8_0, GGUF LoRA.",
)
@click.option(
    "--smaller", metavar="A,B", multiple=True, callback=quantizations, help="With --stages: smaller files, as Q4_K_M."
)
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
    training: int | None,
    smaller: tuple[Quantization, ...],
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue a comparison of CANDIDATES on the golden inputs of TASK, or of several `--tasks`.

    A candidate is a model of models.yaml, `job:ID` (what a job makes, also of one not yet done), `artefact:SHA`, `served:NAME`
    (of `bakehouse served list`, else of Ollama), `SERVER:MODEL` (of `servers:` in the settings) or the path of a model. Behind
    it may stand how it is asked: `@think=on`, `@few_shot=3`, `@system=FILE`, `@format=json` (or a FILE.json, FILE.gbnf),
    `@temperature=0` and the like.

    With `--stages JOB [TASK]` the candidates are what comes of that training on its way to what serves. What is missing of it
    (merge, conversions, quantisations) is queued first, what is there is taken; the results say at which step quality was lost.
    """
    from core.cli.results_boards import leaderboard_of
    from core.submission.bakeoff import submit_bakeoff
    from core.submission.wanted_bakeoff import WantedBakeoff
    from core.submission.wanted_stages import WantedStages

    if smaller and training is None:
        raise click.UsageError("--smaller goes with --stages: name other files as candidates.")
    if training is not None:
        refused = {"--models": models, "--incumbent": incumbent, "--curtail": curtail is not None, "--extend": extend}
        if named := [option for option, given in refused.items() if given]:
            raise click.UsageError(f"--stages names the candidates itself: leave out {', '.join(named)}.")
        if len(words) + len(tasks) > 1 or ALL in tasks:
            raise click.UsageError("--stages compares at one task: name it, or leave it to the training.")
        wanted_task = next(iter((*words, *tasks)), None)
        compare_stages(
            WantedStages(training, wanted_task, smaller, repeats, concurrency), project, wait=wait, as_json=as_json
        )
        return
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


def compare_stages(wanted: WantedStages, project: Path | None, *, wait: bool, as_json: bool) -> None:
    """Queue the stages of a training, and say what is made for them and what was there."""
    from core.cli.results_boards import leaderboard_of
    from core.submission.stages import submit_stages

    home, remarks = Home.find(), list[str]()
    queued = submit_stages(home, find_project(project), wanted, author=by(), remarks=remarks)
    for remark in (*queued.taken, *remarks):
        say(f"note: {remark}", error=True)
    for maker in queued.makers:
        say(f"queued first: {job_line(maker)}", error=True)
    submitted(home, queued.bakeoff, wait=wait, as_json=as_json, show=leaderboard_of(home, as_json=as_json))
