"""The examination: each section by itself, so that one that fails costs its own lines and no others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from core.config.settings import Settings, load_settings
from core.doctor import driver, host, serving, variables
from core.doctor.machine import Machine
from core.doctor.recommend import recommend
from core.doctor.results import Diagnostic, Recommended, Report
from core.doctor.software import examine_software
from core.doctor.stress import stress_test
from core.errors import BakehouseError
from core.gpu.source import dev_root
from core.home import Home
from core.text import printable

Section = Callable[[Machine], list[Diagnostic]]


@dataclass(frozen=True)
class Examination:
    """What is looked at. `quick` leaves out the probes with torch."""

    machine: Machine
    quick: bool = False

    @classmethod
    def of_this_machine(cls, home: Home, *, quick: bool = False) -> Examination:
        home.create()
        settings, problem = Settings(), ""
        try:
            settings = load_settings()
        except BakehouseError as error:
            problem = str(error)
        dev = dev_root() or Path("/dev")
        return cls(Machine(home, os.environ, settings, problem, dev=dev), quick)

    def report(self) -> Report:
        """All lines and the recommendation. Nothing is raised: what cannot be looked at is a fault line."""
        started, began = time.time(), time.monotonic()
        lines: list[Diagnostic] = []
        for name, section in self.sections():
            try:
                lines += section(self.machine)
            except (BakehouseError, OSError, ValueError) as error:
                lines.append(Diagnostic(name, "fault", f"could not be examined: {error}", section=name))
        try:
            recommended = recommend(self.machine, lines)
        except (BakehouseError, OSError, ValueError) as error:
            recommended = Recommended("", f"nothing can be recommended: {error}")
        return Report(started, tuple(map(shown, lines)), recommended, self.quick, time.monotonic() - began)

    def sections(self) -> list[tuple[str, Section]]:
        return [
            ("gpu", driver.examine),
            ("torch", lambda machine: examine_software(machine, quick=self.quick)),
            ("probes", stress_test),
            ("environment", variables.examine),
            ("serving", serving.examine),
            ("machine", host.examine),
        ]


def shown(line: Diagnostic) -> Diagnostic:
    """The line as text that can be shown: messages quote tools and files of others."""
    return replace(line, message=printable(line.message), remedy=printable(line.remedy))
