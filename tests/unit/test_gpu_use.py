"""What a job does with the GPU: told from its spec, kept in its job file, read by the runner without the spec's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config.project import shipped
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.gpu_use import EXCLUSIVE, GpuUse, GpuUses, read_gpu_use
from core.jobfile.spec import InputFile, JobFile
from tests.support.queueing import Queue

OLLAMA = ServerUnderTest(name="ollama", api="ollama", url="http://127.0.0.1:11434")
LLAMA = ServerUnderTest(name="llama", api="openai", url="http://127.0.0.1:8080")
FAR = ServerUnderTest(name="far", api="openai", url="https://box:443", is_local=False)
MODEL = shipped().models()[0]


def served(model: str, server: ServerUnderTest = OLLAMA) -> CandidateSpec:
    return CandidateSpec(name=f"{server.name}:{model}", form="served", server=server, served_model=model)


BASE = CandidateSpec(name="base", form="base", model=MODEL)
GGUF = CandidateSpec(name="file", form="gguf", path="/models/file.gguf")


def bakeoff(*candidates: CandidateSpec) -> BakeoffSpec:
    golden = InputFile(path="/golden.jsonl", sha256="0" * 64, source="golden.jsonl")
    task = TaskUnderTest(task=shipped().task("judge"), golden=golden, repeats=1)
    return BakeoffSpec(tasks=[task], candidates=list(candidates))


@pytest.mark.parametrize(
    ("candidates", "use"),
    [
        ((BASE,), EXCLUSIVE),
        ((BASE, GGUF), EXCLUSIVE),
        ((GGUF, served("gpt", FAR)), EXCLUSIVE),
        ((served("gpt", FAR),), GpuUse("none", loads_models=False)),
        ((served("a"), served("b")), GpuUse("serving", {OLLAMA.url: ("a", "b")}, loads_models=False)),
        ((served("a"), BASE), GpuUse("serving", {OLLAMA.url: ("a",)})),
        ((served("a", LLAMA),), GpuUse("serving", {}, beside_programs=True, loads_models=False)),
        ((served("a", LLAMA), served("b"), served("c", FAR)), GpuUse("serving", {OLLAMA.url: ("b",)}, True, False)),
    ],
)
def test_what_a_bakeoff_does_with_the_gpu(candidates: tuple[CandidateSpec, ...], use: GpuUse) -> None:
    spec = bakeoff(*candidates)
    assert spec.gpu_use == use
    assert spec.device_memory(on_gpu=True) is None, "nothing is predicted of what others load"


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    from core.submission import enqueue

    monkeypatch.setattr(enqueue, "ensure_runner", lambda home: None)
    return Queue.create(tmp_path)


def test_the_job_file_keeps_it_and_the_lane_follows(queue: Queue) -> None:
    asking, elsewhere = queue.submit("asks=a,b of=http://127.0.0.1:11434"), queue.submit("elsewhere")
    plain = queue.submit("steps=1")
    uses = GpuUses(queue.home)
    assert uses.of(asking) == GpuUse("serving", {"http://127.0.0.1:11434": ("a", "b")})
    assert uses.of(elsewhere) == GpuUse("none") and uses.of(plain) == EXCLUSIVE
    assert [queue.job(one).lane for one in (asking, elsewhere, plain)] == ["gpu", "cpu", "gpu"]
    assert JobFile.load(queue.home.run_dir(asking)).gpu_use == uses.of(asking)


@pytest.mark.parametrize(
    "told",
    [None, 3, [], {}, {"mode": "alone"}, {"mode": ["serving"]}, {"mode": "exclusive", "asked": 3}],
)
def test_what_does_not_say_so_has_the_gpu_alone(queue: Queue, told: Any) -> None:
    job = queue.submit("asks=a of=http://127.0.0.1:11434")
    run = queue.home.run_dir(job)
    document = yaml.safe_load(run.job_file.read_text())
    document["gpu_use"] = told
    run.job_file.write_text(yaml.safe_dump(document))
    assert read_gpu_use(run) == EXCLUSIVE
    run.job_file.write_text("a: b: c")
    assert read_gpu_use(run) == EXCLUSIVE
    run.job_file.unlink()
    assert read_gpu_use(run) == EXCLUSIVE
