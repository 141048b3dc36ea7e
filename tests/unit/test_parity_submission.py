"""A parity check before it is queued: whose file, trained from what, for which task; and the command that asks for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.errors import BakehouseError
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.gpu_use import GpuUse
from core.jobfile.parity import ParitySpec
from core.jobfile.spec import InputFile
from core.store.jobs import JobRow, get_job
from core.submission.parity import submit_parity
from tests.support.gguf_bytes import file, header
from tests.support.kiln import Kiln, kiln
from tests.support.ollama_standin import OllamaStandin

__all__ = ["kiln"]

SERVER = ServerUnderTest(name="box", api="openai", url="http://127.0.0.1:1")


def check(kiln: Kiln, source: str, task: str | None = None, model: str | None = None) -> JobRow:
    return submit_parity(kiln.home, shipped(), source, task=task, model=model, author="tester")


def test_of_a_job_s_file_model_and_task_are_those_of_the_job(kiln: Kiln) -> None:
    exported = kiln.export(quantization="Q8_0")
    job = check(kiln, f"job:{exported.last.id}")
    spec = kiln.spec(job)
    assert isinstance(spec, ParitySpec) and spec.program is not None
    assert spec.source == f"job:{exported.last.id}/gguf" and spec.needs == (exported.last.id,)
    assert (spec.model, spec.task.name) == (kiln.model, get_job(kiln.connection, exported.last.id).task or "judge")
    assert Path(spec.program).name == "llama-server" and json.loads(Path(spec.golden.path).read_bytes())
    assert job.lane == "cpu"


@pytest.mark.parametrize(
    ("source", "task", "model", "code"),
    [
        ("train", None, None, "no_gguf"),
        ("cancelled", None, None, "no_candidate"),
        ("job:999", None, None, "job_not_found"),
        ("./nowhere.gguf", "judge", "SmolLM2-135M", "no_model"),
        ("torn", "judge", "SmolLM2-135M", "bad_model"),
        ("whole", None, "SmolLM2-135M", "no_task"),
        ("whole", "judge", None, "no_model"),
        ("whole", "jugde", "SmolLM2-135M", "task_not_found"),
        ("whole", "judge", "SmolLM", "model_not_found"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_it_is_queued(
    kiln: Kiln, tmp_path: Path, source: str, task: str | None, model: str | None, code: str
) -> None:
    (tmp_path / "whole.gguf").write_bytes(file(header()))
    (tmp_path / "torn.gguf").write_bytes(file(header())[:40])
    if source == "cancelled":
        made = kiln.export().last
        kiln.end(made.id, "cancelled")
        source = f"job:{made.id}"
    known = {"train": f"job:{kiln.train}", "whole": str(tmp_path / "whole.gguf"), "torn": str(tmp_path / "torn.gguf")}
    before = kiln.connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    with pytest.raises(BakehouseError) as caught:
        check(kiln, known.get(source, source), task, model)
    assert caught.value.code == code
    assert kiln.connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == before


def test_the_command_queues_the_same(kiln: Kiln, capsys: pytest.CaptureFixture[str]) -> None:
    exported = kiln.export()
    with pytest.raises(SystemExit) as leave:
        main(["parity", str(exported.last.id), "--json"])
    assert not leave.value.code
    document = json.loads(capsys.readouterr().out)
    spec = kiln.spec(document["job"]["id"])
    assert isinstance(spec, ParitySpec) and spec.source == f"job:{exported.last.id}/gguf"


@pytest.fixture
def ollama(kiln: Kiln, monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaStandin]:
    with OllamaStandin("0.33.0-rc2", load_seconds=0.01) as server:
        server.add_model("judge:v1")
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.mark.process
def test_a_served_model_is_checked_beside_its_server(kiln: Kiln, ollama: OllamaStandin) -> None:
    job = check(kiln, "served:judge:v1", "judge", "SmolLM2-135M")
    spec = kiln.spec(job)
    assert isinstance(spec, ParitySpec) and spec.source is None and spec.program is None and spec.needs == ()
    assert (spec.served, spec.server and spec.server.url, spec.served_model) == (
        "ollama:judge:v1",
        ollama.url,
        "judge:v1",
    )
    assert spec.gpu_use == GpuUse("serving", {ollama.url: ("judge:v1",)}, loads_models=False)
    assert (job.lane, job.model, job.source) == ("gpu", "SmolLM2-135M", "ollama:judge:v1")
    assert not ollama.listed(), "nothing is loaded before the job runs"


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "task", "model", "version", "code"),
    [
        ("served:judge:v2", "judge", "SmolLM2-135M", "0.33.0", "model_not_found"),
        ("served:judge:v1", None, "SmolLM2-135M", "0.33.0", "no_task"),
        ("served:judge:v1", "judge", None, "0.33.0", "no_model"),
        ("served:judge:v1", "judge", "SmolLM2-135M", "0.11.4", "no_render"),
        ("served:", "judge", "SmolLM2-135M", "0.33.0", "bad_candidate"),
        ("nobody:judge:v1", "judge", "SmolLM2-135M", "0.33.0", "no_model"),
    ],
)
def test_a_served_model_that_cannot_be_checked_is_refused(
    kiln: Kiln, ollama: OllamaStandin, source: str, task: str | None, model: str | None, version: str, code: str
) -> None:
    ollama.version = version  # type: ignore[assignment]
    with pytest.raises(BakehouseError) as caught:
        check(kiln, source, task, model)
    assert caught.value.code == code


def test_a_server_that_is_away_is_asked_by_the_job(kiln: Kiln, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    spec = kiln.spec(check(kiln, "served:judge:v1", "judge", "SmolLM2-135M"))
    assert isinstance(spec, ParitySpec) and spec.served_model == "judge:v1"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"source": "/a.gguf"},
        {"served_model": "m"},
        {"source": "/a.gguf", "program": "/p", "server": SERVER, "served_model": "m"},
    ],
)
def test_one_thing_serves(kiln: Kiln, given: dict[str, Any]) -> None:
    project = shipped()
    golden = InputFile(path="/x", sha256="0" * 64, source="/x")
    with pytest.raises(ValueError, match="GGUF file and a llama-server, or a server"):
        ParitySpec(**given, model=kiln.model, task=project.task("judge"), golden=golden)
