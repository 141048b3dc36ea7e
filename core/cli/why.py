"""`bakehouse why`."""

from __future__ import annotations

import click

from core.cli.common import json_option, opened
from core.cli.output import print_json, say
from core.home import Home


@click.command(epilog="Example: bakehouse why 7")
@click.argument("job_id", metavar="JOB", type=int)
@json_option
def why(job_id: int, as_json: bool) -> None:
    """What went wrong with a model, from what is on record of its whole lineage: of a training, an export, a parity check or a
    bake-off.

    What is seen in its answers is joined to the causes that the records of its jobs show, each with its figures and how sure
    it is; where more than one is left, the cheapest test that tells them apart is named. Nothing is computed or asked.
    """
    from core.diagnosis.diagnosis import diagnose
    from core.wording.diagnosis import diagnosis_rows, headline

    home = Home.find()
    with opened(home) as connection:
        found = diagnose(home, connection, job_id)
    if as_json:
        print_json({"headline": headline(found), **found.to_json()}, data=True)
        return
    for row in diagnosis_rows(found):
        say(f"{row.gutter}{row.text}", data=row.data)
