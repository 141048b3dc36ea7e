"""What a promotion rests on, condition by condition: found in what is stored, never assumed. No server is asked here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.aliases.digests import bare, is_same
from core.bakeoff.gates import judged, use_of
from core.bakeoff.input_cells import InputCell
from core.config.project import Project
from core.data.examples import load_examples
from core.data.leaks import NAMED_AT_MOST, find_leaks
from core.errors import BakehouseError
from core.files import read_json
from core.fleet.gate import Condition, ConditionCode, joined
from core.fleet.lineage import deployments, made_by
from core.fleet.measured import Found, MeasuredPair, changed_since
from core.home import Home
from core.jobfile.as_done import spec_as_done
from core.jobfile.convert import ConvertSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.parity import ParitySpec
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.parity.blocking import TOLD
from core.reasons import Value
from core.serving.answering import ServedIdentity
from core.staleness.staleness import StaleCause, task_causes


@dataclass(frozen=True)
class Model:
    """The candidate as it serves now: its name on its server, the server's address, whether it is a served model of the home,
    the digest that a move is about, and its identity."""

    name: str
    url: str
    is_served_here: bool
    digest: str | None
    identity: ServedIdentity


def measured(pair: MeasuredPair | None, examples: int = 0) -> Condition:
    """Whether a bake-off that is done measured the candidate as it serves now, asked with as many examples as requests send."""
    if pair is None:
        return Condition("measured", "cannot_tell", {"why": "no_bakeoff", "examples": examples})
    return _as_it_serves("measured", pair.job_id, pair.candidate, examples)


def incumbent_measured(pair: MeasuredPair | None, name: str | None, examples: int = 0) -> Condition:
    """Whether the same bake-off measured what the alias is now; `name` is the alias, None where it is nothing yet."""
    if name is None:
        return Condition("incumbent_measured", "not_asked", {"why": "no_incumbent"})
    values: dict[str, Value] = {"alias": name, "examples": examples}
    if pair is None:
        return Condition("incumbent_measured", "cannot_tell", {**values, "why": "no_bakeoff"})
    if pair.incumbent is None:
        return Condition("incumbent_measured", "cannot_tell", {**values, "why": "not_in_it", "job": pair.job_id})
    return _as_it_serves("incumbent_measured", pair.job_id, pair.incumbent, examples)


def _as_it_serves(code: ConditionCode, job_id: int, found: Found, examples: int) -> Condition:
    values: dict[str, Value] = {"job": job_id, "name": found.name, "examples": examples}
    values["other_examples"] = found.other_examples
    if found.changed:
        return Condition(code, "cannot_tell", {**values, "why": "changed", "what": list(found.changed)})
    if found.mixed:
        return Condition(code, "cannot_tell", {**values, "why": "mixed"})
    if found.unknown:
        return Condition(code, "cannot_tell", {**values, "why": "unknown", "what": list(found.unknown)})
    return Condition(code, "pass", values)


def not_worse(pair: MeasuredPair | None, has_incumbent: bool) -> tuple[Condition, ...]:
    """For each part of the score: whether the candidate is no worse by the margin, by the one rule for that."""
    if not has_incumbent:
        return (Condition("not_worse", "not_asked", {"why": "no_incumbent"}),)
    if pair is None or pair.incumbent is None:
        return (Condition("not_worse", "cannot_tell", {"why": "no_bakeoff" if pair is None else "not_in_it"}),)
    found = []
    for part in pair.board.parts:
        one = judged(pair.board, pair.candidate.name, pair.incumbent.name, part)
        comparison = pair.board.comparison(pair.candidate.name, part)
        against = comparison is not None and comparison.against == pair.incumbent.name
        values: dict[str, Value] = {
            "part": part,
            "margin": one.margin,
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "inputs": one.inputs,
            "clusters": one.clusters,
            "missing": one.missing,
            "needed": one.needed,
            "missing_decides": one.missing_decides,
            "could_differ": one.could_differ,
            "use": use_of(pair.board),
            # Of all inputs, by flipping signs: another statement, and no pass by itself.
            "verdict": comparison.verdict if comparison is not None and against else None,
        }
        found.append(Condition("not_worse", one.outcome, values))
    if not found:
        return (Condition("not_worse", "cannot_tell", {"why": "no_checks"}),)
    return tuple(found)


def complete(pair: MeasuredPair | None) -> Condition:
    """Whether candidate and incumbent answered all that the conditions rest on."""
    if pair is None:
        return Condition("complete", "cannot_tell", {"why": "no_bakeoff"})
    board = pair.board
    names = [pair.candidate.name, *([pair.incumbent.name] if pair.incumbent is not None else [])]
    stopped = [name for name in names if name in board.curtailed]
    if stopped:
        return Condition("complete", "cannot_tell", {"why": "curtailed", "name": stopped[0], "job": pair.job_id})
    kept = set(board.confirming if use_of(board) == "confirm" else board.input_ids)
    missing = {
        name: sum(
            max(map(cell.open, board.parts), default=0) for input_id, cell in _cells(pair, name) if input_id in kept
        )
        for name in names
    }
    lacking = [name for name in names if missing[name]]
    if lacking:
        values: dict[str, Value] = {"why": "missing", "name": lacking[0], "missing": missing[lacking[0]]}
        values["unjudged"] = sum(cell.unjudged for input_id, cell in _cells(pair, lacking[0]) if input_id in kept)
        return Condition("complete", "cannot_tell", {**values, "job": pair.job_id})
    return Condition("complete", "pass", {"inputs": len(kept), "repeats": board.repeats})


def _cells(pair: MeasuredPair, name: str) -> Iterator[tuple[str, InputCell]]:
    return zip(pair.board.input_ids, pair.board.row(name).inputs, strict=True)


def fresh(project: Project | None, pair: MeasuredPair | None) -> Condition:
    """Whether task, checks and golden inputs are as they were measured."""
    if pair is None:
        return Condition("fresh", "cannot_tell", {"why": "no_bakeoff"})
    causes = list(task_causes(project, pair.task, pair.under_test))
    changed = list(dict.fromkeys(str(one.what) for one in causes if isinstance(one, StaleCause)))
    if changed:
        return Condition("fresh", "cannot_tell", {"why": "changed", "what": changed, "job": pair.job_id})
    if pair.outdated:
        return Condition("fresh", "cannot_tell", {"why": "outdated", "job": pair.job_id})
    if causes:
        what = list(dict.fromkeys(str(one.what) for one in causes))
        return Condition("fresh", "cannot_tell", {"why": "unknown", "what": what, "job": pair.job_id})
    return Condition("fresh", "pass", {})


def other_task(task: str, pair: MeasuredPair | None, project: Project | None) -> Condition:
    """A further task that the alias does: the candidate is no worse there, by a bake-off that holds now."""
    if pair is None or pair.incumbent is None:
        return Condition("other_task", "cannot_tell", {"task": task, "why": "not_measured"})
    parts = not_worse(pair, True)
    conditions = (measured(pair), incumbent_measured(pair, ""), *parts, complete(pair), fresh(project, pair))
    outcome = joined(conditions)
    decisive = next((one for one in conditions if one.outcome == outcome and outcome != "pass"), parts[0])
    values: dict[str, Value] = {"task": task, "job": pair.job_id, "condition": decisive.code}
    return Condition("other_task", outcome, {**decisive.values, **values})


def parity(home: Home, connection: sqlite3.Connection, task: str, model: Model) -> Condition:
    """The newest check of the task's prompts of this model: its deployment, or a check of what its server has."""
    why: dict[str, Value] = {"why": "not_checked"}
    rows = connection.execute(
        """
        SELECT id, kind, state, result FROM jobs
        WHERE kind IN ('parity', 'deploy') AND task = ? AND state IN ('done', 'failed') ORDER BY id DESC
        """,
        [task],
    )
    for row in rows.fetchall():
        document = _document(home.run_dir(row["id"]).parity)
        if not is_same(document.get("weights"), model.identity.weights):
            continue
        try:
            spec = JobFile.load(home.run_dir(row["id"])).spec
        except (BakehouseError, OSError):
            continue
        if isinstance(spec, DeploySpec):
            changed = _since_deployment(spec, row["state"], row["result"], model)
        elif isinstance(spec, ParitySpec):
            changed = _since_check(home, row["id"], spec, model)
        else:
            continue
        if changed is None:
            continue
        if changed:
            why = {"why": "changed", "what": list(changed), "job": row["id"]} if why["why"] == "not_checked" else why
            continue
        if document.get("passed") is True:
            same = sum(bool(case.get("same")) for case in document.get("cases") or () if isinstance(case, dict))
            return Condition("parity", "pass", {"job": row["id"], "prompts": same})
        return Condition("parity", "fail", {"job": row["id"], "finding": _finding(document)})
    return Condition("parity", "cannot_tell", why)


