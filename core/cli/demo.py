"""`bakehouse demo`: the whole path once, on a real small model."""

from __future__ import annotations

import sys

import click

from core.cli.common import by, job_line, json_option, opened, print_json
from core.home import Home


@click.command(epilog="Example: bakehouse demo --headless")
@click.option("--headless", is_flag=True, help="Print progress instead of opening the console.")
@json_option
def demo(headless: bool, as_json: bool) -> None:
    """Fetch SmolLM2-135M, train it to be a judge, and bake it off against its base.

    About ten minutes on two CPU cores. With a terminal the console opens on the running jobs; what was started goes on when you
    leave it.
    """
    from core.config.project import shipped
    from core.queue.submit import submit_demo

    home = Home.find()
    train, bakeoff = submit_demo(home, shipped(), author=by())
    if not headless and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        from core.cli.console import open_console

        open_console(None, select=train.id)
        return
    from core.cli.follow import wait_and_exit
    from core.cli.results import show_leaderboard

    with opened(home) as connection:
        code = wait_and_exit(home, connection, [*train.needs, train.id, bakeoff.id])
        if code == 0:
            show_leaderboard(home, connection, bakeoff.id, as_json=as_json)
        elif as_json:
            print_json({"jobs": [train.id, bakeoff.id]})
        else:
            print(job_line(train), job_line(bakeoff), sep="\n", file=sys.stderr)
        sys.exit(code)
