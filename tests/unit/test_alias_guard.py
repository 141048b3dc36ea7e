"""A production name is moved by promotions alone: deployments and people are told so before anything is touched."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.aliases.guard import require_deploys_beside
from core.clock import SystemClock
from core.config.project import shipped
from core.errors import InputError
from core.home import Home
from core.served.state import read_state
from core.serving.replies import name_key
from core.store.database import open_database, transaction
from core.store.fleet import (
    LLAMA_SERVER,
    FleetTask,
    Target,
    assign_task,
    insert_alias,
    insert_version,
    release_task,
    set_current,
)
from core.store.fleet_changes import finish_change, open_change
from core.submission.deploy import submit_deploy
from tests.support.commands import called
from tests.support.kiln import Kiln, kiln
from tests.support.played_shim import PlayedShim

__all__ = ["kiln"]

OLLAMA = "http://127.0.0.1:1"
TARGET = Target("judge:seven", "ab" * 32)


def adopted(home: Home, name: str, *, url: str = "", kept_as: str | None = None) -> int:
    """An alias that serves the task `judge`."""
    with closing(open_database(home)) as connection, transaction(connection):
        server, key = ("ollama", name_key(name)) if url else (LLAMA_SERVER, name)
        alias = insert_alias(connection, server=server, url=url, name=name, name_key=key)
        version = insert_version(connection, alias.id, replace(TARGET, kept_as=kept_as), "adopted")
        set_current(connection, alias.id, version.id)
        assign_task(connection, FleetTask("p", "/p", "judge", alias.id, 0.0, "a person"))
        return alias.id


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedShim:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return PlayedShim(Home(tmp_path / "home").create(), SystemClock())


def test_the_served_model_that_is_an_alias_is_not_removed_while_a_task_has_it(
    shim: PlayedShim, capsys: pytest.CaptureFixture[str]
) -> None:
    alias_id = adopted(shim.home, shim.name)
    code, _, err = called(capsys, ["served", "remove", shim.name])
    assert (
        code == 2
        and "is the alias of judge" in err
        and "`bakehouse fleet assign` gives the task another alias" in " ".join(err.split())
    )
    assert shim.folder.record.exists() and not shim.folder.stopped.exists()

    shim.die()
    with closing(open_database(shim.home)) as connection, transaction(connection):
        release_task(connection, "p", "judge")
        change = open_change(connection, alias_id=alias_id, kind="promote", author="Ada", target=TARGET, from_version=1)
    before = read_state(shim.home, shim.name)
    for command in ("remove", "stop", "start"):
        code, _, err = called(capsys, ["served", command, shim.name])
        assert code == 2 and "on its way to another model: Ada has asked for that" in err
    assert read_state(shim.home, shim.name) == before

    with closing(open_database(shim.home)) as connection, transaction(connection):
        finish_change(connection, change.id, "failed")
    assert called(capsys, ["served", "remove", shim.name])[0] == 0
    assert not shim.folder.path.exists()


def test_nothing_is_deployed_onto_an_alias_or_onto_what_a_rollback_needs(
    kiln: Kiln, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", OLLAMA)
    made = kiln.export(quantization="Q8_0").last.id
    adopted(kiln.home, "vault-judge", url=OLLAMA, kept_as="vault-judge:bakehouse-1")

    def asked(name: str, to: str) -> str:
        with pytest.raises(InputError) as refused:
            submit_deploy(kiln.home, shipped(), f"job:{made}", to=to, name=name, author="tester")  # type: ignore[arg-type]
        return refused.value.code

    assert asked("Vault-Judge:latest", "ollama") == "is_alias"
    assert asked("vault-judge:bakehouse-1", "ollama") == "keeps_version"
    beside = submit_deploy(kiln.home, shipped(), f"job:{made}", to="llama-server", name="vault-judge", author="tester")
    queued = submit_deploy(kiln.home, shipped(), f"job:{made}", to="llama-server", name="judge", author="tester")

    adopted(kiln.home, "judge", url="")
    require_deploys_beside(kiln.home, kiln.connection, beside)
    with pytest.raises(InputError, match="`judge` is an alias of judge"):  # since it was queued
        require_deploys_beside(kiln.home, kiln.connection, queued)
    assert asked("judge", "llama-server") == "is_alias"
    submit_deploy(kiln.home, shipped(), f"job:{made}", to="ollama", name="judge", author="tester")
