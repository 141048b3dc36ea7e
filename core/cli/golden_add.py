"""`bakehouse golden add`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.home import Home


@click.command(epilog="Example: bakehouse golden add judge --from 31 --input bees --candidate job:12")
@click.argument("task")
@click.option("--text", help="What is asked.")
@click.option("--text-file", type=click.Path(path_type=Path), help="A file that holds what is asked.")
@click.option("--from", "job", type=int, metavar="JOB", help="Drafts or a bake-off that asked it.")
@click.option("--input", "input_id", metavar="ID", help="With --from: which of its inputs.")
@click.option("--candidate", help="With --from: whose answer is meant.")
@click.option("--of-task", help="With --from: the task that was asked, if it is another one than TASK.")
@click.option(
    "--repeat", type=click.IntRange(min=1), metavar="N", help="With --from: which of its answers, else the first."
)
@click.option("--as-input", is_flag=True, help="With --from: the answer's text is the input, not its expectations.")
@click.option("--expect", multiple=True, metavar="KEY=VALUE", help="What is expected of the answer; may be repeated.")
@click.option("--id", "name", help="The input's id, else one is made of the text.")
@click.option("--source", help="The document that it comes from.")
@click.option("--use", type=click.Choice(["choose", "confirm"]), help="Else a third of all inputs confirm.")
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--copy-task", is_flag=True, help="Copy a task that comes with Bakehouse into the project first.")
@project_option
@json_option
def add(
    task: str,
    text: str | None,
    text_file: Path | None,
    job: int | None,
    input_id: str | None,
    candidate: str | None,
    of_task: str | None,
    repeat: int | None,
    as_input: bool,
    expect: tuple[str, ...],
    name: str | None,
    source: str | None,
    use: str | None,
    tags: tuple[str, ...],
    copy_task: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Write one golden input into TASK's file: a text, or an input or an answer of JOB.

    Of an answer (`--from JOB --input ID --candidate NAME`) the input gets the expectations that the task's checks read in that
    answer; an input that is golden already gets those that it lacks. With `--as-input` the answer itself is what is asked.
    """
    from core.authoring.own_copy import copy_task as copied
    from core.config.yaml import read_text
    from core.marking.addition import Addition, add_one, from_answer
    from core.marking.written_expect import parse_pairs

    if sum(value is not None for value in (text, text_file, job)) != 1:
        raise click.UsageError("Name one of --text, --text-file and --from: what is asked.")
    if job is not None and (input_id is None or candidate is None):
        raise click.UsageError("--from needs --input and --candidate: which answer is meant.")
    home, found = Home.find(), find_project(project)
    if copy_task:
        for file in copied(found, task):
            say(f"copied {file}", error=True)
    given = parse_pairs(expect) or None
    if job is not None:
        assert input_id is not None and candidate is not None  # asked for above
        with opened(home) as connection:
            wanted = from_answer(
                home,
                connection,
                found,
                job,
                input_id,
                candidate,
                task=task,
                of_task=of_task,
                as_input=as_input,
                repeat=repeat,
            )
    else:
        wanted = Addition(task, text if text is not None else read_text(text_file or Path()))
    wanted = wanted.changed(expect=given, name=name, source=source, use=use, tags=tags)
    added, golden = add_one(found, wanted)
    if as_json:
        print_json({"task": task, "file": str(golden.path), "golden": added.model_dump(mode="json")}, data=True)
        return
    kept = f", to {added.use} by" if added.use else ""
    say(f"golden input `{added.id}` of {task}{kept}: {golden.path}", data=True)
