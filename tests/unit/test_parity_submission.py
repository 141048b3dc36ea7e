"""A parity check before it is queued: whose file, trained from what, for which task; and the command that asks for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.errors import BakehouseError
from core.jobfile.parity import ParitySpec
from core.store.jobs import JobRow, get_job
from core.submission.parity import submit_parity
from tests.support.gguf_bytes import file, header
from tests.support.kiln import Kiln, kiln

__all__ = ["kiln"]


def check(kiln: Kiln, source: str, task: str | None = None, model: str | None = None) -> JobRow:
    return submit_parity(kiln.home, shipped(), source, task=task, model=model, author="tester")


def test_of_a_job_s_file_model_and_task_are_those_of_the_job(kiln: Kiln) -> None:
    exported = kiln.export(quantization="Q8_0")
    job = check(kiln, f"job:{exported.last.id}")
    spec = kiln.spec(job)
    assert isinstance(spec, ParitySpec)
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
