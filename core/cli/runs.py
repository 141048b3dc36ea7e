"""`bakehouse runs`."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from core.cli.common import find_project, job_json, job_line, json_option, opened, project_option
from core.cli.output import print_json, say
from core.cli.several import Outcomes, each_of, leave_refused, refusals, refused_json
from core.errors import BakehouseError
from core.files import read_lines
from core.format import data_size, duration, moment
from core.home import Home, RunDir
from core.intermediates import Intermediate, folder_bytes, half_written, list_intermediates, remove_intermediate
from core.store.attempts import list_attempts
from core.store.jobs import ACTIVE, ENDED, get_job, history, list_jobs
from core.store.results import list_artefacts
from core.telemetry.run_record import stored_summary, summary_words
from core.wording.intermediates import INTERMEDIATES, keep_words
from core.wording.jobs import reason_words
from core.wording.lineage import lineage_lines


@click.group()
def runs() -> None:
    """Run directories: all files of a job, its attempts, and what became of it."""


def timed(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of an attempt that have a time, oldest first."""
    lines = [line for line, _ in read_lines(file)]
    return [line for line in lines if isinstance(line.get("time"), int | float)]


@runs.command("list", epilog="Example: bakehouse runs list --json")
@json_option
def list_(as_json: bool) -> None:
    """Every job's folder, its size and its state."""
    home = Home.find()
    with opened(home) as connection:
        rows = [(job, home.run_dir(job.id).path) for job in list_jobs(connection, limit=-1)]
    if as_json:
        document = [
            {"job": job.id, "state": job.state, "path": str(path), "bytes": folder_bytes(path)} for job, path in rows
        ]
        print_json({"runs": document})
        return
    for job, path in rows:
        say(f"{job.id:>4}  {job.state:<11} {data_size(folder_bytes(path)):>8}  {path}")


@runs.command(epilog="Example: bakehouse runs show 2")
@click.argument("job_id", metavar="JOB", type=int)
@json_option
def show(job_id: int, as_json: bool) -> None:
    """A job's history, attempts and artefacts."""
    home = Home.find()
    with opened(home) as connection:
        job = get_job(connection, job_id)
        attempts = list_attempts(connection, job_id)
        changes = history(connection, job_id)
        made = list_artefacts(connection, home, job_id)
    run = home.run_dir(job_id)
    if as_json:
        print_json(
            {
                "job": job_json(job),
                "path": str(run.path),
                "attempts": [
                    {
                        **attempt.__dict__,
                        "telemetry": told.to_json() if (told := stored_summary(attempt.telemetry)) else None,
                        "findings": timed(run.attempt(attempt.number).watch),
                        "signals": timed(run.attempt(attempt.number).signals),
                    }
                    for attempt in attempts
                ],
                "history": [{**change.to_json(), "reason": reason_words(change.reason)} for change in changes],
                "artefacts": [{**row.__dict__, "path": str(row.path)} for row in made],
            }
        )
        return
    say(job_line(job))
    say(f"folder   {run.path} ({data_size(folder_bytes(run.path))})")
    for attempt in attempts:
        took = duration((attempt.ended_at or time.time()) - attempt.created_at)
        say(f"attempt  {attempt.number}: {attempt.outcome or 'living'}, {took}, {attempt.protection}")
        if (measured := stored_summary(attempt.telemetry)) is not None:
            say(f"GPU       {' · '.join(summary_words(measured).values())}")
        for finding in timed(run.attempt(attempt.number).watch):
            sign = "✗" if finding.get("stop") else "▲"
            say(f"{moment(finding['time']):>8}  {sign} {finding.get('message')}")
        for sent in timed(run.attempt(attempt.number).signals):
            say(f"{moment(sent['time']):>8}  {sent.get('signal')} sent  [{sent.get('by')}]")
    for row in made:
        say(f"made     {row.kind} {row.sha256[:12]}, {data_size(row.bytes)}, {row.path}")
        for line in lineage_lines(row.lineage):
            say(f"         {line}")
    for change in changes:
        arrow = f"{change.from_state} → {change.to_state}" if change.from_state else change.to_state
        say(f"{moment(change.time):>8}  {arrow:<22} {reason_words(change.reason)}  [{change.author}]")


@runs.command(epilog="Example: bakehouse runs clean 12 13")
@click.argument("job_ids", metavar="[JOB]...", type=int, nargs=-1)
@click.option(
    "--intermediates",
    is_flag=True,
    help="Remove merged models and GGUF files that others were made of: of the jobs named, else all that may go, and what "
    "killed jobs left half written.",
)
@project_option
@json_option
def clean(job_ids: tuple[int, ...], intermediates: bool, project: Path | None, as_json: bool) -> None:
    """Remove the checkpoints of ended jobs. Logs, results, answers and artefacts stay; a retry then begins anew.

    Without a job nothing is removed: what could be is listed with its size, checkpoints and intermediates. An intermediate is a
    merged model, or a GGUF file of full precision, of which another was made that is there; `bakehouse export` makes it again.
    What a queued job needs, a process has open or a service starts with stays.
    """
    home = Home.find()
    with opened(home) as connection:
        if not job_ids and not intermediates:
            list_removable(home, connection, _named_models(project), as_json)
            return
        if intermediates:
            found = list_intermediates(home, connection, _named_models(project))
            chosen = {one.job_id: one for one in found}
            wanted = list(dict.fromkeys(job_ids)) or [one.job_id for one in found if one.keep is None]
            outcomes, freed = _removed(home, connection, wanted, chosen)
            half = 0 if job_ids else _without_half_written(home)
        else:
            outcomes, freed = _without_checkpoints(home, connection, list(dict.fromkeys(job_ids)))
            half = 0
    together = sum(freed.values()) + half
    wrong = refusals(outcomes)
    if as_json:
        print_json({"freed_bytes": together, **({"refused": refused_json(wrong)} if wrong else {})})
    else:
        for job_id, error in wrong.items():
            say(f"✗ {job_id:>4}  {error}", error=True)
        say(f"{data_size(together)} freed")
    leave_refused(outcomes)


