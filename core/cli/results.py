"""`bakehouse results`."""

from __future__ import annotations

import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import clock, json_option, opened, print_json
from core.cli.submitted import Show
from core.errors import NotFoundError
from core.home import Home
from core.store.results import bakeoff_answers, list_bakeoffs
from core.text import printable

if TYPE_CHECKING:
    from core.config.task import Task


@click.command(epilog="Example: bakehouse results 3 --answers --input empty")
@click.argument("job_id", metavar="[JOB]", type=int, required=False)
@click.option("--rescore", is_flag=True, help="Score the stored answers anew, with the task's checks of now.")
@click.option("--answers", is_flag=True, help="The answers themselves.")
@click.option("--input", "input_id", help="With --answers: of this golden input only.")
@click.option("--candidate", help="With --answers: of this candidate only.")
@json_option
def results(
    job_id: int | None, rescore: bool, answers: bool, input_id: str | None, candidate: str | None, as_json: bool
) -> None:
    """The bake-offs, or the leaderboard of one."""
    home = Home.find()
    with opened(home) as connection:
        if job_id is None:
            if rescore or answers:
                raise click.UsageError("which bake-off? `bakehouse results` lists them")
            show_list(connection, as_json)
        elif answers:
            show_answers(connection, job_id, input_id, candidate, as_json)
        else:
            task = None
            if rescore:
                from core.bakeoff.stored import rescore as score_again

                task = score_again(home, connection, job_id)
            board = leaderboard(home, connection, job_id, as_json=as_json, task=task)
            print_json({"job": job_id, **board}) if isinstance(board, dict) else print(board)


def show_list(connection: sqlite3.Connection, as_json: bool) -> None:
    rows = list_bakeoffs(connection)
    if as_json:
        print_json({"bakeoffs": [row.__dict__ for row in rows]})
        return
    for row in rows:
        print(f"{row.job_id:>4}  {clock(row.time):<13} {row.state:<10} {row.title:<36} {row.answers} answers")
    if not rows:
        print("no bake-off yet: `bakehouse bakeoff TASK MODEL MODEL …` makes one")


def leaderboard(
    home: Home, connection: sqlite3.Connection, job_id: int, *, as_json: bool, task: Task | None = None
) -> dict[str, Any] | str:
    """Who is better, and how sure that is, as a document or as text; under the task as it was submitted, or `task`."""
    from core.bakeoff.stored import stored_leaderboard

    board = stored_leaderboard(home, connection, job_id, task)
    if as_json:
        return {"leaderboard": board.to_json()}
    from core.bakeoff.report import render_text

    return render_text(board, width=min(120, shutil.get_terminal_size((100, 40)).columns))


def leaderboard_of(home: Home, *, as_json: bool) -> Show:
    """What a finished bake-off came to, for `submitted`."""
    return lambda connection, job: leaderboard(home, connection, job.id, as_json=as_json)


def show_answers(
    connection: sqlite3.Connection, job_id: int, input_id: str | None, candidate: str | None, as_json: bool
) -> None:
    every = bakeoff_answers(connection, job_id)
    for named, key in ((input_id, "input_id"), (candidate, "candidate")):
        known = sorted({answer[key] for answer in every})
        if named is not None and named not in known:
            raise NotFoundError(
                f"no answers of the {key.removesuffix('_id')} `{named}`",
                code="no_answers",
                remedy=f"there are: {', '.join(known) or 'none yet'}",
            )
    found = [
        answer
        for answer in every
        if input_id in {None, answer["input_id"]} and candidate in {None, answer["candidate"]}
    ]
    if as_json:
        print_json({"job": job_id, "answers": found})
        return
    for answer in found:
        fault = f", {answer['fault']}" if answer.get("fault") else ""
        print(f"── {answer['candidate']} · {answer['input_id']} · {answer['repeat']}{fault}")
        for line in answer["text"].splitlines():
            print(printable(line))
        print()
