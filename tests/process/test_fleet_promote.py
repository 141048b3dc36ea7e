"""`fleet promote` and `fleet rollback` with a real runner and a stand-in of Ollama, by the identities that the server tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.jobfile.servers import known_servers, opened
from core.store.database import open_database, transaction
from core.store.fleet import FleetTask, assign_task, release_task
from tests.support.commands import called
from tests.support.promotable import Promotable, promotable_in
from tests.support.queueing import Queue
from tests.support.real_fleet import PROJECT, RealFleet, real_fleet
from tests.support.waiting import wait_until

ALL, HALF = [5] * 60, [2, 3] * 30
Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def fleet(queue: Queue, machine: Path) -> Iterator[RealFleet]:
    with real_fleet(queue, machine) as made:
        yield made


@pytest.fixture
def made(fleet: RealFleet, machine: Path) -> Iterator[Promotable]:
    """`judge` is adopted; two candidates were deployed, and one bake-off held all three against each other."""
    with closing(open_database(fleet.home)) as connection:
        found = promotable_in(machine, fleet.home, connection)
        server = known_servers(found.project.settings)["ollama"]
        for name in ("judge", "judge-4b", "judge-8b"):
            with closing(opened(server, name)) as model:
                found.has[name] = model.identity()
        for name in ("judge-4b", "judge-8b"):
            found.deployed(name, found.trained())
        found.baked_off({"judge": HALF, "judge-4b": ALL, "judge-8b": [3, 2] * 30})
        yield found


@pytest.fixture
def run(made: Promotable, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.home.root))

    def asked(*words: str) -> tuple[int, Any]:
        code, out, err = called(capsys, ["fleet", *words, "--project", str(made.folder / "project"), "--json"])
        return code, json.loads(out) if out else err

    return asked


def test_evidence_decides_a_reason_overrides_it_and_a_rollback_brings_back(
    fleet: RealFleet, made: Promotable, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.adopt("judge", "judge")
    of_project = FleetTask(made.project.id, str(made.project.root), "judge", fleet.alias("judge").id, 1.0, "anna")
    with transaction(made.connection):
        release_task(made.connection, PROJECT["project_id"], "judge")
        assign_task(made.connection, of_project)
    first = fleet.current("judge")
    assert first is not None

    code, told = run("promote", "judge", "judge-4b", "--dry-run")
    assert (code, told["gate"]["outcome"], told["change"]) == (0, "pass", None)
    code, out, _ = called(capsys, ["fleet", "promote", "judge", "judge-8b", "--project", str(made.folder / "project")])
    assert code == 3 and "? not worse   format: " in out and "Not promoted: production is as it was." in out
    assert all(len(line) <= 120 for line in out.splitlines()[:-1])
    code, told = run("promote", "judge", "judge-8b")
    assert (code, told["gate"]["outcome"]) == (3, "cannot_tell"), "the mean is the same, and sixty inputs do not tell"
    assert (told["change"]["state"], told["change"]["reason"]["code"]) == ("failed", "gate_not_passed")
    present = fleet.current("judge")
    assert present is not None and present.id == first.id and fleet.server.models["judge:latest"].digest == first.digest
    assert [(one.kind, one.state) for one in fleet.changes()] == [*[("promote", "failed")] * 2, ("adopt", "done")]

    code, told = run("promote", "judge", "judge-8b", "--override", "half the memory")
    assert (code, told["change"]["state"], told["change"]["override_reason"]) == (0, "done", "half the memory")
    newest = fleet.changes()[0]
    assert newest.gate is not None and newest.gate["outcome"] == "cannot_tell"
    assert fleet.server.models["judge:latest"].digest == fleet.server.models["judge-8b:latest"].digest

    code, told = run("promote", "judge", "judge-4b")
    assert (code, told["change"]["state"], told["change"]["override_reason"]) == (0, "done", None)
    now = fleet.current("judge")
    assert now is not None and (now.number, now.bakeoff_job_id) == (3, told["gate"]["bakeoff_job"])

    code, told = run("rollback", "judge")
    assert (code, told["change"]["state"]) == (0, "done")
    assert fleet.server.models["judge:latest"].digest == fleet.server.models["judge-8b:latest"].digest
    code, _ = run("rollback", "judge", "--to", "1")
    assert code == 0 and fleet.current("judge") is not None
    assert fleet.server.models["judge:latest"].digest == first.digest
    fleet.server.copy_model("judge-4b", "judge")
    code, _ = run("rollback", "judge")
    assert code == 0 and fleet.server.models["judge:latest"].digest == first.digest, "what was recorded comes back"
    fleet.watched.clear()
    fleet.server.remove_model("judge")
    code, _ = run("rollback", "judge")
    assert code == 0 and fleet.server.models["judge:latest"].digest == first.digest, "also where it was removed"
    wait_until(fleet.at_rest, what="the end of all changes")
    fleet.check("judge")


def test_a_name_that_is_taken_and_a_candidate_elsewhere_leave_production(
    fleet: RealFleet, made: Promotable, run: Run
) -> None:
    code, _ = run("promote", "judge", "judge-4b", "--as", "judge-8b")
    assert code == 2 and not fleet.changes(), "somebody's model is under that name"
    code, told = run("promote", "judge", "judge-4b", "--as", "vault", "--override", "the first one")
    assert (code, told["change"]["state"]) == (0, "done")
    assert fleet.server.models["vault:latest"].digest == fleet.server.models["judge-4b:latest"].digest
    url = fleet.server.url
    (made.folder / "config/bakehouse/settings.yaml").write_text(f"ollama: {{url: '{url[:-1]}'}}\n")
    code, told = run("promote", "judge", "ollama:judge-8b")
    assert (code, told["error"]["code"]) == (2, "other_server") and len(fleet.changes()) == 1
