"""What a deployed model was made of: base model, recipe and data, told by the rows of the jobs on the way to it.

For all models of a fleet at once, in one query: no job file is read, so that a table of a hundred costs what one of ten does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from core.aliases.digests import is_same


@dataclass(frozen=True)
class VersionLineage:
    """None is unknown. `model` is the base model by name, `data` the training data as they were named at submission and
    `data_sha256` what was in them. `jobs` are those on the way, the deployment first, as far back as they are known."""

    model: str | None = None
    recipe: str | None = None
    data: str | None = None
    data_sha256: str | None = None
    train_job: int | None = None
    deploy_job: int | None = None
    quantization: str | None = None
    jobs: tuple[int, ...] = ()


UNKNOWN = VersionLineage()


@dataclass(frozen=True)
class Deployment:
    """A deployment that is done, and what it left on its server. `digest` is that of Ollama's manifest, `weights` that of the
    file that serves (`sha256:…`); both None where the server did not tell."""

    job_id: int
    task: str | None
    model: str | None
    name: str
    digest: str | None
    weights: str | None
    template: str | None


def deployments(connection: sqlite3.Connection) -> tuple[Deployment, ...]:
    """The deployments of a home that are done, newest first."""
    rows = connection.execute(
        """
        SELECT id, task, model, json_extract(result, '$.summary.name') AS name,
               json_extract(result, '$.summary.digest') AS digest,
               coalesce(json_extract(result, '$.summary.blob'), json_extract(result, '$.summary.weights')) AS weights,
               json_extract(result, '$.summary.template_sha256') AS template
        FROM jobs WHERE kind = 'deploy' AND state = 'done' AND result IS NOT NULL ORDER BY id DESC
        """
    )
    return tuple(
        Deployment(
            row["id"], row["task"], row["model"], row["name"] or "", row["digest"], row["weights"], row["template"]
        )
        for row in rows
    )


def made_by(found: Collection[Deployment], digest: str | None, weights: str | None) -> Deployment | None:
    """The newest deployment that made a model: by the digest of the whole of it, else by that of its weights, under which
    somebody may have put another template since. `found` as `deployments` gives it."""
    for one in found:
        if is_same(one.digest, digest):
            return one
    return next((one for one in found if is_same(one.weights, weights)), None)


def lineages(connection: sqlite3.Connection, deploy_jobs: Collection[int]) -> dict[int, VersionLineage]:
    """The lineage of each of these deployments, by its number; a job that is not there any more has none."""
    rows = connection.execute(
        """
        WITH RECURSIVE made (deployment, id) AS (
          SELECT id, id FROM jobs WHERE id IN (SELECT value FROM json_each(?))
          UNION
          SELECT deployment, CAST(substr(source, 5) AS INTEGER) FROM made JOIN jobs USING (id)
          WHERE source LIKE 'job:%' AND CAST(substr(source, 5) AS INTEGER) < jobs.id
        )
        SELECT deployment, jobs.id, kind, model, settings FROM made JOIN jobs USING (id) ORDER BY deployment, jobs.id DESC
        """,
        [json.dumps(sorted(set(deploy_jobs)))],
    )
    links: dict[int, list[sqlite3.Row]] = {}
    for row in rows:
        links.setdefault(row["deployment"], []).append(row)
    return {deployment: _lineage(deployment, found) for deployment, found in links.items()}


def _lineage(deployment: int, links: list[sqlite3.Row]) -> VersionLineage:
    model = next((row["model"] for row in links if row["model"]), None)
    told = {row["kind"]: json.loads(row["settings"]) for row in reversed(links)}
    trained = next((row for row in links if row["kind"] == "train"), None)
    training: Mapping[str, Any] = told.get("train", {})
    return VersionLineage(
        deploy_job=deployment,
        model=model if trained is None else trained["model"] or model,
        recipe=_text(training, "recipe"),
        data=_text(training, "data"),
        data_sha256=_text(training, "data_sha256"),
        train_job=None if trained is None else trained["id"],
        quantization=_text(told.get("quantize", {}), "quantization"),
        jobs=tuple(row["id"] for row in links),
    )


def _text(settings: Mapping[str, Any], key: str) -> str | None:
    value = settings.get(key)
    return value if isinstance(value, str) and value else None
