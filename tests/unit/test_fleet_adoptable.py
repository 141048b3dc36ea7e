"""What serves already, on two servers and in the home, with what can be known of each; and nothing on a server is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.aliases.observing import template_hash
from core.clock import SystemClock
from core.config.settings import Settings
from core.fleet.adoptable import Adoptable, WhatServes, is_named_for, named, what_serves
from core.serving import replies
from core.serving.ollama import Ollama
from core.store.fleet import LLAMA_SERVER
from tests.support.ollama_standin import OllamaStandin
from tests.support.played_shim import PlayedShim
from tests.support.stored_fleet import PROJECT, StoredFleet

RECORDED = Path(__file__).parents[2].parent / "shared" / "ollama" / "recorded"
TASKS = ("judge", "planner", "quizzer", "seeder", "note-title", "tidy")
VAULT = tuple(f"vault-{name}" for name in ("judge", "planner", "quizzer", "seeder", "spacer", "reflector", "analyst"))
OTHERS = ("qwen3:8b", "qwen3:4b", "judge:v2", "tidy:prod", "summarizer", "prejudged")


@pytest.fixture
def fleet(tmp_path: Path, own_leases: None) -> StoredFleet:
    return StoredFleet(tmp_path)


@pytest.fixture
def thirteen(standin: OllamaStandin) -> OllamaStandin:
    for name in list(standin.models):
        standin.remove_model(name)
    for name in (*VAULT, *OTHERS):
        standin.add_model(name)
    # What Bakehouse itself keeps there is no model of its own.
    for name in ("vault-judge:bakehouse-2", "tidy:prod-bakehouse-11", "vault-judge-before-12", "x-staging-1a2b3c"):
        standin.copy_model("vault-judge", name)
    return standin


def settings(standin: OllamaStandin, **servers: str) -> Settings:
    named = {name: {"api": "ollama", "url": url} for name, url in servers.items()}
    return Settings.model_validate({"ollama": {"url": standin.url}, "servers": named})


def serving(fleet: StoredFleet, given: Settings) -> WhatServes:
    return what_serves(fleet.home, fleet.connection, given, PROJECT, TASKS)


def by_name(found: WhatServes) -> dict[str, Adoptable]:
    return {one.name: one for one in found.found}


def test_thirteen_models_are_told_with_what_the_server_says_of_them(
    fleet: StoredFleet, thirteen: OllamaStandin, ollama: Ollama
) -> None:
    found = by_name(serving(fleet, settings(thirteen)))
    assert set(found) == {*VAULT, *OTHERS}
    judge, model = found["vault-judge"], thirteen.models["vault-judge:latest"]
    assert (judge.server, judge.url, judge.reference) == ("ollama", thirteen.url, "ollama:vault-judge")
    target = judge.target
    assert (target.digest, target.weights, target.size_bytes) == (model.digest, model.blob, model.size_bytes)
    assert target.template == template_hash(ollama.show("vault-judge").template)
    assert (target.server_version, target.deploy_job_id, target.model) == (thirteen.version, None, None)
    assert (judge.family, judge.parameter_size, judge.quantization) == ("llama", "134.52M", "Q8_0")
    assert judge.modified_at == pytest.approx(model.modified_at, abs=1.0) and judge.context_length == 8192
    assert not judge.is_current and judge.alias is None and judge.fault is None
    asked = {(one.method, one.path) for one in thirteen.requests}
    assert asked == {("GET", "/api/version"), ("GET", "/api/tags"), ("POST", "/api/show")}


def test_a_task_is_proposed_where_one_name_fits_and_nothing_else_has_it(
    fleet: StoredFleet, thirteen: OllamaStandin
) -> None:
    found = by_name(serving(fleet, settings(thirteen)))
    proposed = {name: one.proposed_task for name, one in found.items() if one.proposed_task}
    assert proposed == {
        "vault-judge": "judge",
        "judge:v2": "judge",
        "vault-planner": "planner",
        "vault-quizzer": "quizzer",
        "vault-seeder": "seeder",
        "tidy:prod": "tidy",
    }
    alias = fleet.alias("vault-judge", url=thirteen.url)
    fleet.becomes(alias, found["vault-judge"].target)
    fleet.assign("judge", alias)
    after = by_name(serving(fleet, settings(thirteen)))
    assert (after["vault-judge"].is_current, after["vault-judge"].tasks) == (True, ("judge",))
    assert after["vault-judge"].proposed_task is None and after["judge:v2"].proposed_task is None


@pytest.mark.parametrize(
    ("name", "task", "fits"),
    [
        ("vault-judge", "judge", True),
        ("JUDGE:v1", "judge", True),
        ("prejudged", "judge", False),
        ("box/note-title:4b", "note-title", True),
        ("note:title", "title", True),
        ("title-note", "note-title", False),
    ],
)
def test_a_name_fits_a_task_by_whole_words(name: str, task: str, fits: bool) -> None:
    assert is_named_for(name, task) is fits


def test_what_our_deployments_made_has_its_lineage_and_its_task(fleet: StoredFleet, thirteen: OllamaStandin) -> None:
    model = thirteen.models["vault-analyst:latest"]
    training, job_id = fleet.deployment("vault-analyst", model.digest, model.blob.removeprefix("sha256:"))
    one = by_name(serving(fleet, settings(thirteen)))["vault-analyst"]
    assert (one.target.deploy_job_id, one.target.model) == (job_id, "SmolLM2-135M")
    assert (one.lineage.train_job, one.lineage.recipe, one.proposed_by) == (training, "demo", "deployment")
    # Another template under the same weights: what they were made of is known all the same.
    thirteen.store.put(replace(model, template="{{ .Prompt }}"))
    one = by_name(serving(fleet, settings(thirteen)))["vault-analyst"]
    assert one.target.digest != model.digest and one.target.deploy_job_id == job_id


def test_a_server_that_is_away_costs_its_own_models_only(fleet: StoredFleet, thirteen: OllamaStandin) -> None:
    found = serving(fleet, settings(thirteen, away="http://127.0.0.1:9"))
    assert len(found.found) == 13 and [(name, why.code) for name, why in found.silent.items()] == [
        ("away", "server_down")
    ]
    with OllamaStandin() as other:
        other.add_model("vault-judge")
        both = serving(fleet, settings(thirteen, box=other.url)).found
        assert [one.server for one in named(both, "vault-judge")] == ["ollama", "box"]
        assert [one.server for one in named(both, "box:vault-judge")] == ["box"]
        assert [one.name for one in named(both, "QWEN3:8B")] == ["qwen3:8b"] and named(both, "qwen3") == []


def test_a_model_that_goes_while_it_is_looked_at_is_told_with_what_is_known(
    fleet: StoredFleet, thirteen: OllamaStandin
) -> None:
    thirteen.answer_next(b'{"error":"model is broken"}', "/api/show", status=500)
    found = serving(fleet, settings(thirteen)).found
    (broken,) = [one for one in found if one.fault is not None]
    assert broken.fault is not None and broken.fault.code == "server_refused"
    assert broken.target.digest and broken.target.weights is None and len(found) == 13


@pytest.fixture
def shim(fleet: StoredFleet) -> Iterator[PlayedShim]:
    yield PlayedShim(fleet.home, SystemClock(), port=9)


def test_served_models_of_the_home_are_among_them(
    fleet: StoredFleet, thirteen: OllamaStandin, shim: PlayedShim
) -> None:
    note = by_name(serving(fleet, settings(thirteen)))["note"]
    assert (note.server, note.url, note.reference) == (LLAMA_SERVER, "", "served:note")
    assert note.target.record is not None and note.target.record["port"] == 9
    assert (note.target.digest, note.target.model) == ("ab" * 32, "tiny")
    assert note.fault is not None and note.fault.code == "served_file_gone"
    shim.folder.record.write_text("{")
    assert serving(fleet, settings(thirteen)).silent["served:note"].code == "bad_served_model"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded exchanges (shared/ollama) are not here")
@pytest.mark.parametrize("version", ["0.24.0", "0.33.0-rc2"])
def test_what_real_servers_said_of_their_models_is_read(fleet: StoredFleet, version: str) -> None:
    """The recorded lists and `show`s, answered by a server that says nothing else."""
    folder = RECORDED / version

    def body(name: str) -> dict[str, object]:
        (file,) = folder.glob(f"[0-9][0-9][0-9]_{name}.json")
        found: dict[str, object] = json.loads(file.read_text())["response"]["json"]
        return found

    listed, shown = body("tags"), body("show_plain")
    with OllamaStandin() as server:
        server.answer_next(json.dumps(listed).encode(), "/api/tags")
        for _ in replies.tags(listed):
            server.answer_next(json.dumps(shown).encode(), "/api/show")
        found = serving(fleet, settings(server)).found
    assert {one.name for one in found} == {one.name.removesuffix(":latest") for one in replies.tags(listed)}
    info = replies.shown(shown)
    assert {(one.target.weights, one.target.template) for one in found} == {(info.blob, template_hash(info.template))}
    assert all(one.target.digest and one.modified_at and one.quantization for one in found)
