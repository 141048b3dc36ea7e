"""A row of the fleet: what serves, by which figures, from where, what it was before, and what is wrong with any of that."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core.aliases.observing import Observed
from core.fleet.rows import FleetRow, fleet_rows
from core.progress import Progress
from core.reasons import Reason
from core.serving.errors import ServerError
from core.store.chains import insert_chain
from core.store.database import transaction
from core.store.fleet import Target, set_current, set_observed
from core.store.fleet_changes import open_change
from core.store.jobs import State
from core.wording.fleet_rows import row_remarks
from tests.support.stored import add_job, path_to, step, step_to
from tests.support.stored_fleet import PROJECT, TEMPLATE, VERSION, StoredFleet, identity
from tests.support.stored_tasks import INPUTS

OLD, NEW = "vault-judge-7b", "vault-judge-4b"
OLD_TARGET = Target(OLD, "d-old", "sha256:" + "0a" * 32, TEMPLATE, VERSION, 4_700_000_000, "Qwen2.5-7B")
NEW_TARGET = Target(NEW, "d-new", "sha256:" + "0b" * 32, TEMPLATE, VERSION, 4_300_000_000)


@pytest.fixture
def fleet(tmp_path: Path) -> StoredFleet:
    return StoredFleet(tmp_path)


def promoted(fleet: StoredFleet) -> tuple[int, int, int]:
    """`vault-judge` was adopted with the 7B and became the 4B; (training, deployment, bake-off) of that."""
    training, deployment = fleet.deployment(NEW, "d-new", "0b" * 32)
    served = {f"ollama:{OLD}": identity(OLD, "0a" * 32), f"ollama:{NEW}": identity(NEW, "0b" * 32)}
    bakeoff = fleet.bakeoff(served, {f"ollama:{OLD}": 0.3, f"ollama:{NEW}": 1.0})
    alias = fleet.alias("vault-judge")
    fleet.assign("judge", alias)
    fleet.becomes(alias, OLD_TARGET)
    fleet.becomes(alias, NEW_TARGET, "promote", origin="promoted", override="the 7B is too slow")
    return training, deployment, bakeoff


def only_row(fleet: StoredFleet, **seen: Observed) -> FleetRow:
    observed = {fleet.alias(name.replace("_", "-")).id: one for name, one in seen.items()}
    (row,) = fleet_rows(fleet.home, fleet.connection, PROJECT, observed)
    return row


def test_a_row_is_a_line_of_the_write_up_s_last_table(fleet: StoredFleet) -> None:
    training, deployment, bakeoff = promoted(fleet)
    row = only_row(fleet)
    assert (row.task, row.alias.name, row.reference) == ("judge", "vault-judge", "ollama:vault-judge")
    assert row.version is not None and (row.version.number, row.version.origin) == (2, "promoted")
    assert row.measured is not None and (row.measured.job_id, row.n_inputs) == (bakeoff, len(INPUTS))
    assert row.before is not None and row.before.measured is not None
    assert row.before.measured.job_id == bakeoff and row.before.model == "Qwen2.5-7B"
    assert row.before.scores["format"] < 0.7 < row.scores["format"] == 1.0
    assert (row.before.version.size_bytes, row.size_bytes) == (4_700_000_000, 4_300_000_000)
    lineage = row.lineage
    assert (lineage.model, lineage.recipe, lineage.data) == ("SmolLM2-135M", "demo", "judge.train.jsonl")
    assert (lineage.train_job, lineage.deploy_job, lineage.quantization) == (training, deployment, "Q8_0")
    assert (row.model, row.overridden, row.stale, row.foreign) == ("SmolLM2-135M", "the 7B is too slow", (), False)
    assert row.to_json()["before"]["scores"] == dict(row.before.scores)


def test_an_adopted_model_of_which_nothing_is_on_record_says_so(fleet: StoredFleet) -> None:
    fleet.becomes(fleet.alias("tagger"), Target("tagger", "d-tagger", "sha256:" + "0c" * 32))
    row = only_row(fleet)
    assert (row.project_id, row.task, row.scores, row.measured, row.before) == (None, None, {}, None, None)
    assert (row.model, row.lineage.train_job, row.resident, row.observed) == (None, None, None, None)


def test_the_verdict_is_stale_when_its_server_its_template_or_its_model_is_another(fleet: StoredFleet) -> None:
    promoted(fleet)
    as_measured = Observed(1.0, "d-new", VERSION, template=TEMPLATE, resident=True, vram_bytes=4_600_000_000)
    row = only_row(fleet, vault_judge=as_measured)
    assert (row.stale, row.resident, row.vram_bytes) == ((), True, 4_600_000_000)
    row = only_row(fleet, vault_judge=Observed(1.0, "d-new", "0.33.0", template="another"))
    assert [(one.code, one.values["now"]) for one in row.stale] == [
        ("server_version_differs", "0.33.0"),
        ("template_differs", "another"),
    ]
    row = only_row(fleet, vault_judge=Observed(1.0, "d-else", VERSION))
    assert row.foreign and [one.code for one in row.stale] == ["digest_differs"]
    row = only_row(fleet, vault_judge=Observed(1.0, None, VERSION))
    assert row.foreign and row.observed is not None and row.observed.is_gone
    silent = Observed(1.0, error=ServerError("", code="server_down").reason)
    row = only_row(fleet, vault_judge=silent)
    assert (row.foreign, row.stale, row.resident) == (False, (), None), "nothing is known of it"


def test_a_bakeoff_on_the_server_of_now_is_the_verdict_again(fleet: StoredFleet) -> None:
    promoted(fleet)
    after = {f"ollama:{NEW}": identity(NEW, "0b" * 32, version="0.33.0", template="another")}
    again = fleet.bakeoff(after, {f"ollama:{NEW}": 0.9})
    now = Observed(1.0, "d-new", "0.33.0", template="another")
    row = only_row(fleet, vault_judge=now)
    assert row.measured is not None and (row.measured.job_id, row.stale) == (again, ())
    # What nobody looked at is the version as it was promoted, under its own template.
    assert only_row(fleet).measured != row.measured


def test_what_the_runner_saw_is_what_a_row_tells_where_nobody_asks_the_server(fleet: StoredFleet) -> None:
    promoted(fleet)
    alias = fleet.alias("vault-judge")
    with transaction(fleet.connection):
        set_observed(fleet.connection, alias.id, at=5.0, digest="d-new", server_version="0.33.0", error=None)
    row = only_row(fleet)
    assert [one.code for one in row.stale] == ["server_version_differs"] and not row.foreign
    with transaction(fleet.connection):
        set_observed(fleet.connection, alias.id, at=6.0, digest=None, server_version=None, error="server_down")
    row = only_row(fleet)
    assert row.observed is not None and row.observed.error == Reason("server_down") and row.stale == ()


def test_the_challenger_is_the_newest_way_that_has_not_ended(fleet: StoredFleet) -> None:
    promoted(fleet)
    assert only_row(fleet).challenger is None
    connection = fleet.connection
    first, bake = (add_job(connection, task="judge", model=name) for name in ("Qwen3-4B", "Qwen3-4B"))
    add_job(connection, task="planner", model="Qwen3-8B")
    with transaction(connection):
        chain = insert_chain(
            connection, title="ship", project_id=PROJECT, author="t", links=[(first, False), (bake, False)]
        )
    step_to(connection, first, "running")
    tell(connection, first, Progress(done=40, total=100, unit="steps"))
    found = only_row(fleet).challenger
    assert found is not None and (found.model, found.stage, found.progress) == ("Qwen3-4B", "train", 0.4)
    assert (found.chain_id, found.job_id, found.state) == (chain, first, "running")
    step(connection, first, "failed")
    found = only_row(fleet).challenger
    assert found is not None and (found.state, found.progress) == ("failed", None)
    for state in ("waiting", "cancelled"):
        step(connection, first, state)  # type: ignore[arg-type]
    step(connection, bake, "cancelled")
    alone = add_job(connection, task="judge", model="Qwen3-1.7B")
    found = only_row(fleet).challenger
    assert found is not None and (found.model, found.chain_id, found.job_id) == ("Qwen3-1.7B", None, alone)


@pytest.mark.parametrize("state", ["failed", "interrupted", "lost"])
def test_a_way_that_failed_is_shown_until_something_else_serves_and_a_cancelled_one_never(
    fleet: StoredFleet, state: State
) -> None:
    promoted(fleet)
    connection, alias = fleet.connection, fleet.alias("vault-judge")
    jobs = [add_job(connection, task="judge", model="Qwen3-4B") for _ in range(2)]
    with transaction(connection):
        insert_chain(connection, title="ship", project_id=PROJECT, author="t", links=[(job, False) for job in jobs])
    for one in path_to(connection, state):
        step(connection, jobs[0], one)
    found = only_row(fleet).challenger
    assert found is not None and (found.state, found.job_id) == (state, jobs[0])
    fleet.becomes(alias, OLD_TARGET, "rollback")
    assert only_row(fleet).challenger is None, "it failed before"
    step(connection, jobs[0], "waiting")
    found = only_row(fleet).challenger
    assert found is not None and found.state == "waiting", "asked once more, it is on its way again"
    for one in path_to(connection, state):
        step(connection, jobs[0], one)
    assert only_row(fleet).challenger is not None
    step(connection, jobs[1], "cancelled")
    assert only_row(fleet).challenger is None, "the rest of it was cancelled: nobody goes on with it"


def test_the_newest_check_for_drift_of_what_serves_counts(fleet: StoredFleet) -> None:
    promoted(fleet)
    row = only_row(fleet)
    assert row.version is not None
    checks = [drift(fleet.connection, row.version.id, one) for one in ("baseline_taken", "loss")]
    drift(fleet.connection, row.version.id - 1, "same")
    found = only_row(fleet).drift
    assert found is not None and (found.code, found.job_id) == ("loss", checks[-1])
    waiting = add_job(fleet.connection, kind="drift", settings={"version_id": row.version.id})
    assert only_row(fleet).drift == found, f"job {waiting} has said nothing yet"
    drift(fleet.connection, row.version.id, "overtaken")
    assert only_row(fleet).drift == found, "of what another version overtook nobody knows which one it looked at"
    fleet.connection.execute("UPDATE jobs SET project_id = 'another' WHERE id = ?", [found.job_id])
    former = only_row(fleet).drift
    assert former is not None and former.job_id == checks[0], "a task of that name in another project is another one"


def test_after_a_rollback_what_was_left_behind_is_told_and_not_gone_back_to(fleet: StoredFleet) -> None:
    """The runner would refuse it (`no_former_version`): the first version took nothing's place."""
    promoted(fleet)
    row = only_row(fleet)
    assert row.version is not None and row.before is not None and row.back is not None
    assert row.back.version == row.before.version and row.back.model == "Qwen2.5-7B"
    first = row.back.version
    with transaction(fleet.connection):
        open_change(
            fleet.connection,
            alias_id=row.alias.id,
            kind="rollback",
            author="anna@box, command",
            target=first.as_target(),
            from_version=row.version.id,
            to_version=first.id,
            is_done=True,
        )
        set_current(fleet.connection, row.alias.id, first.id)
    now = only_row(fleet)
    assert now.version == first and now.before is not None and now.before.version == row.version
    assert now.back is None


