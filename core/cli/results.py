"""`bakehouse results`."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import by, json_option, opened
from core.cli.output import print_json, say, say_block
from core.errors import NotFoundError
from core.format import moment
from core.home import Home
from core.store.results import BakeoffRow, list_bakeoffs

if TYPE_CHECKING:
    from core.config.task import Task
    from core.results.load import StoredBakeoff
    from core.scoring.scorer import Part


@click.command(epilog="Example: bakehouse results 3 --candidate tuned --fail-under 4.5 --no-worse-than base")
@click.argument("which", metavar="[JOB|TASK]", required=False)
@click.option("--task", "task_name", metavar="NAME", help="Of a bake-off over several tasks: this one only.")
@click.option("--all", "every_board", is_flag=True, help="Of a bake-off over several tasks: all its leaderboards.")
@click.option("--inputs", is_flag=True, help="The score of each candidate on each golden input.")
@click.option("--worst", is_flag=True, help="With --inputs: the worst repeat of each input instead of the mean.")
@click.option("--answers", is_flag=True, help="The answers themselves.")
@click.option("--modes", is_flag=True, help="What is wrong with answers, and every answer that it is wrong with.")
@click.option("--diff", nargs=2, metavar="A B", help="With --input: the answers of two candidates, differences marked.")
@click.option(
    "--input", "input_id", metavar="ID", help="With --inputs, --answers, --modes, --diff: this golden input only."
)
@click.option("--repeat", type=click.IntRange(1), help="With --diff: this repeat; otherwise the worst of each.")
@click.option("--candidate", metavar="NAME", help="With --answers, --modes and the conditions: this candidate only.")
@click.option(
    "--part", type=click.Choice(["format", "content"]), help="With --inputs and the conditions: this part of the score."
)
@click.option(
    "--fail-under",
    "least",
    type=click.FloatRange(0, 5),
    metavar="SCORE",
    help="Exit 1 unless the best candidate of each task (or --candidate) has SCORE, from 0 to 5, in each part.",
)
@click.option(
    "--no-worse-than",
    "baseline",
    metavar="BASELINE",
    help="Exit 1 unless --candidate (or the only other one) is shown to be no worse by the task's margin.",
)
@click.option(
    "--ask-servers", is_flag=True, help="Ask the servers, too, whether their models are still those that were measured."
)
@click.option(
    "--rescore", is_flag=True, help="Rescore with the current checks, and keep the result beside the original."
)
@click.option("--judge", "judges", is_flag=True, help="Queue the asking of judges for the verdicts that are missing.")
@click.option("--wait", is_flag=True, help="With --judge: follow it to its end, and show what came of it.")
@click.option("--original", is_flag=True, help="The original scores, where the bake-off was rescored.")
@click.option("--scoring", type=click.IntRange(0), help="The scores of this rescoring: 1 is the first, 0 the original.")
@json_option
def results(
    which: str | None,
    task_name: str | None,
    every_board: bool,
    inputs: bool,
    worst: bool,
    answers: bool,
    modes: bool,
    diff: tuple[str, str] | None,
    input_id: str | None,
    repeat: int | None,
    candidate: str | None,
    part: Part | None,
    least: float | None,
    baseline: str | None,
    ask_servers: bool,
    rescore: bool,
    judges: bool,
    wait: bool,
    original: bool,
    scoring: int | None,
    as_json: bool,
) -> None:
    """The bake-offs, or the results of one: of a job, or the newest of a task.

    Scores are shown on a scale from 0 to 5; below the ranking stands what is wrong with answers, of which `--modes` lists
    each. A bake-off over several tasks shows the matrix of tasks and candidates; `--task` shows the leaderboard of one task,
    `--all` those of all. A rescoring is stored with its date, and counts from then on wherever the bake-off is shown;
    `--original` shows the scores that the bake-off was made with.

    The conditions `--fail-under` and `--no-worse-than` hold for every task that is shown, and for both parts of the score
    where a task has both. Where golden inputs have `use: confirm`, they rest on those alone. An answer that is missing counts
    against the candidate, and what the inputs cannot tell is not met.
    """
    if rescore + judges + original + (scoring is not None) > 1:
        raise click.UsageError("--rescore, --judge, --original and --scoring name different scores: use one of them")
    if wait and not judges:
        raise click.UsageError("--wait goes with --judge")
    if answers + modes + inputs + bool(diff) > 1:
        raise click.UsageError("--answers, --modes, --inputs and --diff show different things: use one of them")
    gated = least is not None or baseline is not None
    if gated and (answers or modes or diff):
        raise click.UsageError("--fail-under and --no-worse-than go with the leaderboards, not with answers")
    number = 0 if original else scoring
    home = Home.find()
    with opened(home) as connection:
        if which is None:
            about_one = (
                rescore
                or judges
                or answers
                or modes
                or inputs
                or diff
                or gated
                or task_name
                or every_board
                or ask_servers
            )
            if about_one or number is not None:
                raise click.UsageError("which bake-off? `bakehouse results` lists them")
            show_list(connection, as_json)
            return
        job_id, of_task = job_of(connection, which)
        task_name = task_name or of_task
        if judges:
            judge_now(home, job_id, wait=wait, as_json=as_json)
            return
        if rescore:
            rescore_now(home, connection, job_id)
        from core.results.load import load_bakeoff

        stored = load_bakeoff(home, connection, job_id, number)
        if answers or modes or diff:
            from core.cli.results_answers import show_answers, show_diff
            from core.cli.results_boards import terminal_width

            tasks = stored.tasks if task_name is None else (stored.task(task_name),)
            if modes:
                from core.cli.results_modes import show_modes

                show_modes(connection, job_id, stored, tasks, input_id, candidate, terminal_width(), as_json)
            elif diff:
                show_diff(job_id, tasks, diff, input_id, repeat, terminal_width(), as_json)
            else:
                show_answers(job_id, stored, tasks, input_id, candidate, as_json)
            return
        code = show_boards(
            home,
            connection,
            job_id,
            stored,
            task_name,
            every_board=every_board,
            inputs=inputs,
            worst=worst,
            input_id=input_id,
            candidate=candidate,
            part=part,
            least=least,
            baseline=baseline,
            asks_servers=ask_servers,
            as_json=as_json,
        )
    if code:
        sys.exit(code)


def show_boards(
    home: Home,
    connection: sqlite3.Connection,
    job_id: int,
    stored: StoredBakeoff,
    task_name: str | None,
    *,
    every_board: bool,
    inputs: bool,
    worst: bool,
    input_id: str | None,
    candidate: str | None,
    part: Part | None,
    least: float | None,
    baseline: str | None,
    asks_servers: bool,
    as_json: bool,
) -> int:
    """Matrix, boards or the table of inputs, then what came of the conditions; the exit code."""
    from core.cli.results_boards import board_documents, boards_text, changed_lines, terminal_width
    from core.cli.results_gates import check_gates, gate_notes, gate_words
    from core.cli.results_inputs import inputs_text
    from core.results.trainings import bakeoff_matrix, training_jobs
    from core.staleness.present_servers import NO_SERVER_ASKED, ask_servers
    from core.staleness.staleness import staleness
    from core.wording.runs import trainings

    tasks = stored.tasks if task_name is None else (stored.task(task_name),)
    boards = {task.name: task.leaderboard() for task in tasks}
    matrix = bakeoff_matrix(home, stored, boards)
    trained = trainings(training_jobs(home, connection, stored.spec))
    told = ask_servers(stored.spec.candidates) if asks_servers else NO_SERVER_ASKED
    changed = staleness(home, connection, job_id, stored.scoring.number, told=told)
    gates = check_gates(boards.values(), least=least, baseline=baseline, candidate=candidate, part=part)
    if as_json:
        document: dict[str, Any] = {"job": job_id, **board_documents(boards, matrix, stored, trained, changed)}
        print_json({**document, **({"gates": [one.to_json() for one in gates]} if gates else {})})
    elif inputs:
        having = [board for board in boards.values() if input_id is None or input_id in board.input_ids]
        if not having:
            known = ", ".join(name for board in boards.values() for name in board.input_ids)
            raise NotFoundError(f"no golden input `{input_id}`", code="no_input", remedy=f"there are: {known}")
        width = terminal_width()
        above = {one.task: changed_lines(changed.of_task(one.task)) for one in having}
        shown = [inputs_text(one, width, part, above[one.task], worst=worst, input_id=input_id) for one in having]
        say_block("\n\n".join(shown))
    else:
        shown_boards = list(boards) if every_board or matrix is None else []
        say_block(boards_text(boards, matrix, stored, trained, changed, shown_boards))
        if matrix is not None and not every_board:
            say()
            named = next(iter(boards))
            say(f"The leaderboard of a task: `bakehouse results {job_id} --task {named}`; of all: `--all`.")
    for line in () if as_json else [*map(gate_words, gates), *gate_notes(gates)]:
        say(line)
    return int(any(one.outcome != "met" for one in gates))


def rescore_now(home: Home, connection: sqlite3.Connection, job_id: int) -> None:
    from core.results.rescoring import rescore
    from core.submission.doubts import code

    def name_files(tasks: Sequence[Task]) -> None:
        for line in code(tasks):
            say(line, error=True)

    _, is_new = rescore(home, connection, job_id, author=by(), told=name_files)
    if is_new:
        say(
            f"Bake-off {job_id} rescored. `bakehouse results {job_id} --original` shows the original scores.",
            error=True,
        )
    else:
        say(f"Checks and scores of bake-off {job_id} are unchanged: nothing to rescore.", error=True)


def judge_now(home: Home, job_id: int, *, wait: bool, as_json: bool) -> None:
    """Queue the asking for missing verdicts; at its end the bake-off has a rescoring that counts them."""
    from core.cli.results_boards import leaderboard_of
    from core.cli.submitted import submitted
    from core.submission.judging import submit_judging

    remarks: list[str] = []
    job = submit_judging(home, job_id, author=by(), remarks=remarks)
    for remark in remarks:
        say(remark, error=True)
    submitted(home, job, wait=wait, as_json=as_json, show=leaderboard_of(home, as_json=as_json, job_id=job_id))


def job_of(connection: sqlite3.Connection, which: str) -> tuple[int, str | None]:
    """(bake-off, its task): the bake-off of that number, or the newest of the task of that name (one that has answers before
    one without)."""
    if which.isdecimal():
        return int(which), None
    rows = list_bakeoffs(connection, limit=10_000)
    ours = [row for row in rows if which in row.tasks]
    if not ours:
        tasks = ", ".join(sorted({task for row in rows for task in row.tasks})) or "none yet"
        remedy = f"there are bake-offs of: {tasks}"
        raise NotFoundError(f"no bake-off of a task `{which}`", code="job_not_found", remedy=remedy)
    return next((row for row in ours if row.answers), ours[0]).job_id, which


def show_list(connection: sqlite3.Connection, as_json: bool) -> None:
    rows = list_bakeoffs(connection)
    if as_json:
        print_json({"bakeoffs": [row.__dict__ for row in rows]})
        return
    for row in rows:
        say(list_line(row))
    if not rows:
        say("no bake-off yet: `bakehouse bakeoff TASK MODEL MODEL …` makes one")


def list_line(row: BakeoffRow) -> str:
    rescored = f", rescored {row.rescorings} ×" if row.rescorings else ""
    tasks = f": {', '.join(row.tasks)}" if len(row.tasks) > 1 else ""
    return f"{row.job_id:>4}  {moment(row.time):<13} {row.state:<10} {row.title:<36} {row.answers} answers{rescored}{tasks}"
