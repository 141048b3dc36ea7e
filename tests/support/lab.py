"""A home and a project with two tasks and small models, in which experiments are queued. No process runs."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config.project import Project, load_project
from core.experiment_submission.plan import ExperimentPlan, plan_experiment
from core.experiment_submission.queueing import QueuedExperiment, submit_experiment
from core.home import Home
from core.jobfile.spec import JobFile, Spec
from core.store.database import open_database, transaction
from core.store.experiments import BakeoffBlock, StoredRun, bakeoffs_of, find_experiment, runs_of
from core.store.jobs import State
from tests.support.model_folders import config_of, write_folder
from tests.support.projects import write_files
from tests.support.stored import fresh, step_to
from tests.support.unstarted import start_nothing

MODELS = ("small", "large", "other")
TASKS = ("judge", "tidy")
_TASK = {
    "repeats": 1,
    "sampling": {"temperature": 0, "max_new_tokens": 16, "context_length": 512},
    "format": [{"check": "contains_any", "id": "said", "values": ["PASS"]}],
}
RECIPE = {
    "method": "lora",
    "rank": 4,
    "alpha": 8,
    "max_length": 64,
    "epochs": 1,
    "batch_size": 1,
    "lr": 1e-3,
    "targets": ["q_proj", "v_proj"],
}


@dataclass
class Lab:
    """The home, and the project whose experiments are written as they are asked for."""

    home: Home
    project: Project

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(open_database(self.home)) as connection:
            yield connection

    def write(self, name: str = "e", **said: Any) -> None:
        """The file of an experiment: two models with two seeds, unless something else is said."""
        usual = {"tasks": ["judge"], "recipe": "tiny", "vary": {"model": ["small", "large"]}, "seeds": 2}
        file = self.project.root / f"configs/experiments/{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump({**usual, **said}, sort_keys=False))

    def plan(self, name: str = "e") -> ExperimentPlan:
        return plan_experiment(self.home, self.project, self.project.experiment(name))

    def run(self, name: str = "e", **said: Any) -> QueuedExperiment:
        """Write the experiment, where something is said of it or there is none yet, and queue what is missing."""
        if said or name not in self.project.experiment_names():
            self.write(name, **said)
        return submit_experiment(self.home, self.project, self.plan(name), author="tester")

    def runs(self, name: str = "e") -> list[StoredRun]:
        with self.database() as connection:
            found = find_experiment(connection, self.project.id, name)
            return [] if found is None else runs_of(connection, found.id)

    def bakeoffs(self, name: str = "e") -> list[BakeoffBlock]:
        with self.database() as connection:
            found = find_experiment(connection, self.project.id, name)
            return [] if found is None else bakeoffs_of(connection, found.id)

    def spec(self, job_id: int) -> Spec:
        return JobFile.load(self.home.run_dir(job_id)).spec

    def end(self, job_id: int, state: State, summary: dict[str, Any] | None = None) -> None:
        """A job that waits comes to an end, with what its result says."""
        with self.database() as connection:
            step_to(connection, job_id, state)
            result = {"summary": summary or {}, "artefacts": []}
            if state == "done":
                (self.home.run_dir(job_id).path / "result.json").write_text(json.dumps(result))
                with transaction(connection):
                    connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps(result), job_id])

    def kinds(self) -> dict[str, int]:
        """How many jobs of each kind there are."""
        with self.database() as connection:
            return {row[0]: row[1] for row in connection.execute("SELECT kind, count(*) FROM jobs GROUP BY kind")}

    def waits_for(self, job_id: int) -> dict[int, str]:
        """What a job waits for, and until when of each."""
        with self.database() as connection:
            rows = connection.execute("SELECT needs_id, until FROM dependencies WHERE job_id = ?", [job_id])
            return {row[0]: row[1] for row in rows}


def lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The tasks `judge` and `tidy`, the models `small`, `large` and `other`, and a recipe `tiny`."""
    start_nothing(folder, monkeypatch)
    # A process would count with the tokenizer.
    monkeypatch.setattr("core.experiment_submission.plan.ask_gates", lambda *told: "")
    project = load_project(write_files(folder / "project", project_files(folder)))
    home, connection = fresh(folder)
    connection.close()
    return Lab(home, project)


def project_files(folder: Path) -> dict[str, str]:
    """The files of the project; the models' folders are written below `folder`."""
    models = {name: {"path": str(write_folder(folder / name, config_of("llama")))} for name in MODELS}
    files = {
        "bakehouse.yaml": "id: lab\n",
        "configs/models.yaml": json.dumps(models),
        "configs/recipes/tiny.yaml": json.dumps(RECIPE),
    }
    for task in TASKS:
        told = {**_TASK, "golden": f"golden/{task}.yaml", "data": {"train": f"data/{task}.jsonl"}}
        files[f"configs/tasks/{task}.yaml"] = json.dumps({"system": f"You {task} notes.", **told})
        files[f"golden/{task}.yaml"] = json.dumps([{"id": f"g{n}", "input": f"golden {task} {n}"} for n in range(6)])
        lines = [{"prompt": f"{task} note {n}", "completion": "PASS"} for n in range(8)]
        files[f"data/{task}.jsonl"] = "\n".join(map(json.dumps, lines))
    return files
