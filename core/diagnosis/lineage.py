"""The jobs of one lineage as they are on record: trainings, what was made of them, checks of prompts, bake-offs.

Whatever of it is gone or unreadable is left out: a record that is not there says nothing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from core.bakeoff.measured import MeasuredCandidate
from core.errors import BakehouseError
from core.events import EventReader
from core.files import read_json
from core.home import Home, RunDir
from core.jobfile.as_done import spec_as_done
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.kinds import KINDS
from core.jobfile.merge import MergeSpec
from core.jobfile.parity import ParitySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.references import parse_reference
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec
from core.models.gguf import GgufHeader, check_gguf
from core.own_paths import located_result, read_result
from core.results.load import measured_of
from core.serving.replies import name_key
from core.store.jobs import JobRow, get_job, list_jobs

MOST_JOBS = 5000
"""Of the newest jobs of a home that are looked through for what was made of a training."""
MOST_BAKEOFFS = 12
MAKES = tuple(kind.name for kind in KINDS.values() if kind.makes)
"""The kinds of job that make something of what another one made."""
_NUMBER = re.compile(r"job:(\d+)")


@dataclass(frozen=True)
class Link:
    """A job of the lineage with what it was told; what it left is read when it is asked for."""

    job: JobRow
    spec: Spec
    run: RunDir

    @property
    def id(self) -> int:
        return self.job.id

    @property
    def takes(self) -> int | None:
        """The job that it was made from."""
        found = parse_reference(self.spec.columns.source)
        return found.job_id if found is not None and found.job_id < self.id else None

    @cached_property
    def result(self) -> dict[str, Any]:
        """`result.json`, else what the store kept of it; empty of a job that did not end well."""
        try:
            found = read_result(self.run)
        except (ValueError, OSError):
            found = None
        return found or located_result(self.run.home, self.job.result or {})

    @property
    def summary(self) -> Mapping[str, Any]:
        found = self.result.get("summary")
        return found if isinstance(found, dict) else {}

    @property
    def lineage(self) -> Mapping[str, Any]:
        """Of the artefact that it made."""
        made = self.result.get("artefacts")
        first = made[0] if isinstance(made, list) and made and isinstance(made[0], dict) else {}
        found = first.get("lineage")
        return found if isinstance(found, dict) else {}

    @property
    def error(self) -> str | None:
        """The code by which it failed."""
        if self.job.reason.code != "job_error":
            return None
        found = self.job.reason.values.get("error")
        return found if isinstance(found, str) else None

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Of the newest attempt that has one."""
        for attempt in reversed(self.run.attempts()):
            found = _json(attempt.manifest)
            if found:
                return found
        return {}

    @cached_property
    def events(self) -> tuple[dict[str, Any], ...]:
        """Of all attempts, oldest first."""
        return tuple(event for attempt in self.run.attempts() for event in EventReader(attempt.events))

    @cached_property
    def parity(self) -> Mapping[str, Any]:
        return _json(self.run.parity)

    @cached_property
    def gguf(self) -> GgufHeader | None:
        """The header of the GGUF file that it made; None where the file is gone."""
        path = self.summary.get("path")
        if not isinstance(path, str) or not isinstance(self.spec, ConvertSpec | QuantizeSpec):
            return None
        try:
            return check_gguf(Path(path), Path(path).name)
        except (BakehouseError, OSError):
            return None


@dataclass(frozen=True)
class Lineage:
    """All jobs of a lineage in the order of their numbers; `asked` is the job that was asked about."""

    asked: Link
    links: tuple[Link, ...]
    by_id: Mapping[int, Link] = field(default_factory=dict)

    @property
    def trainings(self) -> Iterator[tuple[Link, TrainSpec]]:
        for link in self.links:
            if isinstance(link.spec, TrainSpec):
                yield link, link.spec

    @property
    def merges(self) -> Iterator[tuple[Link, MergeSpec]]:
        for link in self.links:
            if isinstance(link.spec, MergeSpec):
                yield link, link.spec

    @property
    def files(self) -> Iterator[tuple[Link, ConvertSpec | QuantizeSpec]]:
        """What makes GGUF files."""
        for link in self.links:
            if isinstance(link.spec, ConvertSpec | QuantizeSpec):
                yield link, link.spec

    @property
    def deployments(self) -> Iterator[tuple[Link, DeploySpec]]:
        for link in self.links:
            if isinstance(link.spec, DeploySpec):
                yield link, link.spec

    @property
    def checks(self) -> Iterator[Link]:
        """What compares prompts: parity checks, and deployments."""
        return (link for link in self.links if isinstance(link.spec, ParitySpec | DeploySpec))

    @property
    def bakeoffs(self) -> Iterator[tuple[Link, BakeoffSpec]]:
        for link in self.links:
            if isinstance(link.spec, BakeoffSpec):
                yield link, link.spec

    def above(self, job_id: int) -> Iterator[Link]:
        """A job and what it was made from, up to the training."""
        link = self.by_id.get(job_id)
        while link is not None:
            yield link
            link = None if link.takes is None else self.by_id.get(link.takes)

    def training_of(self, job_id: int) -> tuple[Link, TrainSpec] | None:
        for link in self.above(job_id):
            if isinstance(link.spec, TrainSpec):
                return link, link.spec
        return None


