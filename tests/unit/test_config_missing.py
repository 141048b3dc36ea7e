"""A file that may be missing, and is not: what stands in its place is told, and nothing else is taken instead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.config.project import Project, shipped
from core.config.settings import load_settings
from core.errors import InputError

PLACES = {
    "a link to a disk that is not mounted": lambda file: file.symlink_to("/no/such/disk/file.yaml"),
    "a link to itself": lambda file: file.symlink_to(file),
    "a folder": lambda file: file.mkdir(),
    "a pipe": lambda file: os.mkfifo(file),
}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    return tmp_path / "config/bakehouse/settings.yaml"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_settings_that_cannot_be_read_are_not_the_defaults(config: Path, place: Callable[[Path], object]) -> None:
    load_settings()
    place(config)
    with pytest.raises(InputError) as told:
        load_settings()
    assert told.value.code == "not_a_file" and str(config) in str(told.value)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_recipe_that_cannot_be_read_is_not_the_shipped_one(tmp_path: Path, place: Callable[[Path], object]) -> None:
    new_project(tmp_path / "mine")
    project = Project.find(tmp_path / "mine")
    name = shipped().recipe_names()[0]
    project.recipe(name)
    place(tmp_path / f"mine/configs/recipes/{name}.yaml")
    with pytest.raises(InputError) as told:
        project.recipe(name)
    assert told.value.code == "not_a_file"


def test_a_project_file_that_leads_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    new_project(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/bakehouse.yaml").symlink_to("/no/such/disk/bakehouse.yaml")
    with pytest.raises(InputError, match="this is a link to /no/such/disk"):
        Project.find(tmp_path / "inner")
