"""Every command, in every environment that people's machines have: its work, or one line that says why not.

The soak walks all commands through all environments and prints the table; `make test` walks one command in seven through each.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.config.project import shipped
from core.config.shipped import DEMO_MODEL
from core.home import Home
from core.jobfile.pull import PullSpec
from core.served.record import ServedModelRecord, write_record
from core.store.database import open_database, transaction
from core.submission.enqueue import Place, insert
from tests.support.every_command import WAITING, all_commands, complaint, leaves
from tests.support.moving import Moved
from tests.support.places import NOBODY, UNKNOWN, as_user, full, mounts, reachable, read_only, users
from tests.support.runners import end_runners

CHECKOUT = Path(__file__).parents[2]
EACH = 7
USUAL = {
    "PATH": os.environ["PATH"],
    "LANG": "C.UTF-8",
    "BAKEHOUSE_GPU_SOURCE": "none",
    "BAKEHOUSE_RUNNER_IDLE_SECONDS": "0.1",
    "NO_COLOR": "",
}
PLAIN_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@dataclass(frozen=True)
class Around:
    """An environment: who runs the commands, what variables they see, and on what disk the home lies."""

    environment: dict[str, str | None] = field(default_factory=dict)
    user: int | None = None
    owns_home: bool = True
    disk: str = ""
    works: bool = True
    """Whether commands do their work there; else most refuse."""


ENVIRONMENTS = {
    "as usual": Around(),
    "ISO-8859-1": Around({"PYTHONIOENCODING": "iso-8859-1", "LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"}),
    "plain C": Around(dict(PLAIN_C)),
    "dumb terminal": Around({"TERM": "dumb", "NO_COLOR": "", "COLUMNS": "1"}),
    "another user": Around({"HOME": "/nonexistent"}, user=NOBODY),
    "a home that is not theirs": Around({"HOME": "/nonexistent"}, user=NOBODY, owns_home=False, works=False),
    "a container": Around({"HOME": None, "LANG": None}, user=UNKNOWN),
    "a container without a home": Around({"HOME": None, "BAKEHOUSE_HOME": None}, user=UNKNOWN, works=False),
    "a home of nobody": Around({"BAKEHOUSE_HOME": "~no-such-user/x"}, works=False),
    "a full disk": Around(disk="full", works=False),
    "a read-only disk": Around(disk="read only", works=False),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own are their owner's alone."""
    made = Path(tempfile.mkdtemp(prefix="bakehouse-walk-"))
    made.chmod(0o755)
    yield made
    # The last command may have started a runner.
    for home in made.glob("home-*"):
        end_runners(Home(home))
    shutil.rmtree(made)


def prepared(folder: Path, around: Around) -> Home:
    """A home with a training and a bake-off that are done, a pull that waits, a paused queue and a served model that does not
    run, and a project beside it."""
    moved = Moved(folder, linked=False)
    moved.train()
    moved.bake_off()
    with contextlib.closing(open_database(moved.home)) as connection, transaction(connection):
        connection.execute("UPDATE queue SET paused = 1")
        place = Place(moved.home, shipped(), connection, sys.executable, "tester", on_gpu=False)
        assert str(insert(place, PullSpec(model=shipped().model(DEMO_MODEL)), ())) == WAITING
    command = ("/no/llama-server", "--port", "18080")
    write_record(
        moved.home, ServedModelRecord(DEMO_MODEL, Path("/m.gguf"), "sha256:ab", "t", "m", 1, command, 18080, 512)
    )
    project = folder / "project"
    new_project(project)
    (project / "data.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    owner = around.user if around.user is not None and around.owns_home else os.geteuid()
    for path in (project, *project.rglob("*"), moved.home.root, *moved.home.root.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, owner, owner)
        elif path.is_relative_to(project):
            path.chmod(0o755 if path.is_dir() else 0o644)
    return moved.home


def walked(folder: Path, around: Around, commands: Sequence[Sequence[str]]) -> list[dict[str, object]]:
    home = prepared(folder, around)
    environment = {
        **USUAL,
        "HOME": str(folder / "project"),
        "BAKEHOUSE_HOME": str(home.root),
        "PYTHONPATH": str(CHECKOUT),
    }
    environment |= {"BAKEHOUSE_LEASE_DIR": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    # Jobs are queued and resumed here, and none may begin: a real training would go on behind the test.
    (folder / "config/bakehouse").mkdir(parents=True)
    (folder / "config/bakehouse/settings.yaml").write_text(f"queue: {{min_free_disk_bytes: {10**18}}}\n")
    for name, value in around.environment.items():
        environment.pop(name, None)
        environment |= {} if value is None else {name: value}
    prefix = [] if around.user is None else as_user(around.user, [])
    steps = [
        {
            "words": list(words),
            "prefix": prefix,
            "environment": environment,
            "folder": str(folder / "project"),
            "home": str(home.root),
        }
        for words in commands
    ]
    (folder / "steps.json").write_text(json.dumps(steps))
    command = [sys.executable, "-P", "-m", "tests.support.every_command", str(folder / "steps.json")]
    if around.user is not None:
        command = reachable(command)
    if around.disk:
        command = (full if around.disk == "full" else read_only)(home.root, command)
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def possible(around: Around) -> None:
    if around.user is not None and not users():
        pytest.skip("another user needs root, setpriv and an interpreter that others may run")
    if around.disk and mounts() is None:
        pytest.skip("this machine allows no namespace with mounts")


def complaints(name: str, done: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """What is wrong with each command; and where commands do their work, but not a third did, each that did not: of a slice of
    the commands half may be refusals by chance."""
    wrong: list[tuple[object, ...]] = [
        (one["words"], said, one["out"], one["err"]) for one in done if (said := complaint(one)) is not None
    ]
    codes = Counter(one["code"] for one in done)
    print(f"{name:<28} {len(done):>3} commands, exit codes {dict(sorted(codes.items(), key=str))}, {len(wrong)} wrong")
    if not wrong and ENVIRONMENTS[name].works and len(done) > EACH and codes[0] <= len(done) / 3:
        wrong = [(one["words"], one["err"]) for one in done if one["code"] != 0]
    return wrong


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_command_in_seven_does_its_work_or_says_why_not(folder: Path, name: str) -> None:
    around = ENVIRONMENTS[name]
    possible(around)
    commands = all_commands(folder / "project/data.jsonl")
    first = list(ENVIRONMENTS).index(name) % EACH
    assert not complaints(name, walked(folder, around, commands[first::EACH]))


@pytest.mark.soak
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_command_does_its_work_or_says_why_not(folder: Path, name: str) -> None:
    around = ENVIRONMENTS[name]
    possible(around)
    assert not complaints(name, walked(folder, around, all_commands(folder / "project/data.jsonl")))


def test_the_walk_finds_the_commands_by_itself() -> None:
    """A command that is added is walked without being listed here."""
    names = {" ".join(path) for path, _ in leaves()}
    assert {"", "queue list", "new project", "runner stop", "data inspect", "doctor"} <= names
    assert len(names) > 30
