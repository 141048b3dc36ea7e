"""What aliases are now, as their servers tell; and that somebody else's change is noticed once, and no move of ours is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.aliases.observing import (
    AliasObserver,
    LookedAt,
    Observed,
    all_servers,
    is_foreign,
    observe,
    store_observed,
    template_hash,
    to_look_at,
)
from core.authoring.scaffold import new_project
from core.clock import SystemClock
from core.jobfile.bakeoff import ServerUnderTest
from core.reasons import Reason
from core.serving.ollama import Ollama
from core.store.database import transaction
from core.store.fleet import LLAMA_SERVER, Alias, Target, get_alias, get_version
from core.store.fleet_changes import finish_change, notes
from tests.support.ollama_standin import OllamaStandin
from tests.support.played_shim import PlayedShim
from tests.support.stored_fleet import StoredFleet


@pytest.fixture
def fleet(tmp_path: Path, own_leases: None) -> StoredFleet:
    return StoredFleet(tmp_path)


@pytest.fixture
def judge(fleet: StoredFleet, standin: OllamaStandin) -> Alias:
    """`vault-judge`, a copy of `judge:v1`, adopted as it is."""
    standin.copy_model("judge:v1", "vault-judge")
    return adopted(fleet, standin, "vault-judge")


def adopted(fleet: StoredFleet, standin: OllamaStandin, name: str) -> Alias:
    alias = fleet.alias(name, url=standin.url)
    fleet.becomes(alias, Target(name, standin.models[f"{name}:latest"].digest, server_version=standin.version))
    return get_alias(fleet.connection, alias.id)


def servers(standin: OllamaStandin) -> dict[tuple[str, str], ServerUnderTest]:
    return {("ollama", standin.url): ServerUnderTest(name="ollama", api="ollama", url=standin.url)}


def look(fleet: StoredFleet, standin: OllamaStandin, looked_at: LookedAt | None = None) -> list[Reason]:
    """One look at all aliases, as a runner takes it; what is noted of it."""
    asked = looked_at or to_look_at(fleet.connection)
    observed = observe(fleet.home, asked.aliases, servers(standin))
    with transaction(fleet.connection):
        return [one.reason for one in store_observed(fleet.connection, asked, observed)]


@pytest.mark.process
def test_an_alias_is_told_with_its_digest_its_server_its_template_and_whether_it_is_loaded(
    fleet: StoredFleet, standin: OllamaStandin, ollama: Ollama, judge: Alias
) -> None:
    standin.add_model("gone")
    gone = adopted(fleet, standin, "gone")
    standin.remove_model("gone")
    ollama.load("judge:v1", context_length=1024)  # the copy is the same model: its runner serves both tags
    found = observe(fleet.home, [judge, gone], servers(standin))
    told = found[judge.id]
    assert (told.digest, told.server_version, told.error) == (
        standin.models["vault-judge:latest"].digest,
        standin.version,
        None,
    )
    assert told.template == template_hash(ollama.show("vault-judge").template)
    assert (told.resident, told.size_bytes) == (True, 4_000_000_000) and (told.vram_bytes or 0) > 4_000_000_000
    assert found[gone.id].is_gone and found[gone.id].resident is False


def test_a_template_is_asked_for_again_only_when_model_or_server_is_another(
    fleet: StoredFleet, standin: OllamaStandin, judge: Alias
) -> None:
    first = observe(fleet.home, [judge], servers(standin))

    def shows() -> int:
        return sum(asked.path == "/api/show" for asked in standin.requests)

    before = shows()
    assert observe(fleet.home, [judge], servers(standin), first)[judge.id].template == first[judge.id].template
    assert shows() == before
    standin.add_model("vault-judge", template="{{ .Prompt }}")
    assert observe(fleet.home, [judge], servers(standin), first)[judge.id].template != first[judge.id].template
    assert shows() == before + 1


def test_a_server_that_is_down_or_slow_holds_up_nobody_and_is_no_foreign_change(
    fleet: StoredFleet, standin: OllamaStandin, judge: Alias
) -> None:
    with OllamaStandin() as other:
        other.add_model("vault-judge")
        there = fleet.alias("vault-judge", server="box", url=other.url)
        fleet.becomes(there, Target("vault-judge", "another"))
        standin.delay_seconds = 30.0
        started = time.monotonic()
        found = observe(fleet.home, [judge, there], servers(standin), seconds=2.0)
        assert time.monotonic() - started < 15.0
        why = found[judge.id].error
        assert why is not None and why.code == "server_slow" and found[there.id].error is None
    standin.delay_seconds = 0.0
    standin.down()
    assert look(fleet, standin) == []
    now = get_alias(fleet.connection, judge.id)
    assert (now.observed_error, now.observed_digest) == ("server_down", None)
    assert not is_foreign(get_version(fleet.connection, now.version_id or 0), Observed(1.0, error=Reason("x")))


def test_somebody_else_s_change_is_told_once_for_each_model_and_once_that_it_is_over(
    fleet: StoredFleet, standin: OllamaStandin, judge: Alias
) -> None:
    recorded = standin.models["vault-judge:latest"].digest
    assert look(fleet, standin) == []
    standin.copy_model("planner", "vault-judge")
    (note,) = look(fleet, standin)
    assert note == Reason(
        "alias_changed", {"version": 1, "recorded": recorded, "digest": standin.models["planner:latest"].digest}
    )
    assert look(fleet, standin) == []
    standin.remove_model("vault-judge")
    assert [one.code for one in look(fleet, standin)] == ["alias_gone"]
    assert look(fleet, standin) == []
    standin.copy_model("judge:v1", "vault-judge")
    assert [one.code for one in look(fleet, standin)] == ["alias_back"]
    assert look(fleet, standin) == []
    standin.copy_model("planner", "vault-judge")
    assert [one.code for one in look(fleet, standin)] == ["alias_changed"], "it happened again"
    # Taken as it is, there is nothing foreign about it any more, and nothing to be told.
    fleet.becomes(judge, Target("vault-judge", standin.models["planner:latest"].digest), origin="found")
    assert look(fleet, standin) == []
    assert len(notes(fleet.connection)) == 4


@pytest.mark.parametrize("ended", [True, False])
def test_a_move_of_our_own_during_a_look_is_no_foreign_change(
    fleet: StoredFleet, standin: OllamaStandin, judge: Alias, ended: bool
) -> None:
    asked = to_look_at(fleet.connection)
    observed = observe(fleet.home, asked.aliases, servers(standin))
    # Meanwhile a promotion; and in the other case there and back again, so that the version is the one of before.
    target = Target("planner", standin.models["planner:latest"].digest)
    change = fleet.asked(judge, target, "promote")
    if ended:
        with transaction(fleet.connection):
            finish_change(fleet.connection, change.id, "taken_back")
    standin.copy_model("planner", "vault-judge")
    late = observe(fleet.home, asked.aliases, servers(standin))
    for seen in (observed, late):
        with transaction(fleet.connection):
            assert store_observed(fleet.connection, asked, seen) == []
    assert get_alias(fleet.connection, judge.id).observed_at is None
    assert [one.id for one in to_look_at(fleet.connection).aliases] == ([judge.id] if ended else [])


def test_a_runner_s_observer_asks_as_the_settings_of_person_and_projects_say(
    fleet: StoredFleet, standin: OllamaStandin, judge: Alias, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    new_project(tmp_path / "project")
    written = (tmp_path / "project/bakehouse.yaml").read_text()
    more = f"servers: {{box: {{api: ollama, url: '{standin.url}', key_env: A_KEY}}}}\n"
    (tmp_path / "project/bakehouse.yaml").write_text(written + more)
    new_project(tmp_path / "other")
    other = (tmp_path / "other/bakehouse.yaml").read_text()
    another = "servers: {box: {api: ollama, url: 'http://127.0.0.1:9', key_env: B_KEY}}\n"
    (tmp_path / "other/bakehouse.yaml").write_text(other + another)
    roots = [str(tmp_path / name) for name in ("other", "project", "gone")]
    keys = {url: one.key_variable for (name, url), one in all_servers(roots).items() if name == "box"}
    assert keys == {"http://127.0.0.1:9": "B_KEY", standin.url: "A_KEY"}, (
        "two projects may call two servers by one name"
    )

    observer = AliasObserver(fleet.home)
    for _ in range(2):
        ask = observer.prepare(fleet.connection)
        assert ask is not None
        standin.copy_model("planner", "vault-judge")
        observed = ask()
        with transaction(fleet.connection):
            observer.store(fleet.connection, observed)
    assert [one.reason.code for one in notes(fleet.connection)] == ["alias_changed"]
    assert get_alias(fleet.connection, judge.id).observed_digest == standin.models["planner:latest"].digest
    assert sum(asked.path == "/api/show" for asked in standin.requests) == 1
    assert observer.prepare(StoredFleet(tmp_path / "empty").connection) is None


@pytest.fixture
def shim(fleet: StoredFleet) -> Iterator[PlayedShim]:
    made = PlayedShim(fleet.home, SystemClock(), port=9)
    made.loads_seconds = 0.0
    made.round()
    yield made


def test_a_served_model_of_the_home_is_told_by_its_record(fleet: StoredFleet, shim: PlayedShim) -> None:
    file = fleet.home.root / "m.gguf"
    alias = fleet.alias("note", server=LLAMA_SERVER)
    assert observe(fleet.home, [alias], {})[alias.id].error == Reason("served_file_gone", {"file": "m.gguf"})
    file.write_bytes(b"GGUF")
    told = observe(fleet.home, [alias], {})[alias.id]
    assert (told.digest, told.size_bytes, told.resident, told.phase) == ("ab" * 32, 4, True, "serving")
    nobody = fleet.alias("nobody", server=LLAMA_SERVER)
    assert observe(fleet.home, [nobody], {})[nobody.id].is_gone
    shim.folder.record.write_text("{")
    error = observe(fleet.home, [alias], {})[alias.id].error
    assert error is not None and error.code == "bad_served_model"
