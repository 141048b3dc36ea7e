"""`bakehouse fleet adopt|assign`: thirteen models by one command, with what is known of each; no server is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.authoring.scaffold import new_project
from core.clock import SystemClock
from core.config.project import Project
from core.fleet.adoptable import what_serves
from core.fleet.adopting import Adoption, adopt
from core.store.fleet import alias_of, aliases, fleet_tasks, versions
from core.store.fleet_changes import changes
from tests.support.commands import called
from tests.support.ollama_standin import OllamaStandin
from tests.support.played_runner import play_runner
from tests.support.played_shim import PlayedShim
from tests.support.stored_fleet import StoredFleet

TASKS = ("judge", "planner", "quizzer")
VAULT = tuple(f"vault-{name}" for name in (*TASKS, "seeder", "spacer", "reflector", "analyst", "summarizer"))
OTHERS = ("qwen3:8b", "qwen3:4b", "tidy:prod", "prejudged")
THIRTEEN = (*VAULT, *OTHERS, "note")


class Box:
    """A home, a project with three own tasks, and an Ollama with twelve models; the thirteenth is a served model."""

    def __init__(self, fleet: StoredFleet, server: OllamaStandin, capsys: pytest.CaptureFixture[str]) -> None:
        self.fleet, self.server, self.capsys = fleet, server, capsys
        self.connection = fleet.connection
        self.project = Project.find()

    def fleet_command(self, *words: str, expect: int = 0) -> str:
        code, out, err = called(self.capsys, ["fleet", *words])
        assert code == expect, out + err
        return out + err

    def document(self, *words: str, expect: int = 0) -> Any:
        return json.loads(self.fleet_command(*words, "--json", expect=expect))

    def store(self) -> dict[str, str]:
        """What the server has: a digest by name."""
        return {name: model.digest for name, model in self.server.models.items()}


@pytest.fixture
def box(
    tmp_path: Path,
    own_leases: None,
    standin: OllamaStandin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Box]:
    fleet, folder = StoredFleet(tmp_path), tmp_path / "project"
    new_project(folder)
    for task in TASKS:
        (folder / f"configs/tasks/{task}.yaml").write_text(json.dumps({"name": task, "system": f"You {task}."}))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(fleet.home.root))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OLLAMA_HOST", standin.url)
    play_runner(monkeypatch, "core.fleet.adopting")
    for name in list(standin.models):
        standin.remove_model(name)
    for name in (*VAULT, *OTHERS):
        standin.add_model(name)
    PlayedShim(fleet.home, SystemClock(), port=9)
    (fleet.home.root / "m.gguf").write_bytes(b"GGUF")
    yield Box(fleet, standin, capsys)


def test_thirteen_are_taken_in_by_one_command_and_nothing_is_changed_on_the_server(box: Box) -> None:
    before = box.store()
    listed = box.document("adopt")
    assert {one["name"] for one in listed["adoptable"]} == set(THIRTEEN)
    done = box.document("adopt", "--all")
    assert {one["name"] for one in done["adopted"]} == set(THIRTEEN) and (done["already"], done["refused"]) == ([], [])
    known = {one.name: one for one in aliases(box.connection)}
    assert set(known) == set(THIRTEEN) and fleet_tasks(box.connection) == []
    for name in VAULT:
        (version,) = versions(box.connection, known[name].id)
        model = box.server.models[f"{name}:latest"]
        assert (version.id, version.origin, version.digest) == (known[name].version_id, "adopted", model.digest)
        assert (version.weights, version.size_bytes) == (model.blob, model.size_bytes)
        assert version.server_version == box.server.version and version.template is not None
        assert (version.model, version.deploy_job_id) == (None, None)
    assert known["note"].is_served_here
    assert box.store() == before
    assert {(one.method, one.path) for one in box.server.requests} <= {
        ("GET", "/api/version"),
        ("GET", "/api/tags"),
        ("GET", "/api/ps"),
        ("POST", "/api/show"),
    }


def test_taken_in_again_nothing_happens(box: Box) -> None:
    said = " ".join(box.fleet_command("adopt", "--all").split())
    assert "No job of this home made " in said and said.count("unknown") == 1
    moves = len(changes(box.connection))
    assert "Nothing to take in" in box.fleet_command("adopt", "--all")
    assert "vault-judge is in the fleet as it is" in box.fleet_command("adopt", "vault-judge", "note")
    assert len(changes(box.connection)) == moves == 13
    assert "All of them are in the fleet as they are." in box.fleet_command("adopt")


def test_a_task_is_proposed_and_given_only_when_a_person_says_so(box: Box) -> None:
    out = box.fleet_command("adopt")
    assert "judge?" in out and "prejudged" in out and "13 of 13 can be taken in" in out
    said = box.document("adopt", "vault-judge", "vault-planner")
    assert fleet_tasks(box.connection) == []
    assert said["next"] == [
        "bakehouse fleet assign judge ollama:vault-judge",
        "bakehouse fleet assign planner ollama:vault-planner",
        "bakehouse bakeoff judge ollama:vault-judge",
        "bakehouse bakeoff planner ollama:vault-planner",
    ]
    assert "`bakehouse bakeoff judge ollama:vault-judge`" in box.fleet_command("assign", "judge", "vault-judge")
    box.fleet_command("adopt", "--all", "--assign-proposed")
    given = {one.task: one.alias_id for one in fleet_tasks(box.connection, box.project.id)}
    names = {one.id: one.name for one in aliases(box.connection)}
    proposed = {name.removeprefix("vault-"): name for name in VAULT if name != "vault-planner"}
    assert {task: names[alias_id] for task, alias_id in given.items()} == proposed, (
        "of the project's tasks and the shipped ones; the planner was in the fleet already, and --all is about what is not"
    )
    box.fleet_command("adopt", "vault-planner", "--task", "planner")
    assert alias_of(box.connection, box.project.id, "planner") is not None


def test_the_list_says_which_tasks_of_the_project_nothing_answers_for(box: Box, tmp_path: Path) -> None:
    box.fleet_command("adopt", "vault-judge", "--task", "judge")
    assert box.document("list")["without_alias"] == ["planner", "quizzer"]
    assert "No alias answers for planner and quizzer" in box.fleet_command("list")
    new_project(tmp_path / "other")
    elsewhere = box.document("list", "--project", str(tmp_path / "other"))
    assert (elsewhere["fleet"], elsewhere["without_alias"]) == ([], Project.find(tmp_path / "other").own_task_names())


def test_a_task_has_one_alias_and_an_alias_may_do_several(box: Box) -> None:
    box.fleet_command("adopt", "vault-judge", "qwen3:8b")
    for task in ("judge", "planner"):
        box.fleet_command("assign", task, "vault-judge")
    assert "in place of vault-judge" in box.fleet_command("assign", "planner", "ollama:qwen3:8b")
    assert box.document("assign", "judge", "--none") == {
        "schema": 1,
        "task": "judge",
        "alias": None,
        "former": "vault-judge",
    }
    assert [one.task for one in fleet_tasks(box.connection)] == ["planner"]
    assert "The task judge has no alias" in box.fleet_command("assign", "judge", "--none", expect=1)
    assert "no task" in box.fleet_command("assign", "nothing", "vault-judge", expect=4)
    assert "`bakehouse fleet adopt vault-seeder`" in box.fleet_command("assign", "judge", "vault-seeder", expect=4)
    assert "--none" in box.fleet_command("assign", "judge", expect=2)


def test_what_somebody_else_put_there_is_taken_as_a_version_that_was_found(box: Box) -> None:
    box.fleet_command("adopt", "vault-judge", "--task", "judge")
    box.server.copy_model("qwen3:4b", "vault-judge")
    assert "▲ vault-judge" in box.fleet_command("adopt")
    assert "somebody else put another model under vault-judge" in box.fleet_command("list").replace("\n    ", " ")
    box.fleet_command("adopt", "vault-judge")
    (alias,) = aliases(box.connection)
    first, second = versions(box.connection, alias.id)
    assert (first.origin, second.origin, second.id) == ("adopted", "found", alias.version_id)
    assert second.digest == box.server.models["qwen3:4b"].digest
    assert "somebody else" not in box.fleet_command("list")
    (row,) = box.document("list")["fleet"]
    assert (row["foreign"], row["version"], row["before"]["version"]) == (False, 2, 1)


def test_of_two_who_take_in_the_same_one_is_told_by_whom_it_was_done(box: Box) -> None:
    seen = what_serves(box.fleet.home, box.connection, box.project.settings, box.project.id, TASKS).found
    box.server.copy_model("qwen3:4b", "vault-judge")
    box.fleet_command("adopt", "vault-judge")
    asked = [Adoption(one) for one in seen if one.name in ("vault-judge", "vault-planner")]
    judge, planner = adopt(box.fleet.home, box.project, asked, by="bob@box, console")
    assert planner.refused is None
    assert judge.refused is not None and judge.refused.code == "not_current"
    assert {one.name for one in aliases(box.connection)} == {"vault-judge", "vault-planner"}


def test_a_name_that_nobody_or_everybody_has_is_told(box: Box) -> None:
    assert "`bakehouse fleet adopt` lists what serves" in box.fleet_command("adopt", "nothing", expect=4)
    assert "Name models or say --all" in box.fleet_command("adopt", "vault-judge", "--all", expect=2)
    assert "--task goes with one NAME" in box.fleet_command("adopt", "--all", "--task", "judge", expect=2)
    with OllamaStandin() as other:
        other.add_model("vault-judge")
        settings = box.project.root / "bakehouse.yaml"
        settings.write_text(settings.read_text() + f"servers: {{box: {{api: ollama, url: '{other.url}'}}}}\n")
        told = box.fleet_command("adopt", "vault-judge", expect=2)
        assert "ollama:vault-judge, box:vault-judge" in told
        box.fleet_command("adopt", "box:vault-judge")
        assert [(one.server, one.name) for one in aliases(box.connection)] == [("box", "vault-judge")]
    assert "▲ box: nobody answers at its server" in box.fleet_command("adopt")
