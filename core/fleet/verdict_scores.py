"""The scores that a version's place rests on, by input: those of the bake-off that measured this very model at the task."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import BakehouseError
from core.fleet.verdicts import Measurement, Sought, measurements
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec, TaskUnderTest
from core.results.load import bakeoff_file, load_bakeoff
from core.scoring.scorer import PARTS
from core.store.fleet import AliasVersion


@dataclass(frozen=True)
class VersionVerdict:
    """`candidate` of bake-off `job_id` is the version. `under_test` is its task with the checks that scored; `scores` are by
    part and input, in [0, 1]."""

    job_id: int
    candidate: CandidateSpec
    under_test: TaskUnderTest
    seed: int
    scores: Mapping[str, Mapping[str, float]]


def verdict_of(
    home: Home, connection: sqlite3.Connection, version: AliasVersion, project_id: str, task: str
) -> VersionVerdict | None:
    """The bake-off that the version was promoted by, else the newest of the project that measured it; None without one.

    One whose files are gone is passed over.
    """
    sought = Sought(task, version.weights, version.template)
    found = measurements(home, connection, [sought])[sought]
    for one in sorted(found, key=lambda one: one.job_id != version.bakeoff_job_id):
        if None not in (version.template, one.template) and version.template != one.template:
            continue
        try:
            verdict = _by_input(home, connection, one, project_id)
        except (BakehouseError, OSError, ValueError):
            continue
        if verdict is not None:
            return verdict
    return None


def _by_input(
    home: Home, connection: sqlite3.Connection, measured: Measurement, project_id: str
) -> VersionVerdict | None:
    file, spec = bakeoff_file(home, measured.job_id)
    under_test = next((one for one in spec.tasks if one.name == measured.task), None)
    candidate = next((one for one in spec.candidates if one.name == measured.candidate), None)
    if under_test is None or candidate is None or file.project_id != project_id:
        return None
    if not Path(under_test.golden.path).exists():
        return None
    stored = load_bakeoff(home, connection, measured.job_id).task(measured.task)
    scored = stored.scored.by_candidate.get(candidate.name)
    if scored is None:
        return None
    scores: dict[str, dict[str, float]] = {part: dict(scored.means(part)) for part in PARTS if scored.means(part)}
    asked = under_test.model_copy(update={"task": stored.task})
    return VersionVerdict(measured.job_id, candidate, asked, spec.seed, scores) if scores else None
