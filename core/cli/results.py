"""`bakehouse results`."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import by, json_option, opened
from core.cli.output import print_json, say, say_block
from core.cli.submitted import Show
from core.errors import NotFoundError
from core.format import moment
from core.home import Home
from core.store.results import bakeoff_answers, list_bakeoffs
from core.wording.scoring import scoring_words

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task


MAX_SHOWN = 88


@click.command(epilog="Example: bakehouse results 3 --answers --input empty")
@click.argument("which", metavar="[JOB|TASK]", required=False)
@click.option(
    "--rescore", is_flag=True, help="Rescore with the current checks, and keep the result beside the original."
)
@click.option("--original", is_flag=True, help="The original scores, where the bake-off was rescored.")
@click.option("--scoring", type=click.IntRange(0), help="The scores of this rescoring: 1 is the first, 0 the original.")
@click.option("--answers", is_flag=True, help="The answers themselves.")
@click.option("--input", "input_id", help="With --answers: of this golden input only.")
@click.option("--candidate", help="With --answers: of this candidate only.")
@json_option
def results(
    which: str | None,
    rescore: bool,
    original: bool,
    scoring: int | None,
    answers: bool,
    input_id: str | None,
    candidate: str | None,
    as_json: bool,
) -> None:
    """The bake-offs, or the leaderboard of one: of a job, or the newest of a task.

    Scores are shown on a scale from 0 to 5. A rescoring is stored with its date, and counts from then on wherever the
    bake-off is shown; `--original` shows the scores that the bake-off was made with.
    """
    if rescore + original + (scoring is not None) > 1:
        raise click.UsageError("--rescore, --original and --scoring name different scores: use one of them")
    number = 0 if original else scoring
    home = Home.find()
    with opened(home) as connection:
        job_id = None if which is None else job_of(connection, which)
        if job_id is None:
            if rescore or answers or number is not None:
                raise click.UsageError("which bake-off? `bakehouse results` lists them")
            show_list(connection, as_json)
            return
        if rescore:
            rescore_now(home, connection, job_id)
        if answers:
            show_answers(home, connection, job_id, number, input_id, candidate, as_json)
        else:
            board = leaderboard(home, connection, job_id, as_json=as_json, number=number)
            print_json({"job": job_id, **board}) if isinstance(board, dict) else say_block(board)


def rescore_now(home: Home, connection: sqlite3.Connection, job_id: int) -> None:
    from core.bakeoff.rescoring import rescore

    _, is_new = rescore(home, connection, job_id, author=by())
    if is_new:
        say(
            f"Bake-off {job_id} rescored. `bakehouse results {job_id} --original` shows the original scores.",
            error=True,
        )
    else:
        say(f"Checks and scores of bake-off {job_id} are unchanged: nothing to rescore.", error=True)


def job_of(connection: sqlite3.Connection, which: str) -> int:
    """The bake-off of that number, or the newest of the task of that name (one that has answers before one without)."""
    if which.isdecimal():
        return int(which)
    rows = list_bakeoffs(connection, limit=10_000)
    ours = [row for row in rows if which in row.tasks]
    if not ours:
        tasks = ", ".join(sorted({task for row in rows for task in row.tasks})) or "none yet"
        remedy = f"there are bake-offs of: {tasks}"
        raise NotFoundError(f"no bake-off of a task `{which}`", code="job_not_found", remedy=remedy)
    return next((row for row in ours if row.answers), ours[0]).job_id


def show_list(connection: sqlite3.Connection, as_json: bool) -> None:
    rows = list_bakeoffs(connection)
    if as_json:
        print_json({"bakeoffs": [row.__dict__ for row in rows]})
        return
    for row in rows:
        rescored = f", rescored {row.rescorings} ×" if row.rescorings else ""
        say(f"{row.job_id:>4}  {moment(row.time):<13} {row.state:<10} {row.title:<36} {row.answers} answers{rescored}")
    if not rows:
        say("no bake-off yet: `bakehouse bakeoff TASK MODEL MODEL …` makes one")


def leaderboard(
    home: Home, connection: sqlite3.Connection, job_id: int, *, as_json: bool, number: int | None = None
) -> dict[str, Any] | str:
    """Who is better, and how sure that is, as a document or as text; of the newest scores, or of those of `number`."""
    from core.bakeoff.load import load_bakeoff

    stored = load_bakeoff(home, connection, job_id, number)
    boards = stored.leaderboards()
    if as_json:
        documents = {name: board.to_json() for name, board in boards.items()}
        first = next(iter(documents.values()))
        many = {"leaderboards": documents} if len(documents) > 1 else {"leaderboard": first}
        return {**many, "scoring": stored.scoring.to_json()}
    from core.bakeoff.report import render_text

    width = min(120, shutil.get_terminal_size((100, 40)).columns)
    scored = scoring_words(stored.scoring)
    return "\n\n".join(render_text(board, width=width, scored=scored) for board in boards.values())


def leaderboard_of(home: Home, *, as_json: bool) -> Show:
    """What a finished bake-off came to, for `submitted`."""
    return lambda connection, job: leaderboard(home, connection, job.id, as_json=as_json)


def show_answers(
    home: Home,
    connection: sqlite3.Connection,
    job_id: int,
    number: int | None,
    input_id: str | None,
    candidate: str | None,
    as_json: bool,
) -> None:
    """The answers, each with what was asked and expected, and the checks that it failed."""
    from core.bakeoff.load import load_bakeoff

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
    stored = load_bakeoff(home, connection, job_id, number)
    inputs = {(task.name, item.id): item for task in stored.tasks for item in task.inputs}
    scores: dict[str, list[dict[str, Any]]] = {}
    for task in stored.tasks:
        own = [answer for answer in every if answer["task"] == task.name]
        by_id = {item.id: item for item in task.inputs}
        scores |= scores_by_answer(task.task, by_id, own, [score.to_json() for score in task.scores])
    if as_json:
        shown = [{**one, "scores": scores.get(one["key"], [])} for one in found]
        print_json({"job": job_id, "answers": shown, "scoring": stored.scoring.to_json()}, data=True)
        return
    if scored := scoring_words(stored.scoring):
        say(scored)
    for answer in found:
        fault = f", {answer['fault']}" if answer.get("fault") else ""
        of_task = f"{answer['task']} · " if len(stored.tasks) > 1 else ""
        say(f"── {answer['candidate']} · {of_task}{answer['input_id']} · {answer['repeat']}{fault}")
        item = inputs.get((answer["task"], answer["input_id"]))
        for line in (*asked_in_words(item), *failed_in_words(scores.get(answer["key"], []))):
            say(line, data=True)
        for line in answer["text"].splitlines():
            say(f"   │ {line}".rstrip(), data=True)
        say()


def scores_by_answer(
    task: Task, inputs: Mapping[str, GoldenInput], answers: list[dict[str, Any]], scores: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """The scores of each answer by the checks of `task`, in their order."""
    from core.bakeoff.scoring import plan_checks

    stored = {(score["answer_key"], score["check_hash"]): score for score in scores}
    plans = {name: plan_checks(task, item) for name, item in inputs.items()}
    return {
        answer["key"]: [
            stored[answer["key"], check.hash]
            for check in plans.get(answer["input_id"], ())
            if (answer["key"], check.hash) in stored
        ]
        for answer in answers
    }


def asked_in_words(item: GoldenInput | None) -> Iterator[str]:
    """The first line of a golden input, and what it expects."""
    if item is None:
        return
    lines = [line for line in item.text().splitlines() if line.strip()]
    more = f"  (and {len(lines) - 1} more line{'' if len(lines) == 2 else 's'})" if len(lines) > 1 else ""
    yield f"   asked    {shorten(lines[0]) if lines else '(nothing)'}{more}"
    if item.expect:
        yield f"   expected {'; '.join(f'{key}: {shorten(str(value))}' for key, value in item.expect.items())}"


def failed_in_words(scores: list[dict[str, Any]]) -> Iterator[str]:
    """The checks that an answer lost points on, with why; or that it passed them all."""
    failed = [score for score in scores if score["value"] < 1]
    if not scores:
        yield "   checks   not scored"
    elif not failed:
        yield f"   checks   all {len(scores)} passed"
    elif len(failed) == len(scores) and len({score["detail"] for score in failed}) == 1:
        yield f"   checks   all {len(scores)} failed: {failed[0]['detail']}"
    else:
        yield f"   checks   {len(scores) - len(failed)} of {len(scores)} passed"
        for score in failed:
            share = f"{100 * score['value']:.0f} %: " if score["value"] else ""
            yield f"   ✗        {score['check_id']} ({score['part']}): {share}{score['detail']}"


def shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1]}…"
