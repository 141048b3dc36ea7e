"""What the stages of a training queue: what is missing and one bake-off, all of it or nothing; what is there is taken."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from core.config.project import shipped
from core.errors import InputError
from core.files import write_json
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.convert_lora import ConvertLoraSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import JobFile
from core.models.gguf_memory import ServerMemory
from core.models.shapes import with_shape
from core.store.jobs import list_jobs
from core.submission.candidates import parse_candidate, who_answers
from core.submission.server_memory import servers_memory
from core.submission.stages import QueuedStages, submit_stages
from core.submission.wanted_stages import WantedStages
from core.vram.layers import lora_parameters
from tests.support.commands import called
from tests.support.job_files import job_file
from tests.support.kiln import Kiln, kiln

__all__ = ["kiln"]

KINDS = ["merge", "convert", "quantize", "convert", "convert_lora"]


@pytest.fixture(autouse=True)
def _no_runner(monkeypatch: pytest.MonkeyPatch, kiln: Kiln) -> None:
    monkeypatch.setattr("core.submission.stages.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.submission.server_memory.gpu_devices", lambda server: ())
    (kiln.tools / "convert_lora_to_gguf.py").touch()


def stages(kiln: Kiln, *smaller: Any, remarks: list[str] | None = None, **more: Any) -> QueuedStages:
    wanted = WantedStages(kiln.train, smaller=smaller, **more)
    return submit_stages(kiln.home, shipped(), wanted, author="tester", remarks=remarks)


def spec_of(kiln: Kiln, queued: QueuedStages) -> BakeoffSpec:
    spec = kiln.spec(queued.bakeoff)
    assert isinstance(spec, BakeoffSpec)
    return spec


def test_everything_that_is_missing_is_queued_and_the_bakeoff_waits_for_it(kiln: Kiln) -> None:
    queued = stages(kiln, "Q4_K_M")
    merge, convert, quantize, smaller, base, lora = queued.makers
    assert [job.kind for job in queued.makers] == [*KINDS[:3], "quantize", *KINDS[3:]]
    first, second, third, fourth, fifth, sixth = map(kiln.spec, queued.makers)
    assert isinstance(first, MergeSpec) and (first.adapter, first.dtype) == (f"job:{kiln.train}", "fp16")
    assert isinstance(second, ConvertSpec) and (second.source, second.format) == (f"job:{merge.id}/merged", "f16")
    assert isinstance(third, QuantizeSpec) and (third.source, third.quantization) == (f"job:{convert.id}/gguf", "Q8_0")
    assert isinstance(fourth, QuantizeSpec) and fourth.source == f"job:{convert.id}/gguf"
    assert isinstance(fifth, ConvertSpec) and (fifth.source, fifth.format) == (None, "q8_0")
    assert isinstance(sixth, ConvertLoraSpec) and sixth.base_gguf == f"job:{base.id}/gguf"
    assert JobFile.load(kiln.home.run_dir(lora.id)).needs == [kiln.train], "its conversion needs no base file"
    spec = spec_of(kiln, queued)
    assert [(name, stage.kind, stage.format) for name, stage in spec.stages.items()] == [
        ("m", "base", None),
        ("m tuned", "adapter", None),
        ("m tuned, merged", "merged", None),
        ("m tuned, f16", "gguf", "F16"),
        ("m tuned, Q8_0", "gguf", "Q8_0"),
        ("m tuned, Q4_K_M", "gguf", "Q4_K_M"),
        ("m tuned, LoRA on Q8_0", "lora", "Q8_0"),
    ]
    needs = [kiln.train, merge.id, convert.id, quantize.id, smaller.id, base.id, lora.id]
    assert JobFile.load(kiln.home.run_dir(queued.bakeoff.id)).needs == sorted(needs)
    assert (spec.against, spec.curtail, spec.title) == ("m", False, "bake-off judge, 7 stages")
    on_base = spec.candidates[-1]
    assert (on_base.form, on_base.ref, on_base.lora) == ("gguf", f"job:{base.id}/gguf", f"job:{lora.id}/lora")


def test_what_is_there_or_on_its_way_is_taken(kiln: Kiln) -> None:
    merge, convert, quantize, _, lora = stages(kiln).makers
    second = stages(kiln, "Q6_K")
    # A folder may hold another base model by now, so that and what depends on it are made again.
    assert [job.kind for job in second.makers] == ["quantize", "convert", "convert_lora"]
    assert [told.partition(":")[0] for told in second.taken] == ["merged model", "GGUF F16", "GGUF Q8_0"]
    refs = [one.ref for one in spec_of(kiln, second).candidates]
    assert refs[2:5] == [f"job:{merge.id}/merged", f"job:{convert.id}/gguf", f"job:{quantize.id}/gguf"]
    assert lora.id not in spec_of(kiln, second).needs


def test_the_merge_and_the_conversion_that_were_made_by_hand_are_the_stages(kiln: Kiln) -> None:
    merge, convert, quantize = kiln.export(quantization="Q8_0").queued  # bf16, as `export` makes them
    queued = stages(kiln)
    assert [job.kind for job in queued.makers] == ["convert", "convert_lora"]
    formats = [stage.format for stage in spec_of(kiln, queued).stages.values()]
    assert formats == [None, None, None, "BF16", "Q8_0", "Q8_0"]
    assert {merge.id, convert.id, quantize.id} <= set(spec_of(kiln, queued).needs)


def test_what_failed_or_has_lost_its_files_is_made_again(kiln: Kiln) -> None:
    merge, convert, quantize, _, _ = stages(kiln).makers
    kiln.done(merge)
    shutil.rmtree(kiln.done(convert))
    kiln.end(quantize.id, "failed")
    again = stages(kiln)
    assert [job.kind for job in again.makers] == ["convert", "quantize", "convert", "convert_lora"]
    assert spec_of(kiln, again).candidates[2].ref == f"job:{merge.id}/merged"


def test_nothing_is_queued_where_the_bakeoff_cannot_be(kiln: Kiln) -> None:
    before = len(list_jobs(kiln.connection))
    with pytest.raises(InputError):
        stages(kiln, repeats=0)
    with pytest.raises(InputError) as caught:
        stages(kiln, "Q8_0")
    assert caught.value.code == "not_smaller"
    with pytest.raises(InputError) as caught:
        submit_stages(kiln.home, shipped(), WantedStages(kiln.merge().id), author="tester")
    assert caught.value.code == "no_training"
    assert len(list_jobs(kiln.connection)) == before + 1


def test_a_missing_tool_is_named_before_anything_is_queued(kiln: Kiln) -> None:
    (kiln.tools / "build/bin/llama-quantize").unlink()
    with pytest.raises(InputError) as caught:
        stages(kiln)
    assert caught.value.code == "no_llama_cpp" and len(list_jobs(kiln.connection)) == 1


@pytest.mark.parametrize("why", ["script", "dora"])
def test_the_adapter_on_a_gguf_base_is_left_out_where_it_cannot_be_made(kiln: Kiln, why: str) -> None:
    if why == "script":
        (kiln.tools / "convert_lora_to_gguf.py").unlink()
    else:
        run = kiln.home.run_dir(kiln.train)
        spec: Any = JobFile.load(run).spec
        job_file(
            kiln.home, spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"dora": True})}), kiln.train
        ).save(run)
    remarks: list[str] = []
    queued = stages(kiln, remarks=remarks)
    assert [job.kind for job in queued.makers] == ["merge", "convert", "quantize"]
    assert any("left out" in one for one in remarks)


def test_an_adapter_on_its_base_is_a_candidate_by_its_job(kiln: Kiln) -> None:
    *_, base, lora = stages(kiln).makers
    project = shipped()
    on_base = parse_candidate(kiln.home, kiln.connection, project, f"job:{lora.id}")
    assert on_base == parse_candidate(kiln.home, kiln.connection, project, f"job:{lora.id}/lora")
    alone = parse_candidate(kiln.home, kiln.connection, project, f"job:{base.id}")
    assert (on_base.ref, on_base.form) == (alone.ref, alone.form)
    with pytest.raises(InputError) as caught:  # the base's file is not what is meant
        kiln.export(f"job:{lora.id}", quantization="Q8_0")
    assert caught.value.code == "already_gguf"
    assert who_answers(on_base) != who_answers(alone) and on_base.made_ref == f"job:{lora.id}/lora"


def test_the_command_says_what_is_made_and_what_is_taken(kiln: Kiln, capsys: pytest.CaptureFixture[str]) -> None:
    kiln.merge("fp32")
    code, out, err = called(capsys, ["bakeoff", "--stages", str(kiln.train), "--smaller", "q4_k_m,Q6_K", "--json"])
    assert code == 0, err
    assert json.loads(out)["job"]["kind"] == "bakeoff"
    assert "merged model: job:2/merged is taken as it is" in err and err.count("queued first:") == 6
    spec: Any = kiln.spec(json.loads(out)["job"]["id"])
    assert [one.format for one in spec.stages.values()] == [None, None, None, "F16", "Q8_0", "Q6_K", "Q4_K_M", "Q8_0"]


@pytest.mark.parametrize(
    "more",
    [
        ["--incumbent", "x"],
        ["--models", "a"],
        ["judge", "other"],
        ["--tasks", "all"],
        ["--smaller", "Q9"],
        ["--curtail"],
    ],
)
def test_what_does_not_go_with_stages_is_refused(
    kiln: Kiln, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    code, _, _ = called(capsys, ["bakeoff", "--stages", str(kiln.train), *more])
    assert code == 2
    assert called(capsys, ["bakeoff", "judge", "m", "--smaller", "Q4_K_M"])[0] == 2


def test_the_command_of_what_is_wanted_is_parsed_to_the_same() -> None:
    wanted = WantedStages(3, "judge", ("Q4_K_M",), 2, 4)
    assert wanted.command() == "bakehouse bakeoff --stages 3 judge --smaller Q4_K_M --repeats 2 --concurrency 4"


def test_the_factors_of_an_adapter_on_a_gguf_base_are_memory_of_its_server(kiln: Kiln) -> None:
    """As many bytes as its job will write, or has written: in F16."""
    queued = stages(kiln)
    on_base = spec_of(kiln, queued).candidates[-1]
    (base,) = [parse_candidate(kiln.home, kiln.connection, shipped(), f"job:{queued.makers[-2].id}")]

    def memory() -> ServerMemory:
        found = servers_memory(kiln.home, [base, on_base], [shipped().task("judge")], 1, kiln.tools, [])
        plain, adapted = found.by_name[base.name], found.by_name[on_base.name]
        assert (
            adapted.host_bytes - plain.host_bytes == adapted.components["adapter"] and "adapter" not in plain.components
        )
        return adapted

    training: Any = JobFile.load(kiln.home.run_dir(kiln.train)).spec
    shape = with_shape(kiln.home, kiln.model).shape
    assert shape is not None
    factors = lora_parameters(shape, training.recipe.targets, training.recipe.rank)
    assert memory().components["adapter"] == 2 * factors > 0
    write_json(kiln.home.run_dir(queued.makers[-1].id).result, {"summary": {"bytes": 4711}, "artefacts": []})
    assert memory().components["adapter"] == 4711
