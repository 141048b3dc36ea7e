"""`bakehouse experiment run`, and what a tournament shares with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli import submitted
from core.cli.common import by, find_project, json_option, opened, project_option, told_if_slow
from core.cli.follow import exit_code, follow_to_the_end
from core.cli.output import print_json, say
from core.cli.results_boards import terminal_width
from core.cli.text_grid import wrap
from core.config.experiment import Experiment
from core.config.project import Project
from core.home import Home
from core.store.experiments import ExperimentKind, bakeoffs_of, races_of, runs_of

if TYPE_CHECKING:
    from core.experiment_submission.outlook import ExperimentOutlook
    from core.experiment_submission.plan import ExperimentPlan
    from core.experiment_submission.queueing import QueuedExperiment
    from core.experiment_submission.retry import RetriedJobs

F = Callable[..., Any]


def run_options(function: F) -> F:
    """What `experiment run` and `tournament` have alike."""
    for option in reversed(
        (
            click.option("--retry", is_flag=True, help="Try again what has ended without being done."),
            click.option(
                "--hours", type=click.FloatRange(min=0, min_open=True), help="Only what can be done in so many hours."
            ),
            click.option("--dry-run", is_flag=True, help="Show what would be queued, and queue nothing."),
            click.option("--wait", is_flag=True, help="Follow all of it to the end."),
        )
    ):
        function = option(function)
    return function


@click.command(epilog="Example: bakehouse experiment run precision-rank-size --dry-run")
@click.argument("name")
@run_options
@project_option
@json_option
def run(
    name: str,
    retry: bool,
    hours: float | None,
    dry_run: bool,
    wait: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Queue what is missing of an experiment: trials, trainings, and a bake-off behind each block of seeds.

    Run again, it finds what is there and queues the rest: another model, further seeds, a training that was retried. All jobs
    of it are queued together or none is. After the first block there is a provisional answer. An arm that fails is left out
    of the bake-offs and costs no other one anything.
    """
    from core.experiments.named import named_experiment

    home, found = Home.find(), find_project(project)
    with opened(home) as connection:
        named = named_experiment(connection, found, name)
    carry_out(
        home,
        found,
        named.experiment,
        kind=named.kind,
        about=named.about,
        retry=retry,
        hours=hours,
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
    )


def carry_out(
    home: Home,
    project: Project,
    experiment: Experiment,
    *,
    kind: ExperimentKind,
    about: Mapping[str, Any],
    retry: bool,
    hours: float | None,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Queue what is missing of an experiment and say so, or with `dry_run` only say so; leaves with an exit code."""
    from core.experiment_submission.outlook import experiment_outlook
    from core.experiment_submission.queueing import submit_experiment
    from core.experiment_submission.retry import RetriedJobs, retry_lacking

    asked_again = retry and not dry_run
    retried = retry_lacking(home, project, experiment.name, by=by()) if asked_again else RetriedJobs()
    with told_if_slow("looking at each arm: its data, its recipe, the memory that it takes …"):
        outlook = experiment_outlook(home, project, experiment, kind=kind, about=about).within(hours)
        queued = None if dry_run else submit_experiment(home, project, outlook.plan, author=by())
    remarks = [*retried.refused, *outlook.plan.remarks, *(() if queued is None else queued.remarks)]
    if queued is not None:
        submitted.warn_of_launcher(home)
    if not as_json:
        _say(outlook, queued, remarks, retried)
    code = _follow(home, queued) if wait and queued is not None else 0
    if as_json:
        within = None if outlook.chosen is None else {"hours": hours, **outlook.chosen.to_json()}
        print_json(
            {
                **_json(outlook.plan, queued, remarks),
                "retried": list(retried.jobs),
                "cost": outlook.to_json(),
                "within": within,
            }
        )
    sys.exit(code)


def _say(outlook: ExperimentOutlook, queued: QueuedExperiment | None, remarks: list[str], retried: RetriedJobs) -> None:
    from core.wording.experiment_cost import outlook_lines
    from core.wording.experiment_plan import lacking_words, missing_words, plan_lines, queued_words, retried_words

    width = terminal_width()
    for remark in remarks:
        say(f"note: {remark}", error=True)
    lines = [*plan_lines(outlook.plan), *outlook_lines(outlook)]
    if retried.jobs:
        lines.append(retried_words(retried))
    lines.append(missing_words(outlook.plan) if queued is None else queued_words(queued))
    if queued is not None and queued.lacking:
        lines.append(lacking_words({job.id: job.state for job in queued.lacking}))
    for line in lines:
        for row in wrap(line, width):
            say(row)


def _follow(home: Home, queued: QueuedExperiment) -> int:
    with opened(home) as connection:
        known = queued.experiment.id
        jobs = [run.job_id for run in runs_of(connection, known)]
        jobs += [one.job_id for one in races_of(connection, known)]
        jobs += [one.job_id for one in bakeoffs_of(connection, known)]
        ended = follow_to_the_end(home, connection, jobs)
        return 130 if ended is None else exit_code(connection, ended)


def _json(plan: ExperimentPlan, queued: QueuedExperiment | None, remarks: list[str]) -> dict[str, Any]:
    return {
        "experiment": plan.experiment.model_dump(mode="json"),
        "kind": plan.kind,
        "about": dict(plan.about),
        "arms": [
            {"key": arm.key, "name": arm.name, "model": arm.model, "weights": arm.weights, "values": dict(arm.values)}
            for arm in plan.expansion.arms
        ],
        "missing": [
            {"task": run.task, "arm": run.arm.key, "role": run.role, "seed": run.seed, "lr": run.lr}
            for run in plan.missing
        ],
        "revived": [{"task": task, "arm": arm.key} for task, arm in plan.revived_arms],
        "left_out": [
            {"task": one.task, "arm": one.arm.key, "name": one.arm.name, "error": one.error.to_json()}
            for one in plan.left_out
        ],
        "queued": None
        if queued is None
        else {
            "id": queued.experiment.id,
            "runs": [
                {
                    "task": one.task,
                    "arm": one.arm_key,
                    "role": one.role,
                    "seed": one.seed,
                    "lr": one.lr,
                    "job": one.job_id,
                }
                for one in queued.runs
            ],
            "races": [{"task": one.task, "job": one.job_id} for one in queued.races],
            "bakeoffs": [{"task": one.task, "block": one.block, "job": one.job_id} for one in queued.bakeoffs],
            "lacking": [{"job": job.id, "state": job.state} for job in queued.lacking],
        },
        "remarks": remarks,
    }
