"""Precision and recall of the detectors of failure modes, on the answers that are marked by hand.

The tables are those of docs/failure-modes.md. No model is asked, and nobody tuned a detector by the answers to confirm.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.failure_modes import find
from tests.bench.command_line import parser
from tests.support.marked_answers import codes_found, compare, falsely_blamed, marked_answers, parts_table, table


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("failure_modes", __doc__)
    command.add_argument("--wrong", action="store_true", help="name the answers to tune by on which a detector errs")
    chosen = command.parse_args(arguments)
    answers = marked_answers()
    found = codes_found(answers, find)
    parts = {
        "real": [answer for answer in answers if answer.origin == "real"],
        "written": [answer for answer in answers if answer.origin == "written"],
        "to tune by": [answer for answer in answers if answer.use == "tune"],
        "to confirm": [answer for answer in answers if answer.use == "confirm"],
    }
    print(table(compare(answers, found)), end="\n\n")
    print(parts_table({name: compare(part, found) for name, part in parts.items()}), end="\n\n")
    for name, part in {"all": answers, **parts}.items():
        clean, blamed = sum(not answer.modes for answer in part), len(falsely_blamed(part, found))
        print(f"{name}: {len(part)} answers; of {clean} without a failure mode, {blamed} are said to have one")
    for answer in answers if chosen.wrong else ():
        if answer.use == "tune" and found[answer.id] != answer.modes:
            missed, invented = sorted(answer.modes - found[answer.id]), sorted(found[answer.id] - answer.modes)
            print(f"{answer.id}: missed {', '.join(missed) or 'none'}; wrongly found {', '.join(invented) or 'none'}")


if __name__ == "__main__":
    main(sys.argv[1:])
