"""Precision and recall of the detectors of failure modes, on the answers that are marked by hand.

The tables are those of docs/failure-modes.md. No model is asked, and none of the answers to confirm was tuned by.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from core.failure_modes import CODES, SeenAnswer, find
from tests.bench.command_line import parser
from tests.support.marked_answers import asked_tasks, compare, marked_answers, table


def codes_found(answer: SeenAnswer) -> Iterable[str]:
    return (mode.code for mode in find(answer))


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("failure_modes", __doc__)
    command.add_argument("--wrong", action="store_true", help="name the answers to tune by on which a detector errs")
    chosen = command.parse_args(arguments)
    answers = marked_answers()
    parts = {
        "all": answers,
        "real": [answer for answer in answers if answer.origin == "real"],
        "written": [answer for answer in answers if answer.origin == "written"],
        "to confirm": [answer for answer in answers if answer.use == "confirm"],
    }
    for name, part in parts.items():
        clean = sum(not answer.modes for answer in part)
        print(f"\n{name}: {len(part)} answers, {clean} of them without a failure mode\n")
        print(table(compare(part, CODES, codes_found)))
    if chosen.wrong:
        tasks = asked_tasks()
        for answer in answers:
            found = frozenset(codes_found(answer.seen(tasks[answer.task])))
            if answer.use == "tune" and found != answer.modes:
                missed, invented = sorted(answer.modes - found), sorted(found - answer.modes)
                print(
                    f"{answer.id}: missed {', '.join(missed) or 'none'}; wrongly found {', '.join(invented) or 'none'}"
                )


if __name__ == "__main__":
    main(sys.argv[1:])
