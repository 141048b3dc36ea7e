"""The doctor's report: made, stored in the home and read again. Importing this brings nothing heavy."""

from __future__ import annotations

import contextlib
from pathlib import Path

from core.doctor.results import Report
from core.files import read_json, write_json
from core.home import Home


def report_file(home: Home) -> Path:
    return home.cache / "doctor.json"


def last_report(home: Home) -> Report | None:
    """The report that was made last; None when there is none that can be read."""
    try:
        document = read_json(report_file(home))
        return None if document is None else Report.from_json(document)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store_report(home: Home, report: Report) -> None:
    home.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(report_file(home), report.to_json())


def examine(home: Home, *, quick: bool = False) -> Report:
    """Look at everything, store the report in the home and return it. `quick` leaves out the probes with torch.

    Takes a second or two quickly, up to a few minutes with the probes: call it in a thread where one may not wait.
    """
    from core.doctor.examination import Examination

    report = Examination.of_this_machine(home, quick=quick).report()
    # Where the home takes nothing, the report says so itself.
    with contextlib.suppress(OSError):
        store_report(home, report)
    return report
