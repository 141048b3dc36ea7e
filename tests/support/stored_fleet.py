"""A home with a fleet, without any process: deployments, what bake-offs measured of them, aliases and how each came to be.

Rows are written as the runner writes them; what is measured comes of real scoring of invented answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.bakeoff.result import result_summary
from core.config.task import Task
from core.files import read_json, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, Variant
from core.jobfile.deploy import Target as Place
from core.jobfile.spec import JobFile
from core.results.load import stored_leaderboards
from core.serving.answering import ServedIdentity
from core.serving.replies import name_key
from core.store.database import transaction
from core.store.fleet import (
    LLAMA_SERVER,
    Alias,
    AliasVersion,
    FleetTask,
    Origin,
    Target,
    assign_task,
    find_alias,
    get_alias,
    insert_alias,
    insert_version,
    set_current,
)
from core.store.fleet_changes import ChangeKind, FleetChange, finish_change, open_change
from core.store.results import import_measured, import_result
from tests.support.recorded_lineage import OLLAMA, Records, Shown

PROJECT = "p"
VERSION = "0.24.0"
TEMPLATE = "7e" * 32


def identity(model: str, weights: str, *, version: str = VERSION, template: str = TEMPLATE) -> ServedIdentity:
    """What the Ollama of `Records` tells of a model."""
    return ServedIdentity("ollama", model, "ollama", version, f"sha256:{weights}", template)


class StoredFleet:
    """`records` adds the jobs; `home` and `connection` are its own."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder)
        self.home: Home = self.records.home
        self.connection = self.records.connection

    def deployment(
        self, name: str, digest: str, weights: str, to: Place = "ollama", sent: Shown = (), **trained: Any
    ) -> tuple[int, int]:
        """(training, deployment) of a model of the whole chain: trained, merged, quantised and deployed under this name; `sent`
        are the examples that requests have to send to the model."""
        training = self.records.train(**trained)
        quantized = self.records.quantize(self.records.convert(self.records.merge(training)))
        left = {"blob": f"sha256:{weights}", "digest": digest} if to == "ollama" else {"weights": f"sha256:{weights}"}
        job_id = self.records.deploy(
            quantized, name, to=to, sent=sent, template_sha256=TEMPLATE, server=VERSION, **left
        )
        self._imported(job_id)
        return training, job_id

    def bakeoff(
        self,
        served: Mapping[str, ServedIdentity],
        quality: Mapping[str, float],
        task: Task | None = None,
        variants: Mapping[str, Variant] | None = None,
        shown: Shown = (),
    ) -> int:
        """A bake-off over models that the server has, by candidate, that is done, with what it came to; `variants` says how
        candidates were asked, with these examples `shown`."""
        job_id = self.records.bakeoff(
            {}, served=served, quality=quality, task=task, with_base=False, variants=variants, shown=shown
        )
        with transaction(self.connection):
            import_measured(self.connection, job_id, self.home.run_dir(job_id))
        self.summarised(job_id)
        return job_id

    def summarised(self, job_id: int) -> None:
        """What a bake-off came to stands in its result."""
        run = self.home.run_dir(job_id)
        spec = JobFile.load(run).spec
        assert isinstance(spec, BakeoffSpec)
        boards = stored_leaderboards(self.home, self.connection, job_id)
        summary = result_summary(boards, {one.name: one.made_ref for one in spec.candidates})
        write_json(run.result, {"message": "", "artefacts": [], "summary": summary})
        self._imported(job_id)

    def _imported(self, job_id: int) -> None:
        run = self.home.run_dir(job_id)
        write_json(run.result, {**read_json(run.result), "artefacts": []})  # which serve nothing here
        with transaction(self.connection):
            import_result(self.connection, job_id, run)

    def alias(self, name: str, *, server: str = "ollama", url: str = OLLAMA.url) -> Alias:
        """The alias of this name, a new one where there is none."""
        key, url = (name, "") if server == LLAMA_SERVER else (name_key(name), url)
        found = find_alias(self.connection, server, url, key)
        if found is not None:
            return found
        with transaction(self.connection):
            return insert_alias(self.connection, server=server, url=url, name=name, name_key=key)

    def asked(
        self, alias: Alias, target: Target, kind: ChangeKind, *, author: str = "anna@box, command", **told: Any
    ) -> FleetChange:
        """An open change of the alias as it is now; `told` are further columns."""
        with transaction(self.connection):
            before = get_alias(self.connection, alias.id).version_id
            return open_change(
                self.connection,
                alias_id=alias.id,
                kind=kind,
                author=author,
                target=target,
                from_version=before,
                **told,
            )

    def becomes(
        self,
        alias: Alias,
        target: Target,
        kind: ChangeKind = "adopt",
        *,
        origin: Origin = "adopted",
        task: str | None = None,
        override: str | None = None,
        author: str = "anna@box, command",
    ) -> AliasVersion:
        """The alias is this from now on, by a change that is done."""
        told = {"project_id": PROJECT, "task": task, "override_reason": override}
        change = self.asked(alias, target, kind, author=author, **told)
        with transaction(self.connection):
            version = insert_version(self.connection, alias.id, target, origin)
            set_current(self.connection, alias.id, version.id)
            finish_change(self.connection, change.id, "done", to_version=version.id)
        return version

    def assign(self, task: str, alias: Alias) -> None:
        with transaction(self.connection):
            assign_task(self.connection, FleetTask(PROJECT, "/nowhere", task, alias.id, 1.0, "anna@box, command"))
