"""What is asked of the fleet: what is done at once, what becomes an intent, and who is told why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.fleet.asked_change import is_what_was_asked
from core.fleet.rows import fleet_rows
from core.reasons import Reason
from core.runner.commands import RefusedError
from core.store.fleet import Target, alias_of, tasks_of
from core.store.fleet_changes import changes, notes
from core.wording.jobs import reason_words
from tests.support.played_fleet import PASS, PROJECT, PlayedFleet
from tests.support.played_ollama import digest_of


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedFleet:
    made = PlayedFleet(tmp_path, monkeypatch)
    for name in ("judge", "title", "judge-4b", "judge-8b"):
        made.server.put(name, f"model of {name}")
    return made


def refusal(call: Any, *arguments: Any, **named: Any) -> tuple[str, str]:
    """The code, and the words for a person."""
    with pytest.raises(RefusedError) as refused:
        call(*arguments, **named)
    return refused.value.code, reason_words(refused.value.reason)


def test_an_adoption_is_done_at_once_and_stands_in_the_history(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    current = fleet.current("judge")
    assert current is not None and (current.number, current.origin) == (1, "adopted")
    change = fleet.last("judge")
    assert (change.kind, change.state, change.to_version, change.author) == (
        "adopt",
        "done",
        current.id,
        "anna@box, console",
    )
    assert [one.task for one in tasks_of(fleet.connection, fleet.alias("judge").id)] == ["judge"]
    code, said = refusal(fleet.adopt, "judge")
    assert code == "already_current" and "version 1" in said
    fleet.server.put("judge", "somebody's")
    code, _ = refusal(fleet.adopt, "judge", expected_version=None)
    assert code == "not_current"
    fleet.adopt("judge")
    found = fleet.current("judge")
    assert found is not None and (found.number, found.origin) == (2, "found")
    assert fleet.server.requests == [], "no server was asked in a command"


def test_of_two_consoles_that_promote_at_once_one_is_done_and_the_other_is_told(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    seen = fleet.current_id("judge")
    fleet.promote("judge", "judge-4b", expected_version=seen)
    code, said = refusal(fleet.promote, "judge", "judge-8b", expected_version=seen)
    assert code == "change_open" and "promotion of judge" in said and "anna@box (console)" in said
    assert refusal(fleet.rollback, "judge")[0] == "change_open"
    fleet.settle()
    code, said = refusal(fleet.promote, "judge", "judge-8b", expected_version=seen)
    assert code == "not_current" and "version 2 by now by anna@box (console)" in said
    assert len(fleet.versions("judge")) == 2 and fleet.server.model("judge") == "model of judge-4b"


def test_a_gate_that_does_not_pass_is_overridden_with_a_reason_that_is_kept(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    for gate in (None, {}, {"outcome": "of a later version"}):
        assert refusal(fleet.promote, "judge", "judge-4b", gate=gate)[0] == "gate_not_asked"
    gate = {**PASS, "outcome": "cannot_tell"}
    fleet.promote("judge", "judge-4b", gate=gate, override_reason="the judge is down to one GPU")
    fleet.settle()
    change = fleet.last("judge")
    assert (change.state, change.override_reason, change.gate) == ("done", "the judge is down to one GPU", gate)


@pytest.mark.parametrize("outcome", ["fail", "cannot_tell"])
@pytest.mark.parametrize("reason", [None, "  "])
def test_what_the_gate_does_not_pass_is_kept_and_nothing_is_touched(
    fleet: PlayedFleet, outcome: str, reason: str | None
) -> None:
    fleet.adopt("judge", "judge")
    fleet.settle()
    before, asked = fleet.current("judge"), list(fleet.server.requests)
    gate = {**PASS, "outcome": outcome}
    fleet.promote("judge", "judge-4b", gate=gate, override_reason=reason)
    change = fleet.last("judge")
    assert (change.kind, change.state, change.gate, change.override_reason) == ("promote", "failed", gate, None)
    assert change.reason is not None and change.reason.code == "gate_not_passed"
    assert (change.author, change.target.source, change.kept) == ("anna@box, console", "judge-4b", None)
    fleet.settle()
    assert fleet.current("judge") == before and fleet.server.requests == asked
    fleet.promote("judge", "judge-4b")
    fleet.settle()
    assert [one.number for one in fleet.versions("judge")] == [1, 2], "it took no number"
    fleet.check()


def test_each_of_two_consoles_of_one_person_is_told_of_its_own_promotion(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    fleet.settle()
    gate = {**PASS, "outcome": "cannot_tell"}
    fleet.promote("judge", "judge-4b", gate=gate)
    refused = fleet.last("judge")
    fleet.promote("judge", "judge-4b", gate=gate, override_reason="half the size")
    given = fleet.last("judge")
    target = {"digest": given.target.digest}
    for reason, mine, theirs in ((None, refused, given), (" half the size ", given, refused)):
        asked = {"gate": gate, "target": target, "override_reason": reason}
        assert is_what_was_asked(mine, "fleet-promote", asked, mine.author)
        assert not is_what_was_asked(theirs, "fleet-promote", asked, mine.author)
        assert not is_what_was_asked(mine, "fleet-promote", asked, "bert@box, console")


def test_a_first_promotion_that_the_gate_does_not_pass_stands_in_the_history_alone(fleet: PlayedFleet) -> None:
    fleet.promote("vault", "judge-4b", gate={**PASS, "outcome": "fail"})
    fleet.settle()
    assert fleet.last("vault").state == "failed" and fleet.server.model("vault") is None
    assert alias_of(fleet.connection, "p", "judge") is None and fleet_rows(fleet.home, fleet.connection) == []
    fleet.promote("vault", "judge-4b")
    assert [row.alias.name for row in fleet_rows(fleet.home, fleet.connection)] == ["vault"], "it is on its way"
    fleet.settle()
    assert fleet.server.model("vault") == "model of judge-4b"


def test_a_refused_command_leaves_nothing(fleet: PlayedFleet) -> None:
    assert refusal(fleet.promote, "vault", "judge-4b", gate=None)[0] == "gate_not_asked"
    assert fleet.current("vault") is None and changes(fleet.connection) == []
    assert fleet.connection.execute("SELECT count(*) FROM aliases").fetchone()[0] == 0
    fleet.adopt("judge", "judge")
    assert refusal(fleet.promote, "judge", "JUDGE:latest")[0] == "is_alias_itself"
    assert refusal(fleet.promote, "judge", "judge-4b", target={"source": "judge-4b", "digest": None})[0] == "no_digest"
    same = {"source": "judge-4b", "digest": f"sha256:{digest_of('model of judge')}"}
    assert refusal(fleet.promote, "judge", "judge-4b", target=same)[0] == "already_current"
    assert refusal(fleet.rollback, "judge")[0] == "no_former_version"
    assert refusal(fleet.rollback, "judge", to_version=99)[0] == "version_unknown"
    assert refusal(fleet.ask, "fleet-rollback", alias_id=99, expected_version=None)[0] == "alias_unknown"


def test_a_task_moves_to_another_alias_for_whoever_saw_the_one_that_it_has(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    fleet.adopt("title")
    judge, title = fleet.alias("judge").id, fleet.alias("title").id
    task = {**PROJECT, "task": "judge"}
    assert refusal(fleet.promote, "title", "judge-4b", "judge")[0] == "task_moved"
    code, said = refusal(fleet.ask, "fleet-assign", **task, alias_id=title, expected_alias=None)
    assert code == "task_moved" and "has the alias judge by now by anna@box (console)" in said
    fleet.ask("fleet-assign", **task, alias_id=title, expected_alias=judge)
    now = alias_of(fleet.connection, "p", "judge")
    assert now is not None and now.id == title and fleet.last("title").kind == "assign"
    fleet.promote("title", "judge-4b", "judge")
    fleet.ask("fleet-assign", **task, alias_id=judge, expected_alias=title)
    fleet.settle()
    now = alias_of(fleet.connection, "p", "judge")
    assert now is not None and now.id == judge, "what was asked later holds, whatever becomes of the move"
    assert fleet.server.model("title") == "model of judge-4b"
    fleet.ask("fleet-assign", **task, alias_id=title, expected_alias=judge)
    fleet.ask("fleet-assign", **task, alias_id=None, expected_alias=title)
    assert alias_of(fleet.connection, "p", "judge") is None and fleet.last("title").kind == "release"
    assert refusal(fleet.ask, "fleet-assign", **task, alias_id=None, expected_alias=None)[0] == "no_alias"


def test_a_rollback_goes_to_what_was_before_and_not_to_what_was_left_behind(fleet: PlayedFleet) -> None:
    """7b, then 4b; back to 7b; then 8b: before 8b was 7b."""
    fleet.adopt("judge", "judge")
    for source in ("judge-4b", None, "judge-8b", None):
        if source is None:
            fleet.rollback("judge")
        else:
            fleet.promote("judge", source)
        fleet.settle()
    assert fleet.server.model("judge") == "model of judge"
    assert [one.number for one in fleet.versions("judge")] == [1, 2, 3]
    assert refusal(fleet.rollback, "judge")[0] == "no_former_version"
    assert [change.kind for change in changes(fleet.connection)] == [
        *("rollback", "promote", "rollback", "promote", "adopt")
    ]


def test_a_rollback_over_somebody_else_s_model_says_whose_that_version_was(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    fleet.settle()
    (adopted,) = fleet.versions("judge")
    fleet.server.put("judge", "somebody's")
    theirs = Target("judge", digest_of("somebody's"), model="theirs").to_json()
    fleet.rollback("judge", found=theirs)
    (note,) = notes(fleet.connection, fleet.alias("judge").id)
    assert note.reason == Reason(
        "alias_changed", {"version": 1, "recorded": adopted.digest, "digest": digest_of("somebody's")}
    )
    assert note.id < fleet.last("judge").id, "it stands before the rollback"
    fleet.settle()
    assert fleet.server.model("judge") == "model of judge" and fleet.current_id("judge") == adopted.id

    fleet.server.put("judge", "somebody's")
    fleet.rollback("judge", found=theirs)
    assert len(notes(fleet.connection)) == 1, "as a runner that looks at aliases would have it: once for a model"


def test_a_clock_that_is_set_back_changes_nothing(fleet: PlayedFleet) -> None:
    fleet.adopt("judge", "judge")
    fleet.clock.set_time_of_day(0.0)
    fleet.promote("judge", "judge-4b")
    fleet.settle()
    fleet.rollback("judge")
    fleet.settle()
    fleet.check()
    assert [change.kind for change in changes(fleet.connection)] == ["rollback", "promote", "adopt"]
