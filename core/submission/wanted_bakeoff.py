"""What is asked for when a bake-off is asked for, on the command line or in the console's form."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class WantedBakeoff:
    """`tasks` by name, or `every_task`; `candidates` as references. None of the rest leaves it to the task, to the bake-off
    that is extended, or to the default.
    """

    tasks: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    every_task: bool = False
    repeats: int | None = None
    incumbent: str | None = None
    concurrency: int | None = None
    curtail: bool | None = None
    extend: int | None = None

    def command(self, project: tuple[str, ...] = ()) -> str:
        """The command that asks for the same; `project` is the option by which it finds the project."""
        words = ["bakehouse", "bakeoff"]
        short = len(self.tasks) == 1 and not self.every_task and self.extend is None
        if self.extend is not None:
            words += ["--extend", str(self.extend)]
        if self.every_task:
            words += ["--tasks", "all"]
        elif self.tasks:
            words += [*self.tasks] if short else ["--tasks", ",".join(self.tasks)]
        words += self.candidates
        for option, value in (
            ("--repeats", self.repeats),
            ("--incumbent", self.incumbent),
            ("--concurrency", self.concurrency),
        ):
            if value is not None:
                words += [option, str(value)]
        if self.curtail is not None:
            words.append("--curtail" if self.curtail else "--no-curtail")
        return " ".join(shlex.quote(word) for word in [*words, *project])
