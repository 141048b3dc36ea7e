"""The words for a row of the fleet: what is wrong with what serves, what may come, where it is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.format import listed, moment, percent, plural, when
from core.reasons import Reason
from core.store.fleet_changes import FleetChange
from core.store.jobs import ACTIVE, RETRYABLE
from core.text import printable
from core.wording.chains import STEP_NAMES
from core.wording.drift import DRIFTED, OUTCOMES, drift_words, outcome_words
from core.wording.fleet import asker_words, kind_words, origin_words, phase_words, short_digest

if TYPE_CHECKING:  # pydantic stands behind them, and the console's first paint does not wait for it
    from core.fleet.challengers import Challenger
    from core.fleet.rows import DriftState, FleetRow

UNKNOWN_MODEL = "unknown model"
SILENT = {
    "server_down": "nobody answers at its server",
    "server_slow": "its server did not answer in time",
    "served_file_gone": "its GGUF file is gone",
    "bad_served_model": "its record cannot be read",
    "key_missing": "the key of its server is not set here",
    "version_not_kept": "its server keeps it no more",
}
"""Why nothing is known of an alias now, by code."""
_PHASES: Mapping[str, str] = {"failed": "failed", "stopped": "is stopped", "away": "is away for a job"}
"""What a served model does that does not serve."""
RemarkCode = Literal[
    "moving", "empty", "silent", "gone", "changed", "stopped", "drift", "stale", "challenger", "checked", "overridden"
]


def challenger_words(one: Challenger) -> str:
    """`Qwen3-4B: training 40 %`, `Qwen3-4B: merge failed, job 14`, `Qwen3-4B: training next`."""
    name = one.model or "a model"
    step = STEP_NAMES.get(one.stage, one.stage)
    if one.state in ACTIVE:
        return printable(f"{name}: {step}" + ("" if one.progress is None else f" {percent(one.progress)}"))
    if one.state in RETRYABLE:
        return printable(f"{name}: {step} {one.state}, job {one.job_id}")
    return printable(f"{name}: {step} next")


def stale_cause_words(one: Reason) -> str:
    """What is another than the verdict was made on: `server 0.24.0 → 0.33.0`, `chat template`, `model 1f… → 2e…`."""
    before, now = one.values.get("before"), one.values.get("now")
    match one.code:
        case "server_version_differs":
            return printable(f"server {before} → {now}")
        case "template_differs":
            return "chat template"
        case "digest_differs":
            return f"model {short_digest(before)} → {short_digest(now)}"
        case _:
            return one.code


def silent_words(error: Reason) -> str:
    """Why it is not known what serves under an alias now."""
    said = error.values.get("said")
    known = SILENT.get(error.code)
    return printable(known or (str(said) if said else error.code.replace("_", " ")))


def open_words(change: FleetChange, now: float | None = None) -> str:
    """`promotion of judge-4b asked by anna@box (command) at 14:02: placing the model under the alias`."""
    of = f" of {change.target.source}" if change.kind == "promote" and change.target.source else ""
    asked = f"asked by {asker_words(change.author)} at {moment(change.asked_at, now)}"
    return printable(f"{kind_words(change.kind)}{of} {asked}: {phase_words(change.phase)}")


@dataclass(frozen=True)
class RowRemark:
    """One thing to know of a row, in full. An `urgent` one says that all may not be well. `remedies` are what can be done about
    it, in words with a command each."""

    code: RemarkCode
    words: str
    urgent: bool = False
    remedies: tuple[str, ...] = ()


def row_remarks(row: FleetRow, now: float | None = None) -> Iterator[RowRemark]:
    """What a person should know of what serves, the most urgent first."""
    alias, seen = printable(row.alias.name), row.observed
    if row.change is not None:
        yield RowRemark("moving", open_words(row.change, now), urgent=True)
    elif row.version is None:
        yield RowRemark("empty", "nothing is known to serve under this name yet")
    if seen is not None and seen.error is not None:
        last = f", last seen {when(row.alias.observed_at, now)}" if row.alias.observed_at is not None else ""
        yield RowRemark("silent", f"not known what serves now: {silent_words(seen.error)}{last}", urgent=True)
    elif row.foreign and seen is not None:
        back = f"`bakehouse fleet rollback {row.task or row.reference}` brings back what was recorded"
        take = f"`bakehouse fleet adopt {row.reference}` takes what is there now"
        if seen.is_gone:
            yield RowRemark("gone", f"somebody removed {alias} from its server", urgent=True, remedies=(back,))
        else:
            other = f"somebody else put another model under {alias}, digest {short_digest(seen.digest)}"
            yield RowRemark("changed", other, urgent=True, remedies=(back, take))
    away = None if seen is None or seen.phase is None else _PHASES.get(seen.phase)
    if away is not None:
        why = f"`bakehouse served show {alias}` tells why"
        yield RowRemark("stopped", f"its llama-server {away}", urgent=True, remedies=(why,))
    if row.drift is not None and row.drift.code in DRIFTED:
        yield RowRemark("drift", drift_line(row.drift, now), urgent=True)
    if row.stale and not row.foreign:
        since = "its bake-off" if row.measured is None else f"bake-off {row.measured.job_id}"
        changed = f"changed since {since}: {listed(list(map(stale_cause_words, row.stale)))}"
        words = f"stale; checked: same answers; {changed}" if row.stale_checked else f"stale: {changed}"
        is_to_check = row.task is not None and not row.stale_checked
        check = (f"`bakehouse fleet drift {row.task}` checks it",) if is_to_check else ()
        yield RowRemark("stale", words, urgent=True, remedies=check)
    if row.challenger is not None:
        yield RowRemark("challenger", challenger_words(row.challenger))
    if row.drift is not None and row.drift.code not in DRIFTED:
        yield RowRemark("checked", drift_line(row.drift, now))
    if row.overridden is not None:
        yield RowRemark("overridden", printable(f"promoted though its gate did not pass: {row.overridden}"))


def origin_line(row: FleetRow) -> str:
    """`Qwen2.5-7B → Qwen3-4B · version 2, promoted · recipe plain, data judge.jsonl, training 12`; what is unknown is said."""
    version, lineage = row.version, row.lineage
    if version is None:
        return "nothing serves yet"
    models = [row.model or UNKNOWN_MODEL] if row.model is not None or row.before is not None else []
    if row.before is not None:
        former = row.before.model or UNKNOWN_MODEL
        models = [former, *models] if former != models[0] else models
    made = [f"recipe {lineage.recipe}"] if lineage.recipe else []
    made += [f"data {lineage.data}"] if lineage.data else []
    made += [f"training {lineage.train_job}"] if lineage.train_job is not None else []
    # The only thing that tells a model of which nothing is on record from the one before.
    source = f" from {version.source}" if row.model is None and version.origin == "promoted" and version.source else ""
    parts = [" → ".join(models)] if models else []
    parts.append(f"version {version.number}, {origin_words(version.origin)}{source}")
    parts.append(", ".join(made) if made else "what it was made of is unknown")
    if row.task is not None and row.measured is None:
        parts.append("not baked off yet")
    elif row.measured is not None:
        inputs = "" if row.n_inputs is None else f", {plural(row.n_inputs, 'input')}"
        parts.append(f"bake-off {row.measured.job_id}{inputs}")
    return printable(" · ".join(parts))


def drift_line(drift: DriftState, now: float | None = None) -> str:
    """`checked for drift 9 Nov, job 71: no drift: …`; of a check that has come to nothing its job's state."""
    if not drift.summary and drift.code not in OUTCOMES:
        return printable(f"check for drift, job {drift.job_id}: {drift.code}")
    said = drift_words(drift.summary) if drift.summary else outcome_words(drift.code)
    return printable(f"checked for drift {when(drift.time, now)}, job {drift.job_id}: {said}")
