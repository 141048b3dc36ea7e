"""What is known of a job by its kind, and what its spec makes of what it is told."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import click
import pytest
import yaml

from core.config.base import writing
from core.config.model import ModelEntry
from core.config.project import shipped
from core.errors import InputError
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.kinds import KINDS, JobKind, kind_of, load, spec_class
from core.jobfile.merge import MergeSpec
from core.jobfile.pull import PullSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.race import RaceSpec
from core.jobfile.raw import read_key
from core.jobfile.references import Reference, needed_jobs, parse_reference
from core.jobfile.shared_texts import SharedTexts
from core.jobfile.spec import Columns, InputFile, JobFile, Spec
from core.jobfile.train import TRAINING_HQQ, FittedKey, TrainSpec, TrialChoice, TrialRef
from core.store.database import open_database
from core.store.jobs import JobRow, list_jobs
from core.submission.enqueue import store
from tests.support.job_files import job_file
from tests.support.needs import needs
from tests.support.queueing import AUTHOR

OURS = [KINDS[name] for name in ("train", "bakeoff", "drafts", "merge", "convert", "quantize", "race", "pull")]
FILE = InputFile(path="/f", sha256="0" * 64, source="/f")
HUB = ModelEntry(name="small", hub="org/small", parameters=1000)


def train(recipe: str = "lora-bf16") -> TrainSpec:
    project = shipped()
    task, model = project.task("judge"), project.model("SmolLM2-135M")
    return TrainSpec(task=task, model=model, recipe=project.recipe(recipe), train=FILE)


def bakeoff(*candidates: CandidateSpec) -> BakeoffSpec:
    return BakeoffSpec(task=shipped().task("judge"), golden=FILE, candidates=list(candidates), repeats=2)


BASE = CandidateSpec(name="small base", form="base", model=HUB)
TUNED = CandidateSpec(name="small tuned", form="adapter", model=HUB, ref="job:4/adapter")
MERGED = CandidateSpec(name="other", form="merged", model=HUB.model_copy(update={"name": "large"}), ref="job:2/merged")


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.name)
def test_what_the_registry_names_is_there(kind: JobKind) -> None:
    assert get_args(spec_class(kind).model_fields["kind"].annotation) == (kind.name,)
    assert find_spec(kind.module) is not None
    assert kind.command is None or isinstance(load(kind.command.target), click.Command)


def test_what_ends_in_the_bake_off_is_made_by_a_kind_that_is_stored() -> None:
    assert {makes for kind in OURS for makes in kind.makes} == {"adapter", "merged", "gguf"}


SPECS: dict[str, tuple[Spec, str, Columns, tuple[int, ...]]] = {
    "train": (train(), "train judge · SmolLM2-135M", Columns(task="judge", model="SmolLM2-135M"), ()),
    "merge": (
        MergeSpec(adapter="job:7", model=HUB, task="judge"),
        "merge judge · small",
        Columns(task="judge", model="small", source="job:7"),
        (7,),
    ),
    "the conversion of a merge": (
        ConvertSpec(model=HUB, source="job:8/merged", converter="/llama.cpp/convert_hf_to_gguf.py", task="judge"),
        "GGUF bf16 · judge · small",
        Columns(task="judge", model="small", source="job:8/merged"),
        (8,),
    ),
    "the conversion of a base": (
        ConvertSpec(model=HUB, format="q8_0", converter="/llama.cpp/convert_hf_to_gguf.py"),
        "GGUF q8_0 · small",
        Columns(model="small"),
        (),
    ),
    "quantize": (
        QuantizeSpec(source="job:9/gguf", program="/usr/bin/llama-quantize", model=HUB, task="judge"),
        "GGUF Q8_0 · judge · small",
        Columns(task="judge", model="small", source="job:9/gguf"),
        (9,),
    ),
    "quantize a file": (
        QuantizeSpec(source="/models/a.gguf", quantization="Q4_K_M", program="/usr/bin/llama-quantize"),
        "GGUF Q4_K_M · /models/a.gguf",
        Columns(source="/models/a.gguf"),
        (),
    ),
    "a bake-off of one base": (
        bakeoff(BASE, TUNED),
        "bake-off judge, 2 candidates",
        Columns(task="judge", model="small"),
        (4,),
    ),
    "a bake-off of two": (bakeoff(TUNED, MERGED), "bake-off judge, 2 candidates", Columns(task="judge"), (2, 4)),
    "a bake-off of one": (bakeoff(BASE), "bake-off judge, small base", Columns(task="judge", model="small"), ()),
    "race": (
        RaceSpec(
            experiment="wide",
            task="judge",
            arms={"a1": "small", "b2": "large"},
            trials=[TrialRef(arm="b2", job=6, lr=1e-5), TrialRef(arm="a1", job=5, lr=1e-4)],
            keep=1,
        ),
        "race judge · wide",
        Columns(task="judge"),
        (),
    ),
    "a training that chooses": (
        train().model_copy(
            update={"choice": TrialChoice(arm="a1", trials=[TrialRef(arm="a1", job=5, lr=1e-4)], keep=1, race=7)}
        ),
        "train judge · SmolLM2-135M",
        Columns(task="judge", model="SmolLM2-135M"),
        (7,),
    ),
    "pull": (PullSpec(model=HUB), "pull small", Columns(model="small", source="hub:org/small"), ()),
}


@pytest.mark.parametrize("case", SPECS)
def test_a_spec_tells_its_title_its_columns_and_what_it_waits_for(case: str) -> None:
    spec, title, columns, needs = SPECS[case]
    assert (spec.title, spec.columns, spec.needs) == (title, columns, needs)


def test_packages_follow_from_what_the_job_does() -> None:
    assert train("qlora-hqq4").packages == TRAINING_HQQ
    assert "hqq" not in train().packages and "trl" in train().packages
    assert "trl" not in bakeoff(BASE).packages
    assert PullSpec(model=HUB).packages == ()


def test_a_kind_of_another_version_promises_nothing() -> None:
    unknown = kind_of("distil")
    assert (unknown.makes, unknown.command, unknown.can_bake_off, unknown.has_forecast) == ((), None, False, False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    made = Home(tmp_path / "home").create()
    made.run_dir(1).path.mkdir()
    return made


@pytest.mark.parametrize("case", SPECS)
def test_a_job_file_is_read_as_it_was_written(home: Home, case: str) -> None:
    run = home.run_dir(1)
    written = job_file(home, SPECS[case][0], python="/opt/env/bin/python")
    written.save(run)
    assert JobFile.load(run) == written
    assert read_key(run, "python", str) == "/opt/env/bin/python"
    assert read_key(run, "spec", dict)["kind"] == written.kind


TEXTS = [
    "",
    "plain",
    "two\nlines",
    "- a: [b",
    "ende\x85 \u2028 x",
    "sign ✓ 😀",
    " spaced ",
    "word " * 60,
    "1e-05",
    "no",
]


def test_files_of_one_submission_that_share_their_texts_are_as_if_each_was_written_by_itself(home: Home) -> None:
    """Byte by byte what YAML makes of the whole document, in whatever order they are written."""
    specs = [spec for spec, *_ in SPECS.values()]
    specs += [
        train(recipe).model_copy(
            update={"not_predicted": text, "fitted": [FittedKey(key=text, before=text, after=[text])]}
        )
        for recipe in ("demo", "qlora-hqq4")
        for text in TEXTS
    ]
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    shared = SharedTexts(writing(home))
    for number, spec in enumerate([*specs, *reversed(specs)]):
        file = job_file(home, spec, number, title=TEXTS[number % len(TEXTS)], needs=list(range(number % 3)))
        document = file.model_dump(mode="json", exclude={"home"}, context=writing(home))
        whole = yaml.dump(document, Dumper=dumper, allow_unicode=True, sort_keys=False, width=120)
        assert shared.of(file, leave_out={"home"}) == whole


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [("kind: train", "kind: distil", "spec"), ("rank: 16", "rank: many", "spec.recipe.rank")],
)
def test_a_spec_that_cannot_be_used_is_told_with_its_key(home: Home, before: str, after: str, key: str) -> None:
    run = home.run_dir(1)
    job_file(home, train("demo")).save(run)
    text = run.job_file.read_text()
    assert before in text
    run.job_file.write_text(text.replace(before, after))
    with pytest.raises(InputError) as refused:
        JobFile.load(run)
    assert (refused.value.code, refused.value.key) == ("bad_job_file", key)


@pytest.mark.parametrize(("content", "code"), [(None, "no_job_file"), ("[1", "bad_job_file"), ("7", "bad_job_file")])
def test_a_key_that_is_not_there_is_an_error(home: Home, content: str | None, code: str) -> None:
    run = home.run_dir(1)
    if content is not None:
        run.job_file.write_text(content)
    with pytest.raises(InputError) as refused:
        read_key(run, "python", str)
    assert refused.value.code == code


def test_references() -> None:
    assert parse_reference("job:12/adapter") == Reference(12, "adapter")
    assert parse_reference("job:12") == Reference(12)
    assert [parse_reference(text) for text in ("job:", "job:1/", "/models/job:1", "job:1/a/b", "", None)] == [None] * 6
    assert needed_jobs("job:9/adapter", None, "/a/path", "job:3", "job:9") == (3, 9)


def jobs(home: Home) -> list[JobRow]:
    with contextlib.closing(open_database(home)) as connection:
        return list_jobs(connection)


@needs("torch")
def test_a_pull_on_its_way_is_found_by_what_it_fetches(home: Home) -> None:
    other = HUB.model_copy(update={"hub": "org/other"})
    first, again, elsewhere = (
        store(home, shipped(), MergeSpec(adapter="/adapter", model=model), author=AUTHOR) for model in (HUB, HUB, other)
    )
    pulls = {job.id: job.source for job in jobs(home) if job.kind == "pull"}
    assert list(pulls.values()) == ["hub:org/small", "hub:org/other"]
    assert first.needs == again.needs != elsewhere.needs
    assert {*first.needs, *elsewhere.needs} == set(pulls)
