"""The fleet as it is stored: one current version, one open change an alias, a history that stays."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core.home import Home
from core.reasons import Reason
from core.store import database
from core.store.database import open_database, schema_version, transaction
from core.store.fleet import (
    Alias,
    FleetTask,
    Target,
    alias_of,
    aliases,
    assign_task,
    current_version,
    find_alias,
    get_alias,
    insert_alias,
    insert_version,
    next_number,
    release_task,
    set_current,
    set_observed,
    tasks_of,
    versions,
)
from core.store.fleet_changes import (
    add_note,
    changes,
    finish_change,
    history_mark,
    notes,
    open_change,
    open_change_of,
    set_kept_names,
    set_phase,
)
from tests.support.stored import add_job, database_before, fresh

JUDGE = Target(source="judge-4b:latest", digest="d1", model="qwen3-4b", size_bytes=3)


def alias(connection: sqlite3.Connection, name: str = "vault-judge") -> Alias:
    return insert_alias(connection, server="ollama", url="http://box:11434", name=name, name_key=f"{name}:latest")


def test_an_alias_is_one_of_its_own_versions(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with transaction(connection):
        judge, other = alias(connection), alias(connection, "tagger")
        first = insert_version(connection, judge.id, JUDGE, "adopted")
        second = insert_version(connection, judge.id, Target(source="b", digest="d2", record={"port": 1}), "promoted")
        foreign = insert_version(connection, other.id, JUDGE, "adopted")
        set_current(connection, judge.id, first.id, since=5.0)
    assert [(one.number, one.digest, one.record) for one in versions(connection, judge.id)] == [
        (1, "d1", None),
        (2, "d2", {"port": 1}),
    ]
    assert second.as_target().digest == "d2" and second.as_target().source == "b"
    now = find_alias(connection, "ollama", "http://box:11434", "vault-judge:latest")
    assert now is not None and (now.version_id, now.since) == (first.id, 5.0)
    assert current_version(connection, now) == first
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        set_current(connection, judge.id, foreign.id)
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        alias(connection)


def test_an_alias_has_one_open_change_and_an_ended_one_stays_as_it_is(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with transaction(connection):
        judge = alias(connection)
        numbered = Target(source="b", digest="d", number=next_number(connection, judge.id))
        change = open_change(
            connection, alias_id=judge.id, kind="promote", author="anna", target=numbered, from_version=None, task="t"
        )
    assert open_change_of(connection, judge.id) == change and change.target == numbered
    assert next_number(connection, judge.id) == 2, "the number of a change is not given again"
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        open_change(connection, alias_id=judge.id, kind="rollback", author="b", target=JUDGE, from_version=None)
    with transaction(connection):
        set_kept_names(connection, change.id, Target("b", "d", number=1, kept_as="k"), {"target": "k"}, "placing")
        finish_change(connection, change.id, "failed", Reason("source_gone", {"source": "b"}))
    (ended,) = changes(connection, judge.id)
    assert (ended.state, ended.phase, ended.target.kept_as, ended.kept) == ("failed", "", "k", {"target": "k"})
    assert ended.reason == Reason("source_gone", {"source": "b"}) and ended.ended_at is not None
    assert open_change_of(connection, judge.id) is None
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        finish_change(connection, change.id, "done")


def test_a_task_has_one_alias_and_an_alias_may_do_several_tasks(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with transaction(connection):
        one, two = alias(connection), alias(connection, "tagger")
        for task, given in (("judge", one), ("title", one), ("judge", two)):
            assign_task(connection, FleetTask("p", "/p", task, given.id, 1.0, "anna"))
    found = alias_of(connection, "p", "judge")
    assert found is not None and found.id == two.id and alias_of(connection, "q", "judge") is None
    assert [task.task for task in tasks_of(connection, one.id)] == ["title"]
    with transaction(connection):
        assert release_task(connection, "p", "judge") and not release_task(connection, "p", "judge")


def test_what_was_observed_stays_beside_an_error_and_notes_are_newest_first(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with transaction(connection):
        judge = alias(connection)
        set_observed(connection, judge.id, at=7.0, digest="d", server_version="0.33.0", error=None)
        set_observed(connection, judge.id, at=9.0, digest=None, server_version=None, error="no answer")
        add_note(connection, judge.id, Reason("alias_changed", {"digest": "e"}), task="t")
        add_note(connection, judge.id, Reason("stale"))
    now = get_alias(connection, judge.id)
    assert (now.observed_at, now.observed_digest, now.observed_error) == (7.0, "d", "no answer")
    assert [(note.reason.code, note.task) for note in notes(connection, judge.id)] == [
        ("stale", None),
        ("alias_changed", "t"),
    ]


def test_a_mark_tells_each_write_to_the_history_of_an_alias_and_nothing_else(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with transaction(connection):
        judge, other = alias(connection), alias(connection, "tagger")
        marks = [history_mark(connection, judge.id)]
        change = open_change(
            connection, alias_id=judge.id, kind="promote", author="a", target=JUDGE, from_version=None, phase=""
        )
        marks.append(history_mark(connection, judge.id))
        set_phase(connection, change.id, "keeping")
        marks.append(history_mark(connection, judge.id))
        set_kept_names(connection, change.id, JUDGE, {"former": "vault-judge:bakehouse-1"}, "placing")
        marks.append(history_mark(connection, judge.id))
        finish_change(connection, change.id, "done")
        marks.append(history_mark(connection, judge.id))
        add_note(connection, judge.id, Reason("alias_changed"))
        marks.append(history_mark(connection, judge.id))
    assert len(set(marks)) == len(marks)
    with transaction(connection):
        set_observed(connection, judge.id, at=7.0, digest="d9", server_version="0.24.0", error=None)
        add_note(connection, other.id, Reason("alias_changed"))
        open_change(connection, alias_id=other.id, kind="promote", author="a", target=JUDGE, from_version=None)
    assert history_mark(connection, judge.id) == marks[-1]


def test_a_database_of_version_7_keeps_its_jobs_and_gets_a_fleet(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = database_before(home, "fleet_of_aliases", 7)
    job = add_job(connection)
    connection.close()

    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION and aliases(again) == []
    with transaction(again):
        judge = alias(again)
        insert_version(again, judge.id, Target(source="a", digest="d", deploy_job_id=job), "promoted")
    again.execute("PRAGMA foreign_keys = on")
    assert versions(again, judge.id)[0].deploy_job_id == job
