"""From a model to a bake-off of its GGUF file as a person asks for it, all queued at once: a real runner, tools and server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.bakeoff.measured import read_measured
from core.config.project import Project
from core.home import Home
from core.jobfile.spec import JobFile
from core.own_paths import read_result
from core.scoring.answers import read_answers
from core.submission.bakeoff import submit_bakeoff
from core.submission.gguf import submit_gguf
from core.submission.wanted_bakeoff import WantedBakeoff
from core.submission.wanted_export import WantedGguf
from tests.support.llama_cpp import convertible_model, llama_cpp
from tests.support.projects import one_task_project
from tests.support.queueing import AUTHOR, Queue

pytestmark = pytest.mark.train

TASK = """\
system: Answer in one word.
repeats: 2
golden: golden/words.yaml
sampling: {temperature: 0, max_new_tokens: 6, context_length: 256}
format:
- {check: contains_any, values: [bread]}
"""


@pytest.fixture
def project(model_cache: Path, tmp_path: Path) -> Project:
    """A project with one task, and a model with random weights in a folder."""
    root = tmp_path / "project"
    model = convertible_model(model_cache, root / "models/tiny")
    inputs = {"a": "Name a flour.", "b": "Name an oven."}
    return one_task_project(root, "words", TASK, inputs, {"tiny": {"path": str(model.path)}})


@pytest.fixture
def queue(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(llama_cpp().require("converter").parent))
    made = Queue(Home(tmp_path / "home").create(), sys.executable, project)
    yield made
    made.close()


def test_what_is_asked_for_at_once_is_made_one_after_the_other_and_compared(queue: Queue, project: Project) -> None:
    home = queue.home
    made = submit_gguf(home, project, WantedGguf("tiny", quantization="Q8_0"), author=AUTHOR)
    convert, quantize = (job.id for job in made.queued)
    # Before either of them has begun.
    wanted = WantedBakeoff(tasks=("words",), candidates=(f"job:{convert}/gguf", f"job:{quantize}"), concurrency=2)
    bakeoff = submit_bakeoff(home, project, wanted, author=AUTHOR).id
    assert JobFile.load(home.run_dir(bakeoff)).needs == [convert, quantize]
    done = queue.wait_for(bakeoff)
    logs = [attempt.log.read_text() for job in (convert, quantize, bakeoff) for attempt in home.run_dir(job).attempts()]
    assert done.state == "done", "\n".join(logs)
    answers = read_answers(home.run_dir(bakeoff).answers)
    assert len(answers) == 2 * 2 * 2 and not [one for one in answers if one.fault == "server"]
    measured = {one.candidate: one.identity for one in read_measured(home.run_dir(bakeoff).candidates)}
    assert list(measured) == ["tiny base, bf16", "tiny base, Q8_0"]
    for job_id, (name, identity) in zip((convert, quantize), measured.items(), strict=True):
        summary = (read_result(home.run_dir(job_id)) or {})["summary"]
        assert identity is not None and identity.weights == f"sha256:{summary['file_sha256']}", name
        assert (identity.api, identity.server) == ("llama-server", "") and identity.template and identity.version
    logs = [file.name for file in home.run_dir(bakeoff).attempt(1).path.glob("llama-server-*.log")]
    assert sorted(logs) == ["llama-server-tiny-base-Q8_0.log", "llama-server-tiny-base-bf16.log"]
    # What was made is taken the next time.
    assert (
        submit_gguf(home, project, WantedGguf(f"job:{convert}", quantization="Q8_0"), author=AUTHOR).last.id == quantize
    )
