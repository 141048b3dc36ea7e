"""Data that comes through a real shell's pipes: read once, whole, and never waited for without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.config.project import Project
from core.config.task import Task
from core.data.examples import load_examples

pytestmark = pytest.mark.process
BAKEHOUSE = [sys.executable, "-c", "import sys; from core.cli.main import main; sys.exit(main())"]
LINES = [{"instruction": f"why {number}?", "output": f"because {number}"} for number in range(5000)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    new_project(tmp_path / "p")
    (tmp_path / "lines.json").write_text(json.dumps(LINES))
    return Project.find(tmp_path / "p")


def shell(project: Project, script: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `$B` is the command, in the project."""
    environ = {**os.environ, "BAKEHOUSE_HOME": str(project.root / "home"), "PYTHON": sys.executable}
    quoted = f"B() {{ {sys.executable} -c '{BAKEHOUSE[2]}' \"$@\"; }}; {script}"
    return subprocess.run(
        ["bash", "-c", quoted], cwd=project.root, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "script",
    [
        "B new task why --hold-out 3 --examples <(cat ../lines.json)",
        "cat ../lines.json | B new task why --hold-out 3 --examples /dev/stdin",
        "B new task why --hold-out 3 --examples - < ../lines.json",
        "mkfifo pipe; (gzip -c ../lines.json > pipe) & B new task why --hold-out 3 --examples pipe",
        # The writer says nothing until it has been told of who waits for it.
        "(until grep -q waiting err; do sleep 0.1; done; cat ../lines.json) | B new task why --hold-out 3 --examples - 2> err",
    ],
)
def test_what_a_pipe_brings_is_all_there(project: Project, script: str) -> None:
    done = shell(project, script)
    assert done.returncode == 0, done.stderr
    examples, _ = load_examples(project.root / "configs/data/why.train.jsonl", Task(name="why"))
    golden = project.golden(project.task("why")).inputs
    assert (len(examples), len(golden)) == (len(LINES) - 3, 3)
    assert {example.last_user for example in examples}.isdisjoint(item.text() for item in golden)


def test_a_converted_pipe_can_be_piped_on(project: Project) -> None:
    done = shell(project, "B data convert <(cat ../lines.json) -o new.jsonl && B data inspect --json <(cat new.jsonl)")
    assert (
        done.returncode == 0
        and json.loads(done.stdout.partition("{")[1] + done.stdout.partition("{")[2])["data"]["own"]
    )


def test_an_empty_pipe_is_told_and_nothing_is_written(project: Project) -> None:
    done = shell(project, "B new task why --examples <(true)")
    assert done.returncode == 2 and "the data set is empty" in done.stderr
    assert not (project.root / "configs/data/why.train.jsonl").exists()
