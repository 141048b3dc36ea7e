"""Where the home and the settings lie, by what the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.settings import settings_file
from core.home import Home


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BAKEHOUSE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_without_variables_the_folders_are_those_of_xdg(tmp_path: Path) -> None:
    assert Home.find().root == tmp_path / ".local/share/bakehouse"
    assert settings_file() == tmp_path / ".config/bakehouse/settings.yaml"
    assert not (tmp_path / ".local").exists() and not (tmp_path / ".config").exists(), "looking makes nothing"


def test_absolute_folders_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert Home.find().root == tmp_path / "data/bakehouse"
    assert settings_file() == tmp_path / "settings/bakehouse/settings.yaml"


@pytest.mark.parametrize("value", ["", "data", "./data", "../data"])
def test_what_is_no_absolute_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", value)
    monkeypatch.setenv("XDG_CONFIG_HOME", value)
    assert Home.find().root == tmp_path / ".local/share/bakehouse"
    assert settings_file() == tmp_path / ".config/bakehouse/settings.yaml"


def test_bakehouse_s_own_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("BAKEHOUSE_HOME", "mine")
    assert Home.find().root == tmp_path / "mine", "a path of a person's own may be relative to where they are"
