"""`bakehouse experiment report`."""

from __future__ import annotations

from pathlib import Path

import click

from core.cli.common import find_project, json_option, opened, project_option
from core.cli.output import print_json, say
from core.errors import InputError
from core.home import Home, expanded


@click.command(epilog="Example: bakehouse experiment report precision-rank --html precision-rank.html")
@click.argument("name")
@click.option("--html", "as_html", type=click.Path(path_type=Path), help="Write one HTML page that needs nothing else.")
@click.option("--markdown", "as_markdown", type=click.Path(path_type=Path), help="Write Markdown; charts are text.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@project_option
@json_option
def report(
    name: str, as_html: Path | None, as_markdown: Path | None, force: bool, project: Path | None, as_json: bool
) -> None:
    """A report of an experiment to read, print or publish: answer, charts, tables, caveats, method.

    Without a file the Markdown is printed.
    """
    from core.authoring.new_files import write_new_files
    from core.clock import SYSTEM_CLOCK
    from core.experiments.shown import shown_experiment
    from core.experiments.tables import table_source
    from core.files import write_atomic
    from core.reports.experiment_report import html_report, markdown_report

    home, found = Home.find(), find_project(project)
    wanted = [
        (expanded(file, key=option), make)
        for option, file, make in (("--html", as_html, html_report), ("--markdown", as_markdown, markdown_report))
        if file is not None
    ]
    if len({file.resolve() for file, _ in wanted}) < len(wanted):
        raise InputError("both reports would go to one file", code="same_file", file=as_html, remedy="name two files")
    for file, _ in wanted:
        if file.exists() and not force:
            raise InputError(
                "the file is there already",
                code="exists",
                file=file,
                remedy="name another file, or write over it with --force",
            )
    with opened(home) as connection:
        source = table_source(home, connection, shown_experiment(home, connection, found, name))
    now = SYSTEM_CLOCK.time()
    written = {file: make(source, now) for file, make in wanted}
    if force:
        for file, text in written.items():
            try:
                write_atomic(file, text, mode=0o644)
            except OSError as problem:
                raise InputError(f"cannot be written: {problem.strerror}", code="not_writable", file=file) from problem
    else:
        write_new_files(written)
    for file in () if as_json else written:
        say(f"written: {file}")
    if as_json:
        print_json({"schema": 1, "name": name, "written": [str(file) for file, _ in wanted]})
    elif not wanted:
        say(markdown_report(source, now))