def _since_deployment(spec: DeploySpec, state: str, result: str | None, model: Model) -> tuple[str, ...] | None:
    """What is another since a deployment; None where it did not put this model there."""
    if state != "done" or (spec.server is None) != model.is_served_here:
        return None
    if spec.server is not None and spec.server.url != model.url:
        return None
    summary = (json.loads(result) if result else {}).get("summary") or {}
    if model.is_served_here:
        # A llama-server tells its version in other words than its program, and its template without white space at the end.
        return ()
    told = (("template", "template_sha256", model.identity.template), ("version", "server", model.identity.version))
    return tuple(what for what, key, now in told if summary.get(key) != now)


def _since_check(home: Home, job_id: int, spec: ParitySpec, model: Model) -> tuple[str, ...] | None:
    """What is another since a check of what a server has; None where it was about something else."""
    if spec.server is None or spec.served_model is None:
        return None
    if (spec.server.served_dir is not None) != model.is_served_here:
        return None
    if not model.is_served_here and spec.server.url != model.url:
        return None
    for attempt in reversed(home.run_dir(job_id).attempts()):
        told = _document(attempt.manifest).get("server")
        if isinstance(told, dict):
            try:
                then = ServedIdentity(**told)
            except TypeError:
                return None
            changed, _ = changed_since(then, model.identity)
            return changed
    return None


