"""Checkpoints, the artefact store, and how a job's process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError, NotFoundError
from core.files import read_json, sha256_tree, write_json
from core.home import Home, RunDir
from core.process.identity import start_ticks
from core.process.leftovers import take_place, temporary_name
from jobs.artefacts import ArtefactStore
from jobs.checkpoints import find_checkpoint, prune, seal


def make_checkpoint(folder: Path, step: int, purpose: str = "this") -> Path:
    staged = folder / f".staging-{os.getpid()}" / f"checkpoint-{step}"
    staged.mkdir(parents=True)
    (staged / "adapter_model.safetensors").write_bytes(b"weights of step %d" % step)
    (staged / "optimizer.pt").write_bytes(b"moments of step %d" % step)
    checkpoint, size = seal(staged, folder, purpose)
    assert size == sum(path.stat().st_size for path in checkpoint.path.iterdir() if path.name != "complete.json")
    return checkpoint.path


def test_the_newest_whole_checkpoint_is_found_by_its_number(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        make_checkpoint(tmp_path, step)
    found = find_checkpoint(tmp_path, "this")
    assert found.checkpoint is not None and (found.checkpoint.step, found.refused) == (100, ())
    assert find_checkpoint(tmp_path / "absent", "this").checkpoint is None


def tear(path: Path) -> None:
    (path / "optimizer.pt").write_bytes(b"mo")


def flip(path: Path) -> None:
    content = bytearray((path / "optimizer.pt").read_bytes())
    content[0] ^= 1
    (path / "optimizer.pt").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (tear, "optimizer.pt is torn"),
        (flip, "optimizer.pt is damaged"),
        (lambda path: (path / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is torn"),
        (lambda path: (path / "complete.json").unlink(), "it was not finished"),
        (lambda path: (path / "complete.json").write_text("{"), "its seal cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_with_its_reason(tmp_path: Path, damage: Any, why: str) -> None:
    make_checkpoint(tmp_path, 1)
    damage(make_checkpoint(tmp_path, 2))
    found = find_checkpoint(tmp_path, "this")
    assert found.checkpoint is not None and found.checkpoint.step == 1
    assert found.refused == (f"checkpoint-2: {why}",)


def test_a_checkpoint_of_other_inputs_is_not_gone_on_from(tmp_path: Path) -> None:
    make_checkpoint(tmp_path, 1, purpose="other")
    found = find_checkpoint(tmp_path, "this")
    assert found.checkpoint is None and found.refused == ("checkpoint-1: it belongs to other inputs",)


def test_only_the_newest_checkpoints_and_nothing_half_written_are_kept(tmp_path: Path) -> None:
    for step in (8, 9, 10):
        make_checkpoint(tmp_path, step)
    (tmp_path / ".staging-1" / "checkpoint-11").mkdir(parents=True)
    prune(tmp_path, keep=2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {f".staging-{os.getpid()}"} == {"checkpoint-9", "checkpoint-10"}


def test_an_artefact_lies_under_its_hash_once(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    store = ArtefactStore(home.artefacts, home)

    def fill(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"weights")

    first, second = store.add("adapter", {"job": 1}, fill), store.add("adapter", {"job": 2}, fill)
    assert first.path == second.path == home.artefacts / first.sha256 / "adapter"
    assert first.sha256 == sha256_tree(first.path) and first.size_bytes == 7
    assert read_json(first.path.parent / "lineage.json")["job"] == 1
    assert [path.name for path in home.artefacts.iterdir()] == [first.sha256]

    run = home.run_dir(1)
    run.path.mkdir()
    write_json(run.result, {"artefacts": [first.to_json()]})
    assert store.resolve("job:1", "adapter") == store.resolve("job:1/adapter", "adapter") == (first.path, first.sha256)
    assert store.resolve(str(first.path), "adapter") == (first.path, first.sha256)


def test_an_artefact_that_fails_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path).create()

    def fill(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        ArtefactStore(home.artefacts, home).add("merged", {}, fill)
    assert list(home.artefacts.iterdir()) == []


def test_what_killed_jobs_left_is_swept_and_what_is_being_written_stays(tmp_path: Path) -> None:
    """A pid that has come to another process since, as after a restart of the machine, keeps nothing."""
    home = Home(tmp_path).create()
    store, mine = ArtefactStore(home.artefacts, home), start_ticks(os.getpid())
    assert mine is not None
    left = [f".tmp-999999999-{mine}-gguf", f".tmp-{os.getpid()}-{mine - 1}-gguf", ".tmp-999999999-gguf", ".tmp-x"]
    for name in (*left, temporary_name("merged")):
        (home.artefacts / name).mkdir()
    store.add("adapter", {}, lambda folder: (folder / "weights").write_bytes(b"w") and None)
    assert sorted(path.name for path in home.artefacts.glob(".*")) == [temporary_name("merged")]


def test_two_that_write_the_same_folder_at_once_both_have_it(tmp_path: Path) -> None:
    """As two jobs that make the same GGUF model whole again do: who comes second leaves what is there."""
    place = tmp_path / "the same"
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
        take_place(tmp_path / name, place)
    assert (place / "weights").read_text() == "one" and (tmp_path / "other").is_dir()
    with pytest.raises(FileNotFoundError):
        take_place(tmp_path / "gone", place)


def test_what_a_reference_does_not_name_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    store = ArtefactStore(home.artefacts, home)
    with pytest.raises(NotFoundError, match="job 7 has no result"):
        store.resolve("job:7", "adapter")
    home.run_dir(7).path.mkdir()
    write_json(home.run_dir(7).result, {"artefacts": [{"kind": "adapter", "path": "/gone", "sha256": "0"}]})
    with pytest.raises(NotFoundError, match="job 7 made no merged"):
        store.resolve("job:7/merged", "merged")
    with pytest.raises(NotFoundError, match="are gone from /gone"):
        store.resolve("job:7", "adapter")
    with pytest.raises(InputError, match="no such folder"):
        store.resolve(str(tmp_path / "absent"), "adapter")


@pytest.mark.process
def test_a_run_directory_without_a_job_file_ends_as_bad_input(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    done = subprocess.run([sys.executable, "-P", "-m", "jobs", str(run.path)], capture_output=True, text=True)
    assert done.returncode == 2 and "no job file" in done.stdout
    assert read_json(run.attempt(1).error_json)["code"] == "no_job_file"


@pytest.mark.process
def test_a_job_that_is_waited_for_imports_no_torch(tmp_path: Path) -> None:
    """The modules of all kinds of jobs, as they are when the first event is written."""
    code = (
        "import sys, jobs.__main__, jobs.train, jobs.merge, jobs.bakeoff, jobs.pull;"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'scipy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_signals_ask_for_a_stop_and_a_second_one_ends_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys;"
        "from jobs.context import JobContext, StopRequested;"
        "context = JobContext.__new__(JobContext); context.signalled = None; context.install_signals();"
        "os.kill(os.getpid(), signal.SIGTERM); assert context.stop_reason() == 'SIGTERM';"
        "os.kill(os.getpid(), signal.SIGINT); print('not reached')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (75, ""), done.stderr
