"""What one `bakehouse ship` queues: every link behind the one before, what is there already taken, all or nothing."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config.project import shipped
from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.merge import MergeSpec
from core.jobfile.parity import ParitySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.results.trainings import training_of
from core.served.record import ServedModelRecord, write_record
from core.store.chains import Chain, list_chains
from core.store.jobs import list_jobs
from core.submission.bakeoff import submit_bakeoff
from core.submission.ship import Shipped, submit_ship
from core.submission.wanted_bakeoff import WantedBakeoff
from core.submission.wanted_ship import WantedShip
from tests.support.commands import called
from tests.support.job_files import job_file
from tests.support.kiln import Kiln, kiln
from tests.support.stored import add_job

__all__ = ["kiln"]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ollama answers: it may by the time that a job deploys to it."""
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")


@pytest.fixture
def oven(kiln: Kiln) -> Kiln:
    """A home with a training of a model that the project has."""
    run = kiln.home.run_dir(kiln.train)
    spec = JobFile.load(run).spec.model_copy(update={"model": shipped().model("SmolLM2-135M")})
    job_file(kiln.home, spec, kiln.train).save(run)
    return kiln


def ship(kiln: Kiln, **more: Any) -> Shipped:
    told: dict[str, Any] = {"to": "ollama", **more}
    return submit_ship(kiln.home, shipped(), WantedShip(training=kiln.train, **told), author="tester")


def record_of(kiln: Kiln, name: str, job_id: int) -> ServedModelRecord:
    file = kiln.home.root / "m.gguf"
    return ServedModelRecord(name, file, "ab", "judge", "m", job_id, ("/llama-server",), 18080, 512)


def kinds(chain: Chain) -> list[tuple[str, bool]]:
    return [(link.job.kind, link.taken) for link in chain.links]


def test_each_link_waits_for_the_one_before_and_takes_what_it_makes(oven: Kiln) -> None:
    made = ship(oven)
    new = ["merge", "convert", "quantize", "deploy", "bakeoff"]
    assert kinds(made.chain) == [("train", True), *((kind, False) for kind in new)]
    assert [job.kind for job in made.queued] == new
    before = oven.train
    pulls = {job.id for job in list_jobs(oven.connection) if job.kind == "pull"}
    for job in made.queued:
        assert before in job.needs, f"{job.title} waits for the link before"
        before = job.id
    assert len(pulls) == 1 and pulls <= set(made.queued[0].needs), "the merge waits for the model's files"
    merge, convert, quantize, deploy, bakeoff = (oven.spec(job) for job in made.queued)
    assert isinstance(merge, MergeSpec) and merge.adapter == f"job:{oven.train}" and merge.dtype == "bf16"
    assert isinstance(convert, ConvertSpec) and convert.source == f"job:{made.queued[0].id}/merged"
    assert isinstance(quantize, QuantizeSpec) and quantize.quantization == "Q8_0"
    file = f"job:{made.queued[2].id}/gguf"
    assert isinstance(deploy, DeploySpec) and deploy.source == file and deploy.task.name == "judge"
    assert deploy.to == "ollama" and deploy.name == f"judge:smollm2-135m-{made.queued[2].id}"
    assert isinstance(bakeoff, BakeoffSpec) and bakeoff.incumbent == "SmolLM2-135M base"
    assert [one.form for one in bakeoff.candidates] == ["base", "adapter", "served"]
    assert [one.ref for one in bakeoff.candidates] == [
        None,
        f"job:{oven.train}/adapter",
        f"job:{made.queued[3].id}/served",
    ]
    served = bakeoff.candidates[-1]
    assert (served.name, served.served_model, served.server) == (deploy.name, deploy.name, deploy.server)
    assert training_of(oven.home, served) == (oven.train, oven.spec(oven.train)), "its training is known"
    assert made.chain.title == "ship judge · SmolLM2-135M · Q8_0"


def test_options_decide_what_is_made(oven: Kiln) -> None:
    made = ship(oven, quantization="Q4_K_M", dtype="fp32", deploy=False, bakeoff=False)
    assert [job.kind for job in made.queued] == ["merge", "convert", "quantize", "parity"]
    merge, convert, quantize = (oven.spec(job) for job in made.queued[:3])
    assert isinstance(merge, MergeSpec) and merge.dtype == "fp32"
    assert isinstance(convert, ConvertSpec) and convert.format == "f32"
    assert isinstance(quantize, QuantizeSpec) and quantize.quantization == "Q4_K_M"
    with pytest.raises(InputError) as missing:
        submit_ship(oven.home, shipped(), WantedShip(task="judge"), author="tester")
    assert missing.value.code == "no_training" and missing.value.key == "--model"