def _finding(document: dict[str, Any]) -> str:
    """The code of what blocks first."""
    causes = [cause for case in document.get("cases") or () for cause in case.get("causes") or ()]
    codes = [str(one.get("code")) for one in (*(document.get("findings") or ()), *causes) if isinstance(one, dict)]
    return next((code for code in codes if code not in TOLD), "prompts_differ")


def no_leak(home: Home, connection: sqlite3.Connection, project: Project, task: str, model: Model) -> Condition:
    """Whether a golden input, as the project has them now, is in what the candidate was trained on."""
    found = _training(home, connection, model)
    if isinstance(found, str):
        outcome = "pass" if found == "not_trained" else "cannot_tell"
        return Condition("no_leak", outcome, {"why": found})  # type: ignore[arg-type]
    job_id, spec = found
    values: dict[str, Value] = {"job": job_id, "data": spec.train.source}
    base = spec.model.path
    if base is not None and Path(base).is_relative_to(home.root):
        return Condition("no_leak", "cannot_tell", {**values, "why": "base_made_here"})
    try:
        golden = project.golden(project.task(task)).inputs
        examples, _ = load_examples(Path(spec.train.path), spec.task)
    except (BakehouseError, OSError) as error:
        is_gone = not Path(spec.train.path).exists()
        return Condition("no_leak", "cannot_tell", {**values, "why": "data_gone" if is_gone else "unreadable",
                                                    "said": str(error)})  # fmt: skip
    leaks = find_leaks(examples, golden)
    if leaks:
        named = list(dict.fromkeys(one.golden_id for one in leaks))
        return Condition("no_leak", "fail", {**values, "inputs": named[:NAMED_AT_MOST], "leaks": len(named)})
    return Condition("no_leak", "pass", {**values, "examples": len(examples), "golden": len(golden)})


def chosen_among(home: Home, connection: sqlite3.Connection, pair: MeasuredPair | None, model: Model) -> int:
    """Of how many candidates of its bake-off this one may be the choice: of all but the incumbent and those that were stopped.

    The base that it was trained from is not counted: that one shows what training gained, and is promoted in nobody's place.
    """
    if pair is None:
        return 0
    trained = _training(home, connection, model)
    base = None if isinstance(trained, str) else trained[1].model.name
    held = None if pair.incumbent is None else pair.incumbent.name
    left_out = {held, *pair.board.curtailed, *(name for name, of_model in pair.bases.items() if of_model == base)}
    return sum(row.name not in left_out for row in pair.board.rows)


def _training(home: Home, connection: sqlite3.Connection, model: Model) -> tuple[int, TrainSpec] | str:
    """The training of a model, else why there is none: `not_trained` (a base model as it is), `unknown_lineage`."""
    deployment = made_by(deployments(connection), model.digest, model.identity.weights)
    at = deployment.job_id if deployment is not None else _maker_of_file(connection, model.identity.weights)
    while at is not None:
        try:
            spec = spec_as_done(home.run_dir(at))
        except (BakehouseError, OSError):
            return "unknown_lineage"
        if isinstance(spec, TrainSpec):
            return at, spec
        source = spec.columns.source
        before = parse_reference(source)
        if before is None and isinstance(spec, DeploySpec):  # a file by its path
            made_at = _maker_of_file(connection, _file_of(connection, at))
            if made_at is None or made_at >= at:
                return "unknown_lineage"
            at = made_at
            continue
        if before is None or before.job_id >= at:
            return "not_trained" if isinstance(spec, ConvertSpec) and source is None else "unknown_lineage"
        at = before.job_id
    return "unknown_lineage"


def _maker_of_file(connection: sqlite3.Connection, weights: str | None) -> int | None:
    """The job that made a GGUF file which a person put on a server: the blob is the file where the server keeps it as it is."""
    row = connection.execute(
        """
        SELECT id FROM jobs WHERE kind IN ('convert', 'quantize') AND state = 'done'
        AND json_extract(result, '$.summary.file_sha256') = ? ORDER BY id DESC LIMIT 1
        """,
        [bare(weights)],
    ).fetchone()
    return None if row is None else int(row["id"])


def _file_of(connection: sqlite3.Connection, deploy_job: int) -> str | None:
    row = connection.execute(
        "SELECT json_extract(result, '$.summary.file_sha256') FROM jobs WHERE id = ?", [deploy_job]
    ).fetchone()
    return None if row is None else row[0]


def _document(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}
