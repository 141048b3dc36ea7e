"""`bakehouse demo`: the whole path once, on a real small model."""

from __future__ import annotations

import sys

import click

from core.cli.common import by, json_option
from core.home import Home


@click.command(epilog="Example: bakehouse demo --headless")
@click.option("--headless", is_flag=True, help="Print progress instead of opening the console.")
@json_option
def demo(headless: bool, as_json: bool) -> None:
    """Fetch SmolLM2-135M, train it to be a judge, and bake it off against its base.

    About ten minutes on two CPU cores. With a terminal the console opens on the running jobs; what was started goes on
    when you leave it.
    """
    from core.config.project import shipped
    from core.submission.submit import submit_demo

    home = Home.find()
    train, bakeoff = submit_demo(home, shipped(), author=by())
    if not headless and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        from core.cli.console import open_console
        from core.cli.submitted import warn_of_launcher

        warn_of_launcher(home)
        open_console(None, select=train.id)
        return
    from core.cli.results_boards import leaderboard_of
    from core.cli.submitted import submitted

    submitted(home, bakeoff, wait=True, as_json=as_json, show=leaderboard_of(home, as_json=as_json))