def test_both_merges_of_a_training_on_quantised_weights_are_shipped_side_by_side(
    oven: Kiln, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(list_jobs(oven.connection))
    for wanted in (WantedShip(training=oven.train), WantedShip("judge", "SmolLM2-135M", "demo")):
        with pytest.raises(InputError) as refused:
            submit_ship(oven.home, shipped(), replace(wanted, base_weights="dequantized"), author="tester")
        assert refused.value.code == "not_quantized" and len(list_jobs(oven.connection)) == before
    oven.train_on_four_bits()
    first = ship(oven)
    code, _, err = called(
        capsys, ["ship", "--from", str(oven.train), "--to", "ollama", "--base-weights", "dequantized"]
    )
    assert code == 0, err
    other = list_chains(oven.connection)[0]
    assert [link.job.kind for link in other.own] == ["merge", "convert", "quantize", "deploy", "bakeoff"]
    assert other.links[0].job.id == first.chain.links[0].job.id == oven.train, (
        "they share the training and nothing else"
    )
    merges = [oven.spec(chain.links[1].job) for chain in (first.chain, other)]
    assert [one.base_weights for one in merges if isinstance(one, MergeSpec)] == ["original", "dequantized"]
    assert other.title == f"{first.chain.title} · dequantized base"


def test_a_file_that_nobody_is_to_serve_is_proved_and_baked_off_itself(oven: Kiln) -> None:
    made = ship(oven, deploy=False)
    assert [job.kind for job in made.queued] == ["merge", "convert", "quantize", "parity", "bakeoff"]
    parity, bakeoff = (oven.spec(job) for job in made.queued[-2:])
    file = f"job:{made.queued[2].id}/gguf"
    assert isinstance(parity, ParitySpec) and parity.source == file and parity.task.name == "judge"
    assert isinstance(bakeoff, BakeoffSpec) and [one.form for one in bakeoff.candidates] == ["base", "adapter", "gguf"]
    assert bakeoff.candidates[-1].ref == file
    served = ship(oven)
    assert [job.kind for job in served.queued] == ["deploy", "bakeoff"], "the file is there already"
    assert [link.job.id for link in served.chain.links[:4]] == [link.job.id for link in made.chain.links[:4]]


def test_without_an_ollama_a_llama_server_serves_and_is_known_before_it_is_there(oven: Kiln) -> None:
    made = ship(oven, to=None)
    deploy, bakeoff = (oven.spec(job) for job in made.queued[-2:])
    assert isinstance(deploy, DeploySpec) and deploy.to == "llama-server"
    assert deploy.name == f"judge-smollm2-135m-{made.queued[2].id}"
    assert isinstance(bakeoff, BakeoffSpec)
    served = bakeoff.candidates[-1]
    assert served.server is not None and served.server.served_dir == str(oven.home.served_dir(deploy.name).path)
    assert (served.served_model, served.ref) == (deploy.name, f"job:{made.queued[3].id}/served")
    assert not oven.home.served_dir(deploy.name).path.exists(), "nothing of it is made before"
    record = record_of(oven, deploy.name, made.queued[3].id)
    write_record(oven.home, record)
    again = ship(oven, to=None)
    assert again.queued == () and again.chain == made.chain, "it is the same candidate once it serves"
    both = WantedBakeoff(tasks=("judge",), candidates=(f"job:{record.job_id}", f"served:{record.name}"))
    with pytest.raises(InputError) as doubled:
        submit_bakeoff(oven.home, shipped(), both, author="tester")
    assert doubled.value.code == "doubled_candidate"


def test_systemd_is_asked_while_the_queue_can_be_written(oven: Kiln, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def choose(*, at_boot: bool) -> None:
        with contextlib.closing(sqlite3.connect(oven.home.database, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        asked.append(at_boot)

    monkeypatch.setattr("core.submission.deploy.choose_keeper", choose)
    made = ship(oven, to="llama-server", at_boot=True)
    spec = oven.spec(made.queued[-2])
    assert isinstance(spec, DeploySpec) and spec.at_boot
    assert asked == [True]


def test_a_file_is_served_under_the_name_that_was_asked_for_and_twice_under_two(oven: Kiln) -> None:
    remarks: list[str] = []
    wanted = WantedShip(training=oven.train, to="ollama", name="judge:next")
    first = submit_ship(oven.home, shipped(), wanted, author="tester", remarks=remarks)
    deploy = next(job for job in first.queued if job.kind == "deploy")
    assert not any("the bake-off waits" in said for said in remarks), "a chain's links wait for one another"
    second = ship(oven)
    assert [job.kind for job in second.queued] == ["deploy", "bakeoff"]
    names = [one.name for one in map(oven.spec, (deploy, second.queued[0])) if isinstance(one, DeploySpec)]
    assert names == ["judge:next", f"judge:smollm2-135m-{first.queued[2].id}"]
    before = len(list_jobs(oven.connection))
    with pytest.raises(InputError) as refused:
        ship(oven, name="two words")
    assert refused.value.code == "bad_name" and len(list_jobs(oven.connection)) == before
    remarks.clear()
    other = replace(wanted, quantization="Q6_K")
    submit_ship(oven.home, shipped(), other, author="tester", remarks=remarks)
    assert f"job {deploy.id} is to serve as judge:next as well: the later of the two stays" in remarks
    with pytest.raises(InputError) as refused:
        ship(oven, at_boot=True)
    assert refused.value.key == "--at-boot", "a model of Ollama starts with Ollama"
    oven.end(deploy.id, "failed")
    again = submit_ship(oven.home, shipped(), wanted, author="tester")
    assert [job.kind for job in again.queued] == ["deploy", "bakeoff"], (
        "what failed is queued again, and what waits for it"
    )


def test_what_a_deployment_serves_is_a_candidate_by_its_job(oven: Kiln) -> None:
    deploy = ship(oven, bakeoff=False).queued[-1]
    remarks: list[str] = []
    wanted = WantedBakeoff(tasks=("judge",), candidates=("SmolLM2-135M", f"job:{deploy.id}@temperature=0"))
    row = submit_bakeoff(oven.home, shipped(), wanted, author="tester", remarks=remarks)
    spec = oven.spec(row)
    assert isinstance(spec, BakeoffSpec) and deploy.id in row.needs and deploy.id in spec.needs
    assert spec.candidates[1].name == f"{deploy.settings['name']} @temperature=0"
    assert len([said for said in remarks if f"once job {deploy.id} is done" in said]) == 1
    assert not any("was not asked" in said for said in remarks), "nobody is asked for what is still to serve"
    twice = replace(wanted, candidates=(f"job:{deploy.id}", f"served:{deploy.settings['name']}"))
    with pytest.raises(InputError) as doubled:
        submit_bakeoff(oven.home, shipped(), twice, author="tester")
    assert doubled.value.code == "doubled_candidate"
    oven.end(deploy.id, "failed")
    with pytest.raises(InputError) as refused:
        submit_bakeoff(oven.home, shipped(), wanted, author="tester")
    assert refused.value.code == "no_candidate" and f"queue retry {deploy.id}" in str(refused.value)


def test_what_was_made_already_is_taken(oven: Kiln) -> None:
    merge, convert = oven.export().queued
    oven.done(merge)
    first = ship(oven)
    assert kinds(first.chain)[:4] == [("train", True), ("merge", True), ("convert", True), ("quantize", False)]
    assert [link.job.id for link in first.chain.links[1:3]] == [merge.id, convert.id]
    again = ship(oven)
    assert again.queued == () and again.chain == first.chain, "all of it is on its way as the same chain"
    part = ship(oven, bakeoff=False)
    assert part.queued == () and part.chain == first.chain, "a part of a chain is that chain"
    other = ship(oven, quantization="Q6_K")
    assert [job.kind for job in other.queued] == ["quantize", "deploy", "bakeoff"]
    oven.end(first.queued[-1].id, "cancelled")
    renewed = ship(oven)
    assert [job.kind for job in renewed.queued] == ["bakeoff"], "only what came to nothing is queued again"
    assert [link.job.id for link in renewed.chain.links[:-1]] == [link.job.id for link in first.chain.links[:-1]]


def test_all_links_are_queued_or_none(kiln: Kiln) -> None:
    """The base of this training is no model of the project: only the last link finds out, within the transaction."""
    before = list_jobs(kiln.connection)
    with pytest.raises(NotFoundError) as missing:
        ship(kiln)
    assert missing.value.code == "model_not_found"
    assert list_jobs(kiln.connection) == before and list_chains(kiln.connection) == []
    made = ship(kiln, bakeoff=False)
    assert [job.kind for job in made.queued] == ["merge", "convert", "quantize", "deploy"]
    files = [JobFile.load(kiln.home.run_dir(job.id)).spec.kind for job in made.queued]
    assert files == [job.kind for job in made.queued], "nothing of the ids that were taken back is left"


def test_a_new_training_is_the_first_link(oven: Kiln, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = oven.spec(oven.train)
    assert isinstance(spec, TrainSpec)
    # The audit of the data is a process of its own: `tests/train` has the whole way.
    monkeypatch.setattr("core.submission.ship.training_spec", lambda *told, **more: spec)
    wanted = WantedShip(task="judge", model="SmolLM2-135M", recipe="demo", to="ollama")
    made = submit_ship(oven.home, shipped(), wanted, author="tester")
    assert kinds(made.chain)[0] == ("train", False) and made.chain.links[0].job.id != oven.train
    assert made.queued[1].source == f"job:{made.queued[0].id}" and made.queued[0].id in made.queued[1].needs


@pytest.mark.parametrize(
    ("which", "code"), [("merge", "no_training"), ("failed", "no_candidate"), ("nothing", "job_not_found")]
)
def test_what_no_chain_can_begin_with_is_refused(oven: Kiln, which: str, code: str) -> None:
    if which == "merge":
        oven.train = oven.merge().id
    elif which == "failed":
        oven.train = add_job(oven.connection)
        oven.end(oven.train, "failed")
    else:
        oven.train = 999
    before = len(list_jobs(oven.connection))
    with pytest.raises(BakehouseError) as refused:
        ship(oven)
    assert refused.value.code == code and len(list_jobs(oven.connection)) == before


@pytest.mark.parametrize("tool", ["llama-server", "llama-quantize"])
def test_a_tool_that_a_later_link_needs_is_missed_before_anything_is_queued(
    oven: Kiln, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (oven.tools / "build/bin" / tool).unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    before = len(list_jobs(oven.connection))
    with pytest.raises(InputError) as missing:
        ship(oven)
    assert missing.value.code == "no_llama_cpp" and tool in missing.value.message
    assert len(list_jobs(oven.connection)) == before


def test_the_command_and_the_queue_show_the_chain_as_one(oven: Kiln, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, ["ship", "--from", str(oven.train), "--to", "ollama", "--json"])
    document = json.loads(out)
    assert code == 0 and [job["kind"] for job in document["jobs"]][-1] == "bakeoff"
    assert document["chain"]["links"][0] == {
        "job": oven.train,
        "kind": "train",
        "state": "done",
        "taken": True,
        "seconds": 0.0,
    }
    code, out, _ = called(capsys, ["queue", "list"])
    lines = out.splitlines()
    head = next(index for index, line in enumerate(lines) if "chain:1" in line)
    assert "ship judge · SmolLM2-135M · Q8_0" in lines[head] and "1 of 6 done, merge next, 5 left" in lines[head]
    assert all(line.startswith("  ") for line in lines[head + 1 : head + 7]) and "made before" in lines[head + 1]
    assert sum("deploy judge" in line for line in lines) == 1, "a link is not listed a second time"
    code, out, _ = called(capsys, ["queue", "list", "--json"])
    assert json.loads(out)["chains"][0]["done"] == 1
    code, _, err = called(capsys, ["ship", "--from", str(oven.train), "--to", "ollama"])
    assert code == 0 and "all of this is there already, as chain 1" in err


@pytest.mark.parametrize(
    "words",
    [
        ["ship"],
        ["ship", "judge"],
        ["ship", "judge", "--from", "1"],
        ["ship", "--from", "1", "--no-deploy", "--name", "x"],
    ],
)
def test_a_chain_that_is_not_named_whole_is_wrong_usage(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as leave:
        main(words)
    told = capsys.readouterr().err
    assert leave.value.code == 2 and ("--from" in told or "--no-deploy" in told)


def test_what_a_chain_is_asked_for_has_its_command() -> None:
    assert WantedShip(training=4).command == "bakehouse ship --from 4"
    wanted = WantedShip("judge", "m", "demo", overrides={"rank": 4}, quantization="Q4_K_M", dtype="fp32", bakeoff=False)
    seen = replace(wanted, overrides={}, quantization="Q8_0", dtype="bf16", base_weights="dequantized", bakeoff=True)
    assert seen.command == "bakehouse ship judge --model m --recipe demo --base-weights dequantized"
    assert WantedShip(training=4, to="llama-server", name="x").command.endswith(" --to llama-server --name x")
    assert WantedShip(training=4, to="llama-server", at_boot=True).command.endswith(" --to llama-server --at-boot")
    assert WantedShip(training=4, deploy=False).command == "bakehouse ship --from 4 --no-deploy"
    options = "--set rank=4 --quantize Q4_K_M --dtype fp32 --no-bakeoff"
    assert wanted.command == f"bakehouse ship judge --model m --recipe demo {options}"
