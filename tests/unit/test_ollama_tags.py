"""The tags of a deployment to Ollama: which stray ones go, under which one a former model is kept, and what is put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BakehouseError
from core.files import read_json
from core.home import Home, RunDir
from core.serving.ollama import Ollama
from core.serving.ollama_store import StoredModel, copy, stored
from jobs.ollama_tags import LONGEST_TAG, alone, clear_stray, put_in_place
from tests.support.ollama_standin import Asked, OllamaStandin

pytestmark = pytest.mark.process

OURS, NAME = "judge:v1-staging-0a1b2c3d", "judge:v1"


@pytest.fixture
def server() -> Iterator[OllamaStandin]:
    with OllamaStandin("0.33.0-rc2", load_seconds=0.01) as made:
        made.add_model(OURS, system="new")
        made.add_model(NAME, system="former")
        yield made


@pytest.fixture
def ollama(server: OllamaStandin) -> Iterator[Ollama]:
    with Ollama(server.url) as client:
        yield client


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = Home(tmp_path / "home").create().run_dir(7)
    made.path.mkdir()
    return made


def told(ollama: Ollama, name: str) -> StoredModel:
    found = stored(ollama, name)
    assert found is not None
    return found


def test_stray_staging_tags_of_this_home_go_and_no_others(server: OllamaStandin, ollama: Ollama, run: RunDir) -> None:
    stray, busy, foreign = "b:v1-staging-0a1b2c3d", "c:v1-staging-0a1b2c3d", "d:v1-staging-ffffffff"
    for name in (stray, busy, foreign):
        server.add_model(name)
    ollama.load(stray)
    with alone(run.home, server.url, busy, lambda: None):
        assert set(clear_stray(run.home, ollama, OURS)) == {OURS, stray}
    assert set(server.models) == {NAME, busy, foreign} and server.listed() == []
    assert clear_stray(run.home, ollama, OURS) == [busy], "once who made it is gone"


def test_a_tag_that_is_taken_by_another_model_is_not_overwritten(
    server: OllamaStandin, ollama: Ollama, run: RunDir
) -> None:
    server.add_model("judge:v1-before-7", system="somebody's")
    placed, kept = put_in_place(ollama, run, told(ollama, OURS), NAME, 7)
    assert kept == "judge:v1-before-7-2" and server.models[kept].system == "former"
    assert server.models["judge:v1-before-7"].system == "somebody's" and placed.info.system == "new"
    assert read_json(run.deployment)["rollback"] == kept


def test_what_an_earlier_attempt_has_put_there_is_not_kept_in_the_place_of_the_former(
    server: OllamaStandin, ollama: Ollama, run: RunDir
) -> None:
    """Each attempt makes another model of the file, as far as its digest tells."""
    _, kept = put_in_place(ollama, run, told(ollama, OURS), NAME, 7)
    for system in ("newer", "newest"):
        server.add_model(OURS, system=system)
        assert put_in_place(ollama, run, told(ollama, OURS), NAME, 7)[1] == kept
        assert server.models[NAME].system == system and server.models[str(kept)].system == "former"
    assert set(server.models) == {OURS, NAME, kept}


def test_a_long_name_is_cut_for_the_tag_that_keeps_it(server: OllamaStandin, ollama: Ollama, run: RunDir) -> None:
    name = f"judge:{'v' * LONGEST_TAG}"
    server.copy_model(NAME, name)
    _, kept = put_in_place(ollama, run, told(ollama, OURS), name, 7)
    assert kept is not None and len(kept.partition(":")[2]) == LONGEST_TAG and kept.endswith("v-before-7")


@pytest.mark.parametrize("there", [True, False])
def test_what_did_not_become_what_was_proved_is_put_back(
    server: OllamaStandin, ollama: Ollama, run: RunDir, there: bool
) -> None:
    staged, before = told(ollama, OURS), dict(server.models)
    name = NAME if there else "new:v1"

    def spoil(asked: Asked) -> None:
        """The server copies something else."""
        if asked.path == "/api/copy" and (asked.body or {}).get("source") == OURS:
            server.models[OURS] = replace(server.models[OURS], system="spoilt")

    server.on_request = spoil
    with pytest.raises(BakehouseError) as caught:
        put_in_place(ollama, run, staged, name, 7)
    assert caught.value.code == "not_deployed" and set(server.models) == set(before)
    assert not there or server.models[NAME].system == "former"


def test_what_was_replaced_meanwhile_is_not_touched(server: OllamaStandin, ollama: Ollama, run: RunDir) -> None:
    def replaced(asked: Asked) -> None:
        if asked.path == "/api/copy" and (asked.body or {}).get("source") == NAME:
            server.add_model(NAME, system="somebody's")

    server.on_request = replaced
    with pytest.raises(BakehouseError) as caught:
        put_in_place(ollama, run, told(ollama, OURS), NAME, 7)
    assert caught.value.code == "not_deployed" and server.models[NAME].system == "somebody's"
    assert set(server.models) == {OURS, NAME}


def test_a_server_that_goes_away_in_the_last_request_leaves_it_unknown(
    server: OllamaStandin, ollama: Ollama, run: RunDir
) -> None:
    staged = told(ollama, OURS)
    copy(ollama, NAME, "judge:v1-before-7")

    def away(asked: Asked) -> None:
        if asked.path == "/api/copy":
            server.drop_next("/api/copy")
            server.drop_next("/api/show")

    server.on_request = away
    with pytest.raises(BakehouseError) as caught:
        put_in_place(ollama, run, staged, NAME, 7)
    assert caught.value.code == "not_deployed" and "not known" in caught.value.message
    assert "ollama show" in (caught.value.remedy or "") and server.models["judge:v1-before-7"].system == "former"