def test_a_stale_verdict_says_that_a_check_found_the_same_answers_on_what_is_there_now(fleet: StoredFleet) -> None:
    promoted(fleet)
    version = only_row(fleet).version
    assert version is not None
    now = Observed(1.0, "d-new", "0.33.0", template=TEMPLATE)

    def told() -> tuple[bool, str]:
        row = only_row(fleet, vault_judge=now)
        assert [one.code for one in row.stale] == ["server_version_differs"], "the verdict stays one of another version"
        assert row.to_json()["stale_checked"] == row.stale_checked
        (remark,) = [one for one in row_remarks(row) if one.code == "stale"]
        assert remark.urgent and bool(remark.remedies) != row.stale_checked
        return row.stale_checked, remark.words

    def check(outcome: str, on: str, held_to: int | None = None, **more: str) -> int:
        identity = {"server_version": on, "template": TEMPLATE, "weights": version.weights, **more}
        return drift(fleet.connection, version.id, outcome, smoke={"baseline_job": held_to}, **identity)

    as_measured = check("baseline_taken", VERSION)
    assert told()[0] is False and told()[1].startswith("stale: changed since bake-off ")
    check("same", VERSION, as_measured)
    assert told()[0] is False, "that was before the server changed"
    check("same", "0.32.0", as_measured)
    assert told()[0] is False, "that was another server again"
    check("same", "0.33.0", as_measured, template="another")
    assert told()[0] is False, "the template has changed since"
    check("same", "0.33.0", as_measured)
    is_checked, words = told()
    assert is_checked and words.startswith("stale; checked: same answers; changed since bake-off ")
    assert words.endswith(f"server {VERSION} → 0.33.0")
    later = check("differs_no_loss", "0.33.0", as_measured)
    assert told()[0] is False, "other answers are not the same ones"
    check("same", "0.33.0", later)
    assert told()[0] is False, "the same as those after the change tells nothing of the change"


