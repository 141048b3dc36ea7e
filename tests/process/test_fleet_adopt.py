"""A fleet in a home with a real runner: taken in from an Ollama and a llama-server, changed by others, taken as found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import exit_code
from core.runner.status import runner_status
from core.served.state import read_state
from core.store.fleet import Alias, aliases, current_version, find_alias
from core.store.fleet_changes import notes
from tests.support.commands import called
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import Queue, kill
from tests.support.served_alias import Counter
from tests.support.served_models import all_ended
from tests.support.waiting import wait_until

VAULT = tuple(f"vault-{name}" for name in ("judge", "planner", "quizzer", "seeder", "spacer", "reflector", "analyst"))
TWELVE = (*VAULT, "qwen3:8b", "qwen3:4b", "judge:v2", "tidy:prod", "summarizer")


@pytest.fixture
def server(machine: Path) -> Iterator[OllamaStandin]:
    with OllamaStandin("0.33.0-rc2") as made:
        (machine / "config/bakehouse/settings.yaml").write_text(f"ollama: {{url: '{made.url}'}}\n")
        for name in TWELVE:
            made.add_model(name)
        yield made


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert exit_code(["fleet", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def a_new_runner(queue: Queue) -> None:
    """The former one is killed; the new one looks at the aliases as soon as it lives."""
    status = runner_status(queue.home)
    if status.alive and status.pid is not None:
        kill(status.pid)
    queue.start_runner()


def alias_of(queue: Queue, url: str, name: str) -> Alias:
    with queue.database() as connection:
        found = find_alias(connection, "ollama", url, f"{name}:latest")
    assert found is not None
    return found


def is_kept(queue: Queue, url: str) -> bool:
    """Whether the server keeps what `vault-judge` is under another tag."""
    with queue.database() as connection:
        version = current_version(connection, alias_of(queue, url, "vault-judge"))
    return version is not None and version.kept_as is not None


def looked(queue: Queue, url: str, name: str) -> None:
    """Until a new runner has looked at an alias."""
    before = alias_of(queue, url, name).observed_at or 0.0
    a_new_runner(queue)
    wait_until(
        lambda: (alias_of(queue, url, name).observed_at or 0.0) > before, what="a look at the alias by a new runner"
    )


def test_thirteen_are_taken_in_and_somebody_else_s_change_is_noticed_once_by_whichever_runner_lives(
    queue: Queue,
    server: OllamaStandin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    monkeypatch.chdir(tmp_path)
    with all_ended(queue.home):
        Counter(queue.home, tmp_path, 0).serve("note", "seven")
        before = {name: model.digest for name, model in server.models.items()}
        done = asked(capsys, "adopt", "--all")
        assert {one["name"] for one in done["adopted"]} == {*TWELVE, "note"} and done["refused"] == []
        rows = {one["alias"]: one for one in asked(capsys, "list")["unassigned"]}
        note = rows["note"]
        assert (note["resident"], note["foreign"], note["observed"]["phase"]) == (True, False, "serving")
        assert note["server_version"] and note["server_version"] == note["observed"]["server_version"]
        assert note["template"] == note["observed"]["template"]
        # What each alias is, its server keeps under a tag of Bakehouse's besides: what serves is as it was.
        kept = lambda: [name for name in server.models if ":bakehouse-1" in name or "-bakehouse-1" in name]  # noqa: E731
        wait_until(lambda: len(kept()) == len(TWELVE), what=lambda: f"the kept tags, there are {kept()}")
        assert {name: server.models[name].digest for name in before} == before
        assert {one["name"] for one in asked(capsys, "adopt")["adoptable"]} == {*TWELVE, "note"}

        server.copy_model("qwen3:4b", "vault-judge")
        for _ in range(2):
            looked(queue, server.url, "vault-judge")
        with queue.database() as connection:
            (told,) = notes(connection)
        assert (told.reason.code, told.alias_id) == ("alias_changed", alias_of(queue, server.url, "vault-judge").id)
        assert {one["alias"] for one in asked(capsys, "list")["unassigned"] if one["foreign"]} == {"vault-judge"}

        (taken,) = asked(capsys, "adopt", "vault-judge")["adopted"]
        assert taken["digest"] == server.models["qwen3:4b"].digest
        looked(queue, server.url, "vault-judge")
        history = asked(capsys, "history", "vault-judge")["history"]
        assert [one.get("kind") or one["note"]["code"] for one in history] == ["adopt", "alias_changed", "adopt"]
        with queue.database() as connection:
            assert len(notes(connection)) == 1 and len(aliases(connection)) == 13

        # Both ways out, once more: what was recorded comes back, in the place of another model, and of none.
        for changed in (
            lambda: server.copy_model("judge:v2", "vault-judge"),
            lambda: server.remove_model("vault-judge"),
        ):
            wait_until(lambda: is_kept(queue, server.url), what="the tag that keeps the version")
            changed()
            assert called(capsys, ["fleet", "rollback", "vault-judge"])[0] == 0
            assert server.models["vault-judge:latest"].digest == taken["digest"]
            assert not any(one["foreign"] for one in asked(capsys, "list")["unassigned"])
    assert read_state(queue.home, "note").phase == "stopped"
