"""Commands that the console prints find the project that it shows, wherever it was started."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.cli.common import find_project
from core.cli.main import bakehouse
from core.config.project import Project, project_option, shipped
from core.home import Home
from tests.tui.scene import job
from tui.model.background_reader import BackgroundReader
from tui.model.snapshot import Snapshot
from tui.panes.fleet import FleetPane
from tui.queries.bakeoff_plan import BakeoffPlan, read_plan
from tui.queries.catalogue import Catalogue, read_catalogue
from tui.queries.project import project_finder
from tui.screens.new_run.fields import RunForm

Made = Callable[[str], Project]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def make(name: str) -> Project:
        folder = tmp_path / name
        new_project(folder)
        return Project.find(explicit=folder)

    return make


@pytest.mark.parametrize("name", ["vault", "my vault", "it's $HOME", "größe"])
def test_the_option_is_given_where_the_folder_does_not_lead_there(
    made: Made, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert project_option(project) == ("--project", str(project.root))
    monkeypatch.chdir(project.root / "configs")
    assert project_option(project) == ()
    made("other")
    monkeypatch.chdir(tmp_path / "other")
    assert project_option(project) == ("--project", str(project.root))
    assert project_option(shipped()) == ()


@pytest.mark.parametrize("name", ["vault", "my vault", "it's $HOME"])
def test_the_printed_commands_find_the_last_project(
    made: Made, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a shell would read them."""
    project = made(name)
    home = Home(tmp_path / "home").create()
    monkeypatch.chdir(project.root)
    assert project_finder(home, None)().root == project.root
    monkeypatch.chdir(tmp_path)
    find = project_finder(home, None)
    catalogue = read_catalogue(home, find())
    form = RunForm("judge", "SmolLM2-135M", "lora-bf16", project=catalogue.project_option)
    read = read_plan(home, find, job(7, "done", "train judge · SmolLM2-135M"))
    plan = replace(read, candidates=(read.base, "job:7"))
    for line in (form.command, plan.command_line):
        words = shlex.split(line)
        assert words[0] == "bakehouse"
        command = bakehouse.get_command(None, words[1])  # type: ignore[arg-type]
        assert command is not None
        given = command.make_context(words[1], words[2:]).params["project"]
        assert find_project(given).root == project.root


def test_nothing_is_added_where_nothing_is_needed() -> None:
    assert BakeoffPlan("judge", "small", 3, 1, ("small", "job:1")).command_line == "bakehouse bakeoff judge small job:1"
    assert "--project" not in RunForm("judge", "small", "lora", project=Catalogue().project_option).command


def test_the_console_says_that_the_project_is_not_that_of_this_folder(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made("vault")
    monkeypatch.chdir(tmp_path)
    reader = BackgroundReader(Home(tmp_path / "home").create(), lambda: project, lambda: None)
    reader._read_project()
    assert reader.found.project_option == ("--project", str(project.root))
    pane = FleetPane()
    pane.snapshot = Snapshot(
        time=0.0, host="h", ready=True, project=reader.found.project, project_option=reader.found.project_option
    )
    assert pane.note().plain == f"project {project.name}, not of this folder"
    pane.snapshot = Snapshot(time=0.0, host="h", ready=True, project=project.name)
    assert "not of this folder" not in pane.note().plain
