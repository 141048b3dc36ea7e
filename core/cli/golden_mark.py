"""`bakehouse golden mark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import by, find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.format import plural
from core.home import Home

if TYPE_CHECKING:
    from core.marking.session import Session

ANSWERS = ("left", "right", "both", "neither")


@click.command(epilog="Example: bakehouse golden mark 31 --input bees --answer left")
@click.argument("job", type=int)
@click.option("--task", help="Of a job with several tasks: which one.")
@click.option("--candidates", nargs=2, metavar="A B", help="The two that are compared, else the first two of the job.")
@click.option("--input", "input_id", metavar="ID", help="The input that is marked; without one the next is shown.")
@click.option("--answer", type=click.Choice(ANSWERS), help="Which of its two answers is right.")
@click.option(
    "--expect",
    multiple=True,
    metavar="KEY=VALUE",
    help="What the golden input expects, instead of what the right answer shows; may be repeated.",
)
@click.option("--note", default="", help="Why, for whoever reads the marks.")
@click.option(
    "--file",
    "marks_file",
    type=click.Path(path_type=Path),
    help="Marks of single answers: CSV or YAML with input, candidate, value (0 to 1, or right and wrong), note.",
)
@click.option("--only-random", is_flag=True, help="Show only what is drawn by chance.")
@project_option
@json_option
def mark(
    job: int,
    task: str | None,
    candidates: tuple[str, str] | None,
    input_id: str | None,
    answer: str | None,
    expect: tuple[str, ...],
    note: str,
    marks_file: Path | None,
    only_random: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Say which of two answers of JOB (drafts, or a bake-off) is right. The sides are shuffled and without names.

    An answer that is right makes a draft a golden input, which expects what the task's checks read in that answer. Without
    `--answer` the most useful pair is shown that nobody has marked yet.
    """
    if (answer is None) != (input_id is None):
        raise click.UsageError("--input and --answer go together: which input, and which of its answers is right.")
    if marks_file is not None and (answer or expect or note):
        raise click.UsageError("--file brings its own marks: leave --answer, --expect and --note out.")
    home, found = Home.find(), find_project(project)
    if marks_file is not None:
        _store_file(home, found, job, task, marks_file, as_json)
        return
    from core.marking.session import decide, open_session
    from core.marking.written_expect import check_expect, parse_pairs
    from core.wording.marking import decided_words, needs_words

    session = open_session(home, found, job, task=task, candidates=candidates or None)
    if input_id is None or answer is None:
        _show_next(session, only_random, as_json)
        return
    wanted = parse_pairs(expect) if expect else None
    if wanted is not None:
        check_expect(wanted, session.task)
    done = decide(home, session, session.offer_of(input_id), answer, expect=wanted, note=note, author=by())  # type: ignore[arg-type]
    if as_json:
        print_json(
            {
                "decision": answer,
                "input_id": input_id,
                "left": done.offer.left.candidate,
                "right": done.offer.right.candidate,
                "golden": None if done.added is None else done.added.model_dump(mode="json"),
                "why": done.why,
                "needs": done.session.needs.to_json(),
            },
            data=True,
        )
        return
    say(decided_words(done), data=True)
    say(needs_words(done.session.needs))


def _show_next(session: Session, only_random: bool, as_json: bool) -> None:
    """The next pair, blinded."""
    from dataclasses import replace

    from core.marking.written_expect import expect_text
    from core.wording.marking import counted_words, needs_words, offer_words

    offer = replace(session, only_random=only_random).offer
    needs = session.needs
    if offer is None:
        if as_json:
            print_json({"offer": None, "left": session.left, "needs": needs.to_json()})
            return
        say("nothing is left to mark")
        say(needs_words(needs))
        return
    sides = list(zip(("left", "right"), (offer.left, offer.right), session.expected(offer), strict=True))
    if as_json:
        document = {
            "input_id": offer.pair.input_id,
            "input": offer.pair.text,
            "chosen": offer.chosen,
            "level": offer.pair.level.name.lower(),
            **{
                name: {"text": side.text, "expect": dict(expected.values), "missing": expected.missing}
                for name, side, expected in sides
            },
        }
        print_json({"offer": document, "left": session.left, "needs": needs.to_json()}, data=True)
        return
    say(f"{offer.pair.input_id}: {offer_words(offer)}", data=True)
    for line in offer.pair.text.splitlines():
        say(f"   │ {line}".rstrip(), data=True)
    for name, side, expected in sides:
        say(f"── {name}: expect {{{expect_text(expected.values)}}}", data=True)
        if expected.missing:
            say(f"   does not show: {', '.join(expected.missing)}", data=True)
        for line in side.text.splitlines():
            say(f"   │ {line}".rstrip(), data=True)
    say(
        f"{plural(session.left, 'pair')} left; --input {offer.pair.input_id} --answer left, right, both or neither",
        data=True,
    )
    say(needs_words(needs))
    say(counted_words(needs))


def _store_file(home: Home, project: Any, job_id: int, task: str | None, file: Path, as_json: bool) -> None:
    """Store the marks of a file, all or none."""
    from core.marking.answered import answered_job
    from core.marking.marks_file import read_marks
    from core.store.database import transaction
    from core.store.marks import insert_mark

    with opened(home) as connection:
        job = answered_job(home, connection, project, job_id, task)
        marks = read_marks(file, job, project.id, by())
        with transaction(connection):
            for one in marks:
                insert_mark(connection, one)
    right = sum(one.value == 1.0 for one in marks)
    if as_json:
        print_json({"job": job_id, "task": job.task.name, "marks": len(marks), "right": right})
        return
    say(f"stored {plural(len(marks), 'mark')} of job {job_id}: {right} right", data=True)