def read_lineage(home: Home, connection: sqlite3.Connection, job_id: int) -> Lineage:
    """The lineage of a job: what it was made from, what was made of that, and the bake-offs with any of it.

    Of a bake-off that is what its candidates were made from. Raises `NotFoundError` for an unknown job, `InputError` where its
    own job file is not there.
    """
    asked = get_job(connection, job_id)
    spec = spec_as_done(home.run_dir(job_id))
    rows = {row.id: row for row in list_jobs(connection, MOST_JOBS)} | {job_id: asked}
    measured = measured_of(home, connection, job_id) if isinstance(spec, BakeoffSpec) else ()
    tops = {top for taken in _taken(rows, asked, spec, measured) for top in _tops(rows, taken)} or {job_id}
    family = _made_of(rows, tops)
    deployed = [row for row in rows.values() if row.kind == "deploy" and _source(row) in family]
    names = {_deployed_name(row) for row in deployed}
    baked = [
        row for row in rows.values() if row.kind == "bakeoff" and (family & _candidates(row) or names & _served(row))
    ]
    checked = [
        row
        for row in rows.values()
        if row.kind == "parity" and (_source(row) in family or names & _served_names(row.source))
    ]
    checked += deployed
    chosen = {row.id for row in sorted(baked, key=lambda row: -row.id)[:MOST_BAKEOFFS]}
    wanted = sorted({*family, *chosen, *(row.id for row in checked), job_id})
    links = []
    for number in wanted:
        run = home.run_dir(number)
        try:
            told = spec if number == job_id else spec_as_done(run)
        except (BakehouseError, OSError):
            continue
        links.append(Link(rows[number], told, run))
    by_id = {link.id: link for link in links}
    return Lineage(by_id[job_id], tuple(links), by_id)


def _taken(rows: Mapping[int, JobRow], row: JobRow, spec: Spec, measured: Sequence[MeasuredCandidate]) -> set[int]:
    """The jobs that a job takes something from, by way of a deployment where it asks what serves; itself where it makes
    something and takes nothing."""
    if isinstance(spec, BakeoffSpec):
        found = (parse_reference(one.made_ref) for one in spec.candidates)
        served = {one.served_model for one in spec.candidates if one.served_model is not None}
        taken = {one.job_id for one in found if one is not None} | _deployed_as(rows, served)
        return taken or _of_files(rows, measured)
    if isinstance(spec, ParitySpec) and spec.served_model is not None:
        return _deployed_as(rows, {spec.served_model}) or {row.id}
    source = parse_reference(spec.columns.source)
    return {source.job_id} if source is not None else {row.id}


def _deployed_as(rows: Mapping[int, JobRow], names: Collection[str]) -> set[int]:
    """The jobs whose files were deployed under these names."""
    keys = {name_key(name) for name in names}
    found = (_source(row) for row in rows.values() if row.kind == "deploy" and _deployed_name(row) in keys)
    return {one for one in found if one is not None}


def _of_files(rows: Mapping[int, JobRow], measured: Sequence[MeasuredCandidate]) -> set[int]:
    """The jobs that made the files which the servers of a bake-off say that they have."""
    weights = {one.identity.weights for one in measured}
    made = {f"sha256:{(one.result or {}).get('summary', {}).get('file_sha256')}": one.id for one in rows.values()}
    return {made[one] for one in weights if one in made}


def _tops(rows: Mapping[int, JobRow], job_id: int) -> set[int]:
    """What a job was made from in the end."""
    while (row := rows.get(job_id)) is not None:
        source = _source(row)
        if source is None or source >= job_id or source not in rows:
            return {job_id}
        job_id = source
    return set()


def _made_of(rows: Mapping[int, JobRow], tops: set[int]) -> set[int]:
    """Those jobs and all that was made of them."""
    found = {number for number in tops if number in rows}
    for number in sorted(rows):  # a job takes what an older one makes
        if rows[number].kind in MAKES and _source(rows[number]) in found:
            found.add(number)
    return found


def _source(row: JobRow) -> int | None:
    found = parse_reference(row.source)
    return None if found is None else found.job_id


def _candidates(row: JobRow) -> set[int]:
    """The jobs whose models a bake-off compares, as the queue's table has them."""
    listed = row.settings.get("candidates")
    named = {int(match[1]) for one in listed or () if (match := _NUMBER.match(str(one)))}
    return named | set(row.behind)


def _deployed_name(row: JobRow) -> str:
    return name_key(str(row.settings.get("name")))


def _served(row: JobRow) -> set[str]:
    """The names of the served models that a bake-off compares, as the queue's table has them."""
    listed = row.settings.get("candidates")
    return {name for one in listed or () for name in _served_names(str(one))}


def _served_names(candidate: str | None) -> set[str]:
    """What `ollama:judge:v1@think=on` or `judge:v1` can mean, as `name_key` has it: a model of the built-in Ollama stands in
    the table without its server."""
    whole = (candidate or "").partition("@")[0].strip()
    server, colon, rest = whole.partition(":")
    return {name_key(name) for name in (whole, rest if colon else "") if name and server != "job"}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path)
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}
