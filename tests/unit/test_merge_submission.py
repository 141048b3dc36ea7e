"""What one export is asked for, and what is said of one that was made already: by the command and in the console."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
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
from core.jobfile.merge import MergeSpec, survival_words
from core.jobfile.spec import InputFile, JobFile
from core.jobfile.train import TrainSpec
from core.store.database import open_database, transaction
from core.store.jobs import JobRow, get_job
from core.store.results import import_result
from core.submission.candidates import parse_candidates
from core.submission.merge import earlier_merge, submit_merge
from core.submission.wanted_export import WantedMerge
from tests.support.job_files import job_file
from tests.support.model_folders import config_of, write_adapter, write_folder
from tests.support.needs import need
from tests.support.stored import add_job, path_to, step

SURVIVAL = {
    "dtype": "bf16",
    "share": 0.978,
    "worst": {"tensor": "model.layers.1.mlp.down_proj.weight", "share": 0.91},
    "updated": 14,
    "unchanged": 0,
    "tensors": [],
}


@dataclass
class Bench:
    """A home with a training that is done, on a model of a folder."""

    home: Home
    connection: sqlite3.Connection
    model: ModelEntry
    train: int = 0

    def end(self, job_id: int, state: str) -> None:
        for name in path_to(self.connection, state):  # type: ignore[arg-type]
            step(self.connection, job_id, name)

    def merge(self, dtype: str = "bf16", base_weights: str = "original", *, again: bool = False) -> JobRow:
        wanted = WantedMerge(f"job:{self.train}", dtype, base_weights)  # type: ignore[arg-type]
        return submit_merge(self.home, shipped(), wanted, again=again, author="tester")

    def train_on_four_bits(self) -> None:
        """From now on the training is one on quantised weights."""
        run = self.home.run_dir(self.train)
        recipe = shipped().recipe("qlora-hqq4")
        spec = JobFile.load(run).spec.model_copy(update={"recipe": recipe})
        job_file(self.home, spec, self.train).save(run)

    def done(self, job: JobRow) -> Path:
        """End a merge as its job would; the folder that it made."""
        folder = self.home.artefacts / f"{job.id:064}" / "merged"
        folder.mkdir(parents=True)
        artefact = {"sha256": f"{job.id:064}", "kind": "merged", "path": str(folder), "bytes": 9, "lineage": {}}
        run = self.home.run_dir(job.id)
        summary = {"model": "m", "path": str(folder), "survival": SURVIVAL}
        write_json(
            run.result, {"schema": 1, "kind": "merge", "message": "", "artefacts": [artefact], "summary": summary}
        )
        self.end(job.id, "done")
        with transaction(self.connection):
            import_result(self.connection, job.id, run)
        return folder


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    need("torch")  # without it no merge is accepted
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.cli.submitted.warn_of_launcher", lambda home: None)  # it asks a program
    home = Home(tmp_path / "home").create()
    connection = open_database(home)
    model = ModelEntry(name="m", path=str(write_folder(tmp_path / "m", config_of("llama"))))
    made = Bench(home, connection, model)
    made.train = add_job(connection)
    made.end(made.train, "done")
    project = shipped()
    file = InputFile(path="/x", sha256="0" * 64, source="/x")
    spec = TrainSpec(task=project.task("judge"), model=model, recipe=project.recipe("demo"), train=file)
    home.run_dir(made.train).path.mkdir(parents=True)
    job_file(home, spec, made.train).save(home.run_dir(made.train))
    yield made
    connection.close()


def test_each_format_is_merged_once(bench: Bench) -> None:
    first = bench.merge()
    with pytest.raises(InputError) as caught:
        bench.merge()
    assert caught.value.code == "already_merged" and f"job {first.id} " in str(caught.value)
    folder = bench.done(first)
    with pytest.raises(InputError, match=f"already merged as job {first.id}: {folder}"):
        bench.merge()
    other = bench.merge("fp32")
    spec = JobFile.load(bench.home.run_dir(other.id)).spec
    assert isinstance(spec, MergeSpec) and spec.dtype == "fp32"
    assert bench.merge(again=True).id > other.id


def test_each_of_the_two_bases_is_merged_into_once(bench: Bench) -> None:
    with pytest.raises(InputError) as caught:
        bench.merge(base_weights="dequantized")
    assert caught.value.code == "not_quantized"
    bench.train_on_four_bits()
    plain, seen = bench.merge(), bench.merge(base_weights="dequantized")
    assert seen.id > plain.id and plain.title != seen.title
    with pytest.raises(InputError) as caught:
        bench.merge(base_weights="dequantized")
    assert caught.value.code == "already_merged" and f"job {seen.id} " in str(caught.value)
    both = [f"job:{job.id}" for job in (plain, seen)]
    names = [one.name for one in parse_candidates(bench.home, bench.connection, shipped(), both)]
    assert names == ["m tuned, merged", "m tuned, merged into the dequantized base"]
    spec = JobFile.load(bench.home.run_dir(seen.id)).spec
    assert "hqq" in spec.packages and "hqq" not in JobFile.load(bench.home.run_dir(plain.id)).spec.packages


@pytest.mark.parametrize(
    "wanted",
    [WantedMerge("job:12", "fp32"), WantedMerge("job:12", base_weights="dequantized"), WantedMerge("./an adapter")],
)
def test_the_command_that_is_shown_asks_for_the_same_merge(
    wanted: WantedMerge, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[WantedMerge] = []
    monkeypatch.setattr("core.submission.merge.earlier_merge", lambda home, connection, one: None)

    def note(home: Home, project: Any, one: WantedMerge, *, again: bool, author: str) -> None:
        asked.append(one)
        raise InputError("enough", code="enough")

    monkeypatch.setattr("core.submission.merge.submit_merge", note)
    with pytest.raises(SystemExit):
        main(shlex.split(wanted.command)[1:])
    assert asked == [wanted]


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_merge_that_came_to_nothing_or_whose_files_are_gone_is_made_again(bench: Bench, state: str) -> None:
    bench.end(bench.merge().id, state)
    second = bench.merge()
    shutil.rmtree(bench.done(second))
    assert earlier_merge(bench.home, bench.connection, WantedMerge(f"job:{bench.train}")) is None
    assert bench.merge().id > second.id


def test_the_command_says_where_the_result_lies_and_how_much_survived(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as leave:
            main(["export", str(bench.train), *words])
        return int(leave.value.code or 0), capsys.readouterr().out

    assert export("--dtype", "bfloat16")[0] == 0
    job = bench.connection.execute("SELECT max(id) FROM jobs").fetchone()[0]
    folder = bench.done(get_job(bench.connection, job))
    code, out = export()
    assert (code, out) == (0, f"already merged as job {job}: {folder}\n")
    code, out = export("--json", "--wait")
    document = json.loads(out)
    assert (code, document["already_merged"], document["path"]) == (0, True, str(folder))
    assert document["survival"] == SURVIVAL
    assert export("--again")[0] == 0 and get_job(bench.connection, job + 1).kind == "merge"


def test_the_adapter_of_another_tool_is_exported_by_its_folder(bench: Bench, tmp_path: Path) -> None:
    assert bench.model.path is not None
    folder = write_adapter(tmp_path / "lora", bench.model.path)
    job = submit_merge(bench.home, shipped(), WantedMerge(str(folder), "fp16"), author="tester")
    spec = JobFile.load(bench.home.run_dir(job.id)).spec
    assert isinstance(spec, MergeSpec)
    assert (spec.adapter, spec.dtype, spec.model.path, job.needs) == (str(folder), "fp16", bench.model.path, ())
    with pytest.raises(InputError) as caught:
        submit_merge(bench.home, shipped(), WantedMerge(str(bench.model.path)), author="tester")
    assert caught.value.code == "no_adapter"


@pytest.mark.parametrize(
    ("share", "unchanged", "words"),
    [
        (0.978, 0, "98 % of the update survives in bf16"),
        (0.41, 3, "3 of its tensors did not change"),
        (0.41, 0, "keeps more"),
        (1.00002, 0, "100 % of the update"),
        (0.0004, 0, "<1 % of the update"),
    ],
)
def test_what_survives_is_one_line(share: float, unchanged: int, words: str) -> None:
    said = survival_words({**SURVIVAL, "share": share, "unchanged": unchanged})
    assert words in said and "91 % in model.layers.1.mlp.down_proj.weight" in said and "\n" not in said


def test_a_format_that_nobody_knows_is_refused_with_those_there_are(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leave:
        main(["export", "1", "--dtype", "int8"])
    assert leave.value.code == 2 and "bf16" in capsys.readouterr().err
