"""What one export to GGUF queues: merge, conversion and quantisation, as far as they are not there already."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config.model import ModelEntry
from core.config.project import shipped
from core.errors import InputError
from core.files import write_json
from core.home import Home
from core.jobfile.convert import ConvertSpec
from core.jobfile.kinds import kind_of
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import InputFile, JobFile, Spec
from core.jobfile.train import TrainSpec
from core.store.database import open_database, transaction
from core.store.jobs import JobRow, get_job, list_jobs
from core.store.results import import_result
from core.submission.candidates import parse_candidate
from core.submission.gguf import GgufExport, earlier_export, submit_gguf
from core.submission.merge import submit_merge
from core.submission.wanted_export import WantedGguf, WantedMerge
from tests.support.job_files import job_file
from tests.support.model_folders import config_of, write_adapter, write_folder
from tests.support.needs import need
from tests.support.stored import add_job, path_to, step
from tests.unit.test_gguf_hostile import KEYS
from tests.unit.test_gguf_hostile import file as gguf_bytes
from tests.unit.test_gguf_hostile import header as gguf_header

SURVIVAL = {"dtype": "bf16", "share": 1.0, "worst": {"tensor": "a", "share": 1.0}, "updated": 1, "unchanged": 0}


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
        (folder / "m.gguf").write_bytes(gguf_bytes(gguf_header()))
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
    need("torch")  # without it no conversion is accepted
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


def test_an_adapter_is_merged_converted_and_quantised_each_job_waiting_for_the_one_before(kiln: Kiln) -> None:
    made = kiln.export(quantization="Q4_K_M")
    merge, convert, quantize = made.queued
    assert made.last == quantize and [job.kind for job in made.queued] == ["merge", "convert", "quantize"]
    first, second, third = (kiln.spec(job) for job in made.queued)
    assert isinstance(first, MergeSpec) and first.adapter == f"job:{kiln.train}"
    assert isinstance(second, ConvertSpec) and second.source == f"job:{merge.id}/merged" and second.models == ()
    assert second.converter == str(kiln.tools / "convert_hf_to_gguf.py")
    assert isinstance(third, QuantizeSpec) and third.source == f"job:{convert.id}/gguf"
    assert third.program == str(kiln.tools / "build/bin/llama-quantize")
    assert [JobFile.load(kiln.home.run_dir(job.id)).needs for job in made.queued] == [
        [kiln.train],
        [merge.id],
        [convert.id],
    ]
    assert [job.lane for job in made.queued] == ["gpu", "cpu", "cpu"]


def test_what_is_there_or_on_its_way_is_taken(kiln: Kiln) -> None:
    merge = submit_merge(kiln.home, shipped(), WantedMerge(f"job:{kiln.train}"), author="tester")
    (convert,) = kiln.export().queued
    spec = kiln.spec(convert)
    assert isinstance(spec, ConvertSpec) and spec.source == f"job:{merge.id}/merged"
    assert kiln.export() == GgufExport((), convert)
    assert kiln.export().words == f"job {convert.id} already makes this file: waiting"
    kiln.done(merge)
    (quantize,) = kiln.export(quantization="Q8_0").queued
    assert JobFile.load(kiln.home.run_dir(quantize.id)).needs == [convert.id]
    folder = kiln.done(get_job(kiln.connection, convert.id))
    found = kiln.export()
    assert found.path == folder / "m.gguf" and found.words == f"already made as job {convert.id}: {folder / 'm.gguf'}"
    assert earlier_export(kiln.home, kiln.connection, shipped(), WantedGguf(f"job:{kiln.train}")) == found
    assert len(kiln.export(quantization="Q6_K").queued) == 1
    assert len(kiln.export(dtype="fp32").queued) == 2
    assert len(kiln.export(again=True).queued) == 2


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_came_to_nothing_or_whose_file_is_gone_is_made_again(kiln: Kiln, state: str) -> None:
    merge, convert = kiln.export().queued
    kiln.done(merge)
    kiln.end(convert.id, state)
    (second,) = kiln.export().queued
    shutil.rmtree(kiln.done(second))
    assert earlier_export(kiln.home, kiln.connection, shipped(), WantedGguf(f"job:{kiln.train}")) is None
    assert len(kiln.export().queued) == 1


def test_a_base_model_is_converted_behind_its_pull(kiln: Kiln) -> None:
    (convert,) = kiln.export("SmolLM2-135M", directly=True).queued
    spec = kiln.spec(convert)
    assert isinstance(spec, ConvertSpec) and (spec.source, spec.format) == (None, "q8_0")
    (pull,) = [job for job in list_jobs(kiln.connection) if job.kind == "pull"]
    assert JobFile.load(kiln.home.run_dir(convert.id)).needs == [pull.id]
    assert kiln.export("SmolLM2-135M", directly=True).last == convert
    kiln.done(convert)
    assert kiln.export("SmolLM2-135M", directly=True).path is not None


def test_a_folder_may_hold_another_model_by_now(kiln: Kiln) -> None:
    first = kiln.export(kiln.model.path)
    kiln.done(first.last)
    assert len(kiln.export(kiln.model.path).queued) == 1


def test_the_adapter_of_another_tool_and_what_a_job_made_are_named_in_any_way(kiln: Kiln, tmp_path: Path) -> None:
    assert kiln.model.path is not None
    adapter = write_adapter(tmp_path / "adapter", kiln.model.path)
    assert [job.kind for job in kiln.export(str(adapter)).queued] == ["merge", "convert"]
    merge, convert = kiln.export().queued
    kiln.done(merge)
    for name in (f"job:{merge.id}", f"job:{merge.id}/merged", f"artefact:{merge.id:064}"):
        assert kiln.export(name).last == convert
    for name in (f"job:{convert.id}", f"job:{convert.id}/gguf"):
        (quantize,) = kiln.export(name, quantization="Q5_0", again=True).queued
        spec = kiln.spec(quantize)
        assert isinstance(spec, QuantizeSpec) and spec.source == f"job:{convert.id}/gguf"
        assert (spec.tuned, spec.task, spec.candidate_name) == (True, merge.task, "m tuned, Q5_0")
        candidate = parse_candidate(kiln.home, kiln.connection, shipped(), f"job:{quantize.id}")
        assert (candidate.form, candidate.name) == ("gguf", "m tuned, Q5_0")


def test_what_a_job_quantises_is_not_quantised_again(kiln: Kiln) -> None:
    (convert,) = kiln.export("SmolLM2-135M", directly=True).queued
    *_, quantize = kiln.export(quantization="Q8_0").queued
    before = len(list_jobs(kiln.connection))
    for job in (convert, quantize):
        with pytest.raises(InputError) as caught:
            kiln.export(f"job:{job.id}", quantization="Q4_K_M")
        assert caught.value.code == "already_quantised"
    assert len(list_jobs(kiln.connection)) == before


def test_a_gguf_file_of_somebody_else_is_quantised(kiln: Kiln, tmp_path: Path) -> None:
    (tmp_path / "other.gguf").write_bytes(gguf_bytes(gguf_header()))
    (quantize,) = kiln.export(str(tmp_path / "other.gguf"), quantization="Q8_0").queued
    spec = kiln.spec(quantize)
    assert isinstance(spec, QuantizeSpec) and spec.source == str(tmp_path / "other.gguf") and spec.needs == ()


def quantised(kiln: Kiln) -> str:
    (kiln.tools / "q.gguf").write_bytes(gguf_bytes(gguf_header({**KEYS, "general.file_type": 7})))
    return str(kiln.tools / "q.gguf")


REFUSED: dict[str, tuple[Callable[[Kiln], object], str]] = {
    "a file that is one already": (lambda kiln: kiln.export(kiln_file(kiln)), "already_gguf"),
    "a file that is quantised": (lambda kiln: kiln.export(quantised(kiln), quantization="Q4_K_M"), "already_quantised"),
    "no such file": (lambda kiln: kiln.export("/nowhere/a.gguf", quantization="Q8_0"), "no_model"),
    "a torn file": (lambda kiln: kiln.export(torn(kiln), quantization="Q8_0"), "bad_model"),
    "a served model": (lambda kiln: kiln.export("served:qwen3"), "no_model"),
    "no converter": (lambda kiln: (without(kiln, "convert_hf_to_gguf.py"), kiln.export()), "no_llama_cpp"),
    "no quantiser": (
        lambda kiln: (without(kiln, "build/bin/llama-quantize"), kiln.export(quantization="Q8_0")),
        "no_llama_cpp",
    ),
}


def kiln_file(kiln: Kiln) -> str:
    (kiln.tools / "x.gguf").write_bytes(gguf_bytes(gguf_header()))
    return str(kiln.tools / "x.gguf")


def torn(kiln: Kiln) -> str:
    (kiln.tools / "torn.gguf").write_bytes(gguf_header()[:60])
    return str(kiln.tools / "torn.gguf")


def without(kiln: Kiln, name: str) -> None:
    (kiln.tools / name).unlink()


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_is_one_error_and_nothing_is_queued(kiln: Kiln, what: str) -> None:
    ask, code = REFUSED[what]
    with pytest.raises(InputError) as caught:
        ask(kiln)
    assert caught.value.code == code
    assert [job.id for job in list_jobs(kiln.connection)] == [kiln.train]


def test_the_command_queues_says_and_finds_again(kiln: Kiln, capsys: pytest.CaptureFixture[str]) -> None:
    def export(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leave:
            main(["export", str(kiln.train), *words])
        out, err = capsys.readouterr()
        return int(leave.value.code or 0), out, err

    code, out, _ = export("--quantize", "q8_0", "--json")
    document = json.loads(out)
    assert code == 0 and [job["kind"] for job in document["jobs"]] == ["merge", "convert", "quantize"]
    code, out, _ = export("--to", "gguf", "--dtype", "fp32")
    assert code == 0 and len(out.splitlines()) == 2
    last = document["job"]["id"]
    for job in document["jobs"]:
        folder = kiln.done(get_job(kiln.connection, job["id"]))
    assert export("--quantize", "Q8_0") == (0, f"already made as job {last}: {folder / 'm.gguf'}\n", "")
    code, out, _ = export("--quantize", "Q8_0", "--json")
    assert (json.loads(out)["already_made"], json.loads(out)["path"]) == (True, str(folder / "m.gguf"))
    for words in (
        ["--dtype", "q8_0"],
        ["--to", "safetensors", "--quantize", "Q8_0"],
        ["--dtype", "q8_0", "--quantize", "Q8_0"],
    ):
        code, out, err = export(*words)
        assert (code, out) == (2, "") and len(err.splitlines()) == 1


@pytest.mark.parametrize("wanted", [
    WantedGguf("job:12"),
    WantedGguf("job:12", quantization="Q4_K_M"),
    WantedGguf("SmolLM2-135M", dtype="fp32", quantization="Q8_0"),
    WantedGguf("./a folder/m", directly=True),
    WantedGguf("job:12", quantization="Q8_0", base_weights="dequantized"),
], ids=lambda wanted: wanted.command)  # fmt: skip
def test_the_command_that_is_shown_asks_for_the_same(wanted: WantedGguf, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    asked: list[WantedGguf] = []
    monkeypatch.setattr("core.cli.export.export_gguf", lambda home, project, wanted, **more: asked.append(wanted))
    with pytest.raises(SystemExit):
        main(shlex.split(wanted.command)[1:])
    assert asked == [wanted]
