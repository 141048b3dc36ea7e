"""The candidates of which nothing was made: a bake-off of an experiment does without them, and says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from core.errors import BakehouseError
from core.files import read_json
from core.home import Home, RunDir
from core.jobfile.bakeoff import IN_PROCESS, BakeoffSpec, CandidateSpec
from core.jobfile.lacking import Lack, LackingCandidate, note_lacking
from core.jobfile.references import parse_reference
from core.models.files import is_usable, needs_pull
from core.own_paths import read_result
from jobs.context import JobContext


def leave_out_lacking(context: JobContext, spec: BakeoffSpec) -> tuple[LackingCandidate, ...]:
    """Which candidates are not there, where the bake-off does without them; noted in `left_out.json`.

    Each attempt looks again: what has been made meanwhile is asked. Raises `BakehouseError` where there is none at all.
    """
    if not spec.lacking_left_out:
        return ()
    # A model whose files are torn costs its own candidates, and no others their comparison. Each is looked at once.
    models = {one.model.name: one.model for one in spec.candidates if one.form in IN_PROCESS and one.model is not None}
    unusable = {name for name, model in models.items() if not is_usable(context.home, model)}
    found = tuple(
        one for candidate in spec.candidates if (one := lack_of(context.home, candidate, unusable)) is not None
    )
    for one in found:
        of = "" if one.job is None else f" of job {one.job}"
        context.warn("left_out", f"{one.candidate} is left out, since nothing{of} is there: {one.state}")
    if len(found) == len(spec.candidates):
        jobs = sorted({one.job for one in found if one.job is not None})
        raise BakehouseError(
            f"none of the {len(found)} candidates is there",
            code="no_candidate",
            remedy=f"retry the jobs that make them: {', '.join(map(str, jobs))}" if jobs else "fetch their models",
        )
    note_lacking(context.run, found)
    return found


def lack_of(home: Home, candidate: CandidateSpec, unusable: Collection[str]) -> LackingCandidate | None:
    """Why a candidate is not there; None where it is, as far as files tell. `unusable` are models that cannot be loaded."""
    for reference in (candidate.ref, candidate.lora):
        made_by = parse_reference(reference)
        if made_by is None:
            continue
        state, censored = _made(home.run_dir(made_by.job_id), made_by.makes or candidate.form)
        if state is not None:
            return LackingCandidate(candidate.name, made_by.job_id, state, censored)
    if candidate.form in IN_PROCESS and candidate.model is not None and candidate.model.name in unusable:
        absent = needs_pull(home, candidate.model)
        return LackingCandidate(candidate.name, None, "no_model" if absent else "bad_model")
    return None


def _made(run: RunDir, makes: str) -> tuple[Lack | None, Mapping[str, Any] | None]:
    """What became of what a job was to make; (None, None) where that is there."""
    result = read_result(run)
    if result is None:
        attempts = run.attempts()
        if not attempts:
            return "not_started", None
        return "failed" if read_json(attempts[-1].error_json) else "not_ended", None
    if censored := result["summary"].get("censored"):
        return "censored", censored
    if makes == "served":
        return None, None  # whether it serves is seen when it is asked
    made = next((item for item in result["artefacts"] if item["kind"] == makes), None)
    return (None if made is not None and Path(made["path"]).is_dir() else "gone"), None
