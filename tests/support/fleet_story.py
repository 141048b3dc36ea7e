"""A project with three tasks on an Ollama that serves thirteen models, and `bakehouse` as a person asks it there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import exit_code
from core.config.project import Project, load_project
from core.data.render import encode_prompt
from core.files import write_json
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.spec import InputFile, Spec
from core.jobfile.train import TrainSpec
from core.store.database import transaction
from core.store.results import import_result
from tests.process.test_server_keys import CLI
from tests.support.forked import CHECKOUT
from tests.support.gguf_bytes import KEYS, file, header
from tests.support.job_files import put_job
from tests.support.ollama_standin import OllamaStandin
from tests.support.projects import write_files
from tests.support.queueing import Queue
from tests.support.stored import step_to
from tests.support.tokenizers import CHATML, byte_level, write_model

TASKS = {"judge": 20, "planner": 20, "seeder": 12}
"""Each with so many golden inputs; `seeder` has as many as tell nothing where no difference is seen."""
SERVED = (*(f"vault-{task}" for task in TASKS), *(f"helper-{number}" for number in range(10)))
"""Thirteen."""
RIGHT, WRONG = "verdict: yes", "no idea"
TASK = """\
system: You are the {name}.
repeats: 1
sampling: {{temperature: 0, max_new_tokens: 20, context_length: 512}}
golden: golden/{name}.yaml
data: {{train: data/{name}.jsonl}}
format:
  - {{check: regex, pattern: "^verdict: "}}
"""


def right_on(wanted: Callable[[int], bool]) -> Callable[[str], str]:
    """A model that answers those golden inputs right of which the number is wanted, and nothing else."""

    def answer(prompt: str) -> str:
        found = re.findall(r"Question (\d+)\.", prompt)
        return RIGHT if found and wanted(int(found[-1])) else WRONG

    return answer


ALL, HALF = right_on(lambda number: True), right_on(lambda number: number % 2 == 0)


@dataclass
class Story:
    """`capsys` is the test's: what a command prints is read from there. `file` is the job that made a file of a training on
    the data of `judge`."""

    queue: Queue
    server: OllamaStandin
    root: Path
    capsys: pytest.CaptureFixture[str]
    file: int = 0

    @property
    def project(self) -> Project:
        return load_project(self.root)

    def ask(self, *words: str) -> tuple[int, dict[str, Any]]:
        """`bakehouse WORDS --json`: its exit code, and what it says."""
        self.capsys.readouterr()
        try:
            code = exit_code([*words, "--json"])
        except SystemExit as left:
            code = int(left.code or 0)
        said = self.capsys.readouterr()
        assert said.out, said.err
        return code, json.loads(said.out)

    def says(self, *words: str) -> tuple[int, str]:
        """`bakehouse WORDS`: its exit code, and what a person reads."""
        self.capsys.readouterr()
        try:
            code = exit_code(list(words))
        except SystemExit as left:
            code = int(left.code or 0)
        said = self.capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """The same as a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.Popen(
            [*CLI, *words, "--json"], cwd=self.root, env=environment, stdout=subprocess.PIPE, text=True
        )

    def done(self, *words: str) -> dict[str, Any]:
        code, told = self.ask(*words)
        assert code == 0, told
        return told

    def row(self, task: str) -> dict[str, Any]:
        (found,) = (one for one in self.done("fleet", "list")["fleet"] if one["task"] == task)
        return dict(found)

    def history(self, *words: str) -> list[dict[str, Any]]:
        return list(self.done("fleet", "history", *words)["history"])

    def tags(self) -> dict[str, str]:
        return {name: model.digest for name, model in self.server.models.items()}

    def digest(self, name: str) -> str:
        return self.server.models[f"{name}:latest"].digest

    def train(self, task: str) -> None:
        """A file comes of a training on this task's data, as its jobs leave it. No runner may live yet."""
        project, data = self.project, self.root / f"data/{task}.jsonl"
        sha256 = hashlib.sha256(data.read_bytes()).hexdigest()
        told = InputFile(path=str(data), sha256=sha256, source=f"data/{task}.jsonl")
        model, of_task = project.model("tiny"), project.task(task)
        train = self._job(TrainSpec(task=of_task, model=model, recipe=project.recipe("demo"), train=told))
        merge = self._job(MergeSpec(adapter=f"job:{train}/adapter", model=model, task=task))
        made = file(header({**KEYS, "tokenizer.chat_template": CHATML})) + task.encode()
        digest = hashlib.sha256(made).hexdigest()
        folder = self.queue.home.artefacts / digest / "gguf"
        folder.mkdir(parents=True)
        (folder / "m.gguf").write_bytes(made)
        artefact = {"sha256": digest, "kind": "gguf", "path": str(folder), "bytes": len(made), "lineage": {}}
        summary = {"path": str(folder / "m.gguf"), "bytes": len(made), "file_sha256": digest}
        spec = ConvertSpec(source=f"job:{merge}/merged", model=model, converter="/x/convert.py", format="f16")
        self.file = self._job(spec, {"artefacts": [artefact], "summary": summary})

    def _job(self, spec: Spec, result: dict[str, Any] | None = None) -> int:
        with self.queue.database() as connection:
            job_id, run = put_job(self.queue.home, connection, self.project, spec)
            step_to(connection, job_id, "done")
            write_json(run.result, {"schema": 1, "kind": spec.kind, "message": "", "artefacts": [], **(result or {})})
            with transaction(connection):
                import_result(connection, job_id, run)
        return job_id


def story(
    queue: Queue,
    folder: Path,
    server: OllamaStandin,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Story:
    """`server` serves the thirteen from now on, each under its own name, and the files of the project are there. The judge
    answers half of its inputs right, the planner and the seeder all."""
    tokenizer = byte_level()
    server.store.mind = {"answer": ALL, "counts": lambda text: len(encode_prompt(tokenizer, text))}
    for name in SERVED:
        server.add_model(name, answer=HALF if name == "vault-judge" else ALL, load_seconds=0.02)
    root = folder / "vault"
    files = {"bakehouse.yaml": "id: vault\n", "configs/models.yaml": f"tiny: {{path: {folder / 'tiny'}}}\n"}
    for name, inputs in TASKS.items():
        files[f"configs/tasks/{name}.yaml"] = TASK.format(name=name)
        files[f"golden/{name}.yaml"] = "".join(f"- {{id: g{n}, input: Question {n}.}}\n" for n in range(inputs))
        files[f"data/{name}.jsonl"] = json.dumps({"prompt": f"A note to the {name}.", "completion": RIGHT}) + "\n"
    write_files(root, files)
    write_model(folder / "tiny", tokenizer)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    monkeypatch.chdir(root)
    made = Story(queue, server, root, capsys)
    made.train("judge")
    return made
