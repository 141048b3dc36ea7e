"""What one export to GGUF queues: merge, conversion and quantisation, as far as they are not there already."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli.export import file_of
from core.cli.main import main
from core.config.project import shipped
from core.errors import InputError
from core.files import read_json, write_json
from core.jobfile.convert import ConvertSpec, proof_words
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import JobFile
from core.store.jobs import get_job, list_jobs
from core.submission.candidates import parse_candidate
from core.submission.gguf import GgufExport, earlier_export
from core.submission.wanted_export import WantedGguf
from tests.support.commands import called
from tests.support.gguf_bytes import KEYS, file, header
from tests.support.kiln import SURVIVAL, Kiln, kiln
from tests.support.model_folders import write_adapter

__all__ = ["kiln"]


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


def test_conversion_and_quantisation_are_told_how_the_file_is_served(kiln: Kiln) -> None:
    """The task as it is at submission; a template that the model's entry names is asked for before anything is queued."""
    convert, quantize = (kiln.spec(job) for job in kiln.export(quantization="Q8_0").queued[1:])
    assert isinstance(convert, ConvertSpec) and isinstance(quantize, QuantizeSpec)
    assert convert.served.task is not None and convert.served.task.name == convert.task
    assert convert.served == quantize.served and convert.served.official is None


def test_what_is_there_or_on_its_way_is_taken(kiln: Kiln) -> None:
    merge = kiln.merge()
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
    (tmp_path / "other.gguf").write_bytes(file(header()))
    (quantize,) = kiln.export(str(tmp_path / "other.gguf"), quantization="Q8_0").queued
    spec = kiln.spec(quantize)
    assert isinstance(spec, QuantizeSpec) and spec.source == str(tmp_path / "other.gguf") and spec.needs == ()


def quantised(kiln: Kiln) -> str:
    (kiln.tools / "q.gguf").write_bytes(file(header({**KEYS, "general.file_type": 7})))
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
    (kiln.tools / "x.gguf").write_bytes(file(header()))
    return str(kiln.tools / "x.gguf")


def torn(kiln: Kiln) -> str:
    (kiln.tools / "torn.gguf").write_bytes(header()[:60])
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


PROOF = {"of": "the merged model", "same": 270, "near": 0, "unknown": 2, "changed": 208, "swallowed": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "270 of 272 tensors are those of the merged model, 2 cannot be compared, 208 differ from the base's, 2 do not",
        ),
        ({"unknown": 0, "swallowed": 0}, "its 270 tensors are those of the merged model, 208 differ from the base's"),
        ({"near": 60, "unknown": 0}, "its 330 tensors are those of the merged model, 60 of them as close to them as"),
    ],
)
def test_what_is_proved_of_a_file_is_one_line(changes: dict[str, int], words: str) -> None:
    said = proof_words({**PROOF, **changes})
    assert said.startswith(words) and "\n" not in said


def test_a_finished_export_says_where_the_file_lies_and_what_is_known_of_its_tensors(kiln: Kiln) -> None:
    job = kiln.export().last
    kiln.done(get_job(kiln.connection, job.id - 1))
    kiln.done(job)
    run = kiln.home.run_dir(job.id)
    document = read_json(run.result)
    document["summary"] |= {"proof": PROOF, "survival": {**SURVIVAL, "dtype": "F16", "unknown": 0}}
    write_json(run.result, document)
    path, proof, survived = str(file_of(kiln.home, as_json=False)(kiln.connection, job)).splitlines()
    assert path.endswith("m.gguf") and proof == proof_words(PROOF)
    assert survived.startswith("98 % of the update survives in F16")
    told = file_of(kiln.home, as_json=True)(kiln.connection, job)
    assert isinstance(told, dict) and told["proof"] == PROOF and told["survival"]["dtype"] == "F16"
    document["summary"] = {key: value for key, value in document["summary"].items() if key != "survival"}
    document["summary"]["survival_unknown"] = "only llama.cpp writes Q4_K_M"
    write_json(run.result, document)
    said = str(file_of(kiln.home, as_json=False)(kiln.connection, job))
    assert said.endswith("how much of the update survives is unknown: only llama.cpp writes Q4_K_M")


def test_the_command_queues_says_and_finds_again(kiln: Kiln, capsys: pytest.CaptureFixture[str]) -> None:
    def export(*words: str) -> tuple[int, str, str]:
        return called(capsys, ["export", str(kiln.train), *words])

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
