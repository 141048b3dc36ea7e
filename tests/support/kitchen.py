"""A project with two small tasks, a model of a folder and training data, and a home without a runner."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.config.project import Project, load_project
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.spec import JobFile
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.bakeoff import submit_bakeoff
from core.submission.wanted_bakeoff import WantedBakeoff
from tests.support.model_folders import config_of, write_folder
from tests.support.stored import path_to, step

CHECK = "format:\n  - {check: contains_any, values: [bread]}\n"
GOLDEN = ["What is sourdough?", "Name a flour.", "Which oven bakes the best crust of them all?"]
LEARNT = [{"prompt": f"Question {number} about bread", "completion": f"Answer {number}"} for number in range(12)]


@dataclass
class Kitchen:
    """What a person has before a bake-off is submitted."""

    root: Path
    home: Home

    @property
    def project(self) -> Project:
        return load_project(self.root)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def task(
        self, name: str, *, golden: list[str] | None = None, learnt: list[Any] | None = None, more: str = CHECK
    ) -> None:
        golden = GOLDEN if golden is None else golden
        inputs = "".join(f"- {{id: g{number}, input: {json.dumps(text)}}}\n" for number, text in enumerate(golden))
        self.write(f"golden/{name}.yaml", inputs)
        data = ""
        if learnt:
            self.write(f"configs/data/{name}.jsonl", "".join(json.dumps(one) + "\n" for one in learnt))
            data = f"data: {{train: configs/data/{name}.jsonl}}\n"
        text = f"system: Answer {name}.\nrepeats: 2\ngolden: golden/{name}.yaml\n{data}{more}"
        self.write(f"configs/tasks/{name}.yaml", text)

    def wanted(self, *candidates: str, tasks: tuple[str, ...] = ("bread",), **more: Any) -> WantedBakeoff:
        return WantedBakeoff(tasks=tasks, candidates=candidates, **more)

    def submit(self, wanted: WantedBakeoff, remarks: list[str] | None = None) -> JobRow:
        return submit_bakeoff(self.home, self.project, wanted, author="tester", remarks=remarks)

    def spec(self, job: JobRow) -> BakeoffSpec:
        spec = JobFile.load(self.home.run_dir(job.id)).spec
        assert isinstance(spec, BakeoffSpec)
        return spec

    def end(self, job: JobRow, state: str = "done") -> None:
        with contextlib.closing(open_database(self.home)) as connection:
            for name in path_to(connection, state):  # type: ignore[arg-type]
                step(connection, job.id, name)


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kitchen]:
    """The tasks `bread` (with training data) and `jam` (without), the models `plain` and `other`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.submission.enqueue.require", lambda *args, **more: None)  # it asks an interpreter
    monkeypatch.setattr("core.cli.submitted.warn_of_launcher", lambda home: None)  # it asks a program
    monkeypatch.setattr("core.process.logind.ask_loginctl", lambda *arguments: None)  # and another
    root = tmp_path / "kitchen"
    kitchen = Kitchen(root, Home(tmp_path / "home").create())
    kitchen.write("bakehouse.yaml", "id: kitchen\n")
    kitchen.write("configs/models.yaml", "plain: {path: ../models/plain}\nother: {path: ../models/other}\n")
    for name in ("plain", "other"):
        write_folder(tmp_path / "models" / name, config_of("llama"))
    kitchen.task("bread", learnt=LEARNT)
    kitchen.task("jam")
    yield kitchen
