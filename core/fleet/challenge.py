"""A challenge as it stands: how far each task is, and what the new model would gain there in score, size and speed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from core.bakeoff.leaderboard import Leaderboard, plain_types
from core.errors import BakehouseError
from core.fleet.gate import Gate
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.references import parse_reference
from core.own_paths import located_result
from core.results.load import load_bakeoff
from core.store.chains import Chain, ChainLink
from core.store.challenges import Challenge, ChallengeTask, chain_of_task
from core.store.fleet import Alias, AliasVersion, alias_of, current_version, get_version
from core.store.fleet_changes import former_versions
from core.store.jobs import ACTIVE, QUEUED

One = TypeVar("One")
Judge: TypeAlias = Callable[[str, str], Gate]
"""(task, candidate) → what the gate of a promotion says of it now. Raises `BakehouseError`."""
Stage: TypeAlias = Literal["queued", "running", "stopped", "done", "promoted", "gone"]


@dataclass(frozen=True)
class Side:
    """What was measured of the old model or the new one: `score` is the leading one in [0, 1]; None is what is not known.

    `size_bytes` is the model as it serves, `vram_bytes` the most of the GPU that a load took, `tokens_per_second` that of one
    answer after the other.
    """

    model: str | None = None
    score: float | None = None
    size_bytes: int | None = None
    vram_bytes: int | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True)
class ChallengedTask:
    """A task of a challenge. `stage` is `stopped` where a link did not end well, `promoted` where the new model serves already,
    `gone` where its jobs were removed.

    `candidate` is what can be promoted (`job:12`), once its deployment is done. `difference` is new less old on the `part` that
    leads, in [−1, 1], with its 95 % interval; `gate_error` says why the gate could not be asked.
    """

    told: ChallengeTask
    alias: Alias | None
    chain: Chain | None
    stage: Stage
    candidate: str | None = None
    bakeoff_job: int | None = None
    old: Side = Side()
    new: Side = Side()
    part: str | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    gate: Gate | None = None
    gate_error: BakehouseError | None = None

    @property
    def task(self) -> str:
        return self.told.task

    @property
    def advised(self) -> bool:
        """Whether all evidence is for the new model."""
        return self.stage == "done" and self.gate is not None and self.gate.outcome == "pass"

    @property
    def is_measured(self) -> bool:
        return self.stage in ("done", "promoted")

    def to_json(self) -> dict[str, Any]:
        chain, gate = self.chain, self.gate
        current = None if chain is None else chain.current.job
        found: dict[str, Any] = plain_types(
            {
                "task": self.task,
                "place": self.told.place,
                "could_gain": self.told.gain,
                "alias": None if self.alias is None else self.alias.name,
                "server": None if self.alias is None else self.alias.server,
                "stage": self.stage,
                "chain": None if chain is None else chain.id,
                "job": None if current is None else {"id": current.id, "kind": current.kind, "state": current.state},
                "links_done": None if chain is None else chain.done,
                "links": None if chain is None else len(chain.links),
                "candidate": self.candidate,
                "bakeoff_job": self.bakeoff_job,
                "old": vars(self.old),
                "new": vars(self.new),
                "part": self.part,
                "difference": self.difference,
                "interval": None if self.interval is None else list(self.interval),
                "gate": None if gate is None else gate.to_json(),
                "gate_error": None if self.gate_error is None else self.gate_error.to_json(),
            }
        )
        return found


def by_gain(items: Iterable[One], told: Callable[[One], tuple[str, float | None]]) -> list[One]:
    """In the order of what could be gained, the most first; `told` gives (name, gain in [0, 1]).

    Where that is not known all of the score could be: such items stand with those that can gain all, in front of them.
    """

    def key(item: One) -> tuple[float, bool, str]:
        name, gain = told(item)
        return (-1.0 if gain is None else -gain, gain is not None, name)

    return sorted(items, key=key)


def challenged_tasks(
    home: Home, connection: sqlite3.Connection, challenge: Challenge, judge: Judge | None = None
) -> list[ChallengedTask]:
    """The tasks of a challenge in their order. `judge` is asked about each that is measured and does not serve yet."""
    return [_challenged(home, connection, challenge, one, judge) for one in challenge.tasks]


def _challenged(
    home: Home, connection: sqlite3.Connection, challenge: Challenge, told: ChallengeTask, judge: Judge | None
) -> ChallengedTask:
    alias = alias_of(connection, challenge.project_id, told.task)
    version = None if alias is None else current_version(connection, alias)
    chain = chain_of_task(connection, told)
    if chain is None:
        return ChallengedTask(told, alias, None, "gone", old=_serving(version), new=Side(challenge.model))
    links = {link.job.kind: link for link in chain.links}
    deployed = links.get("deploy")
    there = deployed is not None and deployed.job.state == "done"
    stage = _stage(chain, version, deployed)
    if stage == "promoted" and version is not None:
        version = _before(connection, version)
    found = ChallengedTask(
        told,
        alias,
        chain,
        stage,
        candidate=f"job:{deployed.job.id}" if deployed is not None and there else None,
        bakeoff_job=links["bakeoff"].job.id if "bakeoff" in links else None,
        old=_serving(version),
        new=Side(challenge.model, size_bytes=_file_bytes(home, deployed) if there else None),
    )
    if chain.state != "done":
        return found
    try:
        found = _measured(home, connection, found)
        if judge is not None and found.stage == "done" and found.candidate is not None:
            found = replace(found, gate=judge(told.task, found.candidate))
    except BakehouseError as error:
        return replace(found, gate_error=error)
    return found


def _before(connection: sqlite3.Connection, version: AliasVersion) -> AliasVersion | None:
    """What a version took the place of."""
    former = former_versions(connection).get(version.id)
    return None if former is None else get_version(connection, former)


def _stage(chain: Chain, version: AliasVersion | None, deployed: ChainLink | None) -> Stage:
    state = chain.state
    if deployed is not None and version is not None and version.deploy_job_id == deployed.job.id:
        return "promoted"
    if state == "done":
        return "done"
    if state in ACTIVE:
        return "running"
    if state not in QUEUED:
        return "stopped"
    return "running" if any(link.job.state == "done" for link in chain.own) else "queued"


def _serving(version: AliasVersion | None) -> Side:
    return Side() if version is None else Side(version.model, size_bytes=version.size_bytes)


def _file_bytes(home: Home, deployed: ChainLink | None) -> int | None:
    """The size of the file that serves, None where the file is gone."""
    result = located_result(home, (deployed.job.result if deployed is not None else None) or {})
    path = (result.get("summary") or {}).get("path")
    try:
        return Path(path).stat().st_size if isinstance(path, str) else None
    except OSError:
        return None


def _measured(home: Home, connection: sqlite3.Connection, found: ChallengedTask) -> ChallengedTask:
    """With what the bake-off of the chain says of the old model and the new one. Raises `BakehouseError`."""
    if found.bakeoff_job is None or found.candidate is None:
        return found
    stored = load_bakeoff(home, connection, found.bakeoff_job)
    board = stored.task(found.task).leaderboard()
    candidate = _name_of(stored.spec, found.candidate)
    if candidate is None or board.incumbent is None:
        return found
    part = board.parts[0]
    compared = board.comparison(candidate, part)
    low_high = None if compared is None else (compared.interval.low, compared.interval.high)
    interval = None if low_high is None or None in low_high else low_high
    return replace(
        found,
        old=_row(board, board.incumbent, found.old),
        new=_row(board, candidate, found.new),
        part=part,
        difference=None if compared is None else compared.difference,
        interval=interval,  # type: ignore[arg-type]
    )


def _row(board: Leaderboard, name: str, known: Side) -> Side:
    row = next((one for one in board.rows if one.name == name), None)
    if row is None:
        return known
    return replace(known, score=row.score, vram_bytes=row.vram_bytes, tokens_per_second=row.tokens_per_second)


def _name_of(spec: BakeoffSpec, candidate: str) -> str | None:
    """The name in the bake-off of what a deployment has serve."""
    wanted = parse_reference(candidate)
    for one in spec.candidates:
        ref = parse_reference(one.ref) if one.form == "served" else None
        if ref is not None and wanted is not None and ref.job_id == wanted.job_id:
            return one.name
    return None
