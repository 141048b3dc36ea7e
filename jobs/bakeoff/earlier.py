"""What a bake-off need not ask for: answers and verdicts of bake-offs before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.scoring.answers import Answer, read_answers
from core.scoring.verdicts import GivenVerdict, read_verdicts


def earlier_answers(home: Home, spec: BakeoffSpec) -> Iterator[Answer]:
    """The copy that it was handed, then what the bake-offs that it takes over have answered; of one key the last counts.

    One of these whose files are gone is passed over: its answers are asked for.
    """
    files = [] if spec.earlier is None else [Path(spec.earlier.path)]
    for file in (*files, *(home.run_dir(job).answers for job in spec.takes_over)):
        for answer in read_answers(file) if file.exists() else ():
            if answer.fault != "server":
                yield answer


def earlier_verdicts(home: Home, spec: BakeoffSpec) -> Iterator[GivenVerdict]:
    """The same of what judges have said."""
    files = [] if spec.earlier_verdicts is None else [Path(spec.earlier_verdicts.path)]
    for file in (*files, *(home.run_dir(job).verdicts for job in spec.takes_over)):
        yield from read_verdicts(file) if file.exists() else ()
