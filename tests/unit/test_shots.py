"""Answered examples that a recipe trains with: each side knows of them, and none asks as if they had not been there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.config.project import Project, shipped
from core.config.recipe import FewShot
from core.data.examples import Message
from core.data.shots import TrainedShots, shots_in, shots_to_json, trained_shots
from core.data.template_proof import prove
from core.diagnosis.asked import asked_causes
from core.diagnosis.diagnosis import diagnose
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, ExampleTurn, Variant
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.parity.conversations import probe_conversations
from core.parity.gate import ParityReport, compare_prompts, few_shot_findings
from core.shipping.families import Family
from core.submission.deploy import submit_deploy
from core.submission.ship import submit_ship
from core.submission.stages import submit_stages
from core.submission.wanted_ship import WantedShip
from core.submission.wanted_stages import WantedStages
from core.wording.diagnosis import diagnosis_rows
from core.wording.lineage import lineage_lines
from core.wording.parity import finding_words
from jobs.artefacts import ArtefactStore
from jobs.modelfile import modelfile_of
from tests.support.job_files import job_file
from tests.support.kiln import Kiln, kiln
from tests.support.modelfile_reader import read_modelfile
from tests.support.recorded_lineage import ADAPTER, Q8_0, Records, whole_chain
from tests.support.tokenizers import CHATML, byte_level
from tests.unit.test_parity import GOLDEN, TASK, OtherServer

__all__ = ["kiln"]

TWO_EACH = FewShot(count=2, share=1.0)
COUNTS = {"trained": 24, "added": {"few_shot_count": 2, "few_shot_full": 20, "few_shot_fewer": 3}}


@pytest.mark.parametrize(
    ("wanted", "counts", "expected"),
    [
        (None, COUNTS, None),
        (TWO_EACH, COUNTS, TrainedShots(2, 23 / 24, (23, 24))),
        (TWO_EACH, {}, TrainedShots(2, 1.0)),
        (TWO_EACH, {"trained": "24", "added": 3}, TrainedShots(2, 1.0)),
        (TWO_EACH, {"trained": 24, "added": {"few_shot_full": "all"}}, TrainedShots(2, 1.0)),
        (TWO_EACH, {"trained": 24, "added": {"few_shot_none": 24}}, None),
        (FewShot(count=3), {"trained": 9, "added": {"few_shot_full": 2}}, TrainedShots(3, 2 / 9, (2, 9))),
    ],
)
def test_what_a_training_counted_goes_before_what_its_recipe_asked_for(
    wanted: FewShot | None, counts: dict[str, Any], expected: TrainedShots | None
) -> None:
    assert trained_shots(wanted, counts) == expected


def lineage(**of_training: Any) -> dict[str, Any]:
    trained = {"kind": "adapter", "task": "judge", "recipe": {"name": "demo"}, "data": "/d", **of_training}
    return {"quantization": "Q8_0", "made_of": {"format": "bf16", "made_of": {"adapter": "job:2", "made_of": trained}}}


def test_a_file_s_lineage_tells_of_them_whatever_was_made_since() -> None:
    noted = shots_to_json(TrainedShots(2, 23 / 24, (23, 24)))
    assert shots_in(lineage(few_shot=noted)) == TrainedShots(2, 23 / 24)
    before = lineage(recipe={"name": "demo", "few_shot": {"count": 2, "share": 0.5}})
    assert shots_in(before) == TrainedShots(2, 0.5), "adapters of before have their recipe alone"
    none = lineage(recipe={"few_shot": {"count": 2, "share": 0.5}}, few_shot=shots_to_json(None))
    assert shots_in(none) is None, "no prompt got any, whatever the recipe asked for"
    torn: list[Any] = [None, {}, {"made_of": 3}, lineage(few_shot="2"), lineage(few_shot={"count": 0, "share": "x"})]
    assert [shots_in(one) for one in torn] == [None] * len(torn)


def test_of_what_a_server_has_they_are_known_by_the_digest_of_its_file(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    store = ArtefactStore(home.artefacts, home)
    assert store.lineage_of_file("sha256:" + "f" * 64) is None, "there is no artefact yet"
    for digest, shots in (("e", None), ("f", TrainedShots(2, 1.0))):
        place = home.artefacts / (digest * 64)
        place.mkdir(parents=True)
        noted = {"file_sha256": digest * 64, **lineage(few_shot=shots_to_json(shots))}
        write_json(place / "lineage.json", noted)
    (home.artefacts / "torn").mkdir()
    (home.artefacts / "torn" / "lineage.json").write_text("{")
    (home.artefacts / "adapter").mkdir()
    write_json(home.artefacts / "adapter" / "lineage.json", lineage(few_shot=shots_to_json(TrainedShots(1, 1.0))))
    assert shots_in(store.lineage_of_file("sha256:" + "f" * 64)) == TrainedShots(2, 1.0)
    assert shots_in(store.lineage_of_file("sha256:" + "e" * 64)) is None
    for unknown in ("sha256:" + "d" * 64, None):
        assert store.lineage_of_file(unknown) is None, "another server's file, or one that it does not tell"


def test_a_person_reads_of_them_in_runs_show_and_in_the_modelfile() -> None:
    many, some = TrainedShots(2, 1.0), TrainedShots(1, 0.5)
    shown = ["\n".join(lineage_lines(lineage(few_shot=shots_to_json(one)))) for one in (many, some)]
    assert "up to 2 answered examples in front of 100 % of its prompts (requests have to send them)" in shown[0]
    assert "up to 1 answered example in front of 50 % of its prompts (for training only)" in shown[1]
    assert "answered" not in "\n".join(lineage_lines(lineage()))
    written = [modelfile_of("x.gguf", None, Family("chatml"), ServedAs(task=TASK), one).text() for one in (many, some)]
    assert "send as many with each request" in written[0] and "requests need none" in written[1]
    plain = modelfile_of("x.gguf", None, Family("chatml"), ServedAs(task=TASK)).text()
    assert "answered example" not in plain
    assert read_modelfile(written[0]) == read_modelfile(written[1]) == read_modelfile(plain), "comments, and no MESSAGE"


def test_the_modelfile_has_them_for_requests_without_a_system_prompt() -> None:
    turns = [("user", 'A "note".\nTwo lines.'), ("assistant", "Fine.\n"), ("user", "Another."), ("assistant", "Bad.")]
    said = [ExampleTurn(role=role, content=text) for role, text in turns]  # type: ignore[arg-type]
    served = ServedAs(task=TASK, examples=((said[0], said[1]), (said[2], said[3])))
    written = modelfile_of("x.gguf", None, Family("chatml"), served, TrainedShots(2, 1.0)).text()
    assert not [name for name, _ in read_modelfile(written) if name in ("message", "system")], "they are comments"
    begin = written.index("# MESSAGE")
    block, _, _ = written[begin:].partition("\n\nFROM")
    uncommented = "\n".join(line.removeprefix("# ") if line != "#" else "" for line in block.splitlines())
    read = read_modelfile(f"{uncommented}\nFROM x\n")
    assert read[:-1] == [("message", f"{role}: {content}") for role, content in turns]
    unwritable = ServedAs(task=TASK, examples=((ExampleTurn(role="user", content="👩\u200d👧"), said[1]),))
    left_out = modelfile_of("x.gguf", None, Family("chatml"), unwritable, TrainedShots(1, 1.0)).text()
    assert "MESSAGE user" not in left_out and "send as many with each request" in left_out


def test_a_model_that_was_trained_with_them_answers_a_question_that_has_them() -> None:
    tokenizer = byte_level()
    examples = [[Message("user", "A note."), Message("assistant", "Fine.")]]
    probes = probe_conversations(TASK, GOLDEN, prove(tokenizer, "off"), 1, examples)
    assert probes[-1].name == "golden input short, examples in front", "the last one is what is asked"
    assert [one.content for one in probes[-1].messages] == [TASK.system, "A note.", "Fine.", GOLDEN[0].input]
    assert probes[:-1] == probe_conversations(TASK, GOLDEN, prove(tokenizer, "off"), 1)


def test_the_gate_compares_a_prompt_that_has_them_and_tells_who_sends_them() -> None:
    tokenizer = byte_level()
    probes = probe_conversations(TASK, GOLDEN, prove(tokenizer, "off"), 3)
    probe = next(one for one in probes if one.name == "examples in front")
    assert [one.role for one in probe.messages] == ["system", *["user", "assistant"] * 3, "user"]
    # A server that forgets what was answered before the last question, as some templates for one turn do.
    forgets = "{%- set ns = namespace(last=messages[-1]) -%}" + CHATML.replace(
        "for message in messages", "for message in [messages[0], ns.last]"
    )
    for template, passes in ((CHATML, True), (forgets, False)):
        cases = compare_prompts(tokenizer, OtherServer(template, tokenizer), [probe], "off", TASK.system_role)
        assert cases[0].same is passes
    found = few_shot_findings(TrainedShots(2, 1.0))
    assert [one.code for one in found] == ["few_shot_expected"] and "`@few_shot=2`" in finding_words(found[0])
    part = few_shot_findings(TrainedShots(2, 0.25))
    assert [one.code for one in part] == ["few_shot_for_training"] and "25 %" in finding_words(part[0])
    assert few_shot_findings(None) == []
    assert ParityReport((), (*found, *part)).passed, "they are told, and block nothing"


@pytest.mark.parametrize(
    ("recipe", "summary", "asked", "certainty"),
    [
        (TWO_EACH, COUNTS, 0, "likely"),
        (TWO_EACH, {}, 0, "possible"),
        (TWO_EACH, COUNTS, 2, None),
        (TWO_EACH, {"trained": 24, "added": {"few_shot_full": 3, "few_shot_none": 21}}, 0, None),
        (FewShot(count=2, share=0.5), {}, 0, None),
        (None, {}, 0, None),
    ],
)
def test_why_names_a_bake_off_that_asked_without_what_nearly_every_trained_prompt_had(
    tmp_path: Path, recipe: FewShot | None, summary: dict[str, Any], asked: int, certainty: str | None
) -> None:
    records = Records(tmp_path)
    training = records.train(recipe={"few_shot": recipe}, **summary)
    variant = Variant(written=f"few_shot={asked}" if asked else "", few_shot=asked)
    baked = records.bakeoff({ADAPTER: training}, variants={ADAPTER: variant})
    found = diagnose(records.home, records.connection, baked)
    (link, spec), *_ = found.lineage.bakeoffs
    causes = {cause.code: cause for cause in asked_causes(found.lineage, link, spec)}
    assert {code: cause.certainty for code, cause in causes.items()} == (
        {} if certainty is None else {"few_shot_not_sent": certainty}
    )
    if certainty == "likely":
        figures = {one.key: one.value for one in causes["few_shot_not_sent"].evidence}
        assert figures["summary.added.few_shot_full + few_shot_fewer"] == 23 and figures["summary.trained"] == 24
        assert [cause.code for cause in found.causes] == ["few_shot_not_sent"]
        text = "\n".join(row.text for row in diagnosis_rows(found))
        assert "up to 2 answered examples in front of 96 % of its prompts" in text and "@few_shot=" in text


def test_a_check_that_told_of_them_is_no_cause_of_anything(tmp_path: Path) -> None:
    records = Records(tmp_path)
    *_, quantized = whole_chain(records)
    told = [
        one.to_json() for one in (*few_shot_findings(TrainedShots(2, 1.0)), *few_shot_findings(TrainedShots(2, 0.1)))
    ]
    records.parity(quantized, {"passed": True, "cases": [], "findings": told})
    records.bakeoff({Q8_0: quantized})
    assert diagnose(records.home, records.connection, quantized).causes == ()


@pytest.mark.parametrize(("share", "lines", "asked"), [(1.0, None, 2), (0.5, None, 0), (1.0, 1, 0)])
@pytest.mark.parametrize("way", ["ship", "stages"])
def test_what_is_queued_over_a_training_asks_as_it_was_trained(
    kiln: Kiln, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, share: float, lines: int | None, asked: int
) -> None:
    if lines is not None:  # the data has become smaller since
        rows = [json.dumps({"prompt": f"A note of {one}.", "completion": "Fine."}) + "\n" for one in range(lines)]
        (tmp_path / "small.jsonl").write_text("".join(rows))
        monkeypatch.setattr(Project, "train_file", lambda project, task: tmp_path / "small.jsonl")
    monkeypatch.setattr("core.submission.stages.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.submission.server_memory.gpu_devices", lambda server: ())
    run, remarks = kiln.home.run_dir(kiln.train), list[str]()
    spec = JobFile.load(run).spec
    assert isinstance(spec, TrainSpec)
    recipe = spec.recipe.model_copy(update={"few_shot": FewShot(count=2, share=share)})
    changed = spec.model_copy(update={"recipe": recipe, "model": shipped().model("SmolLM2-135M")})
    job_file(kiln.home, changed, kiln.train).save(run)
    if way == "ship":
        wanted = WantedShip(training=kiln.train, to="ollama")
        made = submit_ship(kiln.home, shipped(), wanted, author="tester", remarks=remarks).queued
        queued = made[-1]
        specs = {job.kind: kiln.spec(job) for job in made}
        carried = [specs[kind].served.examples for kind in ("convert", "quantize", "deploy")]  # type: ignore[attr-defined]
        file = f"job:{made[2].id}"
        deployed = submit_deploy(kiln.home, shipped(), file, to="ollama", name="other:v1", author="tester")
        carried.append(kiln.spec(deployed).served.examples)  # type: ignore[attr-defined]
        assert {len(one) for one in carried} == {asked} and len(set(carried)) == 1, "they go with the file"
    else:
        stages = submit_stages(kiln.home, shipped(), WantedStages(kiln.train), author="tester", remarks=remarks)
        queued = stages.bakeoff
    bakeoff = kiln.spec(queued)
    assert isinstance(bakeoff, BakeoffSpec) and len(bakeoff.candidates) >= 3
    assert {one.variant.few_shot for one in bakeoff.candidates} == {asked}, "all are asked alike"
    assert len(bakeoff.tasks[0].examples) == asked
    assert any("and the bake-off asks without" in said for said in remarks) is (lines is not None)
    assert bakeoff.incumbent == bakeoff.candidates[0].name and bakeoff.candidates[0].form == "base"
