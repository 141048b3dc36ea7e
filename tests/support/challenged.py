"""A home whose fleet does three tasks, and a second base model to challenge it with. No process runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.config.project import Project, load_project
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.servers import known_servers
from core.jobfile.spec import InputFile, JobFile, Spec
from core.jobfile.train import TrainSpec
from core.results.load import golden_inputs
from core.scoring.scorer import score_answers
from core.served.record import ServedModelRecord, write_record
from core.store.chains import Chain
from core.store.database import transaction
from core.store.fleet import (
    Alias,
    FleetTask,
    Target,
    assign_task,
    get_alias,
    insert_alias,
    insert_version,
    set_current,
)
from core.store.fleet_changes import open_change
from core.store.jobs import State
from core.store.results import import_answers
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer
from tests.support.job_files import put_job
from tests.support.model_folders import config_of, write_folder
from tests.support.projects import write_files
from tests.support.stored import add_job, fresh, step_to
from tests.support.unstarted import start_nothing

TASKS = ("judge", "planner", "tidy")
OLD, NEW = "old-4b", "new-2b"
_TASK: Mapping[str, Any] = {
    "repeats": 2,
    "sampling": {"temperature": 0, "max_new_tokens": 16, "context_length": 512},
    "format": [{"check": "contains_any", "id": "said", "values": ["PASS"]}],
}
"""What the three tasks have alike."""


@dataclass
class Challenged:
    """The home, its project, and the alias of each task: two tags of Ollama and a served model of llama-server."""

    home: Home
    connection: sqlite3.Connection
    project: Project
    aliases: dict[str, Alias]

    def job(self, spec: Spec, state: State = "done") -> int:
        """A job of the home with its job file."""
        job_id, _ = put_job(self.home, self.connection, self.project, spec)
        self.end(job_id, state)
        return job_id

    def end(self, job_id: int, state: State) -> None:
        step_to(self.connection, job_id, state)

    def training(self, task: str, **recipe: Any) -> TrainSpec:
        data = InputFile(path="/x", sha256="0" * 64, source="/x")
        own = self.project.recipe("demo").model_copy(update=recipe)
        return TrainSpec(task=self.project.task(task), model=self.project.model(OLD), recipe=own, train=data)

    def deployed(self, training: TrainSpec, name: str, quantization: Any = "Q4_K_M") -> int:
        """The deployment of what came of a training, with the jobs on the way there that a lineage is read from."""
        trained = self.job(training)
        model = training.model
        told = {"program": "/llama-quantize", "model": model, "task": training.task.name, "tuned": True}
        file = self.job(QuantizeSpec(source=f"job:{trained}/gguf", quantization=quantization, **told))
        server = known_servers(self.project.settings)["ollama"]
        return self.job(
            DeploySpec(
                source=f"job:{file}/gguf",
                to="ollama",
                name=name,
                server=server,
                staging="x-staging-1",
                model=model,
                served={"task": training.task},
                golden=InputFile(path="/g", sha256="0" * 64, source="/g"),
            )
        )

    def measured(self, task: str, score: float, weights: str) -> None:
        """A bake-off is done in which a served model with these weights had this score."""
        job_id = add_job(self.connection, kind="bakeoff", project_id=self.project.id, task=task)
        self.end(job_id, "done")
        told = {"name": "it", "form": "served", "score": score, "format_score": score}
        identity = {"weights": weights, "template": None, "version": "0.12.6"}
        with transaction(self.connection):
            self.connection.execute(
                "UPDATE jobs SET result = ? WHERE id = ?",
                [json.dumps({"summary": {"tasks": [{"task": task, "candidates": [told]}]}}), job_id],
            )
            self.connection.execute(
                "INSERT INTO measured_candidates (job_id, number, candidate, time, document) VALUES (?, 1, 'it', 0, ?)",
                [job_id, json.dumps({"identity": identity, "loaded": {"vram_bytes": None}})],
            )

    def bake_off(self, chain: Chain, right: Mapping[str, int], *, tokens: int = 50) -> None:
        """Every link of a chain is done, and its bake-off has answers: of a candidate (by its place) that many of all inputs
        are right. The new model's deployment says which file it made."""
        for link in chain.links:
            self.end(link.job.id, "done")
        links = {link.job.kind: link.job.id for link in chain.links}
        file = self.home.root / "new.gguf"
        file.write_bytes(bytes(1_200_000))
        run, spec = self.home.run_dir(links["bakeoff"]), JobFile.load(self.home.run_dir(links["bakeoff"])).spec
        assert isinstance(spec, BakeoffSpec)
        answers = []
        for place, candidate in zip(("base", "new", "old"), spec.candidates, strict=True):
            for of_task in spec.tasks:
                for number, item in enumerate(golden_inputs(of_task)):
                    text = "PASS" if number < right[place] else "no"
                    for repeat in range(of_task.repeats):
                        figures = {"completion_tokens": tokens if place == "new" else 20, "seconds": 1.0}
                        answers.append(answer(candidate.name, of_task.name, item.id, repeat, text, **figures))
        run.answers.write_text("".join(json.dumps(one.to_json()) + "\n" for one in answers))
        with transaction(self.connection):
            self.connection.execute(
                "UPDATE jobs SET result = ? WHERE id = ?",
                [json.dumps({"summary": {"path": str(file)}}), links["deploy"]],
            )
            import_answers(self.connection, links["bakeoff"], run)
            for of_task in spec.tasks:
                own = [one for one in answers if one.task == of_task.name]
                scores = score_answers(of_task.task, golden_inputs(of_task), own)
                insert_check_scores(self.connection, links["bakeoff"], (score.to_json() for score in scores))

    def set_version(self, task: str, **told: Any) -> None:
        """The alias of a task is another version from now on."""
        alias = self.aliases[task]
        with transaction(self.connection):
            before = get_alias(self.connection, alias.id).version_id
            target = Target(**{"source": "x", "digest": "d", "model": OLD, **told})
            version = insert_version(self.connection, alias.id, target, "promoted" if before else "adopted")
            set_current(self.connection, alias.id, version.id)
            open_change(
                self.connection,
                alias_id=alias.id,
                kind="promote" if before else "adopt",
                author="tester",
                target=target,
                from_version=before,
                to_version=version.id,
                is_done=True,
            )

    def assign(self, task: str, alias: Alias) -> None:
        with transaction(self.connection):
            assign_task(
                self.connection, FleetTask(self.project.id, str(self.project.root), task, alias.id, 1.0, "tester")
            )


