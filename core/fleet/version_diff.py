"""What two versions of an alias differ in: what they were made of, how they were measured, how they are asked."""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import BakehouseError, InputError
from core.fleet.lineage import UNKNOWN, VersionLineage, deployments, lineages, made_by
from core.fleet.names import version_numbered
from core.fleet.rows import came_by
from core.fleet.verdicts import Measurement, Sought, measurements
from core.fleet.version_texts import NOT_KEPT, VersionTexts
from core.home import Home
from core.jobfile.as_done import spec_as_done
from core.jobfile.train import TrainSpec
from core.store.fleet import Alias, AliasVersion, tasks_of, versions

MOST_DATA_BYTES = 200_000_000
"""Training data larger than this are not compared line by line."""
Change = tuple[str, Any, Any]
"""(name, before, after); None: not there."""


@dataclass(frozen=True)
class VersionSide:
    """One of the two. `recipe` is what ran, None where no training is on record; `measured` by (project, task)."""

    version: AliasVersion
    lineage: VersionLineage
    recipe: Mapping[str, Any] | None = None
    measured: Mapping[tuple[str, str], Measurement] = field(default_factory=dict)
    texts: VersionTexts = NOT_KEPT

    @property
    def model(self) -> str | None:
        return self.version.model or self.lineage.model


@dataclass(frozen=True)
class DataDifference:
    """How the training data differ: lines (examples) before and after, and how many are new and are gone."""

    before: int
    after: int
    added: int
    removed: int


@dataclass(frozen=True)
class VersionDiff:
    """`data` is None where the data of one of the two are not here any more."""

    alias: Alias
    before: VersionSide
    after: VersionSide
    data: DataDifference | None = None

    @property
    def recipe(self) -> list[Change]:
        """The keys of the recipe that differ."""
        return _changes(self.before.recipe or {}, self.after.recipe or {})

    @property
    def parameters(self) -> list[Change]:
        """What the server adds to a request, where it differs."""
        sides = [{**one.texts.parameters, "system": one.texts.system or None} for one in (self.before, self.after)]
        return _changes(*sides)

    @property
    def has_both_texts(self) -> bool:
        return self.before.texts.fault is None and self.after.texts.fault is None

    @property
    def template(self) -> list[str]:
        """The chat templates as a unified diff, without its heads; empty where they are the same or one is not known."""
        if not self.has_both_texts:
            return []
        before, after = ((one.texts.template or "").splitlines() for one in (self.before, self.after))
        return list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]

    def to_json(self) -> dict[str, Any]:
        def named(listed: list[Change]) -> dict[str, Any]:
            return {name: {"before": before, "after": after} for name, before, after in listed}

        return {
            "alias": self.alias.name,
            "server": self.alias.server,
            "before": _side_json(self.before),
            "after": _side_json(self.after),
            "recipe": named(self.recipe),
            "data": None if self.data is None else asdict(self.data),
            "parameters": named(self.parameters) if self.has_both_texts else None,
            "template": self.template if self.has_both_texts else None,
        }


def _side_json(side: VersionSide) -> dict[str, Any]:
    version, texts = side.version, side.texts
    names = ("number", "digest", "weights", "template", "server_version", "size_bytes", "source", "kept_as", "origin")
    return {
        **{name: getattr(version, name) for name in names},
        "since": version.created_at,
        "model": side.model,
        "lineage": asdict(side.lineage),
        "recipe": None if side.recipe is None else dict(side.recipe),
        "measured": [asdict(one) for one in side.measured.values()],
        "texts_fault": None if texts.fault is None else texts.fault.to_json(),
    }