def list_removable(home: Home, connection: sqlite3.Connection, models: Mapping[str, str], as_json: bool) -> None:
    """What could be removed, with sizes, and what of it must stay."""
    jobs = [job for job in list_jobs(connection, limit=-1) if job.state in ENDED]
    checkpoints = {job.id: size for job in jobs if (size := folder_bytes(home.run_dir(job.id).checkpoints))}
    found = list_intermediates(home, connection, models)
    half = sum(map(folder_bytes, half_written(home)))
    if as_json:
        stored = [
            {
                "job": one.job_id,
                "kind": one.kind,
                "path": str(one.path),
                "bytes": one.bytes,
                "made": list(one.made),
                "keep": {**one.keep.to_json(), "words": keep_words(one.keep)} if one.keep else None,
            }
            for one in found
        ]
        ended = [{"job": job_id, "bytes": size} for job_id, size in checkpoints.items()]
        print_json({"checkpoints": ended, "intermediates": stored, "half_written_bytes": half})
        return
    for job_id, freed in checkpoints.items():
        say(f"{job_id:>4}  {data_size(freed):>8}  checkpoints")
    for one in found:
        of = f"{INTERMEDIATES[one.kind]}, of which job {', '.join(map(str, sorted(one.made)))} made another"
        say(
            f"{one.job_id:>4}  {data_size(one.bytes):>8}  {of}"
            + (f"; stays: {keep_words(one.keep)}" if one.keep else "")
        )
    if half:
        left = "half written by jobs that were killed; `bakehouse runs clean --intermediates` removes it"
        say(f"      {data_size(half):>8}  {left}")
    if not checkpoints and not found and not half:
        say(
            "nothing to remove: no checkpoints of ended jobs, and no merged model or GGUF file that another was made of"
        )
    if checkpoints:
        say(f"{data_size(sum(checkpoints.values()))} of checkpoints: `bakehouse runs clean JOB` removes a job's")
    if free := [one for one in found if one.keep is None]:
        together = data_size(sum(one.bytes for one in free))
        say(f"{together} of intermediates that can be made again: `bakehouse runs clean --intermediates` removes them")


def _without_checkpoints(
    home: Home, connection: sqlite3.Connection, job_ids: list[int]
) -> tuple[Outcomes, dict[int, int]]:
    freed: dict[int, int] = {}

    def clean_one(job_id: int) -> None:
        job = get_job(connection, job_id)
        if job.state not in ENDED:
            why = "it is running" if job.state in ACTIVE else "it will resume from them"
            message = f"The checkpoints of job {job_id} cannot be removed: {why}."
            raise BakehouseError(message, code="wrong_state")
        freed[job_id] = drop_checkpoints(home.run_dir(job_id))

    return each_of(job_ids, clean_one, lambda ids: ids), freed


def _removed(
    home: Home, connection: sqlite3.Connection, job_ids: list[int], found: Mapping[int, Intermediate]
) -> tuple[Outcomes, dict[int, int]]:
    freed: dict[int, int] = {}

    def remove_one(job_id: int) -> None:
        get_job(connection, job_id)
        one = found.get(job_id)
        if one is None:
            raise BakehouseError(
                f"Job {job_id} has made nothing of which another artefact was made.",
                code="no_intermediate",
                remedy="`bakehouse runs clean` lists what can be removed",
            )
        if one.keep is not None:
            raise BakehouseError(f"What job {job_id} made stays: {keep_words(one.keep)}.", code="in_use")
        if not remove_intermediate(home, connection, one):
            raise BakehouseError(f"What job {job_id} made stays: a job of the queue needs it.", code="in_use")
        freed[job_id] = one.bytes

    return each_of(job_ids, remove_one, lambda ids: ids), freed


def _without_half_written(home: Home) -> int:
    """Remove what killed jobs have left; its bytes."""
    freed = 0
    for leftover in half_written(home):
        freed += folder_bytes(leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    return freed


def _named_models(project: Path | None) -> dict[str, str]:
    """The paths that models.yaml names; none where there is no project to be found."""
    return {model.name: model.path for model in find_project(project).models() if model.path is not None}


def drop_checkpoints(run: RunDir) -> int:
    """Remove a run's checkpoints; returns their bytes. Raises OSError for one that cannot be removed."""
    freed = folder_bytes(run.checkpoints)
    if run.checkpoints.exists():
        shutil.rmtree(run.checkpoints)
    return freed
