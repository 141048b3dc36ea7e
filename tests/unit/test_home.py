"""Where the home and the settings lie, by what the environment says."""

from __future__ import annotations

import os
import pwd
import re
import stat
from pathlib import Path

import pytest

from core.config.settings import settings_file
from core.doctor.host import home_rights
from core.errors import InputError
from core.home import Home
from core.runner.client import author
from core.store.database import open_database


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


@pytest.mark.parametrize("mode", [0o1777, 0o2775, 0o755, 0o777, 0o750, 0o3770, 0o700])
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_that_is_there_keeps_its_rights_and_what_is_made_in_it_is_its_owner_s(
    tmp_path: Path, mode: int, linked: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(folder)
    home = Home(link if linked else folder).create()
    open_database(home).close()
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    for made in folder.iterdir():
        assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0, made
    said = home_rights(home)
    if mode & 0o022:
        assert [(line.state, f"{mode:o}" in line.message) for line in said] == [("warning", True)]
    else:
        assert said == []


def test_folders_in_the_home_that_are_there_keep_their_rights(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    home.artefacts.chmod(0o2775)
    home.create()
    assert stat.S_IMODE(home.artefacts.stat().st_mode) == 0o2775
    assert stat.S_IMODE(home.root.stat().st_mode) == stat.S_IMODE(home.runs.stat().st_mode) == 0o700


def test_a_file_in_the_place_of_the_home_or_of_a_folder_in_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be the home") as refused:
        Home(tmp_path / "file").create()
    assert refused.value.remedy
    home = Home(tmp_path / "home").create()
    home.inputs.rmdir()
    home.inputs.touch()
    with pytest.raises(InputError) as refused:
        home.create()
    assert refused.value.file == str(home.inputs)


class NoEntry:
    """A user database without an entry for anybody."""

    def __call__(self, *asked: object) -> object:
        raise KeyError(asked)


@pytest.fixture
def unknown_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", NoEntry())
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("value", [None, "", "relative", "./x", "~"])
def test_a_home_directory_that_names_none_is_looked_up(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("HOME") if value is None else monkeypatch.setenv("HOME", value)
    own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Home.find().root == own / ".local/share/bakehouse"
    assert settings_file() == own / ".config/bakehouse/settings.yaml"


@pytest.mark.parametrize("value", [None, "", "relative"])
def test_a_user_without_an_entry_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, unknown_user: None, tmp_path: Path, value: str | None
) -> None:
    monkeypatch.delenv("HOME") if value is None else monkeypatch.setenv("HOME", value)
    with pytest.raises(InputError, match="home directory is not known") as refused:
        Home.find()
    assert "BAKEHOUSE_HOME" in (refused.value.remedy or "")
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "bh"))
    assert settings_file() == tmp_path / "bh/settings.yaml"
    assert author("command").startswith(f"uid {os.getuid()}@")


@pytest.mark.parametrize("path", ["~no-such-user/x", "~no-such-user", "~\x01/x"])
def test_the_home_of_a_user_who_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", path)
    with pytest.raises(InputError, match="is not known here") as refused:
        Home.find()
    assert refused.value.key == "BAKEHOUSE_HOME"


def test_the_home_of_a_user_who_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = pwd.getpwuid(0)
    monkeypatch.setenv("BAKEHOUSE_HOME", f"~{root.pw_name}/a b")
    assert Home.find().root == Path(root.pw_dir) / "a b"
    monkeypatch.setenv("BAKEHOUSE_HOME", "~/mine")
    assert Home.find().root == tmp_path / "mine"


def test_no_place_but_ours_expands_a_home_directory_or_asks_for_a_user() -> None:
    """`Path.expanduser` raises RuntimeError for a user who is not there, `getpass.getuser` where there is no entry."""
    root = Path(__file__).parents[2]
    files = (path for room in ("core", "jobs", "tui") for path in (root / room).rglob("*.py"))
    assert [
        path.name for path in files if re.search(r"\bexpanduser\(|getpass\.getuser\(", path.read_text("utf-8"))
    ] == ["user.py"], "`core.home.expanded` does without either"
