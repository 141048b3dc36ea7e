"""A home with trainings, merges and bake-offs that have run, which a test moves about: as a person would, by several ways."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.shipped import DEMO_RECIPE
from core.files import append_line, sha256_json, write_json
from core.home import AttemptDir, Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.convert_lora import ConvertLoraSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import JobFile, Spec
from core.jobfile.train import TrainSpec
from core.own_paths import read_result
from core.results.load import stored_leaderboards
from core.scoring.scorer import score_answers
from core.store.database import open_database, transaction
from core.store.jobs import get_job
from core.store.results import import_answers, import_result, list_artefacts
from core.store.scores import import_scores
from core.submission.candidates import parse_candidate
from core.submission.enqueue import Place, insert
from core.submission.input_store import keep_bytes, keep_document
from jobs.artefacts import ArtefactStore
from jobs.context import JobContext
from jobs.inputs import read_golden
from jobs.train import purpose_of, what_is_trained
from tests.support.leaderboards import answers, inputs, task
from tests.support.stored import step
from tui.model.job_files import JobFiles

MODEL = ModelEntry(name="smol", path="/models/smol")


class Moved:
    """A home at `folder`/home-N, reached by a link where `linked`; what has been made in it is known beside it."""

    def __init__(self, folder: Path, *, linked: bool) -> None:
        self.folder = folder
        self.place = folder / "home-0"
        self.link = folder / "link" if linked else None
        self.moves = 0
        self.weights: dict[int, str] = {}
        """What each training and merge has written, by job."""
        self.boards: dict[int, str] = {}
        self.purposes: dict[int, str] = {}
        """By which each training knows its checkpoints."""
        if self.link is not None:
            self.place.mkdir(mode=0o700)
            self.link.symlink_to(self.place)
        open_database(self.home).close()

    @property
    def home(self) -> Home:
        return Home(self.link or self.place)

    def move(self, way: Callable[[Path, Path], object]) -> None:
        self.moves += 1
        place = self.folder / f"disk-{self.moves}" / "home"
        place.parent.mkdir()
        way(self.place, place)
        self.place = place
        if self.link is not None:
            self.link.unlink()
            self.link.symlink_to(place)

    # What jobs do, without their processes.

    def _run(self, spec: Spec, work: Callable[[JobContext], None]) -> int:
        with contextlib.closing(open_database(self.home)) as connection:
            place = Place(self.home, shipped(), connection, sys.executable, "tester", on_gpu=False)
            with transaction(connection):
                job = insert(place, spec, spec.needs)
            for state in ("ready", "starting"):
                step(connection, job, state)  # type: ignore[arg-type]
            run = self.home.run_dir(job)
            attempt = run.attempt(1)
            attempt.path.mkdir(mode=0o700)
            attempt.log.write_text(f"job {job} at work\n")
            context = JobContext.open(run, attempt)
            context.phase("working")
            work(context)
            with transaction(connection):
                import_result(connection, job, run)
                import_scores(connection, job, run) if import_answers(connection, job, run) else None
            step(connection, job, "done")
        return job

    def train(self) -> None:
        data = keep_bytes(self.home, b'{"prompt": "a", "completion": "b"}\n', "train.jsonl", "/project/train.jsonl")
        spec = TrainSpec(task=task(), model=MODEL, recipe=shipped().recipe(DEMO_RECIPE), train=data)
        self._make("adapter", spec, f"trained {self.moves} {len(self.weights)}")
        job = max(self.weights)
        self.purposes[job] = purpose_of(self.home.run_dir(job), spec)

    def merge(self) -> None:
        trained = self._trained()
        self._make("merged", MergeSpec(adapter=f"job:{trained}/adapter", model=MODEL), f"of {self.weights[trained]}")

    def convert(self) -> None:
        trained = self._trained()
        spec = ConvertSpec(model=MODEL, source=f"job:{trained}/merged", converter="/llama.cpp/convert_hf_to_gguf.py")
        self._make("gguf", spec, f"converted of {self.weights[trained]}")

    def quantize(self) -> None:
        spec = QuantizeSpec(source=f"job:{max(self.weights)}/gguf", program="/llama.cpp/llama-quantize", model=MODEL)
        self._make("gguf", spec, f"quantised of {self.weights[max(self.weights)]}")

    def convert_lora(self) -> None:
        trained = self._trained()
        spec = ConvertLoraSpec(
            adapter=f"job:{trained}",
            model=MODEL,
            base_gguf=str(self.home.cache / "base-Q8_0.gguf"),
            converter="/llama.cpp/convert_lora_to_gguf.py",
        )
        self._make("lora", spec, f"the factors of {self.weights[trained]}")

    def _trained(self) -> int:
        if not self.weights:
            self.train()
        return min(self.weights)

    def _make(self, kind: str, spec: Spec, weights: str) -> None:
        def work(context: JobContext) -> None:
            made = context.artefacts.add(kind, {}, lambda place: (place / "weights").write_text(weights) and None)
            context.finish("made", artefacts=[made], summary={"seconds": 1})

        self.weights[self._run(spec, work)] = weights

    def bake_off(self) -> None:
        trained = self._trained()
        items = inputs(2)
        golden = keep_document(self.home, [item.model_dump(mode="json") for item in items], "g.json", "/project/g.yaml")
        with contextlib.closing(open_database(self.home)) as connection:
            tuned = parse_candidate(self.home, connection, shipped(), f"job:{trained}")
        base = CandidateSpec(name="base", form="base", model=MODEL)
        spec = BakeoffSpec(task=task(), golden=golden, candidates=[base, tuned], repeats=1)

        def work(context: JobContext) -> None:
            assert len(read_golden(spec.tasks[0].golden)) == 2
            assert self.read(*context.artefacts.resolve(tuned.ref or "", "adapter")) == self.weights[trained]
            given = [*answers("base", 2, "one", 1), *answers(tuned.name, 2, "one two PASS", 1)]
            for one in given:
                append_line(context.run.answers, one.to_json(), durable=False)
            for score in score_answers(spec.tasks[0].task, items, given):
                append_line(context.run.scores, score.to_json(), durable=False)
            context.finish("compared", summary={})

        job = self._run(spec, work)
        self.boards[job] = self._board(job)

    def _board(self, job: int) -> str:
        with contextlib.closing(open_database(self.home)) as connection:
            return repr(stored_leaderboards(self.home, connection, job))

    @staticmethod
    def read(folder: Path, sha256: str) -> str:
        assert folder.parent.name == sha256
        return (folder / "weights").read_text()

    def as_before_schema_5(self) -> None:
        """Everything stored as it was when all paths were absolute, and checkpoints known by a hash over them."""
        home = self.home
        with contextlib.closing(open_database(home)) as connection:
            for run in (home.run_dir(job) for job in (*self.weights, *self.boards)):
                file = JobFile.load(run)
                # Read before the job file is written anew: that says where a home was whose results still name that place.
                result = read_result(run)
                assert result is not None  # each of these is done
                run.job_file.write_text(yaml.safe_dump(file.model_dump(mode="json"), sort_keys=False))
                if isinstance(file.spec, TrainSpec):
                    self.purposes[file.id] = sha256_json(what_is_trained(file.spec))
                write_json(run.result, result)
                connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps(result), file.id])
                for made in result["artefacts"]:
                    connection.execute("UPDATE artefacts SET path = ? WHERE job_id = ?", [made["path"], file.id])
            connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'own_files_by_their_place_in_the_home'")
            connection.execute("PRAGMA user_version = 4")

    # What must hold wherever the home lies.

    def check(self) -> None:
        with contextlib.closing(open_database(self.home)) as connection:
            for job, weights in self.weights.items():
                self._check_artefacts(connection, job, weights)
            for job in (*self.weights, *self.boards):
                self._check_files(connection, job)
        for job, board in self.boards.items():
            assert self._board(job) == board

    def _check_artefacts(self, connection: sqlite3.Connection, job: int, weights: str) -> None:
        home = self.home
        (row,) = list_artefacts(connection, home, job)
        assert row.path.is_relative_to(home.root) and self.read(row.path, row.sha256) == weights
        store = ArtefactStore(Path(JobFile.load(home.run_dir(job)).artefacts), home)
        assert self.read(*store.resolve(f"job:{job}", row.kind)) == weights
        by_hash = parse_candidate(home, connection, shipped(), f"artefact:{row.sha256[:20]}")
        assert by_hash.made_ref in {f"job:{one}/{row.kind}" for one in self.weights if self.weights[one] == weights}
        with transaction(connection):
            import_result(connection, job, home.run_dir(job))
        assert list_artefacts(connection, home, job)[0].path == row.path, "a result that is taken over again"

    def _check_files(self, connection: sqlite3.Connection, job: int) -> None:
        home, row = self.home, get_job(connection, job)
        file = JobFile.load(home.run_dir(job))
        assert (file.home, file.artefacts) == (str(home.root), str(home.artefacts))
        if isinstance(file.spec, TrainSpec):
            assert purpose_of(home.run_dir(job), file.spec) == self.purposes[job], "its checkpoints are known again"
            assert Path(file.spec.train.path).is_file() and Path(file.spec.train.path).is_relative_to(home.root)
        if isinstance(file.spec, BakeoffSpec):
            assert len(read_golden(file.spec.tasks[0].golden)) == 2
        shown = JobFiles(home, job).read(row)
        assert list(shown.lines) == [f"job {job} at work"]
        if job in self.boards:
            assert shown.headline.startswith("2 inputs")
        # Another attempt finds what the first one had.
        again = JobContext.open(home.run_dir(job), AttemptDir(home.run_dir(job).attempt(2).path))
        assert again.home == home and again.job == file

    def names_of_former_places(self) -> list[Path]:
        """The files in which a place stands where the home lies no more."""
        former = [str(self.folder / "home-0"), *(str(self.folder / f"disk-{n}") for n in range(1, self.moves))]
        files = (path for path in self.place.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
        return [path for path in files if any(f"{name}/".encode() in path.read_bytes() for name in former)]


def rename(place: Path, to: Path) -> None:
    place.rename(to)


def copy(place: Path, to: Path) -> None:
    """As rsync does to a larger disk, after which the former place is emptied."""
    shutil.copytree(place, to, symlinks=True)
    shutil.rmtree(place)


def copy_and_keep(place: Path, to: Path) -> None:
    """The former place stays, with files that are no longer the jobs'."""
    shutil.copytree(place, to, symlinks=True)
    for file in place.rglob("*"):
        if file.is_file():
            file.write_bytes(b"left behind")