def test_the_move_that_an_alias_is_in_stands_in_each_of_its_rows(fleet: StoredFleet) -> None:
    promoted(fleet)
    alias = fleet.alias("vault-judge")
    fleet.assign("planner", alias)
    asked = fleet.asked(alias, OLD_TARGET, "rollback", author="bob@box, console", phase="place")
    rows = fleet_rows(fleet.home, fleet.connection, PROJECT)
    assert [(one.task, one.change) for one in rows] == [("judge", asked), ("planner", asked)]
    assert rows[0].scores and not rows[1].scores, "at the other task it was not measured"


def test_a_table_of_a_hundred_takes_as_many_queries_as_one_of_one(fleet: StoredFleet) -> None:
    promoted(fleet)
    few = queries(fleet)
    for number in range(100):
        alias = fleet.alias(f"model-{number}")
        fleet.becomes(alias, Target(f"m{number}", f"d{number}", f"sha256:{number:064x}"))
        fleet.becomes(alias, Target(f"n{number}", f"e{number}", f"sha256:{number + 500:064x}"), "promote")
        fleet.assign(f"task-{number}", alias)
    assert queries(fleet) == few
    assert len(fleet_rows(fleet.home, fleet.connection, PROJECT)) == 101


def queries(fleet: StoredFleet) -> int:
    asked, connection = list[str](), fleet.connection
    connection.set_trace_callback(asked.append)
    try:
        fleet_rows(fleet.home, connection)
    finally:
        connection.set_trace_callback(None)
    return sum(one.lstrip().startswith(("SELECT", "WITH")) for one in asked)


def tell(connection: sqlite3.Connection, job_id: int, progress: Progress) -> None:
    with transaction(connection):
        connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", [progress.to_json(), job_id])


def drift(connection: sqlite3.Connection, version_id: int, outcome: str, **summary: Any) -> int:
    """A check for drift that is done."""
    job_id = add_job(connection, kind="drift", settings={"version_id": version_id})
    step_to(connection, job_id, "done")
    with transaction(connection):
        told = json.dumps({"summary": {"outcome": outcome, **summary}})
        connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [told, job_id])
    return job_id