def challenged_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Challenged:
    """The tasks `judge` and `planner` are done by tags of Ollama, `tidy` by a served model; all of them adopted."""
    start_nothing(folder, monkeypatch)
    # A process would count with the tokenizer.
    monkeypatch.setattr("core.submission.submit.ask_gates", lambda *told: "the examples are counted later")
    models = {name: {"path": str(write_folder(folder / name, config_of("llama")))} for name in (OLD, NEW)}
    files = {"bakehouse.yaml": "id: kiln\n", "configs/models.yaml": json.dumps(models)}
    for task in TASKS:
        told = {**_TASK, "golden": f"golden/{task}.yaml", "data": {"train": f"data/{task}.jsonl"}}
        files[f"configs/tasks/{task}.yaml"] = json.dumps({"system": f"You {task} notes.", **told})
        files[f"golden/{task}.yaml"] = json.dumps([{"id": f"g{n}", "input": f"golden {task} {n}"} for n in range(6)])
        lines = [{"prompt": f"{task} note {n}", "completion": "PASS"} for n in range(8)]
        files[f"data/{task}.jsonl"] = "\n".join(map(json.dumps, lines))
    project = load_project(write_files(folder / "project", files))
    home, connection = fresh(folder)
    url = known_servers(project.settings)["ollama"].url
    places = {"judge": ("ollama", url), "planner": ("ollama", url), "tidy": ("llama-server", "")}
    with transaction(connection):
        aliases = {
            task: insert_alias(connection, server=server, url=at, name=f"vault-{task}", name_key=f"vault-{task}:latest")
            for task, (server, at) in places.items()
        }
    made = Challenged(home, connection, project, aliases)
    record = ServedModelRecord(
        "vault-tidy", home.root / "t.gguf", "sha256:ab", "tidy", OLD, 1, ("/llama-server",), 18099, 512
    )
    write_record(home, record)
    for task, alias in aliases.items():
        made.assign(task, alias)
        made.set_version(task)
    return made
