"""A deployment before it is queued: which file, under which name, who serves it; and the command that asks for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.deploy import STAGING, DeploySpec, Target
from core.jobfile.gpu_use import GpuUse
from core.store.jobs import JobRow
from core.submission.deploy import LONGEST_PART, staging_of, submit_deploy
from tests.support.gguf_bytes import file, header
from tests.support.kiln import Kiln, kiln
from tests.support.ollama_standin import OllamaStandin

__all__ = ["kiln"]


def deploy(kiln: Kiln, source: str, to: Target | None = "ollama", **named: Any) -> JobRow:
    return submit_deploy(kiln.home, shipped(), source, to=to, author="tester", **named)


def spec_of(kiln: Kiln, job: JobRow | int) -> DeploySpec:
    spec = kiln.spec(job)
    assert isinstance(spec, DeploySpec)
    return spec


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ollama answers."""
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")


def test_of_a_job_s_file_model_task_and_name_are_those_of_the_job(kiln: Kiln) -> None:
    made = kiln.export(quantization="Q8_0").last.id
    job = deploy(kiln, f"job:{made}")
    spec = spec_of(kiln, job)
    assert (spec.source, spec.needs, spec.task.name, spec.model) == (f"job:{made}/gguf", (made,), "judge", kiln.model)
    assert spec.name == f"judge:{kiln.model.name.lower()}-{made}" and json.loads(Path(spec.golden.path).read_bytes())
    assert spec.server is not None and spec.staging is not None
    # The tag under which it is proved is known before: what a killed job leaves in the server's memory is unloaded by it.
    assert spec.gpu_use == GpuUse("serving", {"http://127.0.0.1:1": (spec.staging,)}, loads_models=False)
    assert job.lane == "gpu"


def test_the_staging_tag_is_told_by_its_end_to_be_of_this_home(kiln: Kiln, tmp_path: Path) -> None:
    tag, end = (staging_of(kiln.home, "judge:v1"), staging_of(kiln.home, "judge:v1").rpartition(STAGING)[2])
    assert tag == f"judge:v1-staging-{end}" and staging_of(kiln.home, "a/b").startswith("a/b:latest-staging-")
    assert staging_of(kiln.home, "host:5000/a/judge") == f"host:5000/a/judge:latest-staging-{end}"
    assert staging_of(kiln.home, "host:5000/a/judge:v1") == f"host:5000/a/judge:v1-staging-{end}"
    assert staging_of(Home(tmp_path / "another"), "judge:v1") not in (tag, staging_of(kiln.home, "judge:v2"))
    assert len(staging_of(kiln.home, f"a:{'b' * LONGEST_PART}").partition(":")[2]) == LONGEST_PART


@pytest.mark.parametrize(
    ("source", "named", "code"),
    [
        ("train", {}, "no_gguf"),
        ("job:999", {}, "job_not_found"),
        ("./nowhere.gguf", {}, "no_model"),
        ("torn", {"task": "judge", "model": "SmolLM2-135M"}, "bad_model"),
        ("whole", {"model": "SmolLM2-135M"}, "no_task"),
        ("whole", {"task": "judge"}, "no_model"),
        ("gguf", {"name": "two words"}, "bad_name"),
        ("gguf", {"name": "a:"}, "bad_name"),
        ("gguf", {"name": f"a:{'b' * (LONGEST_PART + 1)}"}, "bad_name"),
        ("gguf", {"to": "llama-server", "name": "../up"}, "bad_name"),
        ("gguf", {"to": "llama-server", "name": "judge:v1"}, "bad_name"),
        ("gguf", {"at_boot": True}, "bad_option"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_it_is_queued(
    kiln: Kiln, tmp_path: Path, source: str, named: dict[str, Any], code: str
) -> None:
    (tmp_path / "whole.gguf").write_bytes(file(header()))
    (tmp_path / "torn.gguf").write_bytes(file(header())[:40])
    known = {"train": f"job:{kiln.train}", "whole": str(tmp_path / "whole.gguf"), "torn": str(tmp_path / "torn.gguf")}
    known["gguf"] = f"job:{kiln.export().last.id}"
    before = kiln.connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    with pytest.raises(BakehouseError) as caught:
        deploy(kiln, known.get(source, source), **named)
    assert caught.value.code == code
    assert kiln.connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == before


def test_a_file_of_no_job_gives_the_name_and_the_command_queues_the_same(
    kiln: Kiln, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "My Model.gguf").write_bytes(file(header()))
    words = [str(tmp_path / "My Model.gguf"), "--to", "ollama", "--task", "judge", "--model", "SmolLM2-135M", "--json"]
    with pytest.raises(SystemExit) as leave:
        main(["deploy", *words])
    assert not leave.value.code
    spec = spec_of(kiln, json.loads(capsys.readouterr().out)["job"]["id"])
    assert (spec.name, spec.source) == ("judge:my-model", str(tmp_path / "My Model.gguf"))


@pytest.fixture
def ollama(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaStandin]:
    with OllamaStandin(request.param) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.mark.process
@pytest.mark.parametrize("ollama", ["0.33.0-rc2"], indirect=True)
def test_an_ollama_that_answers_is_where_a_file_is_deployed_to(kiln: Kiln, ollama: OllamaStandin) -> None:
    spec = spec_of(kiln, deploy(kiln, f"job:{kiln.export().last.id}", to=None))
    assert spec.to == "ollama" and spec.server is not None and spec.server.url == ollama.url


@pytest.mark.process
@pytest.mark.parametrize("ollama", ["0.11.4"], indirect=True)
def test_an_ollama_that_shows_no_prompts_is_refused(kiln: Kiln, ollama: OllamaStandin) -> None:
    with pytest.raises(BakehouseError) as caught:
        deploy(kiln, f"job:{kiln.export().last.id}", to=None)
    assert caught.value.code == "no_render" and "0.11.4" in str(caught.value)


def test_how_many_answers_are_given_at_a_time_is_a_served_model_s_own_setting(kiln: Kiln) -> None:
    made = kiln.export(quantization="Q8_0").last.id
    with pytest.raises(BakehouseError, match="Ollama's own setting") as refused:
        deploy(kiln, f"job:{made}", "ollama", slots=4)
    assert refused.value.key == "--slots" and "OLLAMA_NUM_PARALLEL" in (refused.value.remedy or "")
    one, four = (spec_of(kiln, deploy(kiln, f"job:{made}", "llama-server", slots=slots)) for slots in (1, 4))
    assert (one.slots, four.slots) == (1, 4)
    assert one.host_memory(kiln.home, False) < four.host_memory(kiln.home, False), "each has a window of its own"