def the_two(
    connection: sqlite3.Connection, alias: Alias, first: int | None, second: int | None
) -> tuple[AliasVersion, AliasVersion]:
    """The versions that are meant by number: without any what the alias was before its present version, and that; with one
    that, and the present one. Raises `NotFoundError`, and `InputError` where there is nothing to compare with."""
    if first is not None and second is not None:
        return version_numbered(connection, alias, first), version_numbered(connection, alias, second)
    by_id = {one.id: one for one in versions(connection, alias.id)}
    present = by_id.get(alias.version_id or 0)
    came = came_by(connection).get(alias.id)
    if first is not None:
        former: AliasVersion | None = version_numbered(connection, alias, first)
    else:
        former = None if came is None else by_id.get(came.former or 0)
    if present is None or former is None:
        raise InputError(
            f"{alias.name} has been nothing else yet",
            code="no_former_version",
            key=alias.name,
            remedy=f"its versions: {', '.join(str(one.number) for one in by_id.values()) or 'none'}",
        )
    return former, present


def version_diff(
    home: Home,
    connection: sqlite3.Connection,
    alias: Alias,
    pair: tuple[AliasVersion, AliasVersion],
    texts: Mapping[int, VersionTexts],
) -> VersionDiff:
    """What the two differ in; `texts` as `version_texts` gives them."""
    done = deployments(connection)
    made = {one.id: one.deploy_job_id or _deployment(done, one) for one in pair}
    told = lineages(connection, [job for job in made.values() if job is not None])
    lineage = {one.id: told.get(made[one.id] or 0, UNKNOWN) for one in pair}
    specs = {one.id: _training(home, lineage[one.id].train_job) for one in pair}
    measured = _measured(home, connection, alias, pair)
    sides = [
        VersionSide(
            one,
            lineage[one.id],
            _recipe(specs[one.id]),
            {key: found[place] for key, found in measured.items() if found[place] is not None},
            texts.get(one.id, NOT_KEPT),
        )
        for place, one in enumerate(pair)
    ]
    return VersionDiff(alias, sides[0], sides[1], _data(*(specs[one.id] for one in pair)))


def _deployment(done: Any, version: AliasVersion) -> int | None:
    found = made_by(done, version.digest, version.weights)
    return None if found is None else found.job_id


def _training(home: Home, job_id: int | None) -> TrainSpec | None:
    if job_id is None:
        return None
    try:
        spec = spec_as_done(home.run_dir(job_id))
    except (BakehouseError, OSError):
        return None
    return spec if isinstance(spec, TrainSpec) else None


def _recipe(spec: TrainSpec | None) -> dict[str, Any] | None:
    return None if spec is None else spec.recipe.model_dump(mode="json", exclude={"name"}, exclude_none=True)


def _measured(
    home: Home, connection: sqlite3.Connection, alias: Alias, pair: tuple[AliasVersion, AliasVersion]
) -> dict[Any, Any]:
    """By (project, task) the measurements of both: of one bake-off where one has measured both."""
    sought = {
        (task.project_id, task.task): [Sought(task.task, one.weights, one.template, task.project_id) for one in pair]
        for task in tasks_of(connection, alias.id)
    }
    found = measurements(home, connection, {one for both in sought.values() for one in both})
    chosen: dict[Any, Any] = {}
    for key, both in sought.items():
        before, after = (found[one] for one in both)
        shared = {one.job_id for one in before} & {one.job_id for one in after}
        chosen[key] = [
            next((one for one in listed if not shared or one.job_id == max(shared)), None) for listed in (before, after)
        ]
    return chosen


def _data(before: TrainSpec | None, after: TrainSpec | None) -> DataDifference | None:
    if before is None or after is None:
        return None
    lines = [_lines(Path(one.train.path)) for one in (before, after)]
    if lines[0] is None or lines[1] is None:
        return None
    old, new = lines[0], lines[1]
    return DataDifference(len(old), len(new), len(set(new) - set(old)), len(set(old) - set(new)))


def _lines(path: Path) -> list[str] | None:
    """The examples of a file of JSON lines, each as it is; None where it is not here or is too large."""
    try:
        if path.stat().st_size > MOST_DATA_BYTES:
            return None
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return list(_differing(before, after))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if json.dumps(was, sort_keys=True) != json.dumps(now, sort_keys=True):
            yield name, was, now
