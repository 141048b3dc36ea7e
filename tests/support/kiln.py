"""A home with a training that is done, and a llama.cpp on PATH: from there a merge or a GGUF file is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.config.project import shipped
from core.files import write_json
from core.home import Home
from core.jobfile.kinds import kind_of
from core.jobfile.spec import InputFile, JobFile, Spec
from core.jobfile.train import TrainSpec
from core.store.database import open_database, transaction
from core.store.jobs import JobRow
from core.store.results import import_result
from core.submission.gguf import GgufExport, submit_gguf
from core.submission.merge import submit_merge
from core.submission.wanted_export import WantedGguf, WantedMerge
from tests.support.gguf_bytes import file, header
from tests.support.job_files import job_file
from tests.support.model_folders import config_of, write_folder
from tests.support.needs import need
from tests.support.stored import add_job, path_to, step

SURVIVAL = {
    "dtype": "bf16",
    "share": 0.978,
    "worst": {"tensor": "model.layers.1.mlp.down_proj.weight", "share": 0.91},
    "updated": 14,
    "unchanged": 0,
    "tensors": [],
}


@dataclass
class Kiln:
    """A home with a training that is done, on a model of a folder, and a llama.cpp on PATH."""

    home: Home
    connection: sqlite3.Connection
    model: ModelEntry
    tools: Path
    train: int = 0

    def end(self, job_id: int, state: str) -> None:
        for name in path_to(self.connection, state):  # type: ignore[arg-type]
            step(self.connection, job_id, name)

    def merge(self, dtype: str = "bf16", base_weights: str = "original", *, again: bool = False) -> JobRow:
        wanted = WantedMerge(f"job:{self.train}", dtype, base_weights)  # type: ignore[arg-type]
        return submit_merge(self.home, shipped(), wanted, again=again, author="tester")

    def train_on_four_bits(self) -> None:
        """From now on the training is one on quantised weights."""
        run = self.home.run_dir(self.train)
        recipe = shipped().recipe("qlora-hqq4")
        spec = JobFile.load(run).spec.model_copy(update={"recipe": recipe})
        job_file(self.home, spec, self.train).save(run)

    def export(self, source: str | None = None, **more: Any) -> GgufExport:
        again = bool(more.pop("again", False))
        wanted = WantedGguf(source or f"job:{self.train}", **more)
        return submit_gguf(self.home, shipped(), wanted, again=again, author="tester")

    def spec(self, job: JobRow | int) -> Spec:
        return JobFile.load(self.home.run_dir(job if isinstance(job, int) else job.id)).spec

    def done(self, job: JobRow) -> Path:
        """End a job as its own process would; the folder that it made."""
        kind = kind_of(job.kind).makes[0]
        folder = self.home.artefacts / f"{job.id:064}" / kind
        folder.mkdir(parents=True)
        (folder / "m.gguf").write_bytes(file(header()))
        artefact = {"sha256": f"{job.id:064}", "kind": kind, "path": str(folder), "bytes": 9, "lineage": {}}
        run = self.home.run_dir(job.id)
        path = str(folder / "m.gguf") if kind == "gguf" else str(folder)
        summary = {"path": path, "bytes": 9, "file_sha256": "ab", "survival": SURVIVAL}
        write_json(
            run.result, {"schema": 1, "kind": job.kind, "message": "", "artefacts": [artefact], "summary": summary}
        )
        self.end(job.id, "done")
        with transaction(self.connection):
            import_result(self.connection, job.id, run)
        return folder


@pytest.fixture
def kiln(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kiln]:
    need("torch")  # without it no merge and no conversion is accepted
    tools = tmp_path / "llama.cpp"
    (tools / "build/bin").mkdir(parents=True)
    for name in ("llama-server", "llama-quantize"):
        (tools / "build/bin" / name).write_text("#!/bin/sh\n")
        (tools / "build/bin" / name).chmod(0o755)
    (tools / "convert_hf_to_gguf.py").touch()
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tools))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.cli.submitted.warn_of_launcher", lambda home: None)  # it asks a program
    home = Home(tmp_path / "home").create()
    connection = open_database(home)
    model = ModelEntry(name="m", path=str(write_folder(tmp_path / "m", config_of("llama"))))
    made = Kiln(home, connection, model, tools)
    made.train = add_job(connection)
    made.end(made.train, "done")
    project = shipped()
    data = InputFile(path="/x", sha256="0" * 64, source="/x")
    spec = TrainSpec(task=project.task("judge"), model=model, recipe=project.recipe("demo"), train=data)
    home.run_dir(made.train).path.mkdir(parents=True)
    job_file(home, spec, made.train).save(home.run_dir(made.train))
    yield made
    connection.close()
